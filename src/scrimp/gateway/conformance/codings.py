"""The encodings that clients ask for (RFC 9110 section 8.4.1): written by the recorder, read by the client."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable
from functools import partial

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: coding -> how a whole body is written in it.
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": partial(gzip.compress, mtime=0),
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}
_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "br": brotli.decompress,
    "zstd": zstd.decompress,
}
_BROKEN = (OSError, EOFError, ValueError, zlib.error, brotli.error, zstd.ZstdError)


def decoded(coding: str | None, body: bytes) -> bytes:
    """Return a body's content; the body itself where its coding is unknown or it cannot be read."""
    try:
        return _DECODERS.get(coding or "", bytes)(body)
    except _BROKEN:
        return body


def gzip_so_far(body: bytes) -> bytes:
    """Return what can be read of a gzip stream that is still coming; of anything else, itself."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body)
    except zlib.error:
        return body


def is_accepted(accept_encoding: str | None, coding: str) -> bool:
    """Whether a request asks for this coding; one that says nothing asks for none."""
    names = (each.partition(";")[0].strip().lower() for each in (accept_encoding or "").split(","))
    return coding in names
