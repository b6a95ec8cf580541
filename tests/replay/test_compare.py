"""Accounts compared: sums, sessions beside automatic caching, the guard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scrimp.core.wire.usage import Usage
from scrimp.errors import InternalError
from scrimp.replay.compare import BASELINE, Dearer, Outcome, Task, compared, replayed
from scrimp.replay.policies import POLICIES
from scrimp.replay.steps import SentPing
from scrimp.upstream.pricefeed import load_book
from tests.replay.courses import account, conversation, step

BOOK = load_book()
ALL = tuple(POLICIES)
#: Of claude-opus-5-5, a token that is read.
READ_PICO_USD = 200_000


def _replayed(pauses_ms: list[int], *policies: str, model: str | None = None) -> Outcome:
    return replayed(Task("a", conversation(pauses_ms), policies, BOOK, model))


@given(st.data())
def test_sessions_add_up_to_their_account(data: st.DataObject) -> None:
    """What sessions cost is what the account costs, under every policy."""
    steps = account(lambda low, high: data.draw(st.integers(low, high)))
    outcome = replayed(Task("a", steps, ALL, BOOK))
    assert outcome.costs == {name: sum(each.values()) for name, each in outcome.sessions.items()}
    assert (len(steps), 0) == (outcome.exchanges, outcome.over_guard_pico_usd)


def test_regret_is_cost_over_the_optimum_and_causes_explain_it() -> None:
    """Over two accounts as over one."""
    outcomes = [_replayed([400_000, 10_000], *ALL), replace(_replayed([9_000_000], *ALL), account="b")]
    comparison = compared(outcomes, ALL)
    for name, policy in comparison.policies.items():
        assert sum(outcome.costs[name] for outcome in outcomes) == policy.input_pico_usd
        assert policy.input_pico_usd / comparison.optimum_pico_usd == policy.regret
        assert policy.input_pico_usd - comparison.optimum_pico_usd == sum(policy.causes.values())


@given(st.lists(st.integers(1, 9_000), min_size=1, max_size=5))
def test_pings_that_were_sent_count_as_recorded_alone(seconds: list[int]) -> None:
    """Optimum and all other policies cost what they cost without them; as recorded adds what they were billed."""
    bare = conversation([400_000, 9_000_000])
    pings = tuple(SentPing(each * 1_000 + 9_500_000, Usage(cache_read_input_tokens=52_000)) for each in sorted(seconds))
    sent = [*bare[:-1], replace(bare[-1], pings=pings)]
    without, found = (replayed(Task("a", steps, ALL, BOOK)) for steps in (bare, sent))
    spent = len(pings) * 52_000 * READ_PICO_USD
    expected = without.costs | {"as-recorded": without.costs["as-recorded"] + spent}
    assert (expected, without.optimum_pico_usd) == (found.costs, found.optimum_pico_usd)
    assert spent == found.causes["as-recorded"]["pings_wasted"]


def test_the_baseline_need_not_be_asked_for() -> None:
    """Sessions are compared with automatic caching, whether it is shown or not."""
    comparison = compared([_replayed([400_000], "1h")], ("1h",))
    assert ["1h"] == list(comparison.policies)
    dearer = comparison.policies["1h"].sessions
    assert dearer is not None
    assert dearer.worst < 1


@given(st.lists(st.integers(1, 4_000_000), min_size=1, max_size=6))
def test_a_client_without_marks_can_be_given_some(pauses_ms: list[int]) -> None:
    """What it sent costs what no caching costs; each policy that marks, what a marked twin costs."""
    marked = conversation(pauses_ms)
    plain = [replace(each, ttl=None, marked_tokens=0) for each in marked]
    found, twin = (replayed(Task("a", steps, ALL, BOOK)).costs for steps in (plain, marked))
    assert found["none"] == found["as-recorded"]
    assert {name: twin[name] for name in ("none", "automatic", "5m", "1h")} == {
        name: found[name] for name in ("none", "automatic", "5m", "1h")
    }


def test_single_sessions_may_be_dearer() -> None:
    """An hour for somebody who never pauses is dearer, and it is said by how much."""
    outcome = _replayed([1_000], "1h")
    worst = outcome.costs["1h"] / outcome.costs[BASELINE]
    assert Dearer(1.0, 1.0, worst) == compared([outcome], ("1h",)).policies["1h"].sessions


def test_a_broken_guard_is_an_error_of_ours() -> None:
    """Never a result."""
    with pytest.raises(InternalError, match="beyond the guard of a"):
        compared([replace(_replayed([], "scrimp-safe"), over_guard_pico_usd=1)], ("scrimp-safe",))


def test_nothing_replayed_has_no_regret() -> None:
    """No accounts, no cost, no ratio."""
    policy = compared([], ("5m",)).policies["5m"]
    assert (0, None, None) == (policy.input_pico_usd, policy.regret, policy.sessions)


def test_models_without_a_price_are_counted_and_cost_nothing() -> None:
    """They change neither costs nor optimum."""
    outcome = replayed(Task("a", [step(0, 0, model="gpt-9", cache="gpt-9")], ALL, BOOK))
    assert (1, 0, {0}) == (outcome.unpriced, outcome.optimum_pico_usd, set(outcome.costs.values()))


def test_another_model_is_another_price() -> None:
    """Haiku 4.5 costs a fifth of Opus 4.6, read for read and write for write."""
    opus, haiku = (_replayed([400_000], "5m", model=model) for model in ("claude-opus-4-6", "claude-haiku-4-5"))
    assert opus.costs["5m"] == 5 * haiku.costs["5m"]
