"""A request under two spans is one; a request under a span that says more is not."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage
from scrimp.replay.traces.otel_nesting import Recorded, SpanKey, without_wrappers


def _recorded(name: str, usage: Usage | None = None, **more: Any) -> Recorded:
    return Recorded(Exchange(exchange_id=name, opened_at_ms=0, source="otel", usage=usage, **more), ("t", name))


def _around(**parents: str) -> dict[SpanKey, SpanKey]:
    """Return who is around whom, by name, within one trace."""
    return {("t", inner): ("t", outer) for inner, outer in parents.items()}


def _names(exchanges: list[Exchange]) -> list[str]:
    return [each.exchange_id for each in exchanges]


def test_the_inner_span_is_kept_with_what_the_outer_knows() -> None:
    """Other spans may lie between them; the prompt may be split by the inner one only."""
    outer = _recorded(
        "out", Usage(100, output_tokens=7), session_id="s", agent_type="planner", task_type="agent: planner"
    )
    inner = _recorded("in", Usage(40, 60, output_tokens=7), task_type="chat")
    (kept,) = without_wrappers([outer, inner], _around(**{"in": "http", "http": "out"}))
    assert ("in", Usage(40, 60, output_tokens=7), "s", "planner", "agent: planner") == (
        kept.exchange_id,
        kept.usage,
        kept.session_id,
        kept.agent_type,
        kept.task_type,
    )


def test_a_span_around_several_is_left_out_if_it_only_sums_them() -> None:
    """Or has no counts of its own, as one that failed."""
    inner = [_recorded("a", Usage(1)), _recorded("b", Usage(2))]
    parents = _around(a="out", b="out")
    for usage in (Usage(3), None):
        assert ["a", "b"] == _names(without_wrappers([_recorded("out", usage), *inner], parents))


def test_a_span_that_says_more_is_a_request_of_its_own() -> None:
    """Its counts differ from those of what it surrounds."""
    both = [_recorded("out", Usage(3)), _recorded("in", Usage(2))]
    assert ["out", "in"] == _names(without_wrappers(both, _around(**{"in": "out"})))


def test_three_deep_is_one_too() -> None:
    """Each wrapper is measured by what is next within it."""
    spans = [_recorded(name, Usage(5)) for name in "abc"]
    assert ["c"] == _names(without_wrappers(spans, _around(b="a", c="b")))


def test_a_trace_may_be_as_deep_as_it_is_long() -> None:
    """Thousands of spans, one in the other, are gone through once; a circle at the top keeps them all."""
    names = [str(number) for number in range(20_000)]
    chain = dict(pairwise(names))
    spans = [_recorded(name, Usage(1)) for name in names]

    assert ["0"] == _names(without_wrappers(spans, _around(**chain)))
    assert names == _names(without_wrappers(spans, _around(**chain, **{names[-1]: names[-2]})))


def test_the_same_counts_side_by_side_are_two_requests() -> None:
    """Only nesting tells; spans without an id are never nested."""
    spans = [_recorded("a", Usage(5)), _recorded("b", Usage(5)), Recorded(_recorded("c", Usage(5)).exchange, None)]
    assert ["a", "b", "c"] == _names(without_wrappers(spans, _around(a="root", b="root")))


NAMES = st.sampled_from("abcdef")


@given(st.dictionaries(NAMES, st.none() | st.integers(0, 3)), st.dictionaries(NAMES, NAMES))
def test_any_nesting_ends(counts: dict[str, int | None], parents: dict[str, str]) -> None:
    """Also in circles; the order stays, and something is kept of anything."""
    spans = [_recorded(name, None if number is None else Usage(number)) for name, number in counts.items()]
    kept = _names(without_wrappers(spans, _around(**parents)))
    assert [name for name in counts if name in kept] == kept
    assert bool(counts) is bool(kept)
