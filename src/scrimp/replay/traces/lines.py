"""Reading JSON lines leniently: good lines are decoded, bad ones counted by what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from scrimp.core.wire.surrogates import UNREADABLE, decode_mended
from scrimp.replay.traces.trace import Problem

T = TypeVar("T")
#: row type -> what is wrong with such a row if it cannot be decoded; None: nothing that matters to us.
Judge = Callable[[str], str | None]

_TORN = "the last line is cut off"
_NOT_JSON = "this line is not JSON"
SKIPPED = "it was skipped, the rest of the file is used"
_COME_BACK = "it was skipped, run again when its writer has finished"


class Complaints:
    """Counts the bad lines of one file, so that a thousand of a kind are one problem."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._found: dict[tuple[str, str], tuple[int, int]] = {}

    def add(self, what: str, line: int, then: str = SKIPPED) -> None:
        """Note that line number `line` (from 1) has this problem, and what becomes of it."""
        first, count = self._found.get((what, then), (line, 0))
        self._found[what, then] = (first, count + 1)

    def take(self, other: Complaints) -> None:
        """Take over what another has noted of the same file, where nothing was noted here yet of the same kind."""
        self._found = other._found | self._found

    def problems(self) -> list[Problem]:
        """Return one problem for each kind, at its first line."""
        return [Problem(self.path, what, then, line, count) for (what, then), (line, count) in self._found.items()]


class _Kind(msgspec.Struct, gc=False):
    """Just enough of a row to say what it would have been."""

    type: str = ""


_decode_kind = msgspec.json.Decoder(_Kind).decode


def kind_of(line: bytes) -> str | None:
    """Return the `type` of a JSON object, "" if it names none; None if the line is no JSON object at all."""
    try:
        return _decode_kind(line).type
    except msgspec.ValidationError:
        return ""
    except UNREADABLE:
        return None


def explain(line: bytes, *, is_last: bool, judge: Judge) -> str | None:
    """Return the sentence for a line that did not decode; None where it is none of our business."""
    kind = kind_of(line)
    if kind is not None:
        return judge(kind)
    return _TORN if is_last else _NOT_JSON


def numbered_lines(
    data: bytes, decoder: msgspec.json.Decoder[T], complaints: Complaints, judge: Judge
) -> Iterator[tuple[int, T]]:
    """Decode each line that is not blank, with its number from 1; a bad one goes to `complaints`.

    `judge` is asked about a line that is JSON of other types than the decoder's: it gets the row's `type`.
    """
    lines = data.split(b"\n")
    torn = len(lines) if lines[-1] else -1
    for number, line in enumerate(lines, 1):
        if not line or line.isspace():
            continue
        try:
            yield number, decode_mended(decoder, line)
        except UNREADABLE:
            what = explain(line, is_last=number == torn, judge=judge)
            if what is not None:
                complaints.add(what, number, _COME_BACK if what == _TORN else SKIPPED)
