"""The state of each principal: kept apart, bounded, and unharmed by a fault of ours."""

from __future__ import annotations

from typing import NoReturn

import msgspec
import pytest

from scrimp.core.belief.account import Account
from scrimp.core.belief.events import RequestFailed
from scrimp.core.plan.threads import Ping, State
from scrimp.engine.states import PRINCIPALS_MAX, States

HABITS = Account(hour_saved=7.0)


def spent(state: State, pico_usd: int) -> State:
    """Return a state with so much spent."""
    return msgspec.structs.replace(state, account=msgspec.structs.replace(state.account, spent_pico_usd=pico_usd))


def test_who_is_new_begins_with_what_is_known_of_people() -> None:
    """The habits that were handed in, and no belief."""
    states = States(HABITS)
    assert State(account=HABITS) == states.of("a")


def test_principals_are_kept_apart() -> None:
    """What changes for one does not for another."""
    states = States(Account())
    states.change("a", lambda state: spent(state, 5))
    assert [Ping("t")] == states.move("b", lambda state: (spent(state, 6), [Ping("t")]))
    assert [5, 6, 0] == [states.of(name).account.spent_pico_usd for name in "abc"]


def test_the_least_recently_used_is_forgotten() -> None:
    """There are no more than the limit says, and who was used again stays."""
    states = States(Account())
    for number in range(PRINCIPALS_MAX):
        states.of(str(number))
    states.of("0")
    states.of("new")
    assert (PRINCIPALS_MAX, True, False) == (len(states), "0" in states, "1" in states)


def broken(*_: object) -> NoReturn:
    """Fail with words of the client."""
    raise KeyError("the client's own words")


def test_a_fault_of_ours_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is owned up to without the text that may be in it."""
    states = States(Account())
    states.change("a", lambda state: spent(state, 5))
    assert [] == states.move("a", broken)
    states.change("a", broken)
    assert 5 == states.of("a").account.spent_pico_usd
    assert "what happened to a pause is lost (KeyError in broken" in caplog.text
    assert "own words" not in caplog.text


def test_a_belief_that_breaks_is_lost_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The account, with its guard, stays."""
    states = States(Account())
    states.change("a", lambda state: spent(state, 5))
    monkeypatch.setattr("scrimp.engine.states.step", broken)
    states.fold("a", RequestFailed("x", 1))
    assert State(account=msgspec.structs.replace(Account(), spent_pico_usd=5)) == states.of("a")
