"""What the library costs against the bare SDK, by the simulator's invoice: agents of every habit, and `order`."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import pytest

from scrimp.sim.clients import scripted_agent
from tests.sdk.stage import (
    HELLO,
    SHELL,
    Stage,
    staged,
    tool_loop,
    unmarked,
)

#: The SDK takes a second to import: one worker does.
pytestmark = pytest.mark.xdist_group("sdk")

Client = anthropic.Anthropic
AsyncClient = anthropic.AsyncAnthropic


def test_a_tool_loop_is_cheaper_and_its_prefix_never_changes() -> None:
    """Ten turns against the same ten turns bare: a lower bill, the same words, and every turn reads all before it."""
    with staged() as bare, bare.client() as client:
        spoken = tool_loop(client, 10)
    with staged() as stage, stage.client(stage.middleware()) as client:
        told = tool_loop(client, 10)
        exchanges = stage.checked()
    print(f"\nmeasured: ten turns bare {bare.bill_nano_usd}, in the library {stage.bill_nano_usd} nano-USD")
    assert [answer.content for answer in spoken] == [answer.content for answer in told]
    assert [unmarked(body) for body in bare.asked] == [unmarked(body) for body in stage.asked]
    assert stage.bill_nano_usd < 0.4 * bare.bill_nano_usd
    assert bare.bill_nano_usd == sum(each.baseline_cost_nano_usd or 0 for each in exchanges)
    used = [each.usage for each in exchanges if each.usage]
    written = [usage.cache_read_input_tokens + usage.cache_write_5m_input_tokens for usage in used]
    assert written[:-1] == [usage.cache_read_input_tokens for usage in used[1:]]


#: No pause outlasts a cache of five minutes.
SHORT_MS = 240_000


def _sent(stage: Stage, client: Client, seed: int, pause_max_ms: int) -> None:
    """Play a scripted conversation through the SDK."""
    conversation, heard = scripted_agent(seed), None
    while True:
        try:
            ask = conversation.send(heard)  # type: ignore[arg-type]
        except StopIteration:
            return
        stage.clock.advance_ms(min(ask.pause_ms, pause_max_ms))
        named = {name: value for name, value in ask.headers.items() if name not in {"authorization", "x-api-key"}}
        body = {name: value for name, value in ask.request.items() if name != "stream"}
        heard = client.post("/v1/messages", body=body, options={"headers": named}, cast_to=dict[str, Any])


def _both(seed: int, pause_max_ms: int) -> tuple[int, int]:
    """Return the bill of a conversation with the bare SDK and with the library, in nano-USD."""
    with staged() as bare, bare.client(max_retries=0) as client:
        _sent(bare, client, seed, pause_max_ms)
    with staged() as stage, stage.client(stage.middleware(), max_retries=0) as client:
        _sent(stage, client, seed, pause_max_ms)
        assert len(bare.lines) == len(stage.checked())
    return bare.bill_nano_usd, stage.bill_nano_usd


@pytest.mark.parametrize("seed", range(6))
def test_safe_is_never_dearer_than_bare(seed: int) -> None:
    """Scripted agents of every habit, at work: at most what they cost alone, and every exchange in the ledger."""
    bare, safe = _both(seed, SHORT_MS)
    print(f"\nmeasured: seed {seed}: bare {bare}, in the library {safe} nano-USD")
    assert safe <= bare


@pytest.mark.slow
def test_long_pauses_are_worth_their_risk(seed_count: int | None) -> None:
    """With pauses of any length, which nobody can know beforehand, one conversation may lose; together they do not."""
    bills = [_both(seed, 10**9) for seed in range(seed_count or 20)]
    bare, safe = (sum(each) for each in zip(*bills, strict=True))
    print(f"\nmeasured: {len(bills)} conversations: bare {bare}, in the library {safe} nano-USD")
    assert safe <= bare


def _line(turn: int) -> str:
    return f"Current time: {12 + turn // 60}:{turn % 60:02d}:{(33 + 7 * turn) % 60:02d}, on this host, for the user."


def _clocked(stage: Stage, client: Client, *, at_the_head: bool) -> int:
    """Run twenty turns of an application that states the time; return its bill in nano-USD."""
    messages: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "SCENARIO:loop30 Mend it."}]}]
    for turn in range(20):
        asked = {**HELLO, "model": "claude-opus-4-8", "tools": [SHELL], "cache_control": {"type": "ephemeral"}}
        asked["messages"] = messages
        if at_the_head:
            asked["system"] = f"{_line(turn)}\n{HELLO['system']}"
        else:
            asked["messages"] = _with_tail(messages, _line(turn))
            del asked["cache_control"]
        answer = client.messages.create(**asked)
        messages.append({"role": "assistant", "content": answer.content})
        uses = [block.id for block in answer.content if block.type == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": use, "content": "All is well. " * 20} for use in uses]
        messages.append({"role": "user", "content": results or [{"type": "text", "text": "Go on."}]})
        stage.clock.advance_ms(20_000)
    return stage.bill_nano_usd


def _with_tail(messages: list[Any], line: str) -> list[Any]:
    """Return messages with the mark on their last block and a line behind it."""
    last = messages[-1]
    marked = {**last["content"][-1], "cache_control": {"type": "ephemeral"}}
    return [*messages[:-1], {**last, "content": [*last["content"][:-1], marked]}, {"role": "system", "content": line}]


def test_a_volatile_line_at_the_head_is_moved_where_that_is_allowed(caplog: pytest.LogCaptureFixture) -> None:
    """Twenty turns with 25 tokens that change in front: with `order` within 5% of the bill with them at the tail.

    Without it the text stays where it is, and its price and its fix are told once.
    """
    bills = {}
    for name, options, at_the_head in (
        ("order", {"order": True}, True),
        ("tail", {"order": True}, False),
        ("no order", {}, True),
    ):
        with staged() as stage, stage.client(stage.middleware(**options)) as client:
            bills[name] = _clocked(stage, client, at_the_head=at_the_head)
            stage.checked()
        if name == "no order":
            told = [json.loads(body)["system"] for body in stage.asked]
            assert all(_line(turn) in json.dumps(system) for turn, system in enumerate(told))
    print(f"\nmeasured: twenty turns with a clock: {bills} nano-USD")
    assert bills["order"] <= 1.05 * bills["tail"] < 0.7 * bills["no order"]
    (priced,) = [record.message for record in caplog.records if "order = true" in record.message]
    assert "system.0 at byte 0 costs 0.0" in priced
    assert [] == [record for record in caplog.records if record.levelname == "ERROR"]
