"""Bytes of a recorded file, unpacked if it is gzip; whatever can be had of a damaged file is had.

Only regular files are opened: a pipe or a device may have no end, and opening one may wait forever. A file is read
whole, so there is a limit to its size, and a packed one is unpacked no further than that.
"""

# Paths are strings here: there may be thousands of them, and they go to other processes.
# ruff: noqa: PTH114, PTH116, PTH123

from __future__ import annotations

import os
import re
import stat
import zlib

from scrimp.replay.traces.trace import Problem

#: How much of one file is read, unpacked: a session of ten thousand answers is a tenth of it.
FILE_BYTES_MAX = 512 << 20
_LIMIT = f"{FILE_BYTES_MAX >> 20} MiB"

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WBITS = 31
_PIECE_BYTES = 4_096
#: How much of a member is unpacked at first; what follows the member in it is copied, and members may be many.
_FIRST_PIECE_BYTES = 512
_PADDING = re.compile(rb"\0*")
GOOD_PART = "the part before that is used"
_SPLIT = "split it by lines, or an export by --since and --until"

_CUT_SHORT = "this gzip file is cut short"
_DAMAGED = "this gzip file is damaged"
TOO_LARGE = f"this gzip file unpacks to more than {_LIMIT}"


def load(path: str) -> tuple[bytes, list[Problem]]:
    """Return a file's bytes, empty if they cannot be had, and what was wrong with it; a byte order mark is dropped."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            return b"", [Problem(path, "this is no regular file", "give a file, or a folder of files")]
        if found.st_size > FILE_BYTES_MAX:
            return b"", [Problem(path, f"this file is larger than {_LIMIT}", _SPLIT)]
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        return b"", [_closed(path, error)]
    what = None
    if data.startswith(_GZIP_MAGIC):
        data, what = unpack(data)
    problems = [Problem(path, what, f"{GOOD_PART}, {_SPLIT}" if what == TOO_LARGE else GOOD_PART)] if what else []
    return data.removeprefix(_BYTE_ORDER_MARK), problems


def _closed(path: str, error: OSError) -> Problem:
    """Say why a file cannot be opened, and what would mend it."""
    if isinstance(error, FileNotFoundError):
        if os.path.islink(path):
            return Problem(path, "this link leads to no file", "mend it or remove it")
        return Problem(path, "this file is gone", "run again")
    return Problem(path, f"this file cannot be opened ({error.strerror})", "allow reading it or leave it out")


def unpack(data: bytes, limit: int = FILE_BYTES_MAX) -> tuple[bytes, str | None]:
    """Unpack gzip, one member or several; return what came out and, if it ended early, why.

    What unpacks to more than `limit` bytes is given up to the first byte beyond it.
    """
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        member, end, what = _member(data, at, limit)
        parts += member
        limit -= sum(map(len, member))
        if what is not None:
            return b"".join(parts), what
        padding = _PADDING.match(data, end)
        at = padding.end() if padding else end
    return b"".join(parts), None


def _member(data: bytes, start: int, limit: int) -> tuple[list[bytes], int, str | None]:
    """Unpack the member that begins there: what came out, where it ends and, if it ended early, why."""
    engine = zlib.decompressobj(_GZIP_WBITS)
    parts: list[bytes] = []
    left, at, size = limit, start, _FIRST_PIECE_BYTES
    while at < len(data):
        piece = data[at : at + size]
        try:
            parts.append(engine.decompress(piece, left + 1))
        except zlib.error:
            return [_good_part(data[start:], limit)], len(data), _DAMAGED
        left -= len(parts[-1])
        if left < 0:
            return parts, len(data), TOO_LARGE
        at += len(piece)
        if engine.eof:
            return parts, at - len(engine.unused_data), None
        size *= 2
    return parts, len(data), _CUT_SHORT


def _good_part(data: bytes, limit: int) -> bytes:
    """Return what a damaged member gives before the damage.

    zlib drops what a failing piece gave before it failed, so that piece is gone through again, byte by byte.
    """
    engine = zlib.decompressobj(_GZIP_WBITS)
    parts: list[bytes] = []
    for start in range(0, len(data), _PIECE_BYTES):
        piece = data[start : start + _PIECE_BYTES]
        before = engine.copy()
        try:
            parts.append(engine.decompress(piece))
        except zlib.error:
            parts += _byte_by_byte(before, piece)
            break
        limit -= len(parts[-1])
        if limit <= 0:
            break
    return b"".join(parts)


def _byte_by_byte(engine: zlib._Decompress, piece: bytes) -> list[bytes]:
    parts: list[bytes] = []
    try:
        for at in range(len(piece)):
            parts.append(engine.decompress(piece[at : at + 1]))  # noqa: PERF401 - what came before the error is kept
    except zlib.error:
        pass
    return parts
