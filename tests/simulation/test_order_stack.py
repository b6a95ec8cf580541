"""The order lever through the whole gateway: a volatile line at the head of the system prompt, twenty turns."""

from __future__ import annotations

import json
import logging
import random
import re
from itertools import pairwise
from typing import Any

import pytest

from scrimp.core.plan.planning import Policy
from tests.simulation.planned import clock
from tests.simulation.test_order import PAUSE_MS, TAKES_NONE, TAKES_SYSTEM, TURNS, App, Body, as_blocks, words
from tests.simulation.test_safe_stack import ORDERED, SAFE, Stack
from tests.simulation.virtual import run

MODELS = pytest.mark.parametrize("model", [TAKES_SYSTEM, TAKES_NONE])
#: What is told of the first request stands on estimates of its tokens, before any bill: the factor that it may be off.
#: Once bills are known it is 8% (test_order).
ESTIMATED = 2


def played(app: App, policy: Policy) -> tuple[Stack, list[Body]]:
    """Run one tool loop through a gateway; return it, and the bodies that its client sent."""
    stack, asked = Stack(policy), []

    async def turns() -> None:
        messages: list[Body] = [{"role": "user", "content": [{"type": "text", "text": "SCENARIO:think30 Mend it."}]}]
        for turn in range(TURNS):
            asked.append(app.request(messages, turn))
            status, answer = await stack.ask(asked[-1], {})
            assert 200 == status
            stack.clock.advance_ms(PAUSE_MS)
            messages.append({"role": "assistant", "content": answer["content"]})
            messages.append({"role": "user", "content": _results(answer, turn)})

    run(stack.clock, turns())
    return stack, asked


def _results(answer: Any, turn: int) -> list[Body]:
    uses = [block["id"] for block in answer["content"] if block["type"] == "tool_use"]
    found = words(random.Random(turn), 60)
    results = [{"type": "tool_result", "tool_use_id": use, "content": found} for use in uses]
    return results or [{"type": "text", "text": "Go on."}]


def bill(stack: Stack) -> int:
    """Return what the simulator billed."""
    return stack.simulator.invoice.cost_nano_usd


@MODELS
@pytest.mark.parametrize("marking", ["automatic", "explicit"])
def test_the_line_costs_at_the_head_what_it_costs_at_the_tail(model: str, marking: str) -> None:
    """Opted in: within 5% of the bill with the line at the tail, and the ledger agrees with the invoice."""
    moved, _ = played(App(model, marking), ORDERED)
    tail, _ = played(App(model, marking, place="tail"), SAFE)
    left, _ = played(App(model, marking), SAFE)
    assert bill(moved) <= 1.05 * bill(tail) < 0.7 * bill(left)
    assert bill(moved) == sum(each.cost_nano_usd or 0 for each in moved.closed)
    sent = [json.loads(each.body) for each in moved.api.recorded]
    systems = [[block["text"] for block in as_blocks(each["system"])] for each in sent]
    assert all(one == two for one, two in pairwise(systems))
    assert all(clock(turn) in json.dumps(each["messages"][-1]) for turn, each in enumerate(sent))


@MODELS
@pytest.mark.parametrize("policy", [Policy(), SAFE])
def test_the_default_only_tells_what_it_costs(model: str, policy: Policy, caplog: pytest.LogCaptureFixture) -> None:
    """Not opted in: every text goes as it came, and the log tells once what the next bill shows, and the fix."""
    with caplog.at_level(logging.WARNING, "scrimp.engine"):
        left, asked = played(App(model), policy)
    tail, _ = played(App(model, place="tail"), policy)
    sent = [json.loads(each.body) for each in left.api.recorded]
    assert [texts(each) for each in asked] == [texts(each) for each in sent]
    told = [each.message for each in caplog.records if each.message.startswith("order: ")]
    assert 1 == len(told)
    assert "order = true, in safe mode" in told[0]
    cost = re.search(r"costs (\d+\.\d+) USD", told[0])
    assert cost is not None
    second, other = (stack.simulator.invoice.lines[1].cost_nano_usd for stack in (left, tail))
    differ = (second - other) / 1e9
    assert differ / ESTIMATED <= float(cost[1]) <= differ * ESTIMATED


def texts(body: Body) -> str:
    """Return what a body says, marks aside and whichever form it has."""
    return re.sub(r', "cache_control": \{[^}]*\}', "", json.dumps([body["system"], body["messages"], body["tools"]]))
