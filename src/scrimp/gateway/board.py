"""A board for the workers of one gateway: a slot for each, written by its worker alone and read by all of them.

It is a file without a name, handed down as a descriptor, so that nothing of it outlives the gateway however that ends.
A slot keeps what its worker wrote last, also after that worker died.
"""

from __future__ import annotations

import os
import struct
import zlib

#: The most that one worker can show, in bytes; what is not written takes no room.
SLOT_BYTES = 4 * 1024 * 1024
#: How often a slot is read again whose worker was writing at the same time.
READ_ATTEMPTS_COUNT = 20
#: Before the data: its length and its checksum.
_HEAD = struct.Struct(">II")


class Board:
    """The slots of `count` workers in an open file."""

    def __init__(self, descriptor: int, count: int) -> None:
        self._descriptor = descriptor
        self._count = count
        #: What each slot held when it was last read whole.
        self._seen = [b""] * count

    def write(self, number: int, data: bytes) -> None:
        """Show data in a worker's slot; what does not fit is not shown, and what was there stays."""
        if len(data) <= SLOT_BYTES - _HEAD.size:
            os.pwrite(self._descriptor, _HEAD.pack(len(data), zlib.crc32(data)) + data, number * SLOT_BYTES)

    def read(self, number: int) -> bytes:
        """Return what a worker shows, empty if it never did; for one that writes all the time what it showed before."""
        for _ in range(READ_ATTEMPTS_COUNT):
            head = os.pread(self._descriptor, _HEAD.size, number * SLOT_BYTES)
            if len(head) < _HEAD.size:
                break
            length, checksum = _HEAD.unpack(head)
            data = os.pread(self._descriptor, length, number * SLOT_BYTES + _HEAD.size)
            if zlib.crc32(data) == checksum:
                self._seen[number] = data
                break
        return self._seen[number]

    def read_all(self) -> list[bytes]:
        """Return what each worker shows, in the order of their numbers."""
        return [self.read(number) for number in range(self._count)]
