"""The seam to the Claude API: one method, and raw bytes in both directions.

`DirectUpstream` and `AiohttpUpstream` (over the network) and `AsgiUpstream` (an app in this process) stand behind it.
Importing this module costs nothing; each implementation imports what it needs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

#: Header names and values as they stand on the wire, in their order.
RawHeaders = list[tuple[bytes, bytes]]

#: Headers that belong to one connection (RFC 9110 section 7.6.1, and what older agents send); each side has its own.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

#: Of a request, what the sender of this hop says anew: where it goes, and whether it waits before its body.
SAID_ANEW = frozenset({b"host", b"expect"})


def end_to_end(headers: Iterable[tuple[bytes, bytes]], *, without: frozenset[bytes] = frozenset()) -> RawHeaders:
    """Return the headers that travel past this hop, in their order, less those named in `without` (lower case)."""
    pairs = [(name.lower(), name, value) for name, value in headers]
    dropped = _dropped(without)
    if listed := [value for lower, _, value in pairs if lower == b"connection"]:
        dropped = dropped | {token.strip().lower() for value in listed for token in value.split(b",")}
    return [(name, value) for lower, name, value in pairs if lower not in dropped]


@cache
def _dropped(without: frozenset[bytes]) -> frozenset[bytes]:
    return HOP_BY_HOP | without


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """What is sent: `target` is the path with its query as the client wrote it, never encoded anew.

    Headers of one hop (`HOP_BY_HOP`, Host, Expect) may stand in `headers`; they are not sent on. A body that is an
    iterator is sent as it comes: under the client's Content-Length where it gave one, else chunked.
    """

    method: str
    target: str
    headers: RawHeaders
    body: bytes | AsyncIterator[bytes] = b""


class UpstreamResponse(Protocol):
    """What comes back, as soon as its headers are here: those that travel past this hop. Its taker must `aclose` it."""

    status: int
    reason: str
    headers: RawHeaders

    @property
    def is_whole(self) -> bool:
        """Whether the chunk that came last is known to be the last one."""
        return False

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body's bytes as they arrive: not decompressed, not gathered, not split.

        Raises `ConnectionError` after the last byte that came, where the upstream broke off.
        """
        ...

    async def aclose(self) -> None:
        """Let go of the response; one that was not read to its end is cut off upstream, too."""
        ...


class Upstream(Protocol):
    """Sends a request to the Claude API, or to whatever plays its part."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Return the response once its headers are here. Nothing is sent twice, followed or decoded.

        Raises `UpstreamUnavailable` where no answer came; its kind `UpstreamUnreachable` where there was no connection:
        refused, unknown name, bad certificate. What the request's own body iterator raises comes back as it is.
        """
        ...
