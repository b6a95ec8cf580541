"""Work that is done in turns, so that whoever has others to serve can do so in between: a generator with a result."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


def at_once(turns: Generator[None, None, T]) -> T:
    """Take every turn without a break; return the result."""
    while True:
        try:
            next(turns)
        except StopIteration as done:
            result: T = done.value
            return result
