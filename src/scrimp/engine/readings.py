"""Parts of requests as they were read before: an agent sends its whole conversation again with every turn.

What is read of a part depends on its bytes alone, so whoever sends the same bytes gets the same answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar

from scrimp.core.wire.blocks import Block
from scrimp.core.wire.request import MessageRead, Tools, read_message, read_system, read_tools

#: Bytes of bodies whose readings are remembered; the least recently used go first.
READ_BYTES_MAX = 16 * 1024 * 1024
#: What remembering a part takes besides its bytes, and what each of its blocks takes, in bytes.
_PART_BYTES, _BLOCK_BYTES = 1_000, 400

R = TypeVar("R", Tools, tuple[Block, ...], MessageRead)

#: Which part of a body, or which of its messages, and its bytes.
_Key = tuple[Literal["tools", "system"] | int, bytes]


class Readings:
    """Reads as `read_tools`, `read_system` and `read_message` do, each part only once: a `Reader`."""

    def __init__(self, limit_bytes: int = READ_BYTES_MAX) -> None:
        self._limit = limit_bytes
        self._size = 0
        self._known: OrderedDict[_Key, tuple[Any, int]] = OrderedDict()

    def tools(self, raw: bytes) -> Tools:
        """Return what the tools are."""
        return self._remembered(("tools", raw), read_tools)

    def system(self, raw: bytes) -> tuple[Block, ...]:
        """Return what the system prompt is."""
        return self._remembered(("system", raw), read_system)

    def message(self, index: int, raw: bytes) -> MessageRead:
        """Return the message that stands at `index`."""
        return self._remembered((index, raw), partial(read_message, index))

    def _remembered(self, key: _Key, read: Callable[[bytes], R]) -> R:
        """Return what was read of a part, and read it now if it was not."""
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            found: R = known[0]
            return found
        now = read(key[1])
        self._keep(key, now)
        return now

    def _keep(self, key: _Key, read: Tools | tuple[Block, ...] | MessageRead) -> None:
        blocks = read if isinstance(read, tuple) else read.blocks
        size = len(key[1]) + _PART_BYTES + _BLOCK_BYTES * len(blocks)
        if size > self._limit // 4:
            return
        self._known[key] = read, size
        self._size += size
        while self._size > self._limit:
            self._size -= self._known.popitem(last=False)[1][1]
