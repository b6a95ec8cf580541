"""Bytes of a recorded file, unpacked if it is gzip; whatever can be had of a damaged file is had."""

# Paths are strings here: there may be thousands of them, and they go to other processes.
# ruff: noqa: PTH123

from __future__ import annotations

import os
import zlib

from scrimp.replay.traces.trace import Problem

#: A file that is or unpacks to more than this is not read further.
UNPACKED_BYTES_MAX = 4 << 30

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WBITS = 31
_PIECE_BYTES = 4_096
_GOOD_PART = "the part before that is used"


def load(path: str) -> tuple[bytes, list[Problem]]:
    """Return a file's bytes, empty if it cannot be opened, and what was wrong with it."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size > UNPACKED_BYTES_MAX:
                return b"", [Problem(path, "this file is larger than is read", "split it")]
            data = file.read()
    except OSError as error:
        return b"", [
            Problem(path, f"this file cannot be opened ({error.strerror})", "allow reading it or leave it out")
        ]
    if not data.startswith(_GZIP_MAGIC):
        return data, []
    unpacked, what = unpack(data)
    return unpacked, [Problem(path, what, _GOOD_PART)] if what else []


def unpack(data: bytes, limit: int = UNPACKED_BYTES_MAX) -> tuple[bytes, str | None]:
    """Unpack gzip, one member or several; return what came out and, if it ended early, why."""
    parts: list[bytes] = []
    left = limit
    while data:
        engine = zlib.decompressobj(_GZIP_WBITS)
        try:
            parts.append(engine.decompress(data, left))
        except zlib.error:
            parts.append(_good_part(data, left))
            return b"".join(parts), "this gzip file is damaged"
        left -= len(parts[-1])
        if left <= 0:
            return b"".join(parts), "this gzip file unpacks to more than is read"
        if not engine.eof:
            return b"".join(parts), "this gzip file is cut short"
        data = engine.unused_data.lstrip(b"\0")
    return b"".join(parts), None


def _good_part(data: bytes, limit: int) -> bytes:
    """Return what a damaged member gives before the damage, piece by piece since zlib drops the piece that fails."""
    engine = zlib.decompressobj(_GZIP_WBITS)
    parts: list[bytes] = []
    for start in range(0, len(data), _PIECE_BYTES):
        try:
            parts.append(engine.decompress(data[start : start + _PIECE_BYTES], limit))
        except zlib.error:
            break
    return b"".join(parts)
