"""Usage: disjoint classes that add up, and a billing line for each rate."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire.usage import ZERO, ApiUsage, Usage, UsageLine, meter, read_usage, total

COUNT = st.integers(0, 1_000_000)
USAGE = st.builds(Usage, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT)


def read(raw: Any) -> ApiUsage:
    """Read a usage block that must be readable."""
    usage = read_usage(raw)
    assert usage is not None
    return usage


@given(USAGE, USAGE, USAGE)
def test_adding_is_a_sum_by_class(one: Usage, two: Usage, three: Usage) -> None:
    """Order and grouping do not matter, and nothing is lost."""
    assert total([one, two, three]) == one + (two + three) == (three + one) + two
    assert one == one + ZERO
    assert one.total_input_tokens + two.total_input_tokens == (one + two).total_input_tokens


@given(COUNT, COUNT, COUNT, st.integers(0, 1_000_000), COUNT)
def test_classes_are_disjoint(uncached: int, cached: int, write_5m: int, write_1h: int, output: int) -> None:
    """The split by lifetime covers the write exactly."""
    raw = {
        "input_tokens": uncached,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": write_5m + write_1h,
        "cache_creation": {"ephemeral_5m_input_tokens": write_5m, "ephemeral_1h_input_tokens": write_1h},
        "output_tokens": output,
    }

    assert Usage(uncached, cached, write_5m, write_1h, output) == meter(read(raw), "m").usage


def test_a_write_without_a_split_is_five_minutes() -> None:
    """The API's default lifetime is assumed where the split is missing."""
    assert Usage(cache_write_5m_input_tokens=9) == meter(read({"cache_creation_input_tokens": 9}), "m").usage


def test_a_split_without_a_total_is_the_total() -> None:
    """Either form of the write is enough."""
    raw = {"cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3}}

    assert Usage(cache_write_5m_input_tokens=2, cache_write_1h_input_tokens=3) == meter(read(raw), "m").usage


def test_a_one_hour_share_is_clamped_to_the_write() -> None:
    """An impossible split never makes more tokens than were written (Claude Code's own rule)."""
    raw = {"cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": 8}}

    assert Usage(cache_write_1h_input_tokens=5) == meter(read(raw), "m").usage


def test_advisor_and_compaction_are_billed_on_top() -> None:
    """Totals leave them out, so they are lines of their own, the advisor's at its own model."""
    raw = {
        "input_tokens": 10,
        "output_tokens": 4,
        "iterations": [
            {"type": "message", "input_tokens": 10, "output_tokens": 4},
            {"type": "compaction", "input_tokens": 100, "output_tokens": 20},
            {"type": "advisor_message", "model": "claude-opus-5-5", "input_tokens": 7, "output_tokens": 1},
        ],
    }
    metered = meter(read(raw), "claude-sonnet-5-5")

    assert [
        ("message", "claude-sonnet-5-5"),
        ("compaction", "claude-sonnet-5-5"),
        ("advisor_message", "claude-opus-5-5"),
    ] == [(line.kind, line.model) for line in metered.lines]
    assert Usage(uncached_input_tokens=117, output_tokens=25) == metered.usage


def test_iterations_that_do_not_add_up_are_not_split() -> None:
    """The totals are what the API states; iterations explain them only where they sum exactly."""
    raw = {
        "input_tokens": 10,
        "output_tokens": 4,
        "iterations": [{"type": "message", "input_tokens": 9, "output_tokens": 4}],
    }

    assert (UsageLine(Usage(uncached_input_tokens=10, output_tokens=4), "m"),) == meter(read(raw), "m").lines


def test_a_single_iteration_without_a_split_keeps_the_totals_lifetime() -> None:
    """Iterations need not repeat the split; an hour's write must not become a cheaper one."""
    one = {
        "type": "message",
        "model": "served",
        "input_tokens": 10,
        "cache_creation_input_tokens": 1000,
        "output_tokens": 50,
    }
    raw = {**one, "cache_creation": {"ephemeral_1h_input_tokens": 1000}, "iterations": [one]}
    usage = Usage(uncached_input_tokens=10, cache_write_1h_input_tokens=1000, output_tokens=50)

    assert (UsageLine(usage, "served"),) == meter(read(raw), "m").lines
    several = {**raw, "iterations": [{**one, "output_tokens": 20}, {"type": "message", "output_tokens": 30}]}
    assert (UsageLine(usage, "m"),) == meter(read(several), "m").lines


def test_thinking_is_not_lost_to_iterations() -> None:
    """Iterations carry no details, the totals do."""
    one = {"type": "message", "input_tokens": 5, "output_tokens": 10}
    raw = {
        "input_tokens": 10,
        "output_tokens": 20,
        "output_tokens_details": {"thinking_tokens": 12},
        "iterations": [one, one],
    }

    assert 12 == meter(read(raw), "m").usage.thinking_tokens


@pytest.mark.parametrize(("totals", "billed"), [((10, 5), 100_010), ((100_010, 505), 100_010)])
def test_an_unknown_kind_of_iteration_is_never_free(totals: tuple[int, int], billed: int) -> None:
    """Inside the totals it is one of their parts; outside of them it is billed on top."""
    message = {"type": "message", "input_tokens": 10, "output_tokens": 5}
    novel = {"type": "novel", "input_tokens": 100_000, "output_tokens": 500}
    raw = {"input_tokens": totals[0], "output_tokens": totals[1], "iterations": [message, novel]}

    assert Usage(uncached_input_tokens=billed, output_tokens=505) == meter(read(raw), "m").usage


def test_searches_are_counted_once_over_iterations() -> None:
    """The fee belongs to the response, not to each iteration."""
    one = {"type": "message", "input_tokens": 5, "output_tokens": 1}
    raw = {
        "input_tokens": 10,
        "output_tokens": 2,
        "server_tool_use": {"web_search_requests": 3},
        "iterations": [one, one],
    }
    metered = meter(read(raw), "m")

    assert [3, 0] == [line.usage.web_search_requests for line in metered.lines]


def test_a_delta_overlays_only_what_it_states() -> None:
    """The lifetime split comes from message_start and outlives a delta that does not repeat it."""
    start = read(
        {
            "input_tokens": 3,
            "output_tokens": 1,
            "cache_creation_input_tokens": 8,
            "cache_creation": {"ephemeral_1h_input_tokens": 8},
        }
    )
    merged = start.merge(read({"output_tokens": 40}))

    assert Usage(uncached_input_tokens=3, cache_write_1h_input_tokens=8, output_tokens=40) == meter(merged, "m").usage


@pytest.mark.parametrize(
    "raw",
    [None, 3, [], "x", {}, {"input_tokens": "many"}, {"iterations": 5}, {"output_tokens": -1}, {"input_tokens": 1e30}],
)
def test_a_foreign_value_is_not_usage(raw: Any) -> None:
    """Wrong types give None, never an exception and never a zero."""
    assert read_usage(raw) is None


@pytest.mark.parametrize(
    "odd", [{"speed": {}}, {"iterations": [{"type": None}]}, {"server_tool_use": []}, {"cache_read_input_tokens": -7}]
)
def test_one_odd_member_does_not_cost_the_others(odd: dict[str, Any]) -> None:
    """What cannot be read is unknown; the rest is billed."""
    assert (
        Usage(uncached_input_tokens=3, output_tokens=4)
        == meter(read({"input_tokens": 3, "output_tokens": 4, **odd}), "m").usage
    )


@pytest.mark.parametrize(
    ("raw", "complete"),
    [({"input_tokens": 1, "output_tokens": 0}, True), ({"input_tokens": 1}, False), ({"output_tokens": 1}, False)],
)
def test_one_side_alone_is_not_the_whole(raw: dict[str, int], complete: bool) -> None:
    """A bill needs both sides; one is a lower bound."""
    assert complete == read(raw).is_complete


def test_more_iterations_than_an_answer_has_are_unknown() -> None:
    """A corrupt list is not kept as lines without end; the totals still count."""
    one = {"type": "compaction", "input_tokens": 1, "output_tokens": 1}
    lines = [
        len(meter(usage, "m").lines)
        for count in (1_000, 1_001)
        if (usage := read_usage({"input_tokens": 5, "output_tokens": 6, "iterations": [one] * count})) is not None
    ]

    assert [1_001, 1] == lines


def test_unknown_fields_are_ignored() -> None:
    """The API may add fields at any time."""
    assert ApiUsage(input_tokens=1) == read(msgspec.json.decode(b'{"input_tokens":1,"new":{"deep":[1]}}'))
