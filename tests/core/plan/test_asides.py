"""What becomes of a prompt that another thinking mode leaves behind: held on to, come back to, or forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from scrimp.core.belief.account import HOUR_PING_MS, MINUTES_PING_MS, Account
from scrimp.core.levers.hold import Settings
from scrimp.core.plan.asides import ASIDES_MAX, GROUP, asides_of, shared_tokens
from scrimp.core.plan.machine import ended, pinged, timer_fired
from scrimp.core.plan.threads import Ending, Forget, Ping, SetAside, State
from tests.core.plan.pausing import (
    AUTOMATIC_USAGE,
    CARD,
    COMMANDS,
    MINUTE_MS,
    RICH,
    Course,
    answered,
    asked,
    hit,
    reserved,
)
from tests.core.plan.plans import NOW_MS, body_of, read

#: Blocks of the first request, of which two stand before the messages.
BLOCKS = 10
PROMPT_TOKENS = 110_000


def turn(state: State, number: int, thinking: str, now_ms: int, **changes: Any) -> State:
    """Return the state after the n-th request of a thread, under a thinking mode, and its answer, which ends a turn."""
    name = f"x{number}"
    state = asked(state, BLOCKS + number, now_ms, exchange=name, mode=thinking, **changes)
    return answered(state, now_ms, exchange=name, stop_reason="end_turn")[0]


def left(minutes: int = 1, **changes: Any) -> State:
    """Return the state after a request with thinking, and minutes later one without."""
    state = turn(State(account=RICH), 0, "adaptive", NOW_MS, **changes)
    return turn(state, 1, "disabled", NOW_MS + minutes * MINUTE_MS, **changes)


# --- what is set aside ---


def test_what_another_mode_leaves_behind_is_set_aside() -> None:
    """It keeps what it is and waits as a thread of its own, for its pings are paid for; the thread goes on."""
    before = turn(State(account=RICH), 0, "adaptive", NOW_MS)
    state = turn(before, 1, "disabled", NOW_MS + MINUTE_MS)
    assert [SetAside("t", "t/x0")] == COMMANDS
    aside, pause = state.threads["t/x0"], state.account.pauses["t/x0"]
    assert before.threads["t"] == replace(aside, granted=before.threads["t"].granted)
    assert (GROUP, True, NOW_MS, None) == (pause.group, pause.is_human, pause.since_ms, pause.left_ms)
    assert aside.promised * PROMPT_TOKENS * CARD.cache_read == pause.reserved_pico_usd > 0
    assert reserved(state) == state.account.reserved_pico_usd
    assert "x1" == state.threads["t"].exchange_id


def test_an_aside_is_pinged_on_the_timer_that_its_thread_had() -> None:
    """290 s after its last use, and so on until as many pings went out as its pause was worth."""
    state, now_ms, sent = left(), NOW_MS, 0
    while state.threads["t/x0"].promised:
        now_ms += MINUTES_PING_MS
        state, commands = timer_fired(state, "t/x0", "x0", now_ms)
        assert [Ping("t/x0")] == commands
        state, _ = pinged(state, "t/x0", "x0", hit(state, "t/x0"), now_ms)
        sent += 1
    assert 0 < sent <= 24
    assert 0 == state.account.pauses["t/x0"].reserved_pico_usd


def test_an_aside_of_an_hour_is_pinged_by_the_hour() -> None:
    """Whatever minutes its pause would have been worth."""
    aside = left(ttl="1h").threads["t/x0"]
    assert (0, HOUR_PING_MS) == (aside.granted.minutes, aside.every_ms)
    assert aside.granted.hours


@pytest.mark.parametrize(
    ("minutes", "first", "second"),
    [
        (1, {}, {"mode": "adaptive"}),
        (1, {}, {"model": "claude-sonnet-5"}),
        (1, {"is_agent": True}, {}),
        (1, {"tools": False}, {"tools": False}),
        (1, {"can_ping": False}, {}),
        (5, {}, {}),
    ],
    ids=["the same mode", "another model", "an agent", "a chat", "never held", "a ping is due"],
)
def test_what_is_not_held_or_not_left_behind_is_not_set_aside(
    minutes: int, first: dict[str, Any], second: dict[str, Any]
) -> None:
    """Nothing is kept of it, and its pause is simply over."""
    state = turn(State(account=RICH), 0, "adaptive", NOW_MS, **first)
    mode = second.pop("mode", "disabled")
    state = turn(state, 1, mode, NOW_MS + minutes * MINUTE_MS, **second)
    assert ([], []) == (COMMANDS, asides_of(state, "t"))


def test_what_stands_in_front_is_not_left_behind() -> None:
    """Where tools and system are most of a prompt, the other mode keeps them alive."""
    state = turn(State(account=RICH), -8, "adaptive", NOW_MS)
    state = turn(state, -7, "disabled", NOW_MS + MINUTE_MS)
    assert [] == asides_of(state, "t")


def test_without_money_nothing_is_set_aside() -> None:
    """The guard allows what it allows: the pings of an aside come out of the same purse."""
    state = turn(State(account=RICH), 0, "adaptive", NOW_MS)
    state = replace(state, account=replace(state.account, spent_pico_usd=10**16))
    assert [] == asides_of(turn(state, 1, "disabled", NOW_MS + MINUTE_MS), "t")


def test_a_model_that_refuses_pings_has_no_asides() -> None:
    """Though this thread was held before that was known."""
    state = turn(State(account=RICH), 0, "adaptive", NOW_MS)
    refusing = frozenset({"claude-opus-5-5"})
    state = replace(state, account=replace(state.account, refusing=refusing))
    assert [] == asides_of(turn(state, 1, "disabled", NOW_MS + MINUTE_MS), "t")


def test_an_upgrade_that_is_still_to_be_made_is_not_set_aside() -> None:
    """Its reserve is that of an hour, which nothing has asked for yet."""
    state = asked(State(account=RICH), 300, exchange="x0", plain=1, can_upgrade=True)
    state, _ = answered(state, exchange="x0", settings=Settings(upgrade_ping=True), stop_reason="end_turn")
    assert state.threads["t"].upgrade
    assert [] == asides_of(turn(state, 1, "disabled", NOW_MS + MINUTE_MS), "t")


# --- how asides end ---


def test_who_comes_back_with_the_mode_ends_the_aside() -> None:
    """Its pause counts as one that was come back to, and the prompt of the other mode is aside from then on."""
    state, ping_ms = left(4), NOW_MS + MINUTES_PING_MS
    state, _ = timer_fired(state, "t/x0", "x0", ping_ms)
    state, _ = pinged(state, "t/x0", "x0", hit(state, "t/x0"), ping_ms)
    state = turn(state, 2, "adaptive", NOW_MS + 8 * MINUTE_MS)
    assert [Forget("t/x0"), SetAside("t", "t/x1")] == COMMANDS
    assert ["t/x1"] == asides_of(state, "t")
    assert {"t", "t/x1"} == set(state.account.pauses) == set(state.threads)
    assert 1 == state.account.ratios[GROUP].returns
    assert AUTOMATIC_USAGE["x2"].cache_read_input_tokens == PROMPT_TOKENS


def test_an_aside_whose_pings_are_spent_is_forgotten() -> None:
    """With the next request of its thread: nothing can tell any more whether that goes on from it."""
    state = left()
    now_ms = NOW_MS + MINUTES_PING_MS
    state, _ = timer_fired(state, "t/x0", "x0", now_ms)
    state, _ = pinged(state, "t/x0", "x0", replace(hit(state, "t/x0"), cache_read_input_tokens=0), now_ms)
    assert ["t/x0"] == asides_of(state, "t")
    state = turn(state, 2, "disabled", now_ms + 1)
    assert ([], {"t"}) == (asides_of(state, "t"), set(state.account.pauses))


def test_only_a_few_are_kept() -> None:
    """A client that asks for another budget each time leaves the latest ones."""
    state = State(account=RICH)
    for number in range(6):
        state = turn(state, number, f"mode {number}", NOW_MS + number * MINUTE_MS)
    assert ["t/x3", "t/x4"] == asides_of(state, "t")
    assert [SetAside("t", "t/x4"), Forget("t/x2")] == COMMANDS
    assert 2 == ASIDES_MAX
    assert reserved(state) == state.account.reserved_pico_usd


def test_a_session_that_begins_elsewhere_makes_their_pings_fewer() -> None:
    """As those of everything that waits for the person."""
    before = left()
    state = asked(before, 3, NOW_MS + 2 * MINUTE_MS, exchange="y", thread="u", session="other")
    assert state.threads["t/x0"].promised < before.threads["t/x0"].promised
    assert state.account.pauses["t/x0"].reserved_pico_usd < before.account.pauses["t/x0"].reserved_pico_usd


# --- any course of events ---


class Switching(Course):
    """One conversation whose client switches between modes, with the pings that this asks for."""

    def __init__(self) -> None:
        super().__init__(State(account=Account()))

    def ask(self, mode: str) -> None:
        """Send the next request, and end its answer."""
        self.count += 1
        name = f"x{self.count}"
        self.state = asked(self.state, BLOCKS + self.count, self.now_ms, exchange=name, mode=mode)
        timer = self.timers.pop("t", 0)
        for command in COMMANDS:
            if isinstance(command, SetAside):
                self.timers[command.name] = timer
            elif isinstance(command, Forget):
                self.timers.pop(command.thread, None)
        usage = AUTOMATIC_USAGE[name]
        self.state, commands = ended(self.state, Ending("t", name, usage, usage, "end_turn"), self.now_ms)
        self.obey("t", commands)

    def check(self) -> None:
        """Check what always holds."""
        self.check_money()
        account = self.state.account
        assert len(asides_of(self.state, "t")) <= ASIDES_MAX
        held = {name for name, thread in self.state.threads.items() if thread.promised > thread.sent}
        assert held == set(self.timers)
        for name in held:
            thread = self.state.threads[name]
            assert (thread.promised - thread.sent) * thread.ping_pico_usd == account.pauses[name].reserved_pico_usd


_events = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from(("adaptive", "disabled", "enabled 1024"))),
    st.tuples(st.just("wait"), st.integers(0, 1_200_000)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_events, max_size=25))
def test_money_and_guard_hold_however_modes_change(events: list[tuple[str, Any]]) -> None:
    """Every held thread has its timer and the money for its pings, all within the guard, and asides are few."""
    course = Switching()
    for name, argument in events:
        getattr(course, name)(argument)
        course.check()


_texts = st.lists(st.sampled_from("abc"), min_size=1, max_size=8)


@given(_texts, _texts)
def test_what_two_prompts_share_is_what_they_begin_with(one: list[str], other: list[str]) -> None:
    """Block by block, and nothing of it where the caches differ."""
    before, prompt = (read(body_of(texts, set()))[1] for texts in (["s", *one], ["s", *other]))
    alike = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    assert (1 + alike) * 1_000 == shared_tokens(before, prompt)
    assert 0 == shared_tokens(before, replace(prompt, cache="another"))
