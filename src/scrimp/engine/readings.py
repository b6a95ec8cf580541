"""Parts of requests as they were read before: an agent sends its whole conversation again with every turn.

What is read of a part depends on its bytes alone, so whoever sends the same bytes gets the same answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from scrimp.core.wire.request import Front, MessageRead, read_front, read_message

#: Bytes of bodies whose readings are remembered; the least recently used go first.
READ_BYTES_MAX = 16 * 1024 * 1024
#: What remembering a part takes besides its bytes, and what each of its blocks takes, in bytes.
_PART_BYTES, _BLOCK_BYTES = 1_000, 400

K = TypeVar("K", int, bytes)
R = TypeVar("R", Front, MessageRead)

_Key = tuple[int | bytes, bytes]


class Readings:
    """Reads as `read_front` and `read_message` do, each part only once: a `Reader`."""

    def __init__(self, limit_bytes: int = READ_BYTES_MAX) -> None:
        self._limit = limit_bytes
        self._size = 0
        self._known: OrderedDict[_Key, Any] = OrderedDict()

    def front(self, tools: bytes, system: bytes) -> Front:
        """Return what stands before the messages."""
        return self._remembered((tools, system), read_front)

    def message(self, index: int, raw: bytes) -> MessageRead:
        """Return the message that stands at `index`."""
        return self._remembered((index, raw), read_message)

    def _remembered(self, key: tuple[K, bytes], read: Callable[[K, bytes], R]) -> R:
        """Return what was read of a part, and read it now if it was not; keys of the two kinds are never equal."""
        known: R | None = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        now = read(*key)
        self._keep(key, now)
        return now

    def _keep(self, key: _Key, read: MessageRead | Front) -> None:
        size = _size_bytes(key, read)
        if size > self._limit // 4:
            return
        self._known[key] = read
        self._size += size
        while self._size > self._limit:
            self._size -= _size_bytes(*self._known.popitem(last=False))


def _size_bytes(key: _Key, read: MessageRead | Front) -> int:
    first, second = key
    text = len(second) + (len(first) if isinstance(first, bytes) else 0)
    return text + _PART_BYTES + _BLOCK_BYTES * len(read.blocks)
