"""Safe mode through the whole gateway: bodies are edited in place, fan-outs are staggered, and the ledger agrees."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec

from scrimp.clock import VirtualClock
from scrimp.core.belief.exchange import Exchange
from scrimp.core.levers.fanout import KNOWN_FROM
from scrimp.core.plan.planning import Mode, Policy
from scrimp.gateway.app import create_app
from scrimp.gateway.services import Services
from scrimp.sim.app import create_app as create_sim
from scrimp.sim.clients import scripted_agent
from scrimp.sim.faults import Fault, Script
from scrimp.sim.machine import Simulator
from scrimp.sim.rules import Rules
from scrimp.store.ledger import MemoryLedger
from scrimp.upstream.asgi import AsgiUpstream
from scrimp.upstream.client import UpstreamRequest
from scrimp.upstream.pricefeed import load_book
from tests.simulation.planned import clock
from tests.simulation.virtual import run

START_MS = 1_790_000_000_000
SHARED = "The same long manual for every one of these agents. " * 4_000
SAFE, ORDERED = Policy(mode="safe"), Policy(mode="safe", order=True)
HEADERS = {"x-api-key": "sk-fake", "anthropic-version": "2023-06-01", "content-type": "application/json"}


class Stack:
    """A gateway in a mode, in front of a simulator, in one process and in virtual time."""

    def __init__(self, policy: Policy, *, realtime: bool = False, rules: Rules | None = None) -> None:
        self.clock = VirtualClock(START_MS)
        self.simulator = Simulator(rules or Rules())
        self.closed: list[Exchange] = []
        self.api = create_sim(self.simulator, self.clock, realtime=realtime, record=True)
        self.gateway = create_app(
            Services(
                upstream=AsgiUpstream(self.api),
                ledger=MemoryLedger(),
                prices=load_book(),
                clock=self.clock,
                policy=policy,
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
    stack = Stack(Policy(mode=mode))
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
    stack = Stack(SAFE)
    body = {"model": "claude-opus-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": SHARED}]}
    token = {"authorization": "Bearer sk-ant-oat01-fake", "anthropic-beta": "oauth-2025-04-20"}

    async def ask_all() -> None:
        for headers in (token, {"scrimp-mode": "observe"}, {}):
            await stack.ask(body, headers)

    asyncio.run(ask_all())
    assert [True, True, False] == [each.body == json.dumps(body).encode() for each in stack.api.recorded]


# --- fan-out -----------------------------------------------------------------------------------------------------

OUTPUT_NANO_USD = 20_000
COUNT = 8
RULES = Rules(first_token_ms=400, uncached_ms_per_1000_tokens=60)


def sibling(number: int, line: str = "") -> dict[str, Any]:
    """Return one of several agents' first requests: a long shared prompt, and a task of its own."""
    system = [{"type": "text", "text": f"{line}{SHARED}", "cache_control": {"type": "ephemeral"}}]
    messages = [{"role": "user", "content": f"Task {number}: say hello."}]
    return {"model": "claude-opus-5-5", "max_tokens": 50, "system": system, "messages": messages, "stream": False}


def timed(number: int) -> dict[str, Any]:
    """Return the same of an application that states the time in front of it all."""
    return sibling(number, f"{clock(number)}\n") | {"thinking": {"type": "disabled"}}


def fanned_out(stack: Stack, asked: Callable[[int], dict[str, Any]] = sibling) -> list[int]:
    """Send so many siblings at once; return how they were answered."""

    async def ask_at_once() -> list[tuple[int, Any]]:
        return await asyncio.gather(*(stack.ask(asked(number), {}) for number in range(COUNT)))

    return [status for status, _ in run(stack.clock, ask_at_once())]


def prefix_bill(stack: Stack) -> int:
    """Return what the input of all requests cost."""
    outputs = sum(line.classes.output_tokens for line in stack.simulator.invoice.lines)
    return stack.simulator.invoice.cost_nano_usd - outputs * OUTPUT_NANO_USD


def test_eight_cold_siblings_pay_for_one_prefix() -> None:
    """Of eight requests at once over one cold prefix one writes it and seven read it: a fifth of the bill at most."""
    unguarded, guarded = (Stack(policy, realtime=True, rules=RULES) for policy in (Policy(), SAFE))
    assert [200] * COUNT == fanned_out(unguarded) == fanned_out(guarded)
    assert all(sum(msgspec.structs.astuple(line.classes)) > 50_000 for line in guarded.simulator.invoice.lines)
    assert 5 * prefix_bill(guarded) <= prefix_bill(unguarded)


def test_what_waited_would_have_written_the_prefix_alone() -> None:
    """The baselines of cold siblings add up to the unguarded invoice: no one of them would have waited for another."""
    unguarded, guarded = (Stack(policy, realtime=True, rules=RULES) for policy in (Policy(), SAFE))
    fanned_out(unguarded)
    fanned_out(guarded)
    alone = sum(each.baseline_cost_nano_usd or 0 for each in guarded.closed)
    assert abs(alone - unguarded.simulator.invoice.cost_nano_usd) <= 0.001 * alone


def test_siblings_that_differ_in_what_may_be_moved_share_a_prefix() -> None:
    """Eight cold requests that state eight times of day: where the line may be moved, one writes and seven read."""
    bills = []
    for policy in (Policy(), SAFE, ORDERED):
        stack = Stack(policy, realtime=True, rules=RULES)
        assert [200] * COUNT == fanned_out(stack, timed)
        bills.append(prefix_bill(stack))
    unguarded, left, moved = bills
    assert 5 * moved <= unguarded
    assert left > unguarded / 5


def test_nobody_waits_for_one_that_fails() -> None:
    """The first is refused: the rest go on at that moment, and are answered."""
    stack = Stack(SAFE, realtime=True, rules=RULES)
    stack.api.faults = Script([Fault("overloaded")])
    statuses = fanned_out(stack)
    assert [529] + [200] * (COUNT - 1) == statuses
    assert [START_MS] * COUNT == [each.opened_at_ms for each in stack.closed]


def test_nobody_waits_longer_than_first_tokens_take() -> None:
    """Where the first one is slower than nearly all before, the rest go when 19 in 20 would have begun."""
    stack = Stack(SAFE, realtime=True, rules=RULES)

    async def warm_up() -> None:
        for number in range(KNOWN_FROM):
            await stack.ask(sibling(number, f"Another prompt, {number}.\n"), {})

    run(stack.clock, warm_up())
    first_tokens = sorted((each.first_token_at_ms or 0) - each.opened_at_ms for each in stack.closed)
    stack.simulator.rules = msgspec.structs.replace(RULES, first_token_ms=100 * first_tokens[-1])
    began = stack.clock.now_ms()
    assert [200] * COUNT == fanned_out(stack)
    waits = sorted(each.opened_at_ms - began for each in stack.closed[KNOWN_FROM:])
    assert [0, *[first_tokens[-1]] * (COUNT - 1)] == waits
