"""Breaks as the gateway tells them: through a recorder over the simulator's own bills, with no text in what is kept."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest

from scrimp.clock import VirtualClock
from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.response import ResponseMeter
from scrimp.engine import breaks
from scrimp.engine.outside import Outside
from scrimp.engine.recorder import Recorder
from scrimp.sim.machine import Simulator
from scrimp.upstream.pricefeed import load_book
from tests.simulation.breaks import CHANGES, Kind
from tests.simulation.claude_shapes import claude_code_turn
from tests.simulation.injection import injected

START_MS = 1_790_000_000_000
MINUTE_MS = 60_000
HEADERS = {
    "x-api-key": "sk-fake",
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "fast-mode-2026-02-01,cache-diagnosis-2026-04-07",
    "x-claude-code-session-id": "s1",
}
Body = dict[str, Any]


class Gateway:
    """A recorder in front of the simulator, request by request in virtual time."""

    def __init__(self) -> None:
        self.clock = VirtualClock(START_MS)
        services = Outside(prices=load_book(), clock=self.clock)
        self.recorder = Recorder(services)
        self.simulator = Simulator(seed=1)

    def send(self, body: Body, pause_ms: int = MINUTE_MS, headers: Mapping[str, str] | None = None) -> Exchange:
        """Send a request after a pause, hear its answer, and return the closed exchange."""
        self.clock.advance_ms(pause_ms)
        asked = {**HEADERS, **(headers or {})}
        opened = self.recorder.arrive(asked, json.dumps(body | {"stream": False}).encode())
        answer = self.simulator.handle(body | {"stream": False}, asked, self.clock.now_ms())
        meter = ResponseMeter("application/json", None)
        meter.feed(json.dumps(answer.body).encode())
        if answer.status == 200:
            self.recorder.first_token(opened)
        return self.recorder.close(opened, meter.answer(), status=answer.status)


@pytest.mark.parametrize("kind", CHANGES, ids=lambda kind: kind.cause)
def test_a_break_is_kept_with_its_exchange(kind: Kind) -> None:
    """Cause and block of every kind of change, and money that is not below what was rewritten at its least."""
    gateway = Gateway()
    before, after = claude_code_turn(3)
    first = gateway.send(before)
    broken, path = injected(kind, 1, after)
    second = gateway.send(broken)
    assert (None, None) == (first.break_cause, first.break_cost_nano_usd)
    assert (kind.cause, path or None) == (second.break_cause, second.break_block)
    assert second.break_lost_tokens is not None
    assert second.break_cost_nano_usd is not None
    assert second.usage is not None
    assert 0 < second.break_lost_tokens <= second.usage.total_input_tokens
    assert 0 < second.break_cost_nano_usd <= (second.cost_nano_usd or 0)


def test_what_goes_on_is_no_break() -> None:
    """A conversation that only grows has none, and neither has its beginning."""
    gateway = Gateway()
    before, after = claude_code_turn(3)
    assert [None, None] == [gateway.send(body).break_cause for body in (before, after)]


def test_a_lifetime_that_is_over() -> None:
    """Six minutes of silence."""
    gateway = Gateway()
    before, after = claude_code_turn(3)
    gateway.send(before)
    assert "ttl_expired" == gateway.send(after, 6 * MINUTE_MS).break_cause


def test_a_break_that_the_bill_does_not_show_is_not_told() -> None:
    """An answer that read all the same is believed more than our idea of the cache."""
    gateway = Gateway()
    before, after = claude_code_turn(3)
    read = gateway.send(before).usage
    assert read is not None
    gateway.clock.advance_ms(6 * MINUTE_MS)
    opened = gateway.recorder.arrive(HEADERS, json.dumps(after).encode())
    assert opened.arrived is not None
    assert opened.arrived.found is not None
    usage = {"input_tokens": 3, "cache_read_input_tokens": read.total_input_tokens, "output_tokens": 1}
    usage["cache_creation_input_tokens"] = 300
    meter = ResponseMeter("application/json", None)
    meter.feed(json.dumps({"type": "message", "id": "m", "model": after["model"], "usage": usage}).encode())
    closed = gateway.recorder.close(opened, meter.answer(), status=200)
    assert (None, None) == (closed.break_cause, closed.break_lost_tokens)


def _asking(gateway: Gateway) -> Body:
    """Send a request that takes part in diagnostics, and return the next one, with another system prompt."""
    before, after = claude_code_turn(3)
    first = gateway.send(before | {"diagnostics": {"previous_message_id": None}})
    system = [*after["system"][:-1], after["system"][-1] | {"text": "Otherwise."}]
    return after | {"system": system, "diagnostics": {"previous_message_id": first.message_id}}


def test_the_api_s_own_word_is_kept() -> None:
    """Where the client asked for diagnostics, the reason is the API's, beside our finer cause."""
    gateway = Gateway()
    told = gateway.send(_asking(gateway))
    assert ("system_edited", "system_changed", "system.2") == (told.break_cause, told.break_reason, told.break_block)


def test_after_a_restart_the_api_s_word_is_all_that_is_known() -> None:
    """A gateway that does not know the request before tells what the API says was missed."""
    gateway, restarted = Gateway(), Gateway()
    body = _asking(gateway)
    restarted.simulator = gateway.simulator
    told = restarted.send(body, 2 * MINUTE_MS)
    assert ("system_changed", "system_changed", None) == (told.break_cause, told.break_reason, told.break_block)
    assert told.break_lost_tokens is not None
    assert told.break_cost_nano_usd is not None
    assert 0 < told.break_cost_nano_usd <= (told.cost_nano_usd or 0)


def test_other_work_under_the_same_session_is_no_break() -> None:
    """A title that is asked for in between caches nothing; the conversation goes on as if it had not been there."""
    gateway = Gateway()
    before, after = claude_code_turn(3)
    title = {"model": "claude-haiku-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": "A title?"}]}
    assert [None, None, None] == [gateway.send(body).break_cause for body in (before, title, after)]


def test_a_request_that_failed_left_nothing() -> None:
    """What the API refused is not what the next request is compared with."""
    gateway = Gateway()
    before, after = claude_code_turn(3)
    gateway.send(before)
    refused = copy.deepcopy(after)
    refused["system"][2]["text"] = "Otherwise."
    refused["max_tokens"] = -1
    assert 400 == gateway.send(refused).http_status
    assert None is gateway.send(after).break_cause


def test_agents_do_not_mix() -> None:
    """Another agent of the session, and another key, are compared with their own requests only."""
    gateway = Gateway()
    before, _ = claude_code_turn(3)
    other, _ = claude_code_turn(4)
    gateway.send(before)
    assert None is gateway.send(other, headers={"x-claude-code-agent-id": "a1"}).break_cause
    assert None is gateway.send(other, headers={"x-api-key": "sk-other"}).break_cause


def test_siblings_sent_at_once_are_a_fan_out() -> None:
    """A second agent that writes what the first one is still writing is told so."""
    gateway = Gateway()
    before, _ = claude_code_turn(3)
    gateway.clock.advance_ms(MINUTE_MS)
    gateway.recorder.arrive(HEADERS, json.dumps(before).encode())
    sibling = gateway.send(before, 10, headers={"x-claude-code-agent-id": "a1"})
    assert ("concurrency", "messages") == (sibling.break_cause, (sibling.break_block or "").partition(".")[0])


def test_what_is_kept_is_bounded() -> None:
    """However many sessions there are, no more bytes of requests are kept than the limit."""
    gateway = Gateway()
    kept = gateway.recorder._breaks = breaks.Breaks(load_book(), limit_bytes=60_000)
    for number in range(12):
        before, after = claude_code_turn(number % 3)
        gateway.send(before, headers={"x-claude-code-session-id": f"s{number}"})
        gateway.send(after, headers={"x-claude-code-session-id": f"s{number}"})
        assert 0 <= kept.size_bytes <= 60_000
    assert kept.size_bytes > 0


def test_sessions_whose_requests_fail_leave_nothing() -> None:
    """They take no room for ever, and do not stand in the way of forgetting others."""
    gateway = Gateway()
    kept = gateway.recorder._breaks = breaks.Breaks(load_book(), limit_bytes=60_000)
    before, _ = claude_code_turn(3)
    assert 400 == gateway.send(before | {"max_tokens": -1}, headers={"x-claude-code-session-id": "failed"}).http_status
    assert (0, 0) == (kept.size_bytes, len(kept._agents))
    for number in range(12):
        gateway.send(before, headers={"x-claude-code-session-id": f"s{number}"})
        assert 0 < kept.size_bytes <= 60_000


def test_short_requests_count_by_what_keeping_them_takes() -> None:
    """A request takes more memory than its text does, so that few of many short ones are kept."""
    gateway = Gateway()
    kept = gateway.recorder._breaks = breaks.Breaks(load_book(), limit_bytes=60_000)
    for number in range(40):
        hello = {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]}
        body = {"model": "claude-opus-5-5", "max_tokens": 5, "messages": [hello]}
        gateway.send(body, headers={"x-claude-code-session-id": f"s{number}"})
    assert 0 < len(kept._agents) < 20


def test_no_text_of_a_request_is_recorded() -> None:
    """Names and numbers only: nothing of the prompt is in the exchange."""
    gateway = Gateway()
    before, after = claude_code_turn(3)
    gateway.send(before)
    after["system"][2]["text"] = after["system"][2]["text"].replace("2026-11-25", "2026-12-31", 1)
    told = gateway.send(after)
    assert "date" == told.break_cause
    assert "2026-12" not in repr(told)
