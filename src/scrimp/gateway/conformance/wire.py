"""HTTP/1.1 as bytes: heads and bodies as they stand on the wire, and how each of them ended."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Headers = tuple[tuple[str, str], ...]

#: How a body ended: as its framing says; broken off before that; the peer fell silent; the framing cannot tell
#: (a body that ends with its connection).
End = Literal["whole", "cut", "silent", "closed"]

_READ_BYTES = 256 * 1024
#: Statuses whose answer has no body (RFC 9110 section 6.4.1).
_BODILESS = frozenset({204, 304})


class Cut(ConnectionError):
    """The peer closed its connection within a message."""


@dataclass(frozen=True)
class Head:
    """A message's first line and its header lines in their order, names in lower case."""

    first: str
    headers: Headers

    def all(self, name: str) -> list[str]:
        """Return the values of every line of this name."""
        return [value for key, value in self.headers if key == name]

    def get(self, name: str) -> str | None:
        """Return the values of one name as one, joined as RFC 9110 section 5.3 has it; None where it is absent."""
        values = self.all(name)
        return ", ".join(values) if values else None


class Wire:
    """What can be read from one socket. Every method raises `Cut` at its end and `TimeoutError` in a silence."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._buffer = bytearray()

    def _more(self) -> None:
        received = self._link.recv(_READ_BYTES)
        if not received:
            raise Cut("the peer closed its connection")
        self._buffer += received

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def line(self) -> bytes:
        """Return the bytes up to the next line feed, less the line's end."""
        while (end := self._buffer.find(b"\n")) < 0:
            self._more()
        return self._take(end + 1).rstrip(b"\r\n")

    def some(self, limit: int) -> bytes:
        """Return what is there, at most `limit` bytes."""
        if not self._buffer:
            self._more()
        return self._take(limit)

    def head(self) -> Head:
        """Return the next message's head; an empty line before it is skipped (RFC 9112 section 2.2)."""
        first = self.line() or self.line()
        pairs = []
        while line := self.line().decode("latin-1"):
            name, _, value = line.partition(":")
            pairs.append((name.lower(), value.strip()))
        return Head(first.decode("latin-1"), tuple(pairs))

    def chunked(self) -> Iterator[bytes]:
        """Yield the pieces of a chunked body."""
        while size := int(self.line().partition(b";")[0], 16):
            yield from self.counted(size)
            self.line()
        while self.line():
            pass

    def counted(self, count: int) -> Iterator[bytes]:
        """Yield the pieces of a body of known length."""
        while count:
            piece = self.some(count)
            count -= len(piece)
            yield piece

    def rest(self) -> Iterator[bytes]:
        """Yield the pieces of a body that ends with its connection; the end itself raises."""
        while True:
            yield self.some(_READ_BYTES)


def is_chunked(head: Head) -> bool:
    """Whether the body comes in chunks."""
    return (head.get("transfer-encoding") or "").lower().endswith("chunked")


def request_body(wire: Wire, head: Head) -> bytes:
    """Return a request's whole body."""
    pieces = wire.chunked() if is_chunked(head) else wire.counted(int(head.get("content-length") or 0))
    return b"".join(pieces)


def answer_pieces(wire: Wire, head: Head, method: str) -> tuple[Iterator[bytes], End]:
    """Return an answer's body by piece, and how it is to be called when the connection ends within it."""
    if method == "HEAD" or status_of(head) in _BODILESS:
        return iter(()), "cut"
    if is_chunked(head):
        return wire.chunked(), "cut"
    length = head.get("content-length")
    return (wire.rest(), "closed") if length is None else (wire.counted(int(length)), "cut")


def status_of(head: Head) -> int:
    """Return the status of an answer; 0 where its first line is none."""
    parts = head.first.split(" ", 2)
    return int(parts[1]) if len(parts) > 1 and parts[1].isdecimal() else 0


def written(first: str, headers: Headers, body: bytes = b"") -> bytes:
    """Return a message as it stands on the wire."""
    lines = [first, *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
