"""Holding through the whole gateway, in virtual time: pings keep caches, are billed, stay within the guard, end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from scrimp.core.belief.account import SLACK_PERCENT, SLACK_TOKENS
from scrimp.core.belief.exchange import Exchange
from scrimp.core.levers.hold import Settings
from scrimp.core.wire.usage import Usage, UsageLine
from scrimp.errors import UpstreamUnreachable
from scrimp.gateway.server import serving
from scrimp.sim.app import create_app as create_sim
from scrimp.sim.machine import Simulator
from scrimp.sim.rules import Rules
from scrimp.upstream.asgi import AsgiUpstream
from scrimp.upstream.client import UpstreamRequest, UpstreamResponse
from scrimp.upstream.direct import DirectUpstream
from scrimp.upstream.network import AiohttpUpstream
from scrimp.upstream.pricefeed import load_book
from tests.simulation.held import (
    MANUAL,
    MARK,
    MINUTE_MS,
    MODEL,
    NAMED,
    START_MS,
    Stack,
    automatic,
    bill_of,
    going_on,
    pausing,
    run,
    told,
)
from tests.simulation.timeline import Timeline, settle

# --- what holding is for ---


@pytest.mark.parametrize("minutes", [7, 20, 50])
def test_a_tool_s_pause_is_held(minutes: int) -> None:
    """Every 290 s the last request goes once more without output, and what follows the pause reads all of it."""
    stack = run(pausing("loop1", minutes))
    stack.check_the_bill()
    assert minutes * MINUTE_MS // 290_000 == len(stack.pings)
    usages = [each.usage for each in stack.closed if each.usage]
    assert all(usage.cache_read_input_tokens > 50_000 for usage in usages[1:])
    assert all(usage.cache_write_5m_input_tokens < 1_000 for usage in usages[1:])


def test_a_ping_is_the_last_request_without_output() -> None:
    """Its body differs in two fields and its headers in none; it is billed to the session that it serves."""
    stack = run(pausing("loop1", 7, stream=False, metadata={"user_id": "u"}))
    first, ping, _ = stack.api.recorded
    assert json.loads(first.body) | {"max_tokens": 0} == json.loads(ping.body) | {"stream": False}
    assert "stream" not in json.loads(ping.body)
    assert dict(first.headers).items() - {("content-length", "")} >= {
        each for each in dict(ping.headers).items() if each[0] != "content-length"
    }
    asked, pinged, _ = stack.closed
    assert ("ping", NAMED["x-claude-code-session-id"], 0) == (
        pinged.origin,
        pinged.session_id,
        pinged.baseline_cost_nano_usd,
    )
    assert (asked.principal, asked.task_type, asked.requested_model) == (
        pinged.principal,
        pinged.task_type,
        pinged.requested_model,
    )
    assert pinged.cost_nano_usd is not None
    assert 0 < pinged.cost_nano_usd <= (pinged.cost_upper_nano_usd or 0)
    assert asked.exchange_id != pinged.exchange_id
    assert pinged.usage is not None
    assert 0 == pinged.usage.output_tokens


def test_a_stream_s_pause_is_held_too() -> None:
    """The ping of a streamed request is not streamed."""
    stack = run(pausing("loop1", 7, stream=True))
    (ping,) = stack.sent_pings
    assert "stream" not in ping
    stack.check_the_bill()


@pytest.mark.parametrize(("minutes", "is_read"), [(7, True), (20, True), (50, False)])
def test_a_person_s_pause_is_held_while_they_are_likely_to_come_back(minutes: int, *, is_read: bool) -> None:
    """What follows a shorter pause reads all of it; a longer one was let go, and is written anew."""
    stack = run(pausing("text", minutes))
    stack.check_the_bill()
    usage = stack.closed[-1].usage
    assert usage is not None
    assert is_read == (usage.cache_read_input_tokens > 50_000)
    assert 0 < len(stack.pings) <= 5


def test_the_end_of_a_turn_is_held_for_as_long_as_people_come_back() -> None:
    """After a turn's end there are pings, too, but not for ever."""
    stack = run(pausing("text", 600))
    stack.check_the_bill()
    assert 0 < len(stack.pings) < 24


def test_pings_end_where_writing_anew_is_as_cheap() -> None:
    """A tool that never comes back costs no more than a rewrite of its prompt."""
    stack = run(pausing("loop1", 1_000))
    stack.check_the_bill()
    first = stack.closed[0].cost_nano_usd or 0
    assert 20 < len(stack.pings)
    assert sum(each.cost_nano_usd or 0 for each in stack.pings) <= first


def test_an_upgrade_holds_an_hour_by_one_ping() -> None:
    """Where the owner wants it: the first ping asks for an hour, and fifty minutes later everything is read."""
    content = [{"type": "text", "text": "SCENARIO:loop1 Mend it."} | MARK, {"type": "text", "text": "It is late."}]
    messages = [{"role": "user", "content": content}]
    for upgrade, count in ((True, 1), (False, 10)):
        stack = run(pausing("loop1", 50, messages=messages), Stack(holding=Settings(upgrade_ping=upgrade)))
        stack.check_the_bill()
        assert count == len(stack.pings)
        usage = stack.closed[-1].usage
        assert usage is not None
        assert usage.cache_read_input_tokens > 90_000


def test_requests_and_pings_do_not_wait_for_each_other() -> None:
    """A request that comes while a ping of its thread is under way goes at once; both are billed."""

    class Slow(Failing):
        async def send(self, request: UpstreamRequest) -> UpstreamResponse:
            assert isinstance(request.body, bytes)
            if not json.loads(request.body)["max_tokens"]:
                self.pings += 1
                await release.wait()
            return await self._inner.send(request)

    release = asyncio.Event()
    inner = Stack()
    slow = Slow(AsgiUpstream(inner.api))
    stack = Stack(upstream=slow)

    async def story(stack: Stack) -> None:
        first = told("loop1")
        answer = await stack.ask(first)
        await stack.clock.pass_ms(290_000)
        assert 1 == slow.pings
        await stack.ask(going_on(first, answer))
        assert ["client", "client"] == [each.origin for each in stack.closed]
        release.set()
        await settle()

    run(story, stack)
    assert ["client", "client", "ping"] == [each.origin for each in stack.closed]
    assert inner.simulator.invoice.cost_nano_usd == sum(each.cost_nano_usd or 0 for each in stack.closed)


# --- when nothing is held ---


NEVER: dict[str, tuple[dict[str, Any], Callable[[Stack], Awaitable[None]]]] = {
    "observe": ({"mode": "observe"}, pausing("loop1", 60)),
    "asked to observe": ({}, pausing("loop1", 60, NAMED | {"scrimp-mode": "observe"})),
    "a subscription": (
        {},
        pausing("loop1", 60, NAMED | {"authorization": "Bearer sk-ant-oat01-fake", "x-api-key": ""}),
    ),
    "switched off": ({"holding": None}, pausing("loop1", 60)),
    "a gateway of ours before the API": ({"chained": True}, pausing("loop1", 60)),
    "no tools": ({}, pausing("text", 60, tools=[])),
    "a budget of thinking": (
        {},
        pausing(
            "loop1",
            60,
            model="claude-sonnet-4-6",
            thinking={"type": "enabled", "budget_tokens": 1_024},
            max_tokens=2_000,
        ),
    ),
    "a format of output": (
        {},
        pausing("text", 60, output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}}),
    ),
    "a prompt below the minimum": ({}, pausing("loop1", 60, system="Short.")),
}


@pytest.mark.parametrize("what", NEVER)
def test_nothing_is_held(what: str) -> None:
    """No ping is sent where none may be, or none would pay."""
    how, story = NEVER[what]
    stack = run(story, Stack(**how))
    assert all(each.http_status == 200 for each in stack.closed)
    assert (2, []) == (len(stack.closed), stack.sent_pings)
    assert 0 == stack.clock.sleeping


def test_a_client_that_is_gone_is_not_held() -> None:
    """Who left within the answer does not come back to it."""

    async def story(stack: Stack) -> None:
        answer = await stack.send(told("loop1", stream=True), NAMED)
        async for _ in answer.chunks():
            break
        await answer.aclose()
        await asyncio.sleep(0.2)
        await stack.clock.pass_ms(60 * MINUTE_MS)

    stack = run(story)
    assert ["client_gone"] == [each.error_type for each in stack.closed]
    assert [] == stack.sent_pings


def test_one_of_two_gateways_holds() -> None:
    """Behind one that leads to another one of ours, the latter pings, and the API is sent each ping once."""
    inner = Stack()
    outer = Stack(upstream=AsgiUpstream(inner.gateway), clock=inner.clock, sleep=inner.clock.sleep)

    async def story(stack: Stack) -> None:
        await stack.ask(told("loop1"))
        await inner.clock.pass_ms(20 * MINUTE_MS)
        await inner.stop()

    run(story, outer)
    assert (["client"], 0) == ([each.origin for each in outer.closed], inner.clock.sleeping)
    assert 4 == len(inner.pings) == len(inner.sent_pings)
    inner.check_the_bill()


def test_nothing_is_sent_after_the_end() -> None:
    """A gateway that has stopped pings nobody, and nobody sleeps in it."""

    async def story(stack: Stack) -> None:
        await stack.ask(told("loop1"))
        assert 1 == stack.clock.sleeping
        await stack.stop()
        await stack.clock.pass_ms(60 * MINUTE_MS)

    stack = run(story)
    assert ([], 0) == (stack.sent_pings, stack.clock.sleeping)


def test_what_goes_on_is_not_pinged() -> None:
    """The next request of a thread ends its pings; those of the thread as it stands then begin anew."""

    async def story(stack: Stack) -> None:
        body = told("loop3")
        for _ in range(3):
            body = going_on(body, await stack.ask(body))
            await stack.clock.pass_ms(4 * MINUTE_MS)

    stack = run(story)
    assert [] == stack.sent_pings
    assert 3 == len(stack.closed)


# --- over sockets ---


@pytest.mark.parametrize("kind", [AiohttpUpstream, DirectUpstream])
def test_a_ping_goes_the_way_that_requests_go(kind: type[AiohttpUpstream | DirectUpstream]) -> None:
    """Over a connection, with a length of its own, and its compressed answer is read."""
    clock, simulator = Timeline(START_MS), Simulator(Rules())
    api = create_sim(simulator, clock, record=True, compress=True)

    async def live(url: str) -> list[Exchange]:
        upstream = kind(url)
        pinged, closed = asyncio.Event(), list[Exchange]()

        def note(exchange: Exchange) -> None:
            closed.append(exchange)
            if exchange.origin == "ping":
                pinged.set()

        stack = Stack(upstream=upstream, clock=clock, sleep=clock.sleep, on_closed=note)
        raw = json.dumps(told("loop1")).encode()
        await stack.ask(told("loop1"), NAMED | {"accept-encoding": "gzip", "content-length": str(len(raw))})
        await clock.pass_ms(290_000)
        await asyncio.wait_for(pinged.wait(), 60)
        await stack.stop()
        await upstream.aclose()
        return closed

    with serving(api) as url:
        closed = asyncio.run(live(url))
    assert ["client", "ping"] == [each.origin for each in closed]
    assert simulator.invoice.cost_nano_usd == sum(each.cost_nano_usd or 0 for each in closed)
    usage = closed[1].usage
    assert usage is not None
    assert usage.cache_read_input_tokens > 50_000


def test_the_bytes_of_a_thread_that_goes_on_are_forgotten() -> None:
    """At once, whatever becomes of the request that goes on: this one is refused."""

    async def story(stack: Stack) -> None:
        first = told("loop1")
        answer = await stack.ask(first)
        assert 1 == stack.clock.sleeping
        await stack.ask(going_on(first, answer) | {"max_tokens": 10**9})
        assert 0 == stack.clock.sleeping

    stack = run(story)
    assert [200, 400] == [each.http_status for each in stack.closed]


# --- what the API answers ---


def test_a_model_that_refuses_is_pinged_once() -> None:
    """One refusal ends the pings of its model for the account, whatever the session."""

    async def story(stack: Stack) -> None:
        for number in range(3):
            await stack.ask(told("loop1"), {"x-claude-code-session-id": f"session-{number}"})
            await stack.clock.pass_ms(20 * MINUTE_MS)

    stack = run(story, Stack(rules=Rules(refuse_zero_tokens=frozenset({MODEL}))))
    (ping,) = stack.pings
    assert (400, 0, None) == (ping.http_status, ping.cost_upper_nano_usd, ping.usage)
    stack.check_the_bill()


class Failing:
    """An API that is there for requests, and away for pings."""

    def __init__(self, inner: AsgiUpstream) -> None:
        self._inner = inner
        self.pings = 0

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send what is no ping."""
        assert isinstance(request.body, bytes)
        if json.loads(request.body)["max_tokens"]:
            return await self._inner.send(request)
        self.pings += 1
        raise UpstreamUnreachable("nobody there")


def test_an_api_that_is_away_is_not_asked_again() -> None:
    """A ping that fails lets go of its thread, is recorded as failed, and the next request goes as ever."""
    failing = Failing(AsgiUpstream(Stack().api))
    stack = Stack(upstream=failing)
    run(pausing("loop1", 30), stack)
    assert (1, ["upstream_unavailable"]) == (failing.pings, [each.error_type for each in stack.pings])
    assert [200, None, 200] == [each.http_status for each in stack.closed]
    assert [0] == [each.cost_upper_nano_usd for each in stack.pings]


# --- the guard ---


def base_nano_usd(stack: Stack) -> float:
    """Return the lowest price of a token at the base rate among the models that were asked."""
    book = load_book()
    lines = (UsageLine(Usage(), each.requested_model or "") for each in stack.closed)
    cards = (book.line_card(line, START_MS, 0) for line in lines)
    return min(card.uncached_input for card in cards if card) / 1_000


@pytest.mark.slow
def test_random_conversations_stay_within_the_guard(seed_count: int | None) -> None:
    """The bill with its pings is the API's, and never above automatic caching by more than the guard allows."""
    seeds = range(seed_count or 40)
    held, plain = bill_of("safe", seeds), bill_of("observe", seeds, automatic)
    held.check_the_bill()
    limit = plain.simulator.invoice.cost_nano_usd * (100 + SLACK_PERCENT) / 100 + SLACK_TOKENS * base_nano_usd(held)
    assert held.pings
    assert held.simulator.invoice.cost_nano_usd <= limit


def test_who_always_leaves_costs_no_more_than_the_guard() -> None:
    """Forty sessions that each leave a tool running for ever: pings end where the account's allowance does."""

    async def story(stack: Stack) -> None:
        for number in range(40):
            named = {"x-claude-code-session-id": f"session-{number}"}
            await stack.ask(told("loop1", system=f"{number} {MANUAL}"), named)
            await stack.clock.pass_ms(180 * MINUTE_MS)

    stack = run(story)
    stack.check_the_bill()
    requests = sum(each.cost_nano_usd or 0 for each in stack.closed if each.origin == "client")
    pings = sum(each.cost_nano_usd or 0 for each in stack.pings)
    slack = SLACK_TOKENS * base_nano_usd(stack)
    assert 0.9 * slack < pings <= slack + requests * SLACK_PERCENT / 100
    assert len(stack.pings) < 40 * 24
