"""The values readers give: what a problem says, which usages can be counted, which times have a day."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire.usage import TOKENS_MAX, Usage
from scrimp.replay.report import day_at
from scrimp.replay.traces.trace import Problem, is_countable, is_dated, printable

COUNTS = st.integers(-5, 5) | st.integers(TOKENS_MAX - 3, TOKENS_MAX + 3)
#: 10000-01-01 in UTC.
END_MS = 253_402_300_800_000


@dataclass(frozen=True)
class _Case:
    problem: Problem
    said: str


def test_a_problem_is_one_sentence_with_its_place_and_what_next() -> None:
    """Place, line and count appear where they are known."""
    cases = [
        _Case(Problem("a.jsonl", "it is empty", "give another"), "a.jsonl: it is empty; give another."),
        _Case(Problem("a.jsonl", "bad", "skipped", line=3), "a.jsonl line 3: bad; skipped."),
        _Case(Problem("a", "bad", "skipped", line=3, count=1_001), "a line 3: bad (and 1,000 more like it); skipped."),
    ]
    assert [case.said for case in cases] == [str(case.problem) for case in cases]


@given(st.lists(COUNTS, min_size=7, max_size=7))
def test_a_usage_is_countable_unless_a_count_cannot_be(counts: list[int]) -> None:
    """One negative or enormous count is enough, that of searches too."""
    assert (min(counts) >= 0 and max(counts) <= TOKENS_MAX) is is_countable(Usage(*counts))


@given(st.text() | st.text(st.characters(categories=["Cc", "Cs", "Cf"])))
def test_a_printable_name_can_be_shown_anywhere(name: str) -> None:
    """No control character and nothing that UTF-8 cannot write is left; what can be shown stays as it is."""
    shown = printable(name)
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)
    assert shown == shown.encode().decode() == printable(shown)
    if name.isprintable():
        assert name == shown


def test_a_problem_shows_its_path_printably() -> None:
    """A file's name may hold what a terminal obeys."""
    assert "a\\x1b[2J\\udcff: bad; skip." == str(Problem("a\x1b[2J\udcff", "bad", "skip"))


@given(st.integers(-10, 10) | st.integers())
def test_a_time_is_dated_if_its_day_can_be_named(at_ms: int) -> None:
    """From the epoch to the last day that a date can hold."""
    try:
        expected = at_ms >= 0 and bool(day_at(at_ms))
    except (ValueError, OverflowError):
        expected = False
    assert expected is is_dated(at_ms)


@pytest.mark.parametrize(("at_ms", "expected"), [(-1, False), (0, True), (END_MS - 1, True), (END_MS, False)])
def test_the_ends_of_time(at_ms: int, expected: bool) -> None:
    """To the millisecond."""
    assert expected is is_dated(at_ms)
