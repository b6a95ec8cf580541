"""The same seam into an ASGI app in this process: for the demo, for tests, and for the simulator without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

from scrimp.errors import UpstreamUnavailable
from scrimp.upstream.client import SAID_ANEW, RawHeaders, UpstreamRequest, UpstreamResponse, end_to_end

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: How long an app may go on after its response was let go of, in milliseconds; then it is cancelled.
FAREWELL_MS = 1_000

#: The Host that the app sees.
HOST = b"asgi.invalid"


def _scope(request: UpstreamRequest) -> Scope:
    path, _, query = request.target.partition("?")
    headers = end_to_end(request.headers, without=SAID_ANEW)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote_to_bytes(path).decode("utf-8", errors="replace"),
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [(b"host", HOST), *((name.lower(), value) for name, value in headers)],
        "client": ("127.0.0.1", 0),
        "server": (HOST.decode(), 80),
        "state": {},
        "extensions": {},
    }


class _Running:
    """One request inside the app: its task, and the messages between it and us, one at a time."""

    def __init__(self, app: App, request: UpstreamRequest) -> None:
        self._body = request.body
        self._bodiless = request.method == "HEAD"
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(maxsize=1)
        self._incoming = self._request_messages()
        self._over = asyncio.Event()
        self._left = False
        self._complete = False
        #: Whether the chunk that came last is the last one.
        self.is_whole = False
        self.failure: Exception | None = None
        self.crash: Exception | None = None
        self._task = asyncio.create_task(self._run(app, _scope(request)))

    async def _run(self, app: App, scope: Scope) -> None:
        try:
            await app(scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - whatever an app raises is told to whoever sent the request
            self.crash = error
        if not (self._complete or self._left):
            await self._messages.put(None)

    async def _request_messages(self) -> AsyncIterator[Message]:
        if isinstance(self._body, bytes):
            yield {"type": "http.request", "body": self._body, "more_body": False}
            return
        try:
            async for piece in self._body:
                yield {"type": "http.request", "body": piece, "more_body": True}
        except Exception as error:  # noqa: BLE001 - it is raised again by `send`
            self.failure = error
            self._over.set()
            return
        yield {"type": "http.request", "body": b"", "more_body": False}

    async def _receive(self) -> Message:
        async for message in self._incoming:
            return message
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._left:
            raise OSError("whoever sent the request is gone")
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._complete = True
        await self._messages.put(message)
        if self._complete:
            self._over.set()

    async def head(self) -> Message | None:
        """Return the message that begins the response; None if the app ended without one."""
        return await self._messages.get()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as the app sends it; raises `ConnectionResetError` if it ends in the middle."""
        while (message := await self._messages.get()) is not None:
            self.is_whole = not message.get("more_body", False)
            if (chunk := message.get("body", b"")) and not self._bodiless:
                yield chunk
            if self.is_whole:
                return
        raise ConnectionResetError(f"the app broke off its answer ({self.crash!r})") from self.crash

    async def leave(self) -> None:
        """Tell the app that nobody listens any more, and see it end."""
        self._left = True
        self._over.set()
        if not self._messages.empty():
            self._messages.get_nowait()
        await asyncio.wait({self._task}, timeout=FAREWELL_MS / 1000)
        self._task.cancel()
        await asyncio.wait({self._task})


class _AsgiResponse:
    """A response of the app."""

    def __init__(self, running: _Running, head: Message) -> None:
        self._running = running
        self.status: int = head["status"]
        self.reason = HTTPStatus(self.status).phrase if self.status in _KNOWN else ""
        self.headers: RawHeaders = end_to_end((bytes(name), bytes(value)) for name, value in head.get("headers", ()))

    @property
    def is_whole(self) -> bool:
        return self._running.is_whole

    def chunks(self) -> AsyncIterator[bytes]:
        return self._running.chunks()

    async def aclose(self) -> None:
        await self._running.leave()


_KNOWN = frozenset(status.value for status in HTTPStatus)


class AsgiUpstream:
    """An `Upstream` that is an ASGI app. Its lifespan is not run: whoever made the app starts and stops it."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Run the app on the request and return the response's head; see `Upstream.send`."""
        running = _Running(self._app, request)
        try:
            head = await running.head()
        except BaseException:
            await running.leave()
            raise
        if head is not None:
            return _AsgiResponse(running, head)
        await running.leave()
        if running.failure is not None:
            raise running.failure
        raise UpstreamUnavailable(f"The app ended without an answer ({running.crash!r}).") from running.crash
