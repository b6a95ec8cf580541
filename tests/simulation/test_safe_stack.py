"""Safe mode through the whole gateway: bodies are edited in place, fan-outs are staggered, and the ledger agrees."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec

from scrimp.clock import SystemClock, VirtualClock
from scrimp.core.belief.exchange import Exchange
from scrimp.core.plan.planning import Mode, Policy
from scrimp.gateway.app import create_app
from scrimp.gateway.services import Services
from scrimp.sim.app import create_app as create_sim
from scrimp.sim.clients import scripted_agent
from scrimp.sim.machine import Simulator
from scrimp.sim.rules import Rules
from scrimp.store.ledger import MemoryLedger
from scrimp.upstream.asgi import AsgiUpstream
from scrimp.upstream.client import UpstreamRequest
from scrimp.upstream.pricefeed import load_book

START_MS = 1_790_000_000_000
SHARED = "The same long manual for every one of these agents. " * 4_000
HEADERS = {"x-api-key": "sk-fake", "anthropic-version": "2023-06-01", "content-type": "application/json"}


class Stack:
    """A gateway in a mode, in front of a simulator, in one process."""

    def __init__(self, mode: Mode, *, realtime: bool = False, rules: Rules | None = None) -> None:
        self.clock: Any = SystemClock() if realtime else VirtualClock(START_MS)
        self.simulator = Simulator(rules or Rules())
        self.closed: list[Exchange] = []
        self.api = create_sim(self.simulator, self.clock, realtime=realtime, record=True)
        self.gateway = create_app(
            Services(
                upstream=AsgiUpstream(self.api),
                ledger=MemoryLedger(),
                prices=load_book(),
                clock=self.clock,
                policy=Policy(mode=mode),
                on_closed=self.closed.append,
            )
        )

    async def ask(self, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, Any]:
        """Send one request as a client would, and read its answer to the end."""
        pairs = [(name.lower().encode(), value.encode()) for name, value in {**HEADERS, **headers}.items()]
        raw = json.dumps(body).encode()
        answer = await AsgiUpstream(self.gateway).send(UpstreamRequest("POST", "/v1/messages", pairs, raw))
        content = b"".join([chunk async for chunk in answer.chunks()])
        await answer.aclose()
        return answer.status, msgspec.json.decode(content)

    async def play(self, seeds: range) -> None:
        """Play conversations one after the other, in virtual time."""
        for seed in seeds:
            conversation, heard = scripted_agent(seed), None
            while True:
                try:
                    ask = conversation.send(heard)  # type: ignore[arg-type]
                except StopIteration:
                    break
                self.clock.advance_ms(ask.pause_ms + 5_000)
                _, heard = await self.ask({**ask.request, "stream": False}, ask.headers)


def stack_after(mode: Mode, seeds: range) -> Stack:
    """Return the stack after these conversations."""
    stack = Stack(mode)
    asyncio.run(stack.play(seeds))
    return stack


def test_safe_mode_costs_less_and_the_ledger_equals_the_invoice() -> None:
    """Forty conversations: the same answers, a lower invoice, each cost the invoice's, and savings the bill's."""
    observed, safe = stack_after("observe", range(40)), stack_after("safe", range(40))
    assert safe.simulator.invoice.cost_nano_usd < 0.97 * observed.simulator.invoice.cost_nano_usd
    assert safe.simulator.invoice.cost_nano_usd == sum(each.cost_nano_usd or 0 for each in safe.closed)
    alone = sum(each.baseline_cost_nano_usd or 0 for each in safe.closed)
    assert abs(alone - observed.simulator.invoice.cost_nano_usd) < 0.01 * observed.simulator.invoice.cost_nano_usd
    answers = [[each.stop_reason for each in stack.closed] for stack in (observed, safe)]
    assert answers[0] == answers[1]
    assert all(each.http_status == 200 for each in safe.closed)


def test_a_subscription_and_who_asks_for_it_are_left_alone() -> None:
    """With a subscription's token, or `scrimp-mode: observe`, the bytes that come are the bytes that go."""
    stack = Stack("safe")
    body = {"model": "claude-opus-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": SHARED}]}
    token = {"authorization": "Bearer sk-ant-oat01-fake", "anthropic-beta": "oauth-2025-04-20"}

    async def ask_all() -> None:
        for headers in (token, {"scrimp-mode": "observe"}, {}):
            await stack.ask(body, headers)

    asyncio.run(ask_all())
    assert [True, True, False] == [each.body == json.dumps(body).encode() for each in stack.api.recorded]


def sibling(number: int) -> dict[str, Any]:
    """Return one of several agents' first requests: a long shared prompt, and a task of its own."""
    system = [{"type": "text", "text": SHARED, "cache_control": {"type": "ephemeral"}}]
    messages = [{"role": "user", "content": f"Task {number}: say hello."}]
    return {"model": "claude-opus-5-5", "max_tokens": 50, "system": system, "messages": messages, "stream": False}


def prefix_bill(mode: Mode, count: int) -> tuple[int, list[int]]:
    """Send so many siblings at once; return what their input cost and how they were answered."""
    stack = Stack(mode, realtime=True, rules=Rules(first_token_ms=150, uncached_ms_per_1000_tokens=0))

    async def ask_at_once() -> list[tuple[int, Any]]:
        return await asyncio.gather(*(stack.ask(sibling(number), {}) for number in range(count)))

    answers = asyncio.run(ask_at_once())
    outputs = sum(line.classes.output_tokens for line in stack.simulator.invoice.lines)
    return stack.simulator.invoice.cost_nano_usd - outputs * 20_000, [status for status, _ in answers]


def test_eight_cold_siblings_pay_for_one_prefix() -> None:
    """Of eight requests at once over one cold prefix one writes it and seven read it: a fifth of the bill at most."""
    unguarded, _ = prefix_bill("observe", 8)
    guarded, statuses = prefix_bill("safe", 8)
    assert [200] * 8 == statuses
    assert 5 * guarded <= unguarded
