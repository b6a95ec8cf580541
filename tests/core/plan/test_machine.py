"""What happens between requests: each transition of the machine's table, and what holds after any course of events."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrimp.core.belief import account as accounts
from scrimp.core.belief.account import HOUR_PING_MS, MINUTES_PING_MS, SLACK_TOKENS
from scrimp.core.levers.hold import Settings
from scrimp.core.plan.machine import (
    ended,
    gone,
    let_go,
    ping_failed,
    ping_refused,
    pinged,
    timer_fired,
)
from scrimp.core.plan.threads import Ending, Ping, SetTimer, State
from scrimp.core.wire.spoken import Spoken
from scrimp.core.wire.usage import Usage
from tests.core.plan.pausing import (
    AUTOMATIC_USAGE,
    BLOCK_TOKENS,
    CARD,
    EDITED,
    MINUTE_MS,
    RICH,
    Course,
    answered,
    asked,
    hit,
    reserved,
    waiting,
)
from tests.core.plan.plans import NOW_MS

# --- one pause, from its beginning to its end ---


def test_a_pause_is_held_by_pings() -> None:
    """opened, ended: a timer; timer_fired: a ping; pinged: a timer; opened: the pause is over."""
    state, commands = answered(asked(State(account=RICH), 10))
    assert [SetTimer("t", NOW_MS + MINUTES_PING_MS)] == commands
    assert 24 * 110_000 * CARD.cache_read == reserved(state) == state.account.reserved_pico_usd
    now_ms = NOW_MS + MINUTES_PING_MS
    state, commands = timer_fired(state, "t", "x1", now_ms)
    assert [Ping("t")] == commands
    state, commands = pinged(state, "t", "x1", hit(state), now_ms)
    assert [SetTimer("t", now_ms + MINUTES_PING_MS)] == commands
    assert 23 * 110_000 * CARD.cache_read == reserved(state)
    state = asked(state, 11, now_ms + MINUTE_MS, exchange="x2")
    assert {} == state.account.pauses
    assert 0 == state.account.reserved_pico_usd
    assert ([], state) == timer_fired(state, "t", "x1", now_ms + MINUTES_PING_MS)[::-1]


def test_what_a_ping_reads_lives_on() -> None:
    """After it the whole prompt is read by who comes within five minutes of it, and not by who comes later."""
    state, now_ms = waiting(), NOW_MS + MINUTES_PING_MS
    state, _ = timer_fired(state, "t", "x1", now_ms)
    state, _ = pinged(state, "t", "x1", hit(state), now_ms)
    for later, is_read in ((299_000, True), (301_000, False)):
        asked(state, 11, now_ms + later, exchange="x2")
        assert is_read == (AUTOMATIC_USAGE["x2"].cache_read_input_tokens == 110_000)


def test_what_was_not_cached_is_not_pinged() -> None:
    """Whatever was planned: the bill says that nothing was read or written, so a ping would pay for it in full."""
    state = asked(State(account=RICH), 10)
    plain = Usage(AUTOMATIC_USAGE["x1"].total_input_tokens)
    state, commands = ended(state, Ending("t", "x1", plain, plain, "tool_use", EDITED), NOW_MS)
    assert ([], 0) == (commands, state.account.reserved_pico_usd)


def test_an_hour_is_pinged_by_the_hour() -> None:
    """A cache of an hour needs a ping every 59 minutes."""
    state, commands = answered(asked(State(account=RICH), 10, ttl="1h"))
    assert [SetTimer("t", NOW_MS + HOUR_PING_MS)] == commands
    assert [Ping("t")] == timer_fired(state, "t", "x1", NOW_MS + HOUR_PING_MS)[1]


def test_pings_come_to_an_end() -> None:
    """A tool that never comes back is pinged until that has cost as much as writing anew; then nothing is reserved."""
    state, now_ms, sent = waiting(), NOW_MS, 0
    while True:
        now_ms += MINUTES_PING_MS
        state, commands = timer_fired(state, "t", "x1", now_ms)
        assert [Ping("t")] == commands
        sent += 1
        state, commands = pinged(state, "t", "x1", hit(state), now_ms)
        if not commands:
            break
    assert (24, 0) == (sent, state.account.reserved_pico_usd)
    assert [] == timer_fired(state, "t", "x1", now_ms + MINUTES_PING_MS)[1]


def test_a_timer_that_fires_early_is_set_again() -> None:
    """Clocks differ: before its time nothing is sent."""
    state = waiting()
    assert (state, [SetTimer("t", NOW_MS + MINUTES_PING_MS)]) == timer_fired(state, "t", "x1", NOW_MS + 1)


def test_a_dead_cache_is_not_pinged() -> None:
    """A timer that fires too late (the machine slept) lets go, and gives back what was set aside."""
    state, commands = timer_fired(waiting(), "t", "x1", NOW_MS + 300_000)
    assert ([], 0, True) == (commands, state.account.reserved_pico_usd, "t" in state.account.pauses)


def test_a_ping_that_reads_nothing_ends_the_holding() -> None:
    """What it cost is counted; the pause goes on, and teaches."""
    state, _ = timer_fired(waiting(), "t", "x1", NOW_MS + MINUTES_PING_MS)
    spent = state.account.spent_pico_usd
    after, commands = pinged(state, "t", "x1", Usage(0, 0, 110_000), NOW_MS + MINUTES_PING_MS)
    assert [] == commands
    assert (spent + 110_000 * CARD.cache_write_5m, 0) == (after.account.spent_pico_usd, after.account.reserved_pico_usd)
    assert "t" in after.account.pauses


def test_a_ping_that_is_answered_counts_as_refused() -> None:
    """Whoever does not know `max_tokens: 0` and writes an answer is asked for none again; its price is counted."""
    state, _ = timer_fired(waiting(), "t", "x1", NOW_MS + MINUTES_PING_MS)
    spent = state.account.spent_pico_usd
    usage = msgspec.structs.replace(hit(state), output_tokens=100)
    after, commands = pinged(state, "t", "x1", usage, NOW_MS + MINUTES_PING_MS)
    assert [] == commands
    assert spent + CARD.cost_pico_usd(usage) == after.account.spent_pico_usd
    assert {"claude-opus-5-5"} == after.account.refusing


def test_a_model_that_refuses_is_not_pinged_again() -> None:
    """Neither in this thread nor in another one; another model is."""
    state = ping_refused(waiting(), "t", "claude-opus-5-5")
    assert (0, True) == (state.account.reserved_pico_usd, "t" in state.account.pauses)
    assert [] == timer_fired(state, "t", "x1", NOW_MS + MINUTES_PING_MS)[1]
    other = asked(state, 10, exchange="x2", thread="u", session="s2")
    assert [] == answered(other, exchange="x2", thread="u")[1]
    third = asked(state, 10, exchange="x3", thread="v", session="s3", model="claude-sonnet-5-5")
    assert [] != answered(third, exchange="x3", thread="v")[1]


def test_a_late_refusal_is_of_the_model_that_was_pinged() -> None:
    """The thread asks another one by then: that one is held as ever, the first one nowhere any more."""
    state = asked(waiting(), 11, NOW_MS + MINUTE_MS, exchange="x2", model="claude-sonnet-5-5")
    state, commands = answered(state, NOW_MS + MINUTE_MS, exchange="x2")
    after = ping_refused(state, "t", "claude-opus-5-5")
    assert {"claude-opus-5-5"} == after.account.refusing
    assert [SetTimer("t", NOW_MS + MINUTE_MS + MINUTES_PING_MS)] == commands
    assert (state.threads, state.account.pauses) == (after.threads, after.account.pauses)


@pytest.mark.parametrize("was_paid", [True, False])
def test_a_ping_that_fails_lets_go(was_paid: bool) -> None:
    """Its price is counted where it may have been billed; nothing is sent again."""
    state, _ = timer_fired(waiting(), "t", "x1", NOW_MS + MINUTES_PING_MS)
    after = ping_failed(state, "t", "x1", was_paid=was_paid)
    paid = 110_000 * CARD.cache_read if was_paid else 0
    assert (state.account.spent_pico_usd + paid, 0) == (after.account.spent_pico_usd, after.account.reserved_pico_usd)
    assert [] == timer_fired(after, "t", "x1", NOW_MS + MINUTES_PING_MS)[1]


def test_who_is_gone_is_forgotten() -> None:
    """Nothing is pinged, nothing is learnt, and what was set aside is free again."""
    state = gone(waiting(), "t", "x1")
    assert ({}, 0, RICH.table) == (state.account.pauses, state.account.reserved_pico_usd, state.account.table)
    assert [] == timer_fired(state, "t", "x1", NOW_MS + MINUTES_PING_MS)[1]


def test_who_is_let_go_still_teaches() -> None:
    """The pause goes on without pings."""
    state = let_go(waiting(), "t", "x1")
    assert (0, True) == (state.account.reserved_pico_usd, "t" in state.account.pauses)


def test_what_is_late_changes_nothing_but_the_money() -> None:
    """Events of an exchange whose thread has gone on: its ping is paid for, and that is all."""
    state = answered(asked(waiting(), 11, NOW_MS + MINUTE_MS, exchange="x2"), exchange="x2")[0]
    assert state == gone(state, "t", "x1") == let_go(state, "t", "x1") == ping_failed(state, "t", "x1", was_paid=False)
    assert (state, []) == timer_fired(state, "t", "x1", NOW_MS + MINUTES_PING_MS)
    late, commands = pinged(state, "t", "x1", Usage(0, 110_000), NOW_MS + MINUTES_PING_MS)
    spent = state.account.spent_pico_usd + 110_000 * CARD.cache_read
    expected = msgspec.structs.replace(state, account=msgspec.structs.replace(state.account, spent_pico_usd=spent))
    assert (expected, []) == (late, commands)
    failed = ping_failed(state, "t", "x1", was_paid=True)
    spent = state.account.spent_pico_usd + state.threads["t"].ping_pico_usd
    expected = msgspec.structs.replace(state, account=msgspec.structs.replace(state.account, spent_pico_usd=spent))
    assert expected == failed
    before = asked(waiting(), 11, exchange="x2")
    assert [] == answered(before, exchange="x1")[1]


def test_an_unknown_thread_changes_nothing() -> None:
    """What was forgotten, or never was, is none of the machine's business."""
    state = State(account=RICH)
    assert (state, []) == answered(state) == timer_fired(state, "t", "x1", NOW_MS)
    assert (state, []) == pinged(state, "t", "x1", Usage(1, 1), NOW_MS)
    assert state == gone(state, "t", "x1") == let_go(state, "t", "x1")
    refused = msgspec.structs.replace(state.account, refusing=frozenset({"m"}))
    assert msgspec.structs.replace(state, account=refused) == ping_refused(state, "t", "m")
    assert state == ping_failed(state, "t", "x1", was_paid=True)


# --- what is held, and by how much ---


@pytest.mark.parametrize(
    "changes",
    [
        {"can_ping": False},
        {"tools": False},
        {"plain": 8},  # most of the prompt stands behind the mark: a ping would pay for that in full
    ],
)
def test_what_is_not_held(changes: dict[str, Any]) -> None:
    """No timer, nothing set aside, and no digests kept; the pause is there all the same."""
    state, commands = answered(asked(State(account=RICH), 10, **changes))
    assert ([], 0, True) == (commands, state.account.reserved_pico_usd, "t" in state.account.pauses)
    assert () == state.threads["t"].prompt.digests


def test_an_agent_that_has_ended_is_not_held() -> None:
    """Nobody goes on with it; while its tools run it is."""
    state = asked(State(account=RICH), 10, is_agent=True)
    assert [] == answered(state, stop_reason="end_turn")[1]
    assert [] != answered(state)[1]


def test_a_ping_s_price_holds_what_stands_behind_the_mark() -> None:
    """What is not cached is paid for in full with every ping, and set aside as that."""
    state = waiting(plain=1, blocks=100)
    thread = state.threads["t"]
    assert BLOCK_TOKENS == thread.plain_tokens
    assert thread.ping_pico_usd == CARD.cost_pico_usd(hit(state))
    assert 24 * thread.ping_pico_usd == reserved(state)


def test_the_end_of_a_turn_is_grouped_by_what_it_says() -> None:
    """A turn that changed no file, in a long answer with a question, bears three signs; one that did bears two."""
    long = Spoken(2_000, asks=True)
    for before, group in ((frozenset({"Read"}), "3"), (frozenset({"Edit"}), "2")):
        state = answered(asked(State(account=RICH), 10), spoken=Spoken(tools=before))[0]
        state = asked(state, 11, exchange="x2")
        state = answered(state, exchange="x2", stop_reason="end_turn", spoken=long)[0]
        assert group == state.account.pauses["t"].group
        state = asked(state, 12, exchange="x3")  # another turn: what the last one changed says nothing of it
        state = answered(state, exchange="x3", stop_reason="end_turn", spoken=long)[0]
        assert "3" == state.account.pauses["t"].group


def test_where_nobody_listened_nothing_is_said_of_the_answer() -> None:
    """The pause has no group then."""
    state = answered(asked(State(account=RICH), 10), stop_reason="end_turn", spoken=None)[0]
    assert (None, True) == (state.account.pauses["t"].group, state.account.pauses["t"].is_human)


def test_a_return_is_learnt_even_if_the_cache_was_dead() -> None:
    """Whoever comes back after forty minutes is a return, though nothing was left to read."""
    state = answered(asked(State(account=RICH), 10, can_ping=False), stop_reason="end_turn")[0]
    after = asked(state, 11, NOW_MS + 40 * MINUTE_MS, exchange="x2")
    assert sum(RICH.table.returns) + 1 == sum(after.account.table.returns)
    elsewhere = asked(state, 11, NOW_MS + 40 * MINUTE_MS, exchange="x2", model="claude-sonnet-5-5")
    assert sum(RICH.table.returns) == sum(elsewhere.account.table.returns)


def test_an_hour_saves_more_where_nothing_can_be_pinged() -> None:
    """After forty minutes five minutes were dead for want of pings, or cost eight of them; an hour lived."""
    saved = {}
    for can_ping in (True, False):
        state = answered(asked(State(account=RICH), 10, can_ping=can_ping))[0]
        saved[can_ping] = asked(state, 11, NOW_MS + 40 * MINUTE_MS, exchange="x2").account.hour_saved
    assert (44_000, 132_000) == (round(saved[True]), round(saved[False]))
    refused = State(account=accounts.refused(RICH, "claude-opus-5-5"))
    state = asked(answered(asked(refused, 10))[0], 11, NOW_MS + 40 * MINUTE_MS, exchange="x2")
    assert saved[False] == state.account.hour_saved


def test_a_new_session_takes_pings_from_who_is_left() -> None:
    """A person who begins another session leaves the pauses that wait for them, not those of tools."""
    human = answered(asked(State(account=RICH), 10), stop_reason="end_turn")[0]
    for state, is_left in ((human, True), (waiting(), False)):
        after = asked(state, 10, NOW_MS + MINUTE_MS, exchange="x2", thread="u", session="other")
        assert is_left == (after.account.pauses["t"].left_ms == MINUTE_MS)
        assert after.threads["t"].promised <= state.threads["t"].promised
        assert reserved(after) == after.account.reserved_pico_usd <= state.account.reserved_pico_usd
    aside = asked(human, 10, exchange="x2", thread="u", session="other", tools=False)
    agent = asked(human, 10, exchange="x2", thread="u", session="other", is_agent=True)
    assert None is aside.account.pauses["t"].left_ms is agent.account.pauses["t"].left_ms


def test_a_session_begun_over_lets_go_of_what_was_before() -> None:
    """After a compaction nobody comes back to the old prompt: its pings end, and its pause saved nothing."""
    human = answered(asked(State(account=RICH), 10), stop_reason="end_turn")[0]
    after = asked(human, 3, NOW_MS + 10 * MINUTE_MS, exchange="x2", thread="u")
    assert ({}, 0) == (after.account.pauses, after.account.reserved_pico_usd)
    assert sum(RICH.table.returns) == sum(after.account.table.returns)
    beside = asked(waiting(), 3, NOW_MS + 10 * MINUTE_MS, exchange="x2", thread="u")
    assert {"t"} == beside.account.pauses.keys()


# --- the upgrade ---


def test_an_upgrade_makes_an_hour_of_it() -> None:
    """The first ping carries the mark of an hour; from then on the whole prompt is pinged by the hour."""
    state = asked(State(account=RICH), 100, plain=1, can_upgrade=True)
    state, _ = answered(state, settings=Settings(upgrade_ping=True))
    now_ms = NOW_MS + MINUTES_PING_MS
    state, commands = timer_fired(state, "t", "x1", now_ms)
    assert [Ping("t", upgrade=True)] == commands
    usage = Usage(0, 1_000_000, 0, BLOCK_TOKENS)
    state, commands = pinged(state, "t", "x1", usage, now_ms)
    assert [SetTimer("t", now_ms + HOUR_PING_MS)] == commands
    assert (1_010_000, 0) == (state.threads["t"].hour_tokens, state.threads["t"].minutes_tokens)
    assert [Ping("t")] == timer_fired(state, "t", "x1", now_ms + HOUR_PING_MS)[1]


def upgrading(stop_reason: str = "tool_use") -> State:
    """Return a state with a thread whose first ping will be an upgrade."""
    state = asked(State(account=RICH), 100, plain=1, can_upgrade=True)
    return answered(state, stop_reason=stop_reason, settings=Settings(upgrade_ping=True))[0]


def test_what_is_set_aside_for_an_upgrade_pays_for_all_of_it() -> None:
    """The write of what had no mark, and every ping of the hours after it; nothing is spent that was not set aside."""
    state, now_ms = upgrading(), NOW_MS + MINUTES_PING_MS
    promised = state.account.spent_pico_usd + state.account.reserved_pico_usd
    state, commands = timer_fired(state, "t", "x1", now_ms)
    state, commands = pinged(state, "t", "x1", Usage(0, 1_000_000, 0, BLOCK_TOKENS), now_ms)
    pings = 0
    while commands:
        now_ms += HOUR_PING_MS
        state, _ = timer_fired(state, "t", "x1", now_ms)
        state, commands = pinged(state, "t", "x1", Usage(0, 1_010_000), now_ms)
        pings += 1
    assert pings > 1
    assert (promised, 0) == (state.account.spent_pico_usd, state.account.reserved_pico_usd)


def test_a_new_session_leaves_enough_for_an_upgrade() -> None:
    """Whoever is left behind keeps what the upgrade and its hours cost, or nothing where it is not made any more."""
    state = upgrading("end_turn")
    state = asked(state, 3, NOW_MS + MINUTE_MS, exchange="x2", thread="u", session="s2")
    thread = state.threads["t"]
    expected = thread.promised_pico_usd if thread.promised else 0
    assert expected == state.account.pauses["t"].reserved_pico_usd
    assert thread.promised
    assert expected > thread.granted.hours * 1_010_000 * CARD.cache_read


def test_an_upgrade_that_fails_may_have_cost_what_it_writes() -> None:
    """What stood behind the mark was written for an hour."""
    state, _ = timer_fired(upgrading(), "t", "x1", NOW_MS + MINUTES_PING_MS)
    after = ping_failed(state, "t", "x1", was_paid=True)
    paid = after.account.spent_pico_usd - state.account.spent_pico_usd
    assert 1_000_000 * CARD.cache_read + BLOCK_TOKENS * CARD.cache_write_1h == paid


@pytest.mark.parametrize(("can_upgrade", "setting"), [(False, True), (True, False)])
def test_without_leave_there_is_no_upgrade(can_upgrade: bool, setting: bool) -> None:
    """Off by default, and where nothing stands behind the mark an ordinary ping is as good."""
    state = asked(State(account=RICH), 100, plain=1, can_upgrade=can_upgrade)
    state, _ = answered(state, settings=Settings(upgrade_ping=setting))
    assert [Ping("t")] == timer_fired(state, "t", "x1", NOW_MS + MINUTES_PING_MS)[1]


# --- any course of events ---


class Threads(Course):
    """A principal with three threads that ask, are answered, pinged, refused and left, as a draw decides."""

    def __init__(self, model_refuses: bool) -> None:
        super().__init__(State())
        self.refuses = model_refuses
        self.lengths: dict[str, int] = {}

    def ask(self, thread: str, stop_reason: str) -> None:
        """Send a request that goes on a thread, and end its answer."""
        self.count += 1
        plain = int(thread == "v")  # of this one something stands behind what is cached
        self.lengths[thread] = self.lengths.get(thread, 30 if plain else 8) + 1
        name = f"x{self.count}"
        named: dict[str, Any] = {"thread": thread, "session": thread, "plain": plain}
        self.state = asked(self.state, self.lengths[thread], self.now_ms, exchange=name, **named)
        self.state, commands = answered(self.state, self.now_ms, exchange=name, thread=thread, stop_reason=stop_reason)
        self.obey(thread, commands)

    def ping(self, thread: str) -> None:
        """Send a ping to a model that may take none."""
        if self.refuses:
            self.state = ping_refused(self.state, thread, "claude-opus-5-5")
        else:
            super().ping(thread)

    def leave(self, thread: str) -> None:
        """Let the client of a thread be gone."""
        if thread in self.state.threads:
            self.state = gone(self.state, thread, self.state.threads[thread].exchange_id)

    def check(self) -> None:
        """Check what always holds."""
        self.check_money()
        account = self.state.account
        for name, thread in self.state.threads.items():
            pause = account.pauses.get(name)
            left = max(0, thread.promised - thread.sent)
            assert (pause.reserved_pico_usd if pause else 0) <= left * thread.ping_pico_usd
            assert bool(thread.prompt.digests) == (thread.promised > 0)


_threads = st.sampled_from("tuv")
_events = st.one_of(
    st.tuples(st.just("ask"), _threads, st.sampled_from(("tool_use", "end_turn"))),
    st.tuples(st.just("wait"), st.integers(0, 3 * 3_600_000)),
    st.tuples(st.just("leave"), _threads),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_events, max_size=25), st.booleans())
def test_money_and_guard_hold_whatever_happens(events: list[tuple[Any, ...]], refuses: bool) -> None:
    """What is set aside is the pauses' own; spending with it stays within the guard; digests are those of held ones."""
    course = Threads(refuses)
    for name, *arguments in events:
        getattr(course, name)(*arguments)
        course.check()


def test_the_guard_bounds_who_always_leaves() -> None:
    """Sixty sessions that each wait for a tool that never comes: pings end where the account's allowance does."""
    course = Threads(model_refuses=False)
    for number in range(60):
        course.ask(f"thread-{number}", "tool_use")
        course.check()
        course.wait(3 * 3_600_000)
    course.check()
    account = course.state.account
    beyond = account.spent_pico_usd - account.automatic_pico_usd
    assert 0.5 * SLACK_TOKENS * CARD.uncached_input < beyond
