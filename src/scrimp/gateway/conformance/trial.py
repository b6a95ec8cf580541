"""One gateway under test: a request goes through it, and both ends' view of it comes back."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from scrimp.errors import ConfigError
from scrimp.gateway.conformance.codings import decoded
from scrimp.gateway.conformance.recorder import Arrival, Recorder, Script
from scrimp.gateway.conformance.wire import End, Head, Headers, Wire, answer_pieces, status_of, written

#: Stands in a request's body for its token.
PROBE = "@probe@"
#: The header that carries the token.
PROBE_HEADER = "x-conformance-probe"
#: The key of a gateway that was given none: never a real one.
FAKE_KEY = "sk-ant-conformance-fake"

#: How many times the client's patience is the recorder's: a script that gave up still has its answer read.
_CLIENT_PATIENCE = 4
#: Answers before the answer (RFC 9110 section 15.2) have statuses from the one up to the other.
_INTERIM, _FINAL = 100, 200

_tokens = itertools.count(1)

OnBody = Callable[[bytes], None]


def _unseen(_body: bytes) -> None:
    """Look at no piece."""


@dataclass(frozen=True)
class Request:
    """What a client sends. Host, Content-Length, the key and the token are added when it is sent."""

    body: bytes = b""
    headers: Headers = ()
    method: str = "POST"
    target: str = "/v1/messages"


@dataclass(frozen=True)
class Answer:
    """What a client got; status 0 where no head came."""

    status: int
    head: Head
    body: bytes
    end: End

    @property
    def content(self) -> bytes:
        """Return the body without the encoding that the answer names; a broken one as it came."""
        return decoded(self.head.get("content-encoding"), self.body)

    def __str__(self) -> str:
        if not self.status:
            return "no answer: the connection was closed" if self.end == "cut" else "no answer in time"
        return f"{self.status} ({len(self.body):,} bytes, {self.end})"


@dataclass(frozen=True)
class Exchanged:
    """One request's way: what was sent, what reached the recorder (in order) and what came back."""

    sent: Request
    arrivals: list[Arrival]
    answer: Answer

    @property
    def arrived(self) -> Arrival | None:
        """Return the request as it first reached the recorder; None where it never did."""
        return self.arrivals[0] if self.arrivals else None


class Link:
    """A client's connection to the gateway."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._wire = Wire(opened)

    def send(self, raw: bytes) -> None:
        """Write a request; a gateway that answers before it read the whole of it may close its side."""
        with suppress(ConnectionError):
            self._socket.sendall(raw)

    def read(self, method: str, on_body: OnBody = _unseen) -> Answer:
        """Read one answer; `on_body` is given the body so far, after each piece."""
        body = bytearray()
        try:
            head = self._head()
        except (OSError, ValueError) as error:
            return Answer(0, Head("", ()), b"", "silent" if isinstance(error, TimeoutError) else "cut")
        end = self._gather(head, method, body, on_body)
        return Answer(status_of(head), head, bytes(body), end)

    def _head(self) -> Head:
        head = self._wire.head()
        return self._head() if _INTERIM <= status_of(head) < _FINAL else head

    def _gather(self, head: Head, method: str, body: bytearray, on_body: OnBody) -> End:
        """Read a body piece by piece into `body`; return how it ended."""
        pieces, broken = answer_pieces(self._wire, head, method)
        try:
            for piece in pieces:
                body += piece
                if on_body is not _unseen:
                    on_body(bytes(body))
        except TimeoutError:
            return "silent"
        except (OSError, ValueError):
            return broken
        return "whole"

    def leave(self) -> None:
        """Close the connection, as a client does that no longer wants its answer."""
        self._socket.close()


class Trial:
    """A gateway under test and the recorder behind it.

    `url` may hold a path that goes before every target. `key` is the gateway's own, where it has one: it then
    consumes credentials, and what becomes of them is not looked at. `patience_s` is how long anything may take.
    """

    def __init__(self, url: str, recorder: Recorder, *, model: str, key: str | None, patience_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ConfigError(f"{url!r} is no address of a gateway.", "Give one like http://127.0.0.1:4000.")
        self._address = (parts.hostname, parts.port or 80)
        self._host, self._prefix = parts.netloc, parts.path.rstrip("/")
        self.recorder, self.model, self.key, self.patience_s = recorder, model, key, patience_s

    @contextmanager
    def connected(self) -> Iterator[Link]:
        """Open a connection to the gateway. Raises `OSError` where it does not listen."""
        with socket.create_connection(self._address, timeout=self.patience_s) as opened:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.settimeout(self.patience_s * _CLIENT_PATIENCE)
            yield Link(opened)

    def marked(self, request: Request) -> tuple[Request, bytes]:
        """Return the request with a token of its own, and that token."""
        token = f"probe-{next(_tokens)}-end"
        body = request.body.replace(PROBE.encode(), token.encode())
        return Request(body, (*request.headers, (PROBE_HEADER, token)), request.method, request.target), token.encode()

    def raw(self, request: Request) -> bytes:
        """Return the request as it is written to the gateway."""
        named = {name for name, _ in request.headers}
        credential = () if named & {"x-api-key", "authorization"} else (("x-api-key", self.key or FAKE_KEY),)
        length = (("content-length", str(len(request.body))),) if request.method == "POST" else ()
        headers = (("host", self._host), *credential, *request.headers, *length)
        return written(f"{request.method} {self._prefix}{request.target} HTTP/1.1", headers, request.body)

    def exchange(self, request: Request, script: Script, on_body: OnBody = _unseen) -> Exchanged:
        """Send one request on a connection of its own and read its answer to the end."""
        with self.connected() as link:
            return self.exchange_on(link, request, script, on_body)

    def exchange_on(self, link: Link, request: Request, script: Script, on_body: OnBody = _unseen) -> Exchanged:
        """Send one request on a connection that is open and read its answer to the end."""
        marked, token = self.marked(request)
        route = self.recorder.expect(token, script)
        link.send(self.raw(marked))
        answer = link.read(marked.method, on_body)
        arrivals = list(route.arrivals)
        route.arrivals.clear()
        return Exchanged(marked, arrivals, answer)


class Handshake:
    """What one end has seen, told to the other: both count the events of a stream."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def saw(self, count: int) -> None:
        """Say that `count` events are here."""
        with self._changed:
            self._count = max(self._count, count)
            self._changed.notify_all()

    def reaches(self, count: int, patience_s: float) -> bool:
        """Whether `count` events are there within this time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._count >= count, patience_s)
