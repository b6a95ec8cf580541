"""The values readers give: what a problem says, and which usages can be counted."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire.usage import Usage
from scrimp.replay.traces.trace import Problem, is_countable

COUNTS = st.integers(-5, 5)


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


@given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
def test_a_usage_is_countable_unless_a_class_is_negative(a: int, b: int, c: int, d: int, e: int) -> None:
    """One negative class is enough."""
    assert (min(a, b, c, d, e) >= 0) is is_countable(Usage(a, b, c, d, e))
