"""Holding: lifetimes and pings by what an account has shown, never beyond its guard."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scrimp.core.belief import account as accounts
from scrimp.core.belief.account import HOUR_PING_MS, MINUTES_PING_MS, SLACK_TOKENS, Account, Pings, Tally
from scrimp.core.belief.gaps import EDGES_MS, LifeTable, still_open
from scrimp.core.levers.hold import (
    LEDGER_WEIGHT,
    Facts,
    Settings,
    after_leaving,
    group_of,
    hold,
    is_human,
    lifetime,
    marks_tail,
    tail_seen,
    wanted_pings,
)
from scrimp.core.wire.prices import RateCard

#: Reads at 0.1, 0.05 and 0.025 of the base price.
CARDS = tuple(RateCard(1_000, read, 1_250, 2_000, 5_000) for read in (100, 50, 25))
CARD = CARDS[1]
RICH = accounts.billed(Account(), 0, 10**15, CARD)
PROMPT = 100_000
_ANYTHING = st.sampled_from(("tool", "agent", "question", "turn_ended"))
_tables = st.lists(st.tuples(st.integers(0, EDGES_MS[-1]), st.booleans()), max_size=15)


def _facts(waiting: str = "turn_ended", **changes: object) -> Facts:
    fields = {"waiting": waiting, "hour_tokens": 0, "minutes_tokens": PROMPT, **changes}
    return Facts(**fields)  # type: ignore[arg-type]


def _taught(pauses: list[tuple[int, bool]]) -> Account:
    table = LifeTable()
    for age_ms, returned in pauses:
        table = table.seen(300_000, age_ms, returned=returned)
    return replace(RICH, table=table, ratios={})


# --- pings ---


@pytest.mark.parametrize(("card", "minutes", "hours"), [(CARDS[0], 11, 19), (CARDS[1], 24, 39), (CARDS[2], 49, 79)])
def test_what_comes_back_surely_is_held_until_a_rewrite_is_as_cheap(card: RateCard, minutes: int, hours: int) -> None:
    """A tool or an agent is waited for as many pings as cost a rewrite, at any price of a read."""
    assert (
        Pings(minutes, hours) == wanted_pings(RICH, _facts("tool"), card) == wanted_pings(RICH, _facts("agent"), card)
    )


@given(_tables, st.sampled_from(CARDS))
def test_a_persons_pings_cost_the_least_of_all_numbers(pauses: list[tuple[int, bool]], card: RateCard) -> None:
    """No other number of pings costs less on average, by the same table."""
    account = _taught(pauses)
    wanted = wanted_pings(account, _facts(), card)

    def cost(pings: int, every_ms: int, life_ms: int, write: int) -> float:
        ages = [*(every_ms * n for n in range(1, pings + 1)), every_ms * pings + life_ms, EDGES_MS[-1]]
        *sent, late, never = still_open(account.table.chances, 1.0, ages)
        return card.cache_read * sum(sent) + (write - card.cache_read) * (late - never)

    for pings, every_ms, life_ms, write in (
        (wanted.minutes, MINUTES_PING_MS, 300_000, card.cache_write_5m),
        (wanted.hours, HOUR_PING_MS, 3_600_000, card.cache_write_1h),
    ):
        most = (write - card.cache_read) // card.cache_read
        assert all(
            cost(pings, every_ms, life_ms, write) <= cost(n, every_ms, life_ms, write) + 1e-6 for n in range(most)
        )


def test_who_never_returns_gets_no_ping() -> None:
    """A user whose pauses never ended is let go."""
    assert Pings() == wanted_pings(_taught([(EDGES_MS[-1], False)] * 20), _facts(), CARD)


def test_signs_of_a_reply_make_pings_longer() -> None:
    """With the prior, an answer that wants a reply is held longer than one that says that all is done."""
    few, many = (wanted_pings(RICH, _facts(signs=signs), CARD).minutes for signs in (0, 3))
    assert 0 < few < many


@pytest.mark.parametrize("facts", [_facts("tool", has_tools=False), _facts(is_agent=True)])
def test_nobody_pings_for_chats_or_for_agents_that_ended(facts: Facts) -> None:
    """Pings for chats without tools lose (hold study, section 7), and nobody goes on with an agent that has ended."""
    holding = hold(RICH, facts, "m", CARD)
    assert (Pings(), 0) == (holding.granted, holding.reserved_pico_usd)


def test_a_model_that_refused_a_ping_gets_no_more() -> None:
    """The breaker is per model."""
    account = accounts.refused(RICH, "strict")
    assert Pings() == hold(account, _facts("tool"), "strict", CARD).granted
    assert Pings(24) == hold(account, _facts("tool"), "other", CARD).granted


@given(
    _ANYTHING,
    st.integers(0, 2_000_000),
    st.integers(0, 2_000_000),
    st.integers(-(10**12), 10**12),
    st.sampled_from(CARDS),
)
def test_promises_stay_within_the_guard(
    waiting: str, hour_tokens: int, minutes_tokens: int, spent: int, card: RateCard
) -> None:
    """What is set aside pays for every ping that is granted, and is never more than the allowance."""
    account = accounts.billed(Account(), spent, 0, card)
    holding = hold(account, _facts(waiting, hour_tokens=hour_tokens, minutes_tokens=minutes_tokens), "m", card)
    minutes_cost = (hour_tokens + minutes_tokens) * card.cache_read * holding.granted.minutes
    hours_cost = hour_tokens * card.cache_read * holding.granted.hours
    assert minutes_cost + hours_cost == holding.reserved_pico_usd <= max(0, account.allowance_pico_usd(card))
    assert holding.granted.minutes <= holding.wanted.minutes
    assert holding.granted.hours <= holding.wanted.hours


def test_an_account_in_debt_gets_no_pings() -> None:
    """Beyond two percent and 300,000 tokens nothing is risked any more."""
    debt = accounts.billed(Account(), SLACK_TOKENS * 1_000, 0, CARD)
    assert Pings() == hold(debt, _facts("tool"), "m", CARD).granted
    assert "guard" in hold(debt, _facts("tool"), "m", CARD).reason


def test_leaving_cuts_pings_but_not_below_those_sent() -> None:
    """Who began another session returns less often; what was sent is sent."""
    wanted = wanted_pings(RICH, _facts(signs=3), CARD)
    cut = after_leaving(RICH, 300_000, wanted, CARD)
    assert 1 <= cut.minutes < wanted.minutes
    assert wanted.minutes == after_leaving(RICH, 290_000 * 40, wanted, CARD).minutes


def test_the_upgrade_ping_is_off_unless_it_is_set() -> None:
    """One ping with a mark of an hour, then hourly ones, only where the owner believes in it."""
    assert not hold(RICH, _facts(), "m", CARD).upgrade
    upgraded = hold(RICH, _facts("tool"), "m", CARD, Settings(upgrade_ping=True))
    assert (True, Pings(1, 39)) == (upgraded.upgrade, upgraded.granted)
    assert 40 * PROMPT * 50 == upgraded.reserved_pico_usd


@pytest.mark.parametrize(
    ("facts", "group", "human"),
    [
        (_facts("question"), "question", True),
        (_facts(signs=2), "2", True),
        (_facts(), None, True),
        (_facts("tool"), None, False),
        (_facts(signs=1, is_agent=True), "1", False),
    ],
)
def test_groups_of_pauses(facts: Facts, group: str | None, human: bool) -> None:
    """A question is a group of its own, an answer is grouped by its signs, and only people have habits."""
    assert (group, human) == (group_of(facts), is_human(facts))


# --- lifetimes ---


def test_a_fresh_account_writes_for_five_minutes() -> None:
    """The prior does not pay an hour's premium."""
    assert all("5m" == lifetime(RICH, _facts(minutes_tokens=0), 1_000, card).ttl for card in CARDS)


def test_an_hour_is_written_when_it_has_paid_for_itself() -> None:
    """Ledgers that show more saved than the premium of all that was appended ask for an hour."""
    paid = replace(RICH, hour_saved=0.75 * 10**6 + LEDGER_WEIGHT, appended=10**6)
    assert "1h" == lifetime(paid, _facts(minutes_tokens=0), 1_000, CARD).ttl
    assert "5m" == lifetime(replace(paid, hour_saved=0.0), _facts(minutes_tokens=0), 1_000, CARD).ttl


def test_an_hour_never_comes_after_five_minutes() -> None:
    """What stands in front decides: a live tail of five minutes is gone on with in five minutes."""
    paid = replace(RICH, hour_saved=inf)
    assert "5m" == lifetime(paid, _facts(minutes_tokens=1), 1_000, CARD).ttl
    assert "5m" == lifetime(paid, _facts(minutes_tokens=0, has_tools=False), 1_000, CARD).ttl


@given(st.integers(0, 10**7), st.integers(0, 10**12))
def test_an_hours_premium_stays_within_the_guard(tokens: int, spent: int) -> None:
    """An hour is written only where its whole premium may be lost."""
    account = replace(accounts.billed(Account(), spent, 0, CARD), hour_saved=inf)
    if lifetime(account, _facts(minutes_tokens=0), tokens, CARD).ttl == "1h":
        assert tokens * (CARD.cache_write_1h - CARD.cache_write_5m) <= account.allowance_pico_usd(CARD)


def test_without_prices_nothing_is_risked() -> None:
    """A model without a known price gets no ping and no hour."""
    free = RateCard(0, 0, 0, 0, 0)
    assert Pings() == hold(RICH, _facts("tool"), "m", free).granted
    assert "5m" == lifetime(replace(RICH, hour_saved=inf), _facts(minutes_tokens=0), 1_000, free).ttl


# --- chats ---


def test_one_shot_prompts_are_soon_left_plain() -> None:
    """After some 26 prompts of 5,000 tokens that nobody went on from, the next one is not marked (hold study, 7)."""
    account, seen = RICH, 0
    while marks_tail(account, "turn 1", CARDS[0]):
        account, seen = tail_seen(account, "turn 1", 5_000, returned=False), seen + 1
    assert 26 == seen
    assert marks_tail(account, "turn 2", CARDS[0])


@given(st.lists(st.tuples(st.integers(1, 10_000), st.booleans()), max_size=30), st.sampled_from(CARDS))
def test_a_read_never_speaks_against_a_mark(outcomes: list[tuple[int, bool]], card: RateCard) -> None:
    """One more read in time keeps a mark that was worth it."""
    account = RICH
    for tokens, returned in outcomes:
        account = tail_seen(account, "turn 1", tokens, returned=returned)
    if marks_tail(account, "turn 1", card):
        assert marks_tail(tail_seen(account, "turn 1", 5_000, returned=True), "turn 1", card)


def test_a_tally_of_tails_counts_tokens() -> None:
    """Outcomes weigh as much as their tokens."""
    seen = tail_seen(tail_seen(RICH, "turn 1", 100, returned=True), "turn 1", 300, returned=False)
    assert {"turn 1": Tally(100, 400)} == seen.tails
