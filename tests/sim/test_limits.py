"""Token buckets: exact, per workspace and pool, shown in the headers, and refusing where that is on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.sim.limits import COUNTING, MINUTE_MS, TIERS, Bucket, Limits, pool_of
from scrimp.sim.machine import Answer, Simulator
from scrimp.sim.models import MODELS, day_ms, find
from scrimp.sim.rules import Rules

NOW = day_ms("2026-11-22")
HEADERS = {"x-api-key": "sk-a", "anthropic-version": "2023-06-01"}


def _pool(name: str, *, fast: bool = False) -> str:
    model = find(name)
    assert model is not None
    return pool_of(model, fast=fast)


@given(st.integers(1, 10**7), st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 200_000)), max_size=20))
def test_a_bucket_is_what_was_left_and_what_came(per_minute: int, steps: list[tuple[int, int]]) -> None:
    """At any time: the level, capped at a minute's worth, less what was taken; and waiting is exact."""
    bucket, level, now_ms = Bucket(per_minute, 0), per_minute * MINUTE_MS, 0
    for amount, elapsed_ms in steps:
        now_ms += elapsed_ms
        level = min(per_minute * MINUTE_MS, level + elapsed_ms * per_minute)
        bucket.take(amount, now_ms)
        level -= amount * MINUTE_MS
        assert level // MINUTE_MS == bucket.left(now_ms)
        wait_ms = bucket.wait_ms(amount, now_ms)
        needed = min(amount, per_minute) * MINUTE_MS
        assert level + wait_ms * per_minute >= needed
        assert wait_ms == 0 or level + (wait_ms - 1) * per_minute < needed


def test_pools_are_shared_as_documented() -> None:
    """Opus 4.x and Sonnet 4.x are combined, Fable 5 and 5.1 are one, the newest have their own; fast is apart."""
    assert _pool("claude-opus-4-8") == _pool("claude-opus-4-6") == _pool("claude-opus-4-5")
    assert _pool("claude-sonnet-4-6") == _pool("claude-sonnet-4-5")
    assert _pool("claude-fable-5") == _pool("claude-fable-5-1")
    own = ["claude-opus-5-5", "claude-opus-5", "claude-sonnet-5-5", "claude-sonnet-5", "claude-haiku-5-5"]
    assert 7 == len({*map(_pool, own), _pool("claude-fable-5-2"), _pool("claude-opus-5-5", fast=True)})
    assert all(pool_of(model) for model in MODELS)


def _remaining(headers: dict[str, str], name: str) -> int:
    return int(headers[f"anthropic-ratelimit-{name}-remaining"])


@pytest.mark.parametrize("tier", sorted(TIERS))
def test_headers_are_true_to_the_buckets(tier: str) -> None:
    """Tokens rounded to the nearest thousand, the tightest bucket as `tokens`, and when each is full again."""
    limits, pool = Limits(tier, enforce=False), _pool("claude-opus-5-5")
    limits.spend("w", pool, 60_400, 60_600, NOW)
    usual = TIERS[tier][0]
    headers = dict(limits.headers("w", pool, NOW))
    assert usual.input_tokens is not None
    assert usual.output_tokens is not None
    assert usual.requests - 1 == _remaining(headers, "requests")
    assert usual.input_tokens - 60_000 == _remaining(headers, "input-tokens")
    assert usual.output_tokens - 61_000 == _remaining(headers, "output-tokens") == _remaining(headers, "tokens")
    assert headers["anthropic-ratelimit-input-tokens-reset"] <= headers["anthropic-ratelimit-tokens-reset"]
    later = dict(limits.headers("w", pool, NOW + MINUTE_MS))
    assert usual.output_tokens == _remaining(later, "output-tokens")
    assert dict(limits.headers("other", pool, NOW)) != headers


def test_fast_requests_have_headers_of_their_own() -> None:
    """And count_tokens has a limit of requests alone."""
    limits = Limits("start", enforce=False)
    fast = dict(limits.headers("w", _pool("claude-opus-5-5", fast=True), NOW))
    assert "anthropic-fast-input-tokens-limit" in fast
    assert {"anthropic-ratelimit-requests"} == {
        name.rpartition("-")[0] for name, _ in limits.headers("w", COUNTING, NOW)
    }


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that was forgotten starts afresh."""
    monkeypatch.setattr("scrimp.sim.limits.POOLS_MAX", 1)
    limits, pool = Limits("start", enforce=True), _pool("claude-opus-5-5")
    limits.spend("w", pool, 2_000_000, 0, NOW)
    limits.spend("v", pool, 0, 0, NOW)
    limits.admit("w", pool, 1_000_000, NOW)


# --- through the simulator -----------------------------------------------------------------------------------------


def _ask(simulator: Simulator, at_ms: int, **fields: Any) -> Answer:
    request = {
        "model": "claude-fable-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "word " * 150_000}],
    }
    return simulator.handle({**request, **fields}, HEADERS, at_ms)


def test_an_empty_bucket_refuses_and_says_how_long() -> None:
    """429 with retry-after; one second before it is still refused, then it is served; nothing refused is billed."""
    simulator = Simulator(Rules(enforce_limits=True))
    assert 200 == _ask(simulator, NOW).status
    refused = _ask(simulator, NOW)
    headers = dict(refused.headers)
    assert (429, "rate_limit_error") == (refused.status, refused.body["error"]["type"])
    assert "500000 input tokens per minute" in refused.body["error"]["message"]
    assert _remaining(headers, "input-tokens") < 331_500
    seconds = int(headers["retry-after"])
    assert 0 < seconds <= 60
    assert 429 == _ask(simulator, NOW + (seconds - 1) * 1_000).status
    assert 200 == _ask(simulator, NOW + seconds * 1_000).status
    assert 2 == simulator.invoice.requests


def test_reads_do_not_count() -> None:
    """What comes from the cache leaves the input bucket alone."""
    simulator = Simulator(Rules(enforce_limits=True))
    marked = {"cache_control": {"type": "ephemeral"}}
    statuses = [_ask(simulator, NOW + at * 10_000, **marked).status for at in range(12)]
    assert [200] * 12 == statuses


def test_limits_only_refuse_where_they_are_on() -> None:
    """By default buckets run dry without a word; another workspace and another pool never notice."""
    simulator = Simulator()
    assert [200] * 3 == [_ask(simulator, NOW).status for _ in range(3)]
    strict = Simulator(Rules(enforce_limits=True))
    assert [200, 429, 200] == [
        _ask(strict, NOW, model=name).status for name in ("claude-fable-5", "claude-fable-5-1", "claude-fable-5-2")
    ]
    request = {"model": "claude-fable-5", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    assert 200 == strict.handle(request, {**HEADERS, "x-api-key": "sk-b"}, NOW).status


def test_counting_tokens_has_its_own_limit() -> None:
    """It neither uses nor needs what messages use."""
    simulator = Simulator(Rules(enforce_limits=True))
    request = {"model": "claude-opus-5-5", "messages": [{"role": "user", "content": "hi"}]}
    statuses = [simulator.count_tokens(request, HEADERS, NOW).status for _ in range(2_001)]
    assert ([200] * 2_000, 429) == (statuses[:-1], statuses[-1])
    assert 200 == simulator.handle({**request, "max_tokens": 5}, HEADERS, NOW).status


def test_a_limit_of_ones_own_takes_the_place_of_the_tiers() -> None:
    """For every pool of models; the others of the tier stay, and counting tokens keeps its own."""
    simulator = Simulator(Rules(enforce_limits=True, requests_per_minute=2, output_tokens_per_minute=7_000))
    short = [{"role": "user", "content": "hi"}]
    names = ["claude-opus-5-5", "claude-fable-5"] * 2
    answers = [_ask(simulator, NOW, model=name, messages=short) for name in names]
    assert [200] * 4 == [answer.status for answer in answers]
    shown = dict(answers[0].headers)
    limits = {
        name: shown[f"anthropic-ratelimit-{name}-limit"] for name in ("requests", "input-tokens", "output-tokens")
    }
    assert {"requests": "2", "input-tokens": "2000000", "output-tokens": "7000"} == limits
    assert "2 requests per minute" in _ask(simulator, NOW).body["error"]["message"]
    request = {"model": "claude-opus-5-5", "messages": [{"role": "user", "content": "hi"}]}
    assert [200] * 3 == [simulator.count_tokens(request, HEADERS, NOW).status for _ in range(3)]
