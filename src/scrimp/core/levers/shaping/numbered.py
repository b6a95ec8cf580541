"""File reads with a number at the head of each line: only every tenth number is written, since lines can be counted.

         8→def a():               8→def a():
         9→    pass               pass
        10→                   10→
        11→def b():           is def b():
        12→    return 1           return 1
        13→                   13→

A run's first line stands whole and tells its padding. Of the others the last one and each multiple of ten have their
number, without padding, and so has a line whose own text begins like a number; the rest are the file's text alone.
Between two numbers of a run stand as many lines as the numbers say, by which it is read back. A gap in the numbers or
a line without one ends a run, and what stands between runs stays as it is. Numbers are a sixth of the tokens of file
reads, and agents cite them and ask for ranges by them, so each can still be counted off (shaping study, section 3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, islice
from operator import add, eq

from scrimp.core.levers.shaping.contract import LEAST_SAVED_CHARS, Hint, Shaper

EVERY = 10
"""Which numbers stay: its multiples."""

BLOCK = 64
"""Heads of lines that are made at once."""

READERS = frozenset(
    {"Read", "NotebookRead", "Edit", "Write", "View", "view", "read_file", "str_replace_based_edit_tool"}
)
"""Tools that number lines. From any other, "7<tab>text" without padding may be a table whose first column is data."""

_HEAD = re.compile(r"( *)(0|[1-9][0-9]{0,8})([→\t])")
_LATER_HEAD = re.compile(r"\n" + _HEAD.pattern)
_HEAD_STARTS = frozenset(" 0123456789")


def _first_head(text: str) -> re.Match[str] | None:
    """Return the first head of a line; looking for line ends is several times faster than looking at each line."""
    return _HEAD.match(text) or _LATER_HEAD.search(text)


@lru_cache(maxsize=128)
def _block(form: str, block: int) -> list[str]:
    return [form % number for number in range(block * BLOCK, (block + 1) * BLOCK)]


def _heads(form: str, first: int, many: int) -> list[str]:
    """Return the heads of consecutive lines. Most files have the same numbers, so blocks of heads are remembered."""
    if many < BLOCK:
        return [form % number for number in range(first, first + many)]
    blocks = range(first // BLOCK, (first + many) // BLOCK + 1)
    start = first % BLOCK
    return list(islice(chain.from_iterable(_block(form, block) for block in blocks), start, start + many))


class _Run:
    """Lines numbered one after the other, from `first` on: `texts` are theirs, without the heads."""

    def __init__(self, head: re.Match[str], line: str) -> None:
        self.first = int(head[2])
        self.separator = head[3]
        self.form = f"%{len(head[1]) + len(head[2])}d{self.separator}"
        self.texts = [line[head.end() :]]

    def next_head(self) -> str:
        """Return how the tool begins the next line."""
        return self.form % (self.first + len(self.texts))

    def take(self, lines: list[str], start: int) -> int:
        """Add the lines from `start` on that go on with the numbers; return the place of the first that does not.

        Twice as many lines are tried each time, so that a file costs few steps and a gap little. A line that does not
        begin with its head comes back from `removeprefix` as it was.
        """
        ahead = 1
        while start < len(lines):
            number = self.first + len(self.texts)
            tried = lines[start : start + ahead]
            heads = _heads(self.form, number, len(tried))
            texts = list(map(str.removeprefix, tried, heads))
            fits = [*map(eq, texts, tried), True].index(True)
            self.texts += texts[:fits]
            start += fits
            if fits < len(tried):
                break
            ahead *= 2
        return start

    def full(self) -> Iterator[str]:
        """Yield the lines as the tool writes them."""
        return map(add, _heads(self.form, self.first, len(self.texts)), self.texts)

    def sparse(self) -> list[str]:
        """Return the lines as the model is to see them."""
        last = len(self.texts) - 1
        kept = {*range(-self.first % EVERY, last, EVERY), last}
        lines = list(self.texts)
        odd = [place for place, text in enumerate(lines) if text[:1] in _HEAD_STARTS]
        kept.update(place for place in odd if _HEAD.match(lines[place]))
        for place in kept:
            lines[place] = f"{self.first + place}{self.separator}{lines[place]}"
        lines[0] = self.form % self.first + self.texts[0]
        return lines


def _thinned(text: str) -> str:
    """Return the text with sparse numbers in its runs."""
    lines = text.split("\n")
    out: list[str] = []
    place = 0
    while place < len(lines):
        head = _HEAD.match(lines[place])
        if head:
            run = _Run(head, lines[place])
            place = run.take(lines, place + 1)
            out += run.sparse()
        else:
            out.append(lines[place])
            place += 1
    return "\n".join(out)


def _continues(run: _Run, head: re.Match[str], between: int) -> bool:
    """Tell whether a numbered line is the next one of a run that kept its number, `between` lines after the last."""
    following = run.first + len(run.texts)
    nearest = following + -following % EVERY
    return not head[1] and head[3] == run.separator and following + between == int(head[2]) <= nearest


def _filled(text: str) -> str | None:
    """Return the text with all numbers of its runs written again; None where a head is padded inside a run."""
    lines = text.split("\n")
    out: list[str] = []
    run: _Run | None = None
    done = 0
    for place, line in enumerate(lines):
        head = _HEAD.match(line) if line[:1] in _HEAD_STARTS else None
        if head is None:
            continue
        between = lines[done:place]
        if run and _continues(run, head, len(between)):
            run.texts += [*between, line[head.end() :]]
        elif run and not between and head[0] == run.next_head():
            return None
        else:
            out += [*(run.full() if run else ()), *between]
            run = _Run(head, line)
        done = place + 1
    return "\n".join([*out, *(run.full() if run else ()), *lines[done:]])


def _may_be_table(head: re.Match[str], hint: Hint) -> bool:
    return head[1] == "" and head[3] == "\t" and hint.tool not in READERS


def shape(text: str, hint: Hint) -> str | None:
    """Return the text with sparse line numbers; None where that saves little."""
    head = _first_head(text)
    if head is None or _may_be_table(head, hint):
        return None
    shorter = _thinned(text)
    return shorter if len(text) - len(shorter) >= LEAST_SAVED_CHARS else None


def restore(text: str) -> str:
    """Return the text with all its line numbers; ValueError where no lines stand between numbers that count them."""
    full = _filled(text) if _first_head(text) else None
    if full is None or len(full) - len(text) < LEAST_SAVED_CHARS:
        raise ValueError("this text has no sparse line numbers")
    return full


SHAPER = Shaper("numbered", 1, shape, restore)
