"""Thinking that is switched on and off, through the whole gateway: both prompts live, and the bill is the ledger's."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest

from tests.simulation.held import MANUAL, MINUTE_MS, NAMED, Body, Stack, going_on, run, told

MODES = ("adaptive", "disabled") * 3


def switching(minutes: int, scenario: str = "text") -> Callable[[Stack], Awaitable[None]]:
    """Return the story of a conversation in which each request thinks in another way than the one before."""

    async def story(stack: Stack) -> None:
        body: Body = told(scenario, system="Short.")
        body["messages"][0]["content"].insert(0, {"type": "text", "text": MANUAL})
        for mode in MODES:
            body |= {"thinking": {"type": mode}}
            body = going_on(body, await stack.ask(body))
            await stack.clock.pass_ms(minutes * MINUTE_MS)

    return story


def client_reads(stack: Stack) -> list[bool]:
    """Say of each request of the client whether it read the conversation."""
    usages = [each.usage for each in stack.closed if each.origin == "client" and each.usage]
    return [usage.cache_read_input_tokens > 50_000 for usage in usages]


@pytest.mark.parametrize("scenario", ["text", "loop6"])
@pytest.mark.parametrize("minutes", [4, 7, 12])
def test_the_old_prompt_is_read_when_the_mode_comes_back(minutes: int, scenario: str) -> None:
    """Each mode writes the conversation once, and from then on both are read through every pause."""
    stack = run(switching(minutes, scenario))
    stack.check_the_bill()
    assert [False, False, True, True, True, True] == client_reads(stack)
    modes = {json.dumps(ping["thinking"]) for ping in stack.sent_pings}
    assert 2 == len(modes)
    assert {NAMED["x-claude-code-session-id"]} == {each.session_id for each in stack.pings}


def test_it_costs_less_than_writing_anew() -> None:
    """Pings and all, beside the same conversation that is only observed."""
    held, observed = run(switching(7)), run(switching(7), Stack("observe"))
    assert [False] * 6 == client_reads(observed)
    assert 2 * held.simulator.invoice.cost_nano_usd < observed.simulator.invoice.cost_nano_usd


def test_what_nobody_comes_back_to_is_let_go() -> None:
    """A day later nobody sleeps, and there were no more pings than both prompts were worth."""

    async def story(stack: Stack) -> None:
        await switching(4)(stack)
        await stack.clock.pass_ms(24 * 60 * MINUTE_MS)
        assert 0 == stack.clock.sleeping

    stack = run(story)
    stack.check_the_bill()
    last_ms = max(each.opened_at_ms for each in stack.closed if each.origin == "client")
    assert 1 < sum(each.opened_at_ms > last_ms for each in stack.pings) < 2 * 24
