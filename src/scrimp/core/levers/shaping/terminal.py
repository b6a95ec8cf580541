"""Output of commands: the beginning that lines share with the line above them is written once.

    [… at the start of a line stands for what is before … in the line above]
    ok      example.com/shop/internal/…cart     0.412s
    …orders     0.377s
    …payment    1.902s
    FAIL    example.com/shop/internal/stock     0.081s

Test names, packages, installed requirements and statuses come in runs of such lines: a tenth of the characters of test
logs, a twentieth of those of commands. Runs of equal lines are the case where nothing follows the mark; they are a few
in ten thousand. Colours and progress bars are content here: nothing could bring them back. The mark is a character that
the text does not have, so no line can be mistaken; the header names it. Only whole words are shared that look like a
place or a column (a slash, a colon, a bracket, a tab), and none with the quotes and brackets of code, nor from tools
that show files: code is copied into edits, so it stands as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from scrimp.core.levers.shaping.contract import Hint, Shaper
from scrimp.core.levers.shaping.numbered import READERS

MARKS = "…⋯‥"
"""The first of these that the text does not have is its mark."""

HEADER = "[{0} at the start of a line stands for what is before {0} in the line above]\n"

_HEADERS = tuple(map(HEADER.format, MARKS))

LEAST_SHARED_CHARS = 12
"""A shorter beginning stays: the mark is a token, and a reader has to look up."""

LEAST_LINES = 3
"""Lines that share a beginning before it is worth a mark."""

LEAST_SAVED_CHARS = 100
"""Saved beside the header; what saves less is not worth a form of its own."""

WITH_CODE = READERS | {"Grep"}
"""Tools whose results are code, that is copied into edits."""

_WORD_ENDS = " \t/:,=|]"
_CODE = re.compile(r"[\"'`(){};<>#→]")
_PLACE = re.compile(r"[/:\[\t]|  ")


def _alike(one: str, other: str) -> int:
    """Return how many characters two lines begin with alike."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low


def _shared(above: str, line: str) -> int:
    """Return how many characters of whole words two lines begin with alike; 0 for what is better left whole."""
    alike = line[: _alike(above, line)]
    if above != line:
        alike = alike[: 1 + max(map(alike.rfind, _WORD_ENDS))]
    words = alike.strip()
    is_worth = len(words) >= LEAST_SHARED_CHARS and _PLACE.search(words) and not _CODE.search(words)
    return len(alike) if is_worth else 0


def _run(shared: list[int], start: int) -> tuple[int, int]:
    """Return where the run that begins at a line ends, and how many characters its lines share.

    `shared` has for each line what it shares with the next. A run takes in a line that shares less where its gain is
    more than what the lines before lose by it, and ends before one that shares twice as much.
    """
    end, chars = start + 1, shared[start]
    while end < len(shared) and 0 < shared[end] <= 2 * chars:
        lost = max(0, chars - shared[end]) * (end - start)
        if lost >= min(chars, shared[end]):
            break
        chars = min(chars, shared[end])
        end += 1
    return end + 1, chars


def _folded(lines: list[str], shared: list[int], mark: str) -> Iterator[str]:
    """Yield lines with the mark where they begin like the one above."""
    start = 0
    while start < len(shared):
        end, chars = _run(shared, start) if shared[start] else (start + 1, 0)
        if end - start < LEAST_LINES:
            yield lines[start]
            start += 1
            continue
        yield f"{lines[start][:chars]}{mark}{lines[start][chars:]}"
        yield from (mark + line[chars:] for line in lines[start + 1 : end])
        start = end
    yield from lines[start:]


def _unfolded(text: str, mark: str) -> Iterator[str]:
    """Yield the lines of a text with the beginnings that marks stand for."""
    beginning = ""
    for line in text.split("\n"):
        before, found, after = line.partition(mark)
        beginning = before or beginning
        yield beginning + after if found else line


def shape(text: str, hint: Hint) -> str | None:
    """Return the text with shared beginnings written once; None where that saves little, and for results with code."""
    mark = next((mark for mark in MARKS if mark not in text), None)
    if mark is None or hint.tool in WITH_CODE or text.startswith(_HEADERS):
        return None
    lines = text.split("\n")
    starts = [line[:LEAST_SHARED_CHARS] for line in lines]
    near = zip(pairwise(lines), pairwise(starts), strict=True)
    shared = [_shared(*pair) if one == other and len(one) == LEAST_SHARED_CHARS else 0 for pair, (one, other) in near]
    if sum(shared) < LEAST_SAVED_CHARS:
        return None
    shorter = HEADER.format(mark) + "\n".join(_folded(lines, shared, mark))
    return shorter if len(text) - len(shorter) >= LEAST_SAVED_CHARS else None


def restore(text: str) -> str:
    """Return the text with all beginnings; ValueError where it does not begin as `shape` writes it."""
    for mark in MARKS:
        header = HEADER.format(mark)
        if text.startswith(header):
            return "\n".join(_unfolded(text[len(header) :], mark))
    raise ValueError("this text has no header of ours")


SHAPER = Shaper("terminal", 1, shape, restore)
