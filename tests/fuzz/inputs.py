"""What the fuzzer hands to a target: a few control bytes that choose among ways to run it, then the text to be read.

A control byte may also ask for a part of the text to be repeated until it is long, so that what grows faster than its
input shows as a slow input, though the fuzzer itself only makes short ones.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

#: How many bytes stand before the text.
CONTROL_BYTES = 4
#: The longest text that repeating may make, in bytes.
TEXT_BYTES_MAX = 1 << 18
#: A longer text is gone through once; shorter ones several times, to compare what comes of it.
COMPARED_BYTES_MAX = 1 << 16
#: Separates what stands before, in and after the part that is repeated: no byte of UTF-8.
REPEATED = b"\xff"
_POWERS = 32


class Input(NamedTuple):
    """One input, read: the first control byte is used up, `ways` are the three others."""

    ways: tuple[int, int, int]
    text: bytes

    @property
    def dice(self) -> random.Random:
        """Randomness that the input itself decides."""
        return random.Random(bytes(self.ways))


def read_input(data: bytes) -> Input:
    """Read an input; one that is too short is filled up with zeros."""
    power, *ways = data[:CONTROL_BYTES].ljust(CONTROL_BYTES, b"\0")
    first, second, third = ways
    return Input((first, second, third), _repeated(power % _POWERS, data[CONTROL_BYTES:]))


def _repeated(power: int, text: bytes) -> bytes:
    """Repeat the part of the text between two separators 2 ** `power` times, as often as there is room for."""
    parts = text.split(REPEATED, 2)
    if not power or len(parts) < 3 or not parts[1]:
        return text[:TEXT_BYTES_MAX]
    before, unit, after = parts
    room = max(0, TEXT_BYTES_MAX - len(before) - len(after)) // len(unit)
    return before + unit * min(1 << power, room) + after


def pieces(data: bytes, dice: random.Random) -> Iterator[bytes]:
    """Cut bytes into chunks of any size, empty ones among them; long data into some hundreds of them."""
    longest = max(3, len(data) // dice.choice((1, 3, 40, 400)))
    at = 0
    while at < len(data):
        size = dice.randint(0, longest)
        yield data[at : at + size]
        at += size
