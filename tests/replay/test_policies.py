"""The table of policies: each bills what it says, none is below the optimum, and the guard holds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrimp.core.belief.account import SLACK_TOKENS, Account
from scrimp.core.plan.optimum import Visit, lossless
from scrimp.core.wire.usage import Usage
from scrimp.replay.emulator import Emulator
from scrimp.replay.policies import POLICIES, UNPRICED, as_model, cards_of, held, setting_of
from scrimp.replay.rates import Rates
from scrimp.replay.regret import Course, input_pico_usd
from scrimp.replay.steps import Step
from scrimp.upstream.pricefeed import load_book
from tests.replay.courses import CARD, account, conversation, setting, step


def _cost(name: str, steps: list[Step], before: Account | None = None) -> int:
    each = setting(steps, before)
    decisions = POLICIES[name](each)
    course = Course(steps, each.emulator.ways, each.cards, decisions, each.emulator.bill(decisions))
    return sum(course.costs())


def _optimum(steps: list[Step]) -> int:
    visits = [Visit(s.at_ms, s.total_tokens, s.parent, s.shared_tokens, s.given_tokens) for s in steps]
    return lossless(visits, [CARD] * len(steps)).cost_pico_usd


@given(st.data())
@settings(max_examples=100)
def test_the_optimum_is_below_every_policy(data: st.DataObject) -> None:
    """Whatever an account did, no policy costs less than the bound."""
    steps = account(lambda low, high: data.draw(st.integers(low, high)))
    optimum = _optimum(steps)
    assert [] == [name for name in POLICIES if _cost(name, steps) < optimum]


@given(st.data())
@settings(max_examples=100)
def test_the_guard_holds(data: st.DataObject) -> None:
    """`scrimp-safe` never costs an account more than automatic caching, two percent and 300,000 base-price tokens."""
    steps = account(lambda low, high: data.draw(st.integers(low, high)))
    limit = _cost("automatic", steps) * 102 // 100 + SLACK_TOKENS * CARD.uncached_input
    assert _cost("scrimp-safe", steps) <= limit


@pytest.mark.parametrize(
    ("name", "usages"),
    [
        ("none", [Usage(50_000), Usage(51_000)]),
        ("automatic", [Usage(0, 0, 50_000), Usage(0, 0, 51_000)]),
        ("5m", [Usage(0, 0, 50_000), Usage(0, 0, 51_000)]),
        ("1h", [Usage(0, 0, 0, 50_000), Usage(0, 50_000, 0, 1_000)]),
        ("as-recorded", [Usage(0, 0, 50_000), Usage(0, 0, 51_000)]),
        ("scrimp-safe", [Usage(0, 0, 50_000), Usage(0, 50_000, 1_000)]),
    ],
)
def test_two_requests_ten_minutes_apart(name: str, usages: list[Usage]) -> None:
    """By hand: five minutes are over, an hour is not, and a tool is pinged for until it comes back."""
    each = setting(conversation([600_000], waiting="tool"))
    bill = each.emulator.bill(POLICIES[name](each))
    assert usages == bill.usages
    assert ([290_000, 580_000] if name == "scrimp-safe" else []) == [ping.at_ms for ping in bill.pings]


def test_what_is_learnt_stays_with_the_account() -> None:
    """A user who never came back within the hour is let go in the end, where a fresh account would still ping."""
    steps = conversation([200_000_000] * 60)
    decisions, after = held(setting(steps))
    assert len(decisions[0].pings_ms) > len(decisions[-1].pings_ms)
    fresh, taught = (held(setting(conversation([200_000_000]), before))[0] for before in (Account(), after))
    assert len(fresh[0].pings_ms) > len(taught[0].pings_ms)


# --- rates ---


def test_cards_are_those_of_the_day_or_the_latest() -> None:
    """Sonnet 5.5's reads became cheaper in October 2026: older requests are billed at the older rate."""
    rates = Rates(load_book())
    steps = as_model([step(0, 1_790_000_000_000)], "claude-sonnet-5-5")
    then, now = cards_of(steps, rates)[0], cards_of(steps, rates, latest=True)[0]
    assert (then.uncached_input, 2 * now.cache_read) == (now.uncached_input, then.cache_read)


def test_an_unknown_model_costs_nothing_and_is_told_apart() -> None:
    """Its card is the one that says so."""
    unknown = [step(0, 0, model="gpt-9", cache="gpt-9|standard")]
    assert [UNPRICED] == [*cards_of(unknown, Rates(load_book()))]


def test_a_longer_prompt_may_have_other_rates() -> None:
    """Haiku 5.5 is dearer above 100,000 tokens."""
    steps = as_model([step(0, 0, total=90_000), step(1, 0, total=110_000)], "claude-haiku-5-5")
    short, long = cards_of(steps, Rates(load_book()), latest=True)
    assert 5 * short.uncached_input == long.uncached_input


def test_pricing_as_another_model_changes_nothing_else() -> None:
    """Times, lengths and branches stay; so does a change of models, as a change of cache."""
    steps = [step(0, 0), step(1, 9, model="claude-haiku-4-5", cache="claude-haiku-4-5|fast")]
    priced = as_model(steps, "claude-opus-4-6")
    assert ["claude-opus-4-6"] * 2 == [each.model for each in priced]
    assert 2 == len({each.cache for each in priced})
    assert [each.total_tokens for each in steps] == [each.total_tokens for each in priced]


def test_a_setting_bills_automatic_caching() -> None:
    """It is what the guard is measured against: one mark at the end."""
    steps = conversation([1_000])
    automatic = setting_of(Emulator(steps), [CARD] * 2, Account()).automatic
    usages = [Usage(0, 0, 50_000), Usage(0, 50_000, 1_000)]
    assert [input_pico_usd(usage, CARD) for usage in usages] == [*automatic]
