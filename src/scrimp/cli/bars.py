"""Progress of long work on standard error: where that is a terminal, and only if there is much of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

import click

T = TypeVar("T")


def watched(items: Iterable[T], length: int, label: str, worth_a_bar: int) -> Iterator[T]:
    """Yield the items, `length` in number, under a bar with this label if there are at least `worth_a_bar` of them."""
    if length < worth_a_bar or not sys.stderr.isatty():
        yield from items
        return
    with click.progressbar(items, length=length, label=label, file=sys.stderr) as bar:
        yield from bar
