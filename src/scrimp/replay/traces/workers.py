"""Reading many files with every processor: shares of about equal size, read by forked children and by this process.

A child inherits everything, so there is nothing to import or start again, and leaves its traces in memory that it
shares with its parent. Whatever goes wrong with a child, its share is read here instead. Only a process without threads
may fork: that is for the caller to know, and `workers=1` never forks. Work that is started early goes on while the
parent does other things.
"""

# Paths are strings here: there may be thousands of them, and they go to other processes.
# ruff: noqa: PTH202

from __future__ import annotations

import gc
import mmap
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from scrimp.replay.traces.trace import Trace

#: A worker is worth its start for this much to read.
BYTES_PER_WORKER = 6_000_000
WORKERS_MAX = 8
#: How much smaller gzip makes a session, about.
_GZIP_RATIO = 5
#: A share's traces have to fit into this many times its size; memory that is not written to costs nothing.
_ROOM_RATIO = 2
_ROOM_BYTES_MIN = 1 << 20
_LENGTH_BYTES = 8

Read = Callable[[str], Trace]
Watch = Callable[[list[str]], Iterable[str]]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Trace]).decode


class Share(NamedTuple):
    """Files for one reader, and about how many bytes there will be to read."""

    files: list[str]
    size_bytes: int


class _Child(NamedTuple):
    """A forked reader, the memory that it writes to, and its share."""

    pid: int
    room: mmap.mmap
    share: Share


def processors() -> int:
    """Return how many processors this process may use; 1 where it cannot safely fork, or has threads."""
    threading = sys.modules.get("threading")
    if not hasattr(os, "fork") or sys.platform == "darwin" or (threading and threading.active_count() > 1):
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shares_of(sizes: Sequence[tuple[str, int]], workers: int) -> list[Share]:
    """Deal files out, the largest first and each to the share that has least, to as many as are worth it."""
    total = sum(size for _, size in sizes)
    count = max(1, min(workers, WORKERS_MAX, total // BYTES_PER_WORKER))
    files: list[list[str]] = [[] for _ in range(count)]
    loads = [0] * count
    for path, size in sorted(sizes, key=lambda item: (-item[1], item[0])):
        least = loads.index(min(loads))
        files[least].append(path)
        loads[least] += size
    return [Share(*pair) for pair in zip(files, loads, strict=True)]


def _size_bytes(path: str) -> int:
    try:
        return os.path.getsize(path) * (_GZIP_RATIO if path.endswith(".gz") else 1)
    except OSError:
        return 0


class Readers:
    """Files being read; `finish` returns their traces."""

    def __init__(self, files: Sequence[str], read: Read, workers: int) -> None:
        self._files = files
        self._read = read
        self._own, *others = shares_of([(path, _size_bytes(path)) for path in files], workers)
        self._children = [_start(share, read) for share in others]

    def finish(self, watch: Watch = iter) -> list[Trace]:
        """Read this process's own share, wait for the others, and return all traces in the order of the files.

        `watch` wraps the list of files that are read here, to show progress.
        """
        traces = [self._read(path) for path in watch(self._own.files)]
        for child in self._children:
            traces += _collect(child) or [self._read(path) for path in child.share.files]
        gc.unfreeze()
        order = {path: index for index, path in enumerate(self._files)}
        return sorted(traces, key=lambda trace: order[trace.path])


def _start(share: Share, read: Read) -> _Child:
    """Fork a child that reads a share, leaves its traces in the shared memory and is gone."""
    room = mmap.mmap(-1, _ROOM_BYTES_MIN + _ROOM_RATIO * share.size_bytes)
    gc.freeze()  # a collection would touch, and so copy, every page that both processes share
    pid = os.fork()
    if pid:
        return _Child(pid, room, share)
    gc.disable()
    status = 1
    try:
        data = _encode([read(path) for path in share.files])
        room[_LENGTH_BYTES : _LENGTH_BYTES + len(data)] = data
        room[:_LENGTH_BYTES] = len(data).to_bytes(_LENGTH_BYTES, "big")
        status = 0
    finally:
        os._exit(status)


def _collect(child: _Child) -> list[Trace] | None:
    """Return what a child read, None if it did not get to its end."""
    _, status = os.waitpid(child.pid, 0)
    with child.room as room:
        length = int.from_bytes(room[:_LENGTH_BYTES], "big")
        return _decode(room[_LENGTH_BYTES : _LENGTH_BYTES + length]) if status == 0 else None
