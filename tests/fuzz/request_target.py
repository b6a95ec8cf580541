"""A request body through the whole of planning: only `RequestUnreadable` may come of it."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from scrimp.core.belief.divergence import compare
from scrimp.core.belief.events import FirstToken, RequestArrived, UsageSeen
from scrimp.core.belief.exchange import Exchange
from scrimp.core.belief.identity import identify
from scrimp.core.belief.prefix import kept_blocks, read_prompt
from scrimp.core.belief.session import Belief, session_of, step, tails_of
from scrimp.core.plan.planning import Plan, Policy, plan
from scrimp.core.wire.prices import PriceBook
from scrimp.core.wire.request import Request, RequestUnreadable, parse
from scrimp.core.wire.surrogates import UNREADABLE, without_half_surrogates
from scrimp.core.wire.tokens import count_blocks
from scrimp.engine.readings import Readings
from scrimp.engine.tasktypes import TaskTypes
from scrimp.engine.weights import Weights
from scrimp.upstream.pricefeed import load_book
from tests.fuzz.inputs import COMPARED_BYTES_MAX, Input

NOW_MS = 1_780_000_000_000
_HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"x-api-key": "fake-key", "user-agent": "Anthropic/Python 2.12.0"},
    {"authorization": "Bearer fake", "x-claude-code-session-id": "s", "user-agent": "claude-cli/2.1.330"},
    {"x-claude-code-agent-id": "a", "x-claude-code-agent-type": "Explore", "scrimp-task": "t"},
)


@cache
def prices() -> PriceBook:
    """Return the packaged prices."""
    return load_book()


def check_request(given: Input) -> None:
    """Read, plan and fold one request; the same bytes give the same answer, remembered or not."""
    remembering, headers = Readings(), _HEADERS[given.ways[0] % len(_HEADERS)]
    if len(given.text) > COMPARED_BYTES_MAX:
        request = _read(given.text, remembering)
        if request is not None:
            _planned(request, headers)
        return
    request = _read(given.text, None)
    assert request == _read(given.text, remembering)
    assert request == _read(given.text, remembering)
    if request is not None:
        _check_planning(request, headers)
        _check_digests(given)


def _read(body: bytes, reader: Readings | None) -> Request | None:
    try:
        return parse(body, reader)
    except RequestUnreadable:
        return None


def _planned(request: Request, headers: dict[str, str]) -> tuple[Plan, Belief]:
    """Take a request through planning as the gateway does; return its plan and what is believed once it was sent."""
    who, weights = identify(headers, request.user_id), Weights()
    planned = plan(request, Belief(), Policy(), prices(), NOW_MS, weights.count)
    session_id = session_of(Belief(), request, who.session_id, "fresh")
    arrived = RequestArrived("one", session_id, planned.prompt, planned.split, NOW_MS, tails_of(request))
    exchange = Exchange(
        exchange_id="one", opened_at_ms=NOW_MS, source="gateway", request_class=who.request_class, agent_id=who.agent_id
    )
    assert isinstance(TaskTypes().name(exchange, request), str)
    return planned, step(Belief(), arrived)


def _check_planning(request: Request, headers: dict[str, str]) -> None:
    first, belief = _planned(request, headers)
    policy, weights = Policy(), Weights()
    assert first == plan(request, Belief(), policy, prices(), NOW_MS, weights.count)
    _check_plan(request, first)
    belief = step(belief, FirstToken("one", NOW_MS + 5))
    again = plan(request, belief, policy, prices(), NOW_MS + 10, weights.count)
    written = first.split.usage.cache_write_input_tokens
    assert written == again.split.usage.cache_read_input_tokens, "what was written a moment ago is not read"
    belief = step(belief, UsageSeen("one", first.split.usage, NOW_MS + 20))
    _check_plan(request, plan(request, belief, policy, prices(), NOW_MS + 30, weights.count))
    assert compare(request, request) is None


def _check_plan(request: Request, planned: Plan) -> None:
    """The split is of the whole prompt, no class is below zero, and an unknown price is unknown."""
    usage = planned.split.usage
    assert min(msgspec.structs.astuple(usage)) >= 0
    assert usage.total_input_tokens == planned.prompt.total_tokens
    blocks = kept_blocks(request)
    assert read_prompt(request, count_blocks(request.model, blocks)).digests == planned.prompt.digests
    assert len(blocks) == len(planned.prompt.tokens) == len(planned.prompt.runs)
    cost = planned.predicted_input_cost_nano_usd
    assert cost is None or (cost >= 0 and prices().find(request.model) is not None)


def _check_digests(given: Input) -> None:
    """A block's digest is its content: a mark leaves every digest as it was, another text changes one alone."""
    try:
        tree = msgspec.json.decode(without_half_surrogates(given.text))
    except UNREADABLE:  # what is not looked at may be out of range
        return
    blocks = [
        block
        for message in tree["messages"]
        if isinstance(message.get("content"), list)
        for block in message["content"]
        if isinstance(block, dict) and b'"cache_control"' not in msgspec.json.encode(block)
    ]
    if not blocks:
        return
    block = blocks[given.ways[1] % len(blocks)]
    before = _digests(tree)
    if not isinstance(block.get("input"), str | int | float):
        block["cache_control"] = {"type": "ephemeral"}
        assert before == _digests(tree), "a mark changed a digest"
        del block["cache_control"]
    if isinstance(block.get("text"), str):
        block["text"] += "x"
        after = _digests(tree)
        assert len(before) == len(after)
        assert [True] == [one != other for one, other in zip(before, after, strict=True) if one != other]


def _digests(tree: Any) -> list[bytes]:
    return [block.digest for block in parse(msgspec.json.encode(tree)).blocks]
