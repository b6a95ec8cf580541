"""The listening socket: the app served until it is told to stop, in this thread or in one of its own."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import uvicorn

from scrimp.errors import ConfigError
from scrimp.gateway.asgi import App
from scrimp.gateway.protocol import Protocol

#: Idle connections are kept this long; shorter than any client's own patience only costs reconnects.
KEEP_ALIVE_SECONDS = 300
#: Requests under way get this long to finish after a stop was asked for.
GRACEFUL_SECONDS = 30
#: A server that was told to stop is gone after this long, its ledger written; one that is not is ended by force.
STOP_SECONDS = GRACEFUL_SECONDS + 10

#: New objects before a collection of the youngest, and how many of those come before one of the next older each.
COLLECTED_AFTER = (2_000, 10, 1_000)


def bind(host: str, port: int) -> socket.socket:
    """Listen on an address; port 0 takes a free one. Raises `ConfigError` where that cannot be."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(1024)
    except (OSError, UnicodeError) as error:
        listening.close()
        what = error.strerror if isinstance(error, OSError) else "that is no name of a host"
        by_port = isinstance(error, OSError) and error.errno in {errno.EADDRINUSE, errno.EACCES}
        what_next = "Choose another with --port." if by_port else "Name an address of this machine with --host."
        raise ConfigError(f"Cannot listen on {host}:{port}: {what}.", what_next) from error
    listening.set_inheritable(False)
    return listening


def url_of(listening: socket.socket) -> str:
    """Return the base URL of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn, except that a stop that was asked for and made is no failure: its signal is not raised again."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as the wish to stop."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; hurried by a second SIGINT, requests under way are cut and recorded as such, and the app is closed."""
        await super().shutdown(sockets)
        if self.force_exit:
            tasks = list(self.server_state.tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.lifespan.shutdown()


async def _nothing() -> None:
    """Have nothing to do every second."""


def _server(app: App, every_second: Callable[[], Awaitable[None]] = _nothing) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        http=Protocol,
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        timeout_notify=0,
        callback_notify=every_second,
    )
    return _Server(config)


def spare_collector() -> None:
    """Keep the garbage collector from stopping the event loop for long, in a process that is ours alone.

    A full collection looks at every object there is, which takes 20 ms and more once a gateway has worked for a while.
    What is there now stays, so none of them has to look at it, and full ones come hundreds of times less often than
    is Python's habit: nearly all garbage goes by reference counts.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)


def serve_forever(app: App, listening: socket.socket, every_second: Callable[[], Awaitable[None]] = _nothing) -> None:
    """Serve until SIGINT or SIGTERM; requests under way may finish, unless a second SIGINT comes."""
    spare_collector()
    _server(app, every_second).run(sockets=[listening])


@contextmanager
def serving(app: App, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve the app from a thread of its own for as long as the context lasts; yields its base URL."""
    listening = bind(host, port)
    server = _server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="scrimp-gateway", daemon=True)
    thread.start()
    try:
        yield url_of(listening)
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)
        listening.close()
