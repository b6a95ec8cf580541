"""The anthropic TypeScript SDK through gateway and simulator: its ways of asking, the bytes and the bill."""

from __future__ import annotations

import json

import pytest

from scrimp.core.belief.exchange import Exchange
from scrimp.sim.rules import Rules
from tests.e2e.scripts import KEY, Scripts
from tests.e2e.stand import Stand, Stands

pytestmark = pytest.mark.clients

SCRIPT = "typescript.mjs"


def _checked(stand: Stand) -> list[Exchange]:
    """Check bytes and bills, and that the SDK's own headers arrived; return the exchanges."""
    arrived = [dict(seen.headers) for seen in stand.back.seen]
    assert {("2026-10-21", f"Bearer {KEY}")} == {
        (headers["anthropic-version"], headers["authorization"]) for headers in arrived
    }
    exchanges = stand.checked()
    assert {"Anthropic/JS 1.12.0"} >= {exchange.client for exchange in exchanges}
    return exchanges


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("way", ["create", "raw", "beta", "stream"])
def test_one_message(stands: Stands, typescript: Scripts, way: str, compress: bool) -> None:
    """Asked twice, the second reads what the first wrote; client, ledger and invoice name the same usage."""
    with stands.make(compress=compress) as stand:
        told = [typescript.run(stand.url, SCRIPT, way) for _ in range(2)]
    exchanges = _checked(stand)

    assert [each["message"]["id"] for each in told] == [exchange.message_id for exchange in exchanges]
    assert {each.get("request_id", exchanges[0].request_id) for each in told[:1]} == {exchanges[0].request_id}
    first, second = (exchange.usage for exchange in exchanges)
    assert first is not None
    assert second is not None
    assert 0 < first.cache_write_5m_input_tokens == second.cache_read_input_tokens
    assert [first.output_tokens, second.output_tokens] == [each["message"]["usage"]["output_tokens"] for each in told]


def test_a_stream_in_pieces(stands: Stands, typescript: Scripts) -> None:
    """Each event of a stream reaches the client, from the first to the last."""
    with stands.make() as stand:
        told = typescript.run(stand.url, SCRIPT, "pieces")
    (exchange,) = _checked(stand)

    assert exchange.message_id == told["events"][0]["message"]["id"]
    assert "message_stop" == told["events"][-1]["type"]


def test_count_tokens(stands: Stands, typescript: Scripts) -> None:
    """Counting passes through, is no exchange, and says what the same prompt is then billed."""
    with stands.make() as stand:
        counted = typescript.run(stand.url, SCRIPT, "count")["counted"]
        typescript.run(stand.url, SCRIPT, "create")
    (exchange,) = _checked(stand)

    assert exchange.usage is not None
    assert counted == exchange.usage.total_input_tokens


@pytest.mark.parametrize("way", ["runner", "streamingRunner"])
def test_the_tool_runner_goes_on_without_threads(stands: Stands, typescript: Scripts, way: str) -> None:
    """The API's refusal of threads reaches the SDK word for word, so it replays the whole conversation itself."""
    with stands.make(rules=Rules(threads=False)) as stand:
        told = typescript.run(stand.url, SCRIPT, way, "SCENARIO:loop2 look")
    refused, *answered = _checked(stand)

    assert ["step-1", "step-2"] == told["read"]
    assert b"thread_unsupported_request" in stand.front.seen[0].answer
    assert (400, "invalid_request_error", None) == (refused.http_status, refused.error_type, refused.cost_nano_usd)
    assert told["told"] == [exchange.message_id for exchange in answered]


@pytest.mark.parametrize("way", ["runner", "streamingRunner"])
def test_the_tool_runner_in_a_thread(stands: Stands, typescript: Scripts, way: str) -> None:
    """Where the API holds the conversation, each turn passes with its new messages alone."""
    with stands.make(rules=Rules(threads=True)) as stand:
        told = typescript.run(stand.url, SCRIPT, way, "SCENARIO:loop2 look")
    exchanges = _checked(stand)

    assert ["step-1", "step-2"] == told["read"]
    assert ["create", "continue", "continue"] == [json.loads(seen.body)["thread"]["type"] for seen in stand.messages()]
    assert told["told"] == [exchange.message_id for exchange in exchanges]
