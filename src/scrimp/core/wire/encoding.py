"""Content codings as streams: identity, gzip, deflate, br and zstd, decoded chunk by chunk.

Clients ask for all of them (Claude Code sends `gzip, deflate, br, zstd`), and the gateway forwards the coded
bytes untouched, so usage has to be read from a decoded copy.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import reduce
from typing import Any

Decode = Callable[[bytes], bytes]

#: What one chunk may decode to; an answer's chunks are far smaller, and one that is not stops the metering.
PIECE_BYTES_MAX = 16 * 1024 * 1024
_ZLIB_HEADER_BYTES = 2
#: How much a decompressor is given at a time, in bytes: it copies what it leaves over, and frames may be tiny and many.
_FED_BYTES = 4 * 1024


class CodingError(ValueError):
    """The bytes are not in the content coding that the header names."""


def _identity(chunk: bytes) -> bytes:
    return chunk


class _Frames:
    """Decodes frames that follow each other in one body, each by a decompressor of its own."""

    def __init__(self, make: Callable[[], Any], has_more: Callable[[Any], bool]) -> None:
        self._make = make
        self._has_more = has_more
        self._frame = make()

    def __call__(self, chunk: bytes) -> bytes:
        out: list[bytes] = []
        room = PIECE_BYTES_MAX
        for at in range(0, len(chunk), _FED_BYTES):
            fed = chunk[at : at + _FED_BYTES]
            while fed:
                if self._frame.eof:
                    self._frame = self._make()
                out.append(self._frame.decompress(fed, room + 1))
                room -= len(out[-1])
                if room < 0 or self._has_more(self._frame):
                    raise CodingError(f"a piece decodes to more than {PIECE_BYTES_MAX} bytes")
                fed = self._frame.unused_data
        return b"".join(out)


def _zlib_frames(wbits: int) -> Decode:
    return _Frames(lambda: zlib.decompressobj(wbits), lambda frame: bool(frame.unconsumed_tail))


def _gzip() -> Decode:
    # 32 + MAX_WBITS recognises gzip and zlib headers alike.
    return _zlib_frames(32 + zlib.MAX_WBITS)


class _Deflate:
    """Servers disagree on whether "deflate" has a zlib header; the first two bytes tell (RFC 1950 section 2.2)."""

    def __init__(self) -> None:
        self._head = b""
        self._decode: Decode | None = None

    def __call__(self, chunk: bytes) -> bytes:
        if self._decode is None:
            self._head += chunk
            if len(self._head) < _ZLIB_HEADER_BYTES:
                return b""
            chunk = self._head
            wrapped = chunk[0] & 0x0F == zlib.DEFLATED and int.from_bytes(chunk[:2], "big") % 31 == 0
            self._decode = _zlib_frames(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
        return self._decode(chunk)


def _brotli() -> Decode:
    import brotli  # noqa: PLC0415 - loaded only when a body is coded so

    decompressor = brotli.Decompressor()

    def decode(chunk: bytes) -> bytes:
        out: bytes = decompressor.process(chunk, output_buffer_limit=PIECE_BYTES_MAX)
        if len(out) >= PIECE_BYTES_MAX:
            raise CodingError(f"a piece decodes to more than {PIECE_BYTES_MAX} bytes")
        return out

    return decode


def _zstd() -> Decode:
    try:
        from compression.zstd import (  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - loaded only when a body is coded so
            ZstdDecompressor,
        )
    except ImportError:
        from backports.zstd import ZstdDecompressor  # noqa: PLC0415 - loaded only when a body is coded so
    return _Frames(ZstdDecompressor, lambda frame: not frame.eof and not frame.needs_input)


_CODINGS: dict[str, Callable[[], Decode]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _Deflate,
    "br": _brotli,
    "zstd": _zstd,
}


def decoder(content_encoding: str | None) -> Decode:
    """Return a function that decodes the chunks of one body in order.

    `content_encoding` is the header's value, e.g. "gzip" or "gzip, br" (applied left to right, so undone right
    to left). Raises `CodingError` for a coding we do not know, and from the function on corrupt bytes.
    """
    names = [
        name for part in (content_encoding or "").split(",") if (name := part.strip().lower()) not in {"", "identity"}
    ]
    if unknown := [name for name in names if name not in _CODINGS]:
        raise CodingError(f"unknown content coding {unknown[0]!r}")
    steps = [_CODINGS[name]() for name in reversed(names)]
    if not steps:
        return _identity

    def decode(chunk: bytes) -> bytes:
        try:
            return reduce(lambda data, step: step(data), steps, chunk)
        except Exception as error:  # each library raises its own class for corrupt input
            raise CodingError(str(error)) from error

    return decode
