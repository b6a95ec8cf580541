"""Pauses as exchanges tell of them: what is held, with which row a ping is sent, and what its end does."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from scrimp.clock import VirtualClock
from scrimp.core.belief.account import MINUTES_PING_MS
from scrimp.core.belief.exchange import Exchange
from scrimp.core.levers.hold import DEFAULTS, Settings
from scrimp.core.plan.planning import Mode, Policy
from scrimp.core.plan.threads import Forget, Ping, SetAside, SetTimer
from scrimp.core.wire.response import Answer, ResponseMeter
from scrimp.engine.outside import Outside
from scrimp.engine.recorder import Opened, Recorder
from scrimp.upstream.pricefeed import load_book

NOW_MS = 1_790_000_000_000
KEY = {"x-api-key": "sk-fake"}
MARK = {"cache_control": {"type": "ephemeral"}}
TOOL = {"name": "Read", "description": "Reads.", "input_schema": {"type": "object"}}


class Bench:
    """A recorder in virtual time."""

    def __init__(self, mode: Mode = "safe", holding: Settings | None = DEFAULTS, **more: Any) -> None:
        self.clock = VirtualClock(NOW_MS)
        outside = Outside(prices=load_book(), clock=self.clock, policy=Policy(mode=mode), holding=holding, **more)
        self.recorder = Recorder(outside)
        self.pauses = self.recorder.pauses

    def ask(self, *turns: str, headers: dict[str, str] = KEY, **fields: Any) -> Opened:
        """Open an exchange whose prompt is marked at its end."""
        texts = [
            {"type": "text", "text": "A long manual. " * 4_000},
            *({"type": "text", "text": turn} for turn in turns),
        ]
        messages = [{"role": "user", "content": [*texts[:-1], texts[-1] | MARK]}]
        body = {"model": "claude-opus-5-5", "max_tokens": 50, "tools": [TOOL], "messages": messages, **fields}
        raw = json.dumps(body).encode()
        opened = self.recorder.arrive(headers, raw, raw)
        self.recorder.first_token(opened)
        return opened

    def end(self, opened: Opened, answer: Answer | None = None, **how: Any) -> Exchange:
        """Close an exchange."""
        return self.recorder.close(opened, answer or answered(), **{"status": 200, **how})


def answered(stop_reason: str | None = "tool_use", **usage: int) -> Answer:
    """Return a whole answer."""
    counts = {"input_tokens": 0, "cache_creation_input_tokens": 16_000, "output_tokens": 9, **usage}
    body = {"type": "message", "id": "msg_1", "model": "claude-opus-5-5", "stop_reason": stop_reason, "usage": counts}
    meter = ResponseMeter("application/json", None, listens=True)
    meter.feed(json.dumps({**body, "content": []}).encode())
    return meter.answer()


READ = answered("max_tokens", cache_creation_input_tokens=0, cache_read_input_tokens=16_000, output_tokens=0)


def test_an_exchange_that_waits_for_a_tool_is_held() -> None:
    """Its first ping is due 290 s after it was sent, whatever the answer took."""
    bench = Bench()
    opened = bench.ask("hello")
    bench.clock.advance_ms(20_000)
    bench.end(opened)
    assert opened.held is not None
    assert (opened.exchange.principal, opened.thread) == (opened.held.principal, opened.held.thread)
    assert NOW_MS + MINUTES_PING_MS == opened.held.at_ms


@pytest.mark.parametrize(
    ("answer", "how"),
    [
        (Answer(), {"status": 529, "error_type": "overloaded_error"}),
        (Answer(), {"status": None, "error_type": "upstream_unavailable", "was_sent": False}),
        (msgspec.structs.replace(answered(), usage_complete=False), {"error_type": "client_gone"}),
        (answered(), {"error_type": "upstream_cut"}),
    ],
)
def test_what_did_not_end_is_not_held(answer: Answer, how: dict[str, Any]) -> None:
    """An error, a client that left, an answer that broke off: no pause is left behind."""
    bench = Bench()
    opened = bench.ask("hello")
    bench.end(opened, answer, **how)
    state = bench.recorder._states.of(opened.exchange.principal or "")
    assert (None, {}, 0) == (opened.held, state.account.pauses, state.account.reserved_pico_usd)


@pytest.mark.parametrize(
    ("bench", "fields"),
    [
        (Bench("observe"), {}),
        (Bench(holding=None), {}),
        (Bench(chained=True), {}),
        (Bench(), {"headers": KEY | {"scrimp-mode": "observe"}}),
        (Bench(), {"headers": {"authorization": "Bearer sk-ant-oat01-fake"}}),
        (Bench(), {"model": "a-model-without-a-price"}),
        (Bench(), {"tool_choice": {"type": "any"}}),
    ],
)
def test_what_may_not_be_pinged_is_not_held(bench: Bench, fields: dict[str, Any]) -> None:
    """In observe mode, with a subscription, behind a gateway of ours, and where a ping would be refused."""
    opened = bench.ask("hello", **fields)
    bench.end(opened)
    assert opened.held is None


def test_a_thread_that_goes_on_unobserved_is_let_go() -> None:
    """A request which nothing may be done to ends the pause of its thread."""
    bench = Bench()
    opened = bench.ask("hello")
    bench.end(opened)
    assert opened.held is not None
    bench.ask("hello", headers=KEY | {"scrimp-mode": "observe"})
    bench.clock.advance_ms(MINUTES_PING_MS)
    assert None is bench.pauses.due(opened.held)


def test_requests_of_a_conversation_are_one_thread() -> None:
    """What extends an earlier request goes on its thread; another conversation begins one."""
    bench = Bench()
    first, second = bench.ask("hello"), bench.ask("hello", "again")
    other = bench.ask("something else")
    assert first.thread == second.thread != other.thread
    assert first.exchange.exchange_id == first.thread
    assert "" == Bench("observe").ask("hello").thread


def test_another_thinking_mode_sets_aside_what_is_held() -> None:
    """It is told under which name, and when the mode comes back, that it need not be kept."""
    bench, modes = Bench(), ("adaptive", "disabled", "adaptive")
    turns, commands = ["hello"], []
    for mode in modes:
        opened = bench.ask(*turns, thinking={"type": mode})
        bench.end(opened)
        commands.append(opened.commands)
        turns.append("again")
        bench.clock.advance_ms(60_000)
    first, second = commands[1][0], commands[2][1]
    assert isinstance(first, SetAside)
    assert isinstance(second, SetAside)
    assert [[], [first], [Forget(first.name), second]] == commands
    assert first.thread == second.thread == first.name.split("/")[0]


def held() -> tuple[Bench, Opened]:
    """Return an exchange that is held, at the time of its first ping."""
    bench = Bench()
    opened = bench.ask("hello", headers=KEY | {"scrimp-task": "nightly", "x-claude-code-session-id": "s"})
    bench.end(opened)
    bench.clock.advance_ms(MINUTES_PING_MS)
    return bench, opened


def sent(bench: Bench, opened: Opened, answer: Answer, **how: Any) -> int | None:
    """Let a ping be sent and answered; returns when the next one is due."""
    assert opened.held is not None
    assert Ping(opened.thread) == bench.pauses.due(opened.held)
    return bench.pauses.pinged(opened.held, bench.end(Opened(bench.pauses.row(opened.held)), answer, **how))


def test_a_ping_is_an_exchange_of_the_session_it_serves() -> None:
    """Its row is the request's own with an id, a time, an origin and a payer, and no more to pay than its prompt."""
    bench, opened = held()
    assert opened.held is not None
    row = bench.pauses.row(opened.held)
    assert ("ping", "s", "s", "nightly") == (row.origin, row.payer, row.session_id, row.task_tag)
    assert opened.exchange.exchange_id != row.exchange_id
    assert NOW_MS + MINUTES_PING_MS == row.opened_at_ms
    assert row.cost_upper_nano_usd is not None
    assert 0 < row.cost_upper_nano_usd < (opened.exchange.cost_upper_nano_usd or 0)


def test_a_ping_that_read_is_followed_by_the_next() -> None:
    """After another 290 s; a timer that fires early waits on."""
    bench, opened = held()
    next_ms = sent(bench, opened, READ)
    assert NOW_MS + 2 * MINUTES_PING_MS == next_ms
    assert opened.held is not None
    assert SetTimer(opened.thread, next_ms) == bench.pauses.due(opened.held)


@pytest.mark.parametrize(
    ("answer", "how", "refusing"),
    [
        (Answer(error_type="invalid_request_error"), {"status": 400}, True),
        (Answer(error_type="overloaded_error"), {"status": 529}, False),
        (Answer(error_type="rate_limit_error"), {"status": 429}, False),
        (Answer(), {"status": None, "error_type": "upstream_unavailable", "was_sent": False}, False),
        (Answer(), {"status": 200, "error_type": "upstream_cut"}, False),
        (answered("end_turn"), {"status": 200}, True),
    ],
)
def test_a_ping_that_came_to_nothing_is_the_last(answer: Answer, how: dict[str, Any], refusing: bool) -> None:
    """A refusal ends the pings of its model, anything else those of the thread; nothing stays reserved."""
    bench, opened = held()
    assert None is sent(bench, opened, answer, **how)
    account = bench.recorder._states.of(opened.exchange.principal or "").account
    assert (refusing, 0) == ("claude-opus-5-5" in account.refusing, account.reserved_pico_usd)
    assert opened.held is not None
    assert None is bench.pauses.due(opened.held)


def test_who_cannot_be_pinged_any_more_is_let_go() -> None:
    """The money that was set aside is free again."""
    bench, opened = held()
    assert opened.held is not None
    bench.pauses.let_go(opened.held)
    assert 0 == bench.recorder._states.of(opened.exchange.principal or "").account.reserved_pico_usd
    assert None is bench.pauses.due(opened.held)


def test_an_upgrade_has_its_edits() -> None:
    """Where the owner wants it and a block without a mark stands behind what is cached."""
    for upgrade in (True, False):
        bench = Bench(holding=Settings(upgrade_ping=upgrade))
        texts = [{"type": "text", "text": "A long manual. " * 4_000}, {"type": "text", "text": "hello"} | MARK]
        tail = {"type": "text", "text": "today"}
        opened = bench.ask(messages=[{"role": "user", "content": [*texts, tail]}], headers=KEY)
        bench.end(opened)
        assert opened.plan is not None
        assert opened.held is not None
        assert upgrade * (len(opened.plan.prompt.marks) + 1) == len(opened.held.upgrade_edits)
        bench.clock.advance_ms(MINUTES_PING_MS)
        assert Ping(opened.thread, upgrade=upgrade) == bench.pauses.due(opened.held)


def test_each_request_is_compared_with_its_own_automatic_bill() -> None:
    """One that ends after its thread has gone on is counted beside what automatic caching would have paid for it."""
    bench = Bench()
    first, second = bench.ask("hello"), bench.ask("hello", "again")
    bench.end(first)
    account = bench.recorder._states.of(first.exchange.principal or "").account
    assert account.spent_pico_usd > 0
    assert account.spent_pico_usd == pytest.approx(account.automatic_pico_usd, rel=0.01)
    bench.end(second, answered(cache_creation_input_tokens=10, cache_read_input_tokens=16_000))


def test_a_fault_of_ours_loses_the_holding_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The exchange is closed with its bill, whatever goes wrong in holding its cache."""

    def broken(**_: object) -> None:
        raise ValueError("A long manual")

    bench = Bench()
    opened = bench.ask("hello")
    monkeypatch.setattr("scrimp.engine.pauses.Held", broken)
    closed = bench.end(opened)
    assert (200, True, None) == (closed.http_status, closed.usage_complete, opened.held)
    assert "long manual" not in caplog.text
    assert 0 == bench.recorder._states.of(closed.principal or "").account.reserved_pico_usd


def test_an_upgrade_s_upper_bound_holds_its_hour() -> None:
    """A prompt of one token for each byte, all of it written for an hour, costs no more than the row says."""
    texts = [{"type": "text", "text": "A long manual. " * 4_000} | MARK, {"type": "text", "text": "today"}]
    uppers = []
    for upgrade in (True, False):
        bench = Bench(holding=Settings(upgrade_ping=upgrade))
        opened = bench.ask(messages=[{"role": "user", "content": texts}])
        bench.end(opened)
        assert opened.held is not None
        uppers.append(bench.pauses.row(opened.held).cost_upper_nano_usd or 0)
    assert uppers[0] == pytest.approx(uppers[1] * 2 / 1.25, rel=0.001)


def test_a_ping_s_upper_bound_knows_of_our_own_marks() -> None:
    """A prompt that its client does not mark is pinged with the marks that we set."""
    rows = []
    for more in ({}, MARK):
        bench = Bench()
        texts = [{"type": "text", "text": "A long manual. " * 4_000} | more]
        tool = TOOL | {"description": "Reads. " * 4_000}
        opened = bench.ask(messages=[{"role": "user", "content": texts}], tools=[tool])
        bench.end(opened)
        assert bool(more) or opened.body is not None
        assert opened.held is not None
        rows.append(bench.pauses.row(opened.held).cost_upper_nano_usd or 0)
    assert rows[0] == pytest.approx(rows[1], rel=0.01)
