"""Observe: nothing is changed, the prediction is stated, and settling prices what was used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pytest

from scrimp.core.belief.events import FirstToken, RequestArrived
from scrimp.core.belief.session import Belief, step
from scrimp.core.plan.planning import Policy, Settlement, plan, settle, waiting
from scrimp.core.wire.blocks import Block
from scrimp.core.wire.prices import RateCard
from scrimp.core.wire.request import Request, parse
from scrimp.core.wire.tokens import Calibration
from scrimp.core.wire.usage import Metered, Usage, UsageLine
from scrimp.upstream.pricefeed import load_book

BOOK = load_book()


class PennyBook:
    """A price book where every input token costs one nano-dollar and models named "unknown" have no price."""

    def cost_nano_usd(self, lines: Iterable[UsageLine], at_ms: int) -> int | None:
        """Return the tokens of the lines."""
        assert at_ms > 0
        lines = list(lines)
        if any(line.model == "unknown" for line in lines):
            return None
        return sum(line.usage.total_input_tokens + line.usage.output_tokens for line in lines)

    def line_card(self, line: UsageLine, at_ms: int, length: int) -> RateCard | None:
        """Return a card of the same prices."""
        assert at_ms > 0
        assert length >= 0
        return None if line.model == "unknown" else RateCard(1_000, 1_000, 1_000, 1_000, 1_000)


def count(_model: str, blocks: Sequence[Block], _calibration: Calibration) -> Sequence[int]:
    """Count a thousand tokens a block."""
    return [1000] * len(blocks)


def request(model: str) -> Request:
    """Return a request of one marked block."""
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "cache_control": {"type": "ephemeral"}}
    return parse(json.dumps(body).encode())


def test_observing_predicts_and_changes_nothing() -> None:
    """The baseline of an untouched request is its own predicted cost."""
    planned = plan(request("claude-opus-5-5"), Belief(), Policy(), PennyBook(), 1, count)

    assert ("observe", 1000, 1000) == (
        planned.mode,
        planned.predicted_input_cost_nano_usd,
        planned.baseline_input_cost_nano_usd,
    )
    assert Usage(cache_write_5m_input_tokens=1000) == planned.split.usage


def test_an_unknown_model_has_no_predicted_cost() -> None:
    """None, never zero."""
    assert plan(request("unknown"), Belief(), Policy(), PennyBook(), 1, count).predicted_input_cost_nano_usd is None


def test_settling_prices_the_lines() -> None:
    """Cost and baseline agree where nothing was changed."""
    usage = Usage(5, 6, 7, 8, 9)

    assert Settlement(usage, 35, 35) == settle(Metered(usage, (UsageLine(usage, "m"),)), PennyBook(), 1)
    assert Settlement(usage, None, None) == settle(Metered(usage, (UsageLine(usage, "unknown"),)), PennyBook(), 1)


LONG = "The same long manual for every one of these agents. " * 2_000
SAFE, ORDERED = Policy(mode="safe"), Policy(mode="safe", order=True)
NOW_MS = 1_790_000_000_000


def sibling(number: int, *, line: bool, marked: bool) -> Request:
    """Return one of several agents' first requests, that may begin with a line of its own."""
    system: dict[str, Any] = {"type": "text", "text": f"Current time: 12:01:{number:02d}\n{LONG}" if line else LONG}
    body: dict[str, Any] = {"model": "claude-opus-4-8", "max_tokens": 9, "system": [system]}
    body["messages"] = [{"role": "user", "content": f"Task {number}."}]
    if marked:
        system["cache_control"] = {"type": "ephemeral"}
    return parse(json.dumps(body).encode())


def after(first: Request, policy: Policy) -> Belief:
    """Return what is believed once a request was planned and sent."""
    planned = plan(first, Belief(), policy, BOOK, NOW_MS)
    arrived = RequestArrived("first", "s", planned.prompt, planned.split, NOW_MS, kinds=planned.kinds)
    return step(Belief(), msgspec.structs.replace(arrived, shadows=planned.shadows, look=planned.look))


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize(("line", "policy", "waits"), [(False, SAFE, True), (True, SAFE, False), (True, ORDERED, True)])
def test_siblings_wait_where_they_will_share_a_prefix(marked: bool, line: bool, policy: Policy, waits: bool) -> None:
    """Marked by the client or by us: those whose prefixes differ wait only where the difference may be moved."""
    belief = after(sibling(1, line=line, marked=marked), policy)
    found = waiting(sibling(2, line=line, marked=marked), belief, policy, BOOK, NOW_MS + 10)
    assert waits is (found is not None)
    if found is not None:
        landed = step(belief, FirstToken("first", NOW_MS + 20))
        costs = [
            plan(sibling(2, line=line, marked=marked), each, policy, BOOK, NOW_MS + 30).predicted_input_cost_nano_usd
            for each in (belief, landed)
        ]
        assert ("first", (costs[0] or 0) - (costs[1] or 0)) == (found.flight, found.saves_nano_usd)
        assert waiting(sibling(2, line=line, marked=marked), landed, policy, BOOK, NOW_MS + 30) is None


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("is_heard", [True, False])
def test_who_waited_would_have_paid_for_the_prefix_alone(marked: bool, is_heard: bool) -> None:
    """Whether or not the first token was heard of by then, the baseline is the bill of going at once."""
    belief, second = after(sibling(1, line=False, marked=marked), SAFE), sibling(2, line=False, marked=marked)
    at_once = plan(second, belief, SAFE, BOOK, NOW_MS + 10)
    wait = waiting(second, belief, SAFE, BOOK, NOW_MS + 10)
    assert wait is not None
    later = step(belief, FirstToken("first", NOW_MS + 20)) if is_heard else belief
    planned = plan(second, later, SAFE, BOOK, NOW_MS + 30, waited=wait)
    expected = at_once.baseline_input_cost_nano_usd
    assert (at_once.shadows, expected) == (planned.shadows, planned.baseline_input_cost_nano_usd)
    tokens = planned.prompt.total_tokens
    line = UsageLine(Usage(20, tokens - 20), "claude-opus-4-8")
    settled = settle(Metered(line.usage, (line,)), BOOK, NOW_MS + 30, planned)
    assert expected == settled.baseline_cost_nano_usd
    assert (settled.cost_nano_usd or 0) < (expected or 0) / 5
