"""The emulator against the documented examples and rules; its oracle over random traffic is in tests/simulation."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief import cache
from scrimp.core.belief.cache import CacheRules, Entries, Split, drop, eligible_marks, land, predict, send
from scrimp.core.belief.prefix import Prompt, read_prompt
from scrimp.core.wire.request import parse
from scrimp.core.wire.usage import Usage

RULES = CacheRules()
MINUTE = 60_000


def prompt(texts: int, marks: dict[int, str], tokens: int = 1000, kind: str = "text", extra: int = 0) -> Prompt:
    """Return a prompt of numbered blocks with marks at the given indexes, `tokens` tokens each."""
    content: list[dict[str, Any]] = []
    for index in range(texts):
        block: dict[str, Any] = (
            {"type": kind, "text": f"{index}"} if kind == "text" else {"type": kind, "id": f"{index}"}
        )
        if index in marks:
            block["cache_control"] = {"type": "ephemeral", "ttl": marks[index]}
        content.append(block)
    body = {"model": "claude-opus-5-5", "messages": [{"role": "user", "content": content}]}
    return read_prompt(parse(json.dumps(body).encode()), [tokens] * texts, extra)


def sent(
    entries: Entries, asked: Prompt, at_ms: int, rules: CacheRules = RULES, *, first_token: bool = True
) -> tuple[Entries, Split]:
    """Send a prompt, by default up to its first token."""
    split = predict(entries, asked, at_ms, rules)
    entries = send(entries, asked, split, at_ms, f"x{at_ms}", rules)
    return (land(entries, f"x{at_ms}") if first_token else entries), split


def test_the_documented_lookback_miss() -> None:
    """An entry at block 15 is 21 positions from a breakpoint at 35: checked are 35..16, so all is written."""
    entries, _ = sent({}, prompt(15, {14: "5m"}), 0)
    _, split = sent(entries, prompt(35, {34: "5m"}), MINUTE)

    assert Usage(cache_write_5m_input_tokens=35_000) == split.usage


def test_the_documented_lookback_hit() -> None:
    """An entry at block 10 is found from a breakpoint at 15: 11-15 are written."""
    entries, _ = sent({}, prompt(10, {9: "5m"}), 0)
    _, split = sent(entries, prompt(15, {14: "5m"}), MINUTE)

    assert Usage(cache_read_input_tokens=10_000, cache_write_5m_input_tokens=5_000) == split.usage


@pytest.mark.parametrize(("distance", "hit"), [(19, True), (20, False)])
def test_the_breakpoint_counts_as_the_first_of_twenty(distance: int, hit: bool) -> None:
    """Twenty positions, the breakpoint included."""
    entries, _ = sent({}, prompt(5, {4: "5m"}), 0)
    _, split = sent(entries, prompt(5 + distance, {4 + distance: "5m"}), MINUTE)

    assert hit == (split.usage.cache_read_input_tokens == 5_000)


def test_an_earlier_breakpoint_has_its_own_window() -> None:
    """Where the last breakpoint finds nothing, the search resumes at the one before it."""
    entries, _ = sent({}, prompt(15, {14: "5m"}), 0)
    _, split = sent(entries, prompt(35, {16: "5m", 34: "5m"}), MINUTE)

    assert Usage(cache_read_input_tokens=15_000, cache_write_5m_input_tokens=20_000) == split.usage


def test_a_tool_run_counts_once_by_the_newer_rule_only() -> None:
    """Thirty parallel results fit the window by the skill's rule and not by the docs' older one."""
    first, second = prompt(2, {1: "5m"}, kind="tool_result"), prompt(32, {31: "5m"}, kind="tool_result")
    older = CacheRules(tool_runs_count_once=False)

    assert 2_000 == sent(sent({}, first, 0)[0], second, 1)[1].usage.cache_read_input_tokens
    assert 0 == sent(sent({}, first, 0, older)[0], second, 1, older)[1].usage.cache_read_input_tokens


def test_mixed_lifetimes_split_the_write() -> None:
    """Read up to A, one hour up to B, five minutes up to C, the rest is plain input."""
    entries, _ = sent({}, prompt(4, {1: "1h", 3: "5m"}), 0)
    _, split = sent(entries, prompt(12, {1: "1h", 6: "1h", 9: "5m"}, extra=7), MINUTE)

    assert Usage(2_007, 4_000, 3_000, 3_000) == split.usage


@pytest.mark.parametrize(
    ("ttl", "minutes", "alive"), [("5m", 4.99, True), ("5m", 5, False), ("1h", 59.9, True), ("1h", 60, False)]
)
def test_a_lifetime_runs_from_the_start_of_the_request(ttl: str, minutes: float, alive: bool) -> None:
    """Five minutes or an hour, to the millisecond."""
    entries, _ = sent({}, prompt(3, {2: ttl}), 0)
    _, split = sent(entries, prompt(3, {2: ttl}), int(minutes * MINUTE))

    assert alive == (split.usage.cache_read_input_tokens == 3_000)


def test_a_read_refreshes_what_it_used_and_what_stands_before() -> None:
    """Reading at minute 4 keeps both entries alive until minute 9; without the switch only the one that was read."""
    strict = CacheRules(longer_read_refreshes_shorter=False)
    for rules, shorter_alive in ((RULES, True), (strict, False)):
        entries, _ = sent({}, prompt(4, {1: "5m", 3: "5m"}), 0, rules)
        entries, _ = sent(entries, prompt(4, {3: "5m"}), 4 * MINUTE, rules)

        assert 4_000 == sent(entries, prompt(4, {3: "5m"}), 8 * MINUTE, rules)[1].usage.cache_read_input_tokens
        assert shorter_alive == (
            sent(entries, prompt(2, {1: "5m"}), 8 * MINUTE, rules)[1].usage.cache_read_input_tokens == 2_000
        )


def test_a_hit_keeps_the_lifetime_it_was_written_with() -> None:
    """A five-minute mark that reads an hour's entry does not shorten it."""
    entries, _ = sent({}, prompt(3, {2: "1h"}), 0)
    entries, _ = sent(entries, prompt(3, {2: "5m"}), MINUTE)

    assert 3_000 == sent(entries, prompt(3, {2: "5m"}), 50 * MINUTE)[1].usage.cache_read_input_tokens


def test_parallel_requests_all_miss_until_the_first_token() -> None:
    """An entry in flight cannot be read; once its writer's first token is out it can."""
    asked = prompt(3, {2: "5m"})
    entries, _ = sent({}, asked, 0, first_token=False)
    entries, parallel = sent(entries, asked, 1, first_token=False)

    assert 0 == parallel.usage.cache_read_input_tokens
    assert 3_000 == sent(land(entries, "x0"), asked, 2)[1].usage.cache_read_input_tokens


def test_a_failed_request_writes_nothing() -> None:
    """What was in flight is dropped; what was live stays."""
    asked = prompt(3, {2: "5m"})
    entries, _ = sent({}, asked, 0, first_token=False)

    assert {} == drop(entries, "x0")
    assert land(entries, "x0") == drop(land(entries, "x0"), "x0")


def test_a_prefix_below_the_minimum_is_not_cached() -> None:
    """No error, no entry, plain input (512 tokens on this model)."""
    short = prompt(3, {0: "5m", 2: "5m"}, tokens=200)

    assert [2] == [mark.index for mark in eligible_marks(short)]
    assert Usage(uncached_input_tokens=300) == predict({}, prompt(3, {2: "5m"}, tokens=100), 0, RULES).usage


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 400_000)), min_size=1, max_size=8))
def test_the_classes_always_add_up_to_the_prompt(steps: list[tuple[int, int]]) -> None:
    """Whatever was sent before, each token of a prompt is in exactly one class."""
    entries: Entries = {}
    now_ms = 0
    for length, gap_ms in steps:
        now_ms += gap_ms + 1
        asked = prompt(length, {length - 1: "5m", 0: "1h"} if length > 1 else {0: "5m"}, extra=3)
        entries, split = sent(entries, asked, now_ms)
        assert asked.total_tokens == split.usage.total_input_tokens


@given(st.integers(1, 30), st.integers(0, 299_999))
def test_an_identical_repeat_reads_everything_marked(length: int, gap_ms: int) -> None:
    """Inside the lifetime nothing is written twice."""
    asked = prompt(length, {length - 1: "5m"})
    entries, _ = sent({}, asked, 0)

    assert Usage(cache_read_input_tokens=1000 * length) == sent(entries, asked, gap_ms)[1].usage


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the limit the entries that run out first are forgotten; the newest stay."""
    monkeypatch.setattr(cache, "ENTRIES_MAX", 4)
    entries: Entries = {}
    asked = [prompt(index + 1, {index: "5m"}) for index in range(20)]
    for index, each in enumerate(asked):
        entries, _ = sent(entries, each, index)
        assert len(entries) <= 5
    assert asked[-1].digests[-1] in entries
