"""A request as aiohttp takes it: the client's headers in their order, and its body in pieces that let others work."""

from __future__ import annotations

from collections.abc import AsyncIterator

from scrimp.upstream.client import SAID_ANEW, UpstreamRequest, end_to_end

#: A longer body is handed to the connection in pieces of this many bytes, so that others get their turn.
BODY_PIECE_BYTES = 256 * 1024


def _text(value: bytes) -> str:
    """Return a header value as aiohttp sends it on unchanged (it writes UTF-8); other bytes are read as Latin-1."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def headers_of(request: UpstreamRequest) -> list[tuple[str, str]]:
    """Return the headers to send, in the client's order; a body of known length says its length.

    A repeated header takes the spelling in which it came first: aiohttp drops the earlier of two spellings.
    """
    pairs = end_to_end(request.headers, without=SAID_ANEW)
    if isinstance(request.body, bytes):
        length = str(len(request.body)).encode()
        pairs = [(name, length if name.lower() == b"content-length" else value) for name, value in pairs]
        if request.body and not any(name.lower() == b"content-length" for name, _ in pairs):
            pairs.append((b"Content-Length", length))
    spelling: dict[bytes, str] = {}
    return [(spelling.setdefault(name.lower(), name.decode("latin-1")), _text(value)) for name, value in pairs]


class PiecewiseBody:
    """A body that is sent piece by piece, and that remembers why it broke off."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self.failure: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._pieces:
                yield piece
        except Exception as error:
            self.failure = error
            raise


async def _sliced(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), BODY_PIECE_BYTES):
        yield body[start : start + BODY_PIECE_BYTES]


def body_of(body: bytes | AsyncIterator[bytes]) -> bytes | PiecewiseBody | None:
    """Return the body as aiohttp's `data`; None for an empty one, which has no payload at all."""
    if not isinstance(body, bytes):
        return PiecewiseBody(body)
    if len(body) > BODY_PIECE_BYTES:
        return PiecewiseBody(_sliced(body))
    return body or None
