"""JSON lines: good lines are kept, bad ones are counted by what is wrong with them."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from scrimp.replay.traces.lines import Complaints, explain, kind_of, numbered_lines


class _Row(msgspec.Struct):
    type: str
    count: int


DECODER = msgspec.json.Decoder(_Row)


def _read(data: bytes) -> tuple[list[tuple[int, _Row]], list[str]]:
    complaints = Complaints("f")
    rows = list(numbered_lines(data, DECODER, complaints, lambda kind: None if kind == "skip" else "wrong"))
    return rows, [str(problem) for problem in complaints.problems()]


def test_good_lines_come_with_their_numbers() -> None:
    """Blank lines count but are not read; the last line needs no line break."""
    rows, problems = _read(b'{"type":"a","count":1}\n\n  \n{"type":"b","count":2}')
    assert ([(1, _Row("a", 1)), (4, _Row("b", 2))], []) == (rows, problems)


def test_a_torn_last_line_is_told_from_a_line_that_is_no_json() -> None:
    """Only the last line, without a line break, can be torn."""
    torn = "the last line is cut off; it was skipped, run again when its writer has finished"
    noise = "this line is not JSON; it was skipped, the rest of the file is used"
    assert ([], [f"f line 1: {torn}."]) == _read(b'{"type":"a","cou')
    assert ([], [f"f line 1: {noise}."]) == _read(b'{"type":"a","cou\n')
    assert ([], [f"f line 1: {noise}."]) == _read(b'{"type":"\xff","count":1}\n')


def test_bad_lines_of_a_kind_are_one_problem() -> None:
    """The first line is named, the others are counted."""
    said = "f line 2: wrong (and 1 more like it); it was skipped, the rest of the file is used."
    data = b'{"type":"a","count":1}\n{"type":"a","count":"x"}\n[1]\n'
    assert ([(1, _Row("a", 1))], [said]) == _read(data)


def test_the_judge_may_wave_a_line_through() -> None:
    """A row of a kind that nobody reads may be of any shape."""
    assert ([], []) == _read(b'{"type":"skip","count":"x"}\n')


def test_deep_nesting_is_a_bad_line_not_a_crash() -> None:
    """A line nested beyond the decoder's depth is counted like any other bad one."""
    rows, problems = _read(b'{"type":"a","count":1}\n' + b'{"type":"a","count":' + b"[" * 100_000 + b"\n")
    assert ([(1, _Row("a", 1))], 1) == (rows, len(problems))


def test_half_a_surrogate_does_not_cost_its_line() -> None:
    """JavaScript writes half pairs (facts on clients: cut emoji); whole pairs and escaped backslashes stay."""
    line = rb'{"type":"\\ud83d \ud83d\ude00 \ud83d \ude00 \\\\ud83d","count":1}'
    rows, problems = _read(line + b"\n")
    said = "\\ud83d \U0001f600 \ufffd \ufffd \\\\ud83d"
    assert ([(1, _Row(said, 1))], []) == (rows, problems)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_complained_about(data: bytes) -> None:
    """Nothing raises, and a file that gives no row and has a visible line gives a problem."""
    rows, problems = _read(data)
    assert rows or problems or not data.strip(b"\n \t\r\x0b\x0c")


@given(st.binary(max_size=60))
def test_explain_and_kind_agree(line: bytes) -> None:
    """A line of a known kind is judged; any other is torn or no JSON."""
    kind = kind_of(line)
    said = explain(line, is_last=False, judge=lambda found: f"kind {found}")
    assert ("this line is not JSON" if kind is None else f"kind {kind}") == said
