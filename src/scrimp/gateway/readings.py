"""Parts of requests as they were read before: an agent sends its whole conversation again with every turn.

What is read of a part depends on its bytes alone, so whoever sends the same bytes gets the same answer.
"""

from __future__ import annotations

from collections import OrderedDict

from scrimp.core.wire.request import Front, MessageRead, read_front, read_message

#: Bytes of bodies whose readings are remembered; the least recently used go first.
READ_BYTES_MAX = 16 * 1024 * 1024
#: What remembering a part takes besides its bytes, and what each of its blocks takes, in bytes.
_PART_BYTES, _BLOCK_BYTES = 1_000, 400

_Message = tuple[int, bytes]
_Front = tuple[bytes, bytes]


class Readings:
    """Reads as `read_front` and `read_message` do, each part only once: a `Reader`."""

    def __init__(self, limit_bytes: int = READ_BYTES_MAX) -> None:
        self._limit = limit_bytes
        self._size = 0
        self._known: OrderedDict[_Message | _Front, MessageRead | Front] = OrderedDict()

    def front(self, tools: bytes, system: bytes) -> Front:
        """Return what stands before the messages."""
        key = (tools, system)
        known = self._known.get(key)
        if isinstance(known, Front):
            self._known.move_to_end(key)
            return known
        read = read_front(tools, system)
        self._keep(key, read)
        return read

    def message(self, index: int, raw: bytes) -> MessageRead:
        """Return the message that stands at `index`."""
        key = (index, raw)
        known = self._known.get(key)
        if isinstance(known, MessageRead):
            self._known.move_to_end(key)
            return known
        read = read_message(index, raw)
        self._keep(key, read)
        return read

    def _keep(self, key: _Message | _Front, read: MessageRead | Front) -> None:
        size = _size_bytes(key, read)
        if size > self._limit // 4:
            return
        self._known[key] = read
        self._size += size
        while self._size > self._limit:
            self._size -= _size_bytes(*self._known.popitem(last=False))


def _size_bytes(key: _Message | _Front, read: MessageRead | Front) -> int:
    first, second = key
    text = len(second) + (len(first) if isinstance(first, bytes) else 0)
    return text + _PART_BYTES + _BLOCK_BYTES * len(read.blocks)
