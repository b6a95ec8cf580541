"""Claude Code, headless, through gateway and simulator: loops, parallel tools, subagents; the bytes and the bill."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import total
from tests.e2e.claude import KEY, VERSION, ClaudeCode, blocks
from tests.e2e.stand import Stand, Stands

pytestmark = pytest.mark.clients

#: Claude Code adds its cost up in floats.
ROUNDING_USD = 1e-9


def _checked(stand: Stand) -> list[Exchange]:
    """Check bytes and bills, and that Claude Code's own headers arrived; return the exchanges."""
    arrived = [dict(seen.headers) for seen in stand.back.seen if seen.method == "POST"]
    assert {("2023-06-01", KEY)} == {(headers["anthropic-version"], headers["x-api-key"]) for headers in arrived}
    exchanges = stand.checked()
    assert {f"claude-cli/{VERSION}"} == {exchange.client for exchange in exchanges}
    return exchanges


def expect_same_bill(told: dict[str, Any], exchanges: list[Exchange]) -> None:
    """Compare what Claude Code says it used and cost, of all models, with the ledger."""
    used = total(exchange.usage for exchange in exchanges if exchange.usage)
    cost_nano_usd = sum(exchange.cost_nano_usd or 0 for exchange in exchanges)
    models = told["modelUsage"]

    assert {exchange.served_model for exchange in exchanges} == set(models)
    assert cost_nano_usd / 1e9 == pytest.approx(told["total_cost_usd"], abs=ROUNDING_USD)
    assert {
        "inputTokens": used.uncached_input_tokens,
        "cacheReadInputTokens": used.cache_read_input_tokens,
        "cacheCreationEphemeral5mInputTokens": used.cache_write_5m_input_tokens,
        "cacheCreationEphemeral1hInputTokens": used.cache_write_1h_input_tokens,
        "outputTokens": used.output_tokens,
    }.items() <= {name: sum(model[name] for model in models.values()) for name in _COUNTS}.items()


_COUNTS = (
    "inputTokens",
    "cacheReadInputTokens",
    "cacheCreationEphemeral5mInputTokens",
    "cacheCreationEphemeral1hInputTokens",
    "outputTokens",
)


def _outputs(stand: Stand) -> list[str]:
    """Return what the client's tools put out, as its last request has it."""
    return [result["content"] for result in blocks(stand.back.seen[-1].body, "tool_result")]


@pytest.mark.parametrize("compress", [False, True])
def test_a_loop_of_three_turns(stands: Stands, claude_code: ClaudeCode, compress: bool) -> None:
    """Three tools really run, their results go upstream, and client, ledger and invoice name one bill."""
    with stands.make(compress=compress) as stand:
        code, told = claude_code.run(stand.url, "SCENARIO:loop3 look")
    exchanges = _checked(stand)

    assert [compress] * 4 == ["content-encoding" in dict(seen.answer_headers) for seen in stand.front.seen]
    assert (0, False, 4) == (code, told["is_error"], told["num_turns"])
    assert ["step-1", "step-2", "step-3"] == _outputs(stand)
    assert ["tool_use"] * 3 + ["end_turn"] == [exchange.stop_reason for exchange in exchanges]
    assert {(told["session_id"], "main", None)} == {
        (exchange.session_id, exchange.request_class, exchange.agent_id) for exchange in exchanges
    }
    assert None not in {exchange.prompt_id for exchange in exchanges}
    expect_same_bill(told, exchanges)


def test_a_session_that_goes_on(stands: Stands, claude_code: ClaudeCode) -> None:
    """`--continue` in a new process is the same session, and reads what the first process had written."""
    with stands.make() as stand:
        _, first = claude_code.run(stand.url, "SCENARIO:loop1 look")
        before = len(stand.back.seen)
        code, second = claude_code.run(stand.url, "SCENARIO:loop1 look again", "--continue")
    exchanges = _checked(stand)
    last, resumed = exchanges[before - 1].usage, exchanges[before].usage

    assert 0 == code
    assert first["session_id"] == second["session_id"]
    assert {first["session_id"]} == {exchange.session_id for exchange in exchanges}
    assert last is not None
    assert resumed is not None
    assert 0 < last.cache_read_input_tokens + last.cache_write_5m_input_tokens == resumed.cache_read_input_tokens
    assert ["step-1", "step-1"] == _outputs(stand)
    # What is resumed keeps counting where it stopped.
    expect_same_bill(second, exchanges)


def test_tools_in_parallel(stands: Stands, claude_code: ClaudeCode) -> None:
    """Four tools of one turn run beside each other, and their results go upstream together."""
    with stands.make() as stand:
        code, told = claude_code.run(stand.url, "SCENARIO:para4 look")
    exchanges = _checked(stand)

    assert (0, 2) == (code, len(exchanges))
    assert [f"part-{part}" for part in (1, 2, 3, 4)] == sorted(_outputs(stand))
    expect_same_bill(told, exchanges)


def test_thinking(stands: Stands, claude_code: ClaudeCode) -> None:
    """Thinking blocks come back with their signatures as they were given, and are a part of the output."""
    with stands.make() as stand:
        code, told = claude_code.run(stand.url, "SCENARIO:think2 look")
    exchanges = _checked(stand)
    used = total(exchange.usage for exchange in exchanges if exchange.usage)

    assert 0 == code
    assert 2 == len(blocks(stand.back.seen[-1].body, "thinking"))
    assert 0 < used.thinking_tokens < used.output_tokens
    expect_same_bill(told, exchanges)


def test_a_subagent(stands: Stands, claude_code: ClaudeCode) -> None:
    """A subagent's exchanges carry its id, type and class, within the session of its parent."""
    with stands.make() as stand:
        # With this one tool on offer, the simulator's loop has nothing else to use.
        code, told = claude_code.run(stand.url, "SCENARIO:loop1 ask somebody", "--tools", "Agent")
    exchanges = _checked(stand)
    (sub,) = [exchange for exchange in exchanges if exchange.request_class == "subagent"]

    assert (0, 1) == (code, told["subagent_stats"]["completed"])
    assert "general-purpose" == sub.agent_type
    assert sub.agent_id is not None
    assert {None} == {exchange.agent_id for exchange in exchanges if exchange is not sub}
    assert {told["session_id"]} == {exchange.session_id for exchange in exchanges}
    expect_same_bill(told, exchanges)


def test_a_cache_of_an_hour(stands: Stands, claude_code: ClaudeCode) -> None:
    """Writes for an hour are told from writes for five minutes, and priced as such."""
    with stands.make() as stand:
        code, told = claude_code.run(stand.url, "SCENARIO:loop1 look", CLAUDE_CODE_PROMPT_CACHE_TTL="1h")
    exchanges = _checked(stand)
    used = total(exchange.usage for exchange in exchanges if exchange.usage)

    assert 0 == code
    assert 0 == used.cache_write_5m_input_tokens < used.cache_write_1h_input_tokens
    expect_same_bill(told, exchanges)


def test_an_unknown_model(stands: Stands, claude_code: ClaudeCode) -> None:
    """The API's 404 reaches Claude Code as it is: it gives up, and nothing has a cost."""
    with stands.make() as stand:
        code, told = claude_code.run(stand.url, "SCENARIO:hello", "--model", "claude-nonesuch")
    exchanges = _checked(stand)

    assert (1, True) == (code, told["is_error"])
    assert {(404, "not_found_error", None)} == {
        (exchange.http_status, exchange.error_type, exchange.cost_nano_usd) for exchange in exchanges
    }
    assert {"not_found_error"} == {json.loads(seen.answer)["error"]["type"] for seen in stand.front.seen}
