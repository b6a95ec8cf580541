"""Threads as values: what an answer left open, what a ping of a thread costs, and how many threads are kept."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief import account as accounts
from scrimp.core.belief.account import HOUR_PING_MS, MINUTES_PING_MS, Account, Pause, Pings
from scrimp.core.plan import threads
from scrimp.core.plan.threads import (
    AGENT_TOOLS,
    QUESTION_TOOLS,
    SetTimer,
    State,
    Thread,
    bare,
    let_go_of,
    paused_at,
    put,
    timer_of,
    waiting_for,
)
from scrimp.core.wire.prices import RateCard
from scrimp.core.wire.usage import Usage
from tests.core.plan.plans import body_of, read

CARD = RateCard(1_000, 50, 1_250, 2_000, 5_000)


def thread_of(hour: int, minutes: int, plain: int = 0, granted: Pings = Pings(3, 2)) -> Thread:  # noqa: B008 - a value
    """Return a thread with so many tokens cached for an hour, for five minutes, and not at all."""
    _, prompt = read(body_of(["a"], set()))
    prompt = msgspec.structs.replace(prompt, total_tokens=hour + minutes + plain)
    thread = Thread("s", "x", prompt, CARD, 1_000, hour, minutes, *(False,) * 4)
    return msgspec.structs.replace(thread, granted=granted)


def waiting(*names: str, reserved: int = 7) -> State:
    """Return a state with threads that wait, each with money set aside."""
    state = State()
    for name in names:
        account = accounts.paused(state.account, name, Pause("s", 1_000, 10, Pings(), True, reserved_pico_usd=reserved))
        state = put(msgspec.structs.replace(state, account=account), name, thread_of(0, 10))
    return state


@pytest.mark.parametrize(
    ("stop_reason", "tools", "waits"),
    [
        ("end_turn", frozenset(), "turn_ended"),
        ("max_tokens", frozenset({"Bash"}), "turn_ended"),
        (None, frozenset(), "turn_ended"),
        ("tool_use", frozenset({"Bash"}), "tool"),
        ("tool_use", frozenset(), "tool"),
        ("pause_turn", frozenset(), "tool"),
        ("tool_use", frozenset({"Bash", "Task"}), "agent"),
        ("tool_use", frozenset({"Agent"}), "agent"),
        ("tool_use", frozenset({"Task", "AskUserQuestion"}), "question"),
    ],
)
def test_what_an_answer_left_open(stop_reason: str | None, tools: frozenset[str], waits: str) -> None:
    """By why it stopped; a question comes before an agent, and that before a tool."""
    assert waits == waiting_for(stop_reason, tools)
    assert not AGENT_TOOLS & QUESTION_TOOLS


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_ping_costs_what_it_is_billed(hour: int, minutes: int, plain: int) -> None:
    """Whatever is cached for how long, and whatever is not."""
    assert CARD.cost_pico_usd(Usage(plain, hour + minutes)) == thread_of(hour, minutes, plain).ping_pico_usd


@pytest.mark.parametrize(("can_ping", "plain", "is_worth"), [(True, 5, True), (True, 6, False), (False, 0, False)])
def test_what_stands_behind_the_mark_costs_no_more_than_what_is_read(
    can_ping: bool, plain: int, is_worth: bool
) -> None:
    """Else a ping pays for something that the sums of the lever do not hold."""
    thread = msgspec.structs.replace(thread_of(0, 100, plain), can_ping=can_ping)
    assert is_worth == thread.is_worth_pings


def test_what_dies_first_sets_the_pace() -> None:
    """With anything of five minutes in it, every 290 s; an hour's cache every 59 minutes, with its own pings."""
    assert [SetTimer("t", 1_000 + MINUTES_PING_MS)] == timer_of("t", thread_of(10, 10))
    assert [SetTimer("t", 1_000 + HOUR_PING_MS)] == timer_of("t", thread_of(10, 0))
    assert (3, 301_000) == (thread_of(10, 10).promised, thread_of(10, 10).until_ms)
    assert (2, 3_601_000) == (thread_of(10, 0).promised, thread_of(10, 0).until_ms)
    assert [] == timer_of("t", msgspec.structs.replace(thread_of(10, 0), sent=2))
    assert [] == timer_of("t", bare(thread_of(10, 10)))


def test_a_thread_waits_where_an_exchange_left_it() -> None:
    """Not where it has gone on, and not where its pause is over."""
    state = waiting("t")
    assert state.threads["t"] == paused_at(state, "t", "x")
    assert None is paused_at(state, "t", "another")
    assert None is paused_at(state, "u", "x")
    over = msgspec.structs.replace(state, account=accounts.dropped(state.account, "t"))
    assert None is paused_at(over, "t", "x")


def test_who_is_let_go_gives_back_the_money_and_the_digests() -> None:
    """The length of the prompt stays, by which the next request is measured."""
    state = let_go_of(waiting("t", "u"), "t", thread_of(0, 10))
    thread = state.threads["t"]
    assert (7, 0, ()) == (state.account.reserved_pico_usd, thread.promised, thread.prompt.digests)
    assert 10 == thread.prompt.total_tokens


def test_threads_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently used are forgotten, with their pauses and what was set aside for them."""
    monkeypatch.setattr(threads, "THREADS_MAX", 3)
    state = put(waiting("a", "b", "c"), "a", thread_of(0, 10))
    state = put(state, "d", thread_of(0, 10))
    assert ["c", "a", "d"] == list(state.threads)
    assert ({"a", "c"}, 14) == (set(state.account.pauses), state.account.reserved_pico_usd)
    assert Account().table == state.account.table
