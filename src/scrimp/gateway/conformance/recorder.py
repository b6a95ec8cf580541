"""The upstream of a gateway under test: it answers as it is told and notes what reached it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from scrimp.gateway.conformance.wire import Head, Headers, Wire, request_body, written
from scrimp.gateway.server import bind, url_of

#: How long a closed recorder waits for its threads, in seconds.
_CLOSING_SECONDS = 5
#: SO_LINGER on, with no time to linger: closing sends a reset.
_RESET = b"\x01\x00\x00\x00\x00\x00\x00\x00"


@dataclass(frozen=True)
class Arrival:
    """One request as it reached the recorder; `connection` counts its connections from 1."""

    head: Head
    body: bytes
    connection: int

    @property
    def method(self) -> str:
        """Return the request's method."""
        return self.head.first.partition(" ")[0]

    @property
    def target(self) -> str:
        """Return the path with its query as it stood on the wire."""
        return self.head.first.partition(" ")[2].rpartition(" ")[0]


@dataclass(frozen=True)
class Conversation:
    """A request that arrived, and the socket to answer it on."""

    arrival: Arrival
    link: socket.socket

    def answer(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """Send a whole answer of known length."""
        length = (("content-length", str(len(body))),)
        said = b"" if self.arrival.method == "HEAD" else body
        self.link.sendall(written(f"HTTP/1.1 {status} ", headers + length, said))

    def begin(self, status: int, headers: Headers) -> None:
        """Send the head of an answer that comes in chunks."""
        self.link.sendall(written(f"HTTP/1.1 {status} ", (*headers, ("transfer-encoding", "chunked"))))

    def chunk(self, data: bytes) -> None:
        """Send one chunk; an empty one ends the answer."""
        self.link.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def hang_up(self) -> None:
        """Close the connection, whatever was said on it."""
        with suppress(OSError):
            self.link.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Break the connection off as a crashed peer does."""
        self.link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.link.close()

    def left(self, patience_s: float) -> bool:
        """Whether the gateway closes its side within this time."""
        self.link.settimeout(patience_s)
        try:
            return not self.link.recv(1)
        except TimeoutError:
            return False
        except OSError:
            return True
        finally:
            with suppress(OSError):
                self.link.settimeout(None)


Script = Callable[[Conversation], None]


@dataclass
class Route:
    """What is said to the requests of one token, and those that came."""

    script: Script
    arrivals: list[Arrival] = field(default_factory=list)


def _unheard(conversation: Conversation) -> None:
    """Answer what nobody expected, such as a gateway's own health check."""
    conversation.answer(404, (("content-type", "text/plain"),))


class Recorder:
    """A server of HTTP/1.1 on loopback. A request goes to the route whose token it carries, else to the newest."""

    def __init__(self, port: int = 0) -> None:
        self._listening = bind("127.0.0.1", port)
        self.url = url_of(self._listening)
        self._routes: dict[bytes, Route] = {}
        self._newest = Route(_unheard)
        self._links: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        #: How many connections were opened so far.
        self.connections = 0

    def __enter__(self) -> Self:
        """Listen."""
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection and wait for what was under way."""
        self.close()

    def expect(self, token: bytes, script: Script) -> Route:
        """Answer the requests that carry `token` by this script; return the route that notes them."""
        self._newest = self._routes[token] = Route(script)
        return self._newest

    def close(self) -> None:
        """Go down: nothing listens at the address any more, and every connection is closed."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for link in list(self._links):
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_CLOSING_SECONDS)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="scrimp-recorder", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                link, _ = self._listening.accept()
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections += 1
                self._links.add(link)
                self._start(self._converse, link, self.connections)

    def _converse(self, link: socket.socket, connection: int) -> None:
        wire = Wire(link)
        with closing(link), suppress(OSError, ValueError):
            while True:
                head = wire.head()
                if (head.get("expect") or "").lower() == "100-continue":
                    link.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                arrival = Arrival(head, request_body(wire, head), connection)
                route = self._route_of(arrival)
                route.arrivals.append(arrival)
                route.script(Conversation(arrival, link))
        self._links.discard(link)

    def _route_of(self, arrival: Arrival) -> Route:
        carried = "\n".join(value for _, value in arrival.head.headers).encode("latin-1")
        found = (route for token, route in self._routes.items() if token in carried or token in arrival.body)
        return next(found, self._newest)
