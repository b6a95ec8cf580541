"""An account's beliefs: pauses opened and closed, ledgers, the guard, and what an import leaves."""

from __future__ import annotations

from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief import account as accounts
from scrimp.core.belief.account import (
    FORGOTTEN_MS,
    LEFT,
    SLACK_TOKENS,
    Account,
    Pause,
    Pings,
    Tally,
    idle_tokens,
)
from scrimp.core.belief.gaps import FIRST_MS, LifeTable
from scrimp.core.wire.prices import RateCard

CARD = RateCard(uncached_input=100, cache_read=5, cache_write_5m=125, cache_write_1h=200, output=500)
BLANK = Account(table=LifeTable(), ratios={})
HOUR_MS = 3_600_000


def _pause(**changes: object) -> Pause:
    fields = {"session_id": "s", "since_ms": 0, "tokens": 1_000, "pings": Pings(), "is_human": True, **changes}
    return Pause(**fields)  # type: ignore[arg-type]


def _after(age_ms: int, *, kept: int = 1_000, **changes: object) -> Account:
    return accounts.resumed(accounts.paused(BLANK, "t", _pause(**changes)), "t", age_ms, kept, CARD)


def test_a_return_is_counted() -> None:
    """A person who comes back after seven minutes is one return in the first span, at risk for two minutes."""
    after = _after(420_000)
    assert (1.0, 120.0, {}) == (after.table.returns[0], after.table.seconds[0], after.pauses)


def test_machines_teach_nothing_of_people() -> None:
    """The pause of a tool leaves the table as it was."""
    assert LifeTable() == _after(HOUR_MS, is_human=False).table


def test_a_conversation_cut_down_is_time_at_risk_only() -> None:
    """Who comes back to a fifth of the prompt saved nothing by our holding it."""
    after = _after(420_000, kept=200)
    assert (0.0, 120.0) == (after.table.returns[0], after.table.seconds[0])


def test_an_unknown_thread_changes_nothing() -> None:
    """The first request of a thread closes no pause, and what was never opened cannot be dropped."""
    assert BLANK == accounts.resumed(BLANK, "t", 1, 1, CARD)
    assert BLANK == accounts.dropped(BLANK, "t")


@given(st.lists(st.integers(min_value=0, max_value=FORGOTTEN_MS), max_size=4), st.integers(0, FORGOTTEN_MS))
def test_looking_at_open_pauses_does_not_change_what_they_teach(looks: list[int], age_ms: int) -> None:
    """However often an open pause is looked at, it is counted once."""
    account = accounts.paused(BLANK, "t", _pause())
    for now_ms in sorted(look for look in looks if look <= age_ms):
        account = accounts.observed(account, now_ms)
    looked = accounts.resumed(account, "t", age_ms, 1_000, CARD).table
    once = _after(age_ms).table
    assert once.returns == looked.returns
    assert all(isclose(a, b, abs_tol=1e-6) for a, b in zip(once.seconds, looked.seconds, strict=True))


def test_an_open_pause_lowers_the_chance_of_a_return() -> None:
    """Without a look at those who are still away, everybody would seem to return."""
    account = accounts.paused(_after(420_000), "t", _pause())
    assert account.table.chances[0] > accounts.observed(account, HOUR_MS).table.chances[0]


def test_leaving_ends_what_a_pause_says_of_people_who_stay() -> None:
    """After the person began another session, time at risk and return count for those who left alone."""
    account = accounts.paused(_after(420_000), "t", _pause(group="1"))
    account = accounts.left(account, "t", 360_000, Pings(), 0)
    after = accounts.resumed(account, "t", HOUR_MS, 1_000, CARD)
    assert (1.0, 180.0) == (after.table.returns[0], after.table.seconds[0])
    assert 1.0 == after.ratios[LEFT].returns
    assert 0.0 == after.ratios["1"].returns
    assert 0 < after.ratios["1"].foreseen < after.ratios[LEFT].foreseen


def test_a_group_that_returns_more_has_a_higher_ratio() -> None:
    """The ratio is returns over those foreseen, drawn towards one."""
    assert 1.0 == Tally().ratio(5.0)
    assert 1.0 < Tally(4.0, 2.0).ratio(5.0) < 2.0


def test_pauses_nobody_comes_back_to_are_named() -> None:
    """A pause older than the table is named, and goes when it is dropped."""
    account = accounts.paused(BLANK, "t", _pause(reserved_pico_usd=7))
    assert [] == accounts.forgotten(account, FORGOTTEN_MS)
    assert ["t"] == accounts.forgotten(account, FORGOTTEN_MS + 1)
    assert BLANK == accounts.dropped(account, "t")


# --- money ---


def test_the_allowance_is_the_limit_less_what_is_spent_and_set_aside() -> None:
    """Two percent above automatic caching and 300,000 tokens at the base price."""
    account = accounts.billed(BLANK, 900, 1_000, CARD)
    assert 1_020 + SLACK_TOKENS * 100 - 900 == account.allowance_pico_usd(CARD)
    held = accounts.paused(account, "t", _pause(reserved_pico_usd=50))
    assert account.allowance_pico_usd(CARD) - 50 == held.allowance_pico_usd(CARD)


def test_a_ping_takes_what_was_set_aside_for_it() -> None:
    """The allowance is the same before and after a ping that was promised."""
    held = accounts.paused(accounts.billed(BLANK, 0, 0, CARD), "t", _pause(reserved_pico_usd=50))
    pinged = accounts.pinged(held, "t", 30)
    assert (held.allowance_pico_usd(CARD), 20, 30) == (
        pinged.allowance_pico_usd(CARD),
        pinged.reserved_pico_usd,
        pinged.spent_pico_usd,
    )


def test_coming_back_frees_what_was_set_aside() -> None:
    """The rest of a promise is free again when the pause ends."""
    assert 0 == _after(1_000, reserved_pico_usd=50).reserved_pico_usd


def test_the_lowest_base_price_counts() -> None:
    """A dear model in an account does not widen its slack."""
    dear = CARD.times((5, 1))
    for first, second in ((CARD, dear), (dear, CARD)):
        assert 100 == accounts.billed(accounts.billed(BLANK, 0, 0, first), 0, 0, second).base_pico_usd


# --- the ledger ---


@pytest.mark.parametrize(
    ("age_ms", "pings", "expected"),
    [
        (280_000, 5, (0.0, True)),
        (291_000, 5, (0.05, True)),
        (600_000, 1, (0.05, False)),
        (580_000, 1, (0.05, True)),
        (HOUR_MS, 0, (0.0, False)),
    ],
)
def test_idle_tokens_are_pings_and_whether_the_cache_lived(
    age_ms: int, pings: int, expected: tuple[float, bool]
) -> None:
    """Pings are sent every 290 s while the pause lasts; five minutes after the last one the cache is gone."""
    assert expected == idle_tokens(age_ms, pings, 290_000, 300_000, 0.05)


def test_an_hour_saves_a_rewrite_after_ten_minutes() -> None:
    """Without pings, what five minutes would write anew an hour still holds: 1.25 - 0.05 for each token."""
    assert isclose(1_200.0, _after(600_000).hour_saved)


def test_an_hour_saves_nothing_in_short_pauses() -> None:
    """Both hold through four minutes."""
    assert 0.0 == _after(240_000).hour_saved


def test_an_hour_that_is_over_is_dearer_to_write_again() -> None:
    """After two hours both are gone, and writing for an hour costs 0.75 more for each token."""
    assert isclose(-750.0, _after(2 * HOUR_MS).hour_saved)


@given(st.integers(FIRST_MS, FORGOTTEN_MS), st.integers(0, 10_000))
def test_an_import_keeps_habits_and_no_money(age_ms: int, tokens: int) -> None:
    """What was learnt of pauses and lifetimes stays; open pauses, money and promises go."""
    account = accounts.billed(accounts.extended(_after(age_ms), tokens), 5, 7, CARD)
    imported = accounts.learnt(accounts.paused(account, "t", _pause(reserved_pico_usd=3)))
    assert (account.table, account.hour_saved, tokens) == (imported.table, imported.hour_saved, imported.appended)
    assert ({}, 0, 0, 0) == (
        imported.pauses,
        imported.spent_pico_usd,
        imported.automatic_pico_usd,
        imported.reserved_pico_usd,
    )


def test_a_model_that_refused_is_remembered() -> None:
    """One refusal is enough."""
    assert frozenset({"m"}) == accounts.refused(BLANK, "m").refusing
