"""Content codings as streams: identity, gzip, deflate, br and zstd, decoded chunk by chunk.

Clients ask for all of them (Claude Code sends `gzip, deflate, br, zstd`), and the gateway forwards the coded
bytes untouched, so usage has to be read from a decoded copy.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import reduce

Decode = Callable[[bytes], bytes]


class CodingError(ValueError):
    """The bytes are not in the content coding that the header names."""


def _identity(chunk: bytes) -> bytes:
    return chunk


def _gzip() -> Decode:
    # 32 + MAX_WBITS recognises gzip and zlib headers alike.
    return zlib.decompressobj(32 + zlib.MAX_WBITS).decompress


def _deflate() -> Decode:
    wrapped, raw = zlib.decompressobj(), zlib.decompressobj(-zlib.MAX_WBITS)
    chosen: list[Decode] = []

    def decode(chunk: bytes) -> bytes:
        """Servers disagree on whether "deflate" has a zlib header; the first chunk tells."""
        if chosen:
            return chosen[0](chunk)
        try:
            out = wrapped.decompress(chunk)
            chosen.append(wrapped.decompress)
        except zlib.error:
            out = raw.decompress(chunk)
            chosen.append(raw.decompress)
        return out

    return decode


def _brotli() -> Decode:
    import brotli  # noqa: PLC0415 - loaded only when a body is coded so

    process: Decode = brotli.Decompressor().process
    return process


def _zstd() -> Decode:
    try:
        from compression.zstd import ZstdDecompressor  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - loaded only when a body is coded so
    except ImportError:
        from backports.zstd import ZstdDecompressor  # noqa: PLC0415 - loaded only when a body is coded so
    frames = [ZstdDecompressor()]

    def decode(chunk: bytes) -> bytes:
        out = frames[0].decompress(chunk)
        while frames[0].eof and (rest := frames[0].unused_data):
            frames[0] = ZstdDecompressor()
            out += frames[0].decompress(rest)
        return bytes(out)

    return decode


_CODINGS: dict[str, Callable[[], Decode]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
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
