"""Claude Code, headless, through gateway and simulator: loops, parallel tools, subagents; the bytes and the bill."""

from __future__ import annotations

import json

import pytest

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import total
from tests.e2e.claude import KEY, VERSION, VERSIONS, ClaudeCode, blocks, expect_same_bill
from tests.e2e.stand import Stand, Stands

pytestmark = pytest.mark.clients


def _checked(stand: Stand) -> list[Exchange]:
    """Check bytes and bills, and that Claude Code's own headers arrived; return the exchanges."""
    arrived = [dict(seen.headers) for seen in stand.back.seen if seen.method == "POST"]
    assert {("2023-06-01", KEY)} == {(headers["anthropic-version"], headers["x-api-key"]) for headers in arrived}
    exchanges = stand.checked()
    assert {f"claude-cli/{version}" for version in VERSIONS} >= {exchange.client for exchange in exchanges}
    return exchanges


def _outputs(stand: Stand) -> list[str]:
    """Return what the client's tools put out, as its last request has it."""
    return [result["content"] for result in blocks(stand.messages()[-1].body, "tool_result")]


@pytest.mark.parametrize("compress", [False, True])
def test_a_loop_of_three_turns(stands: Stands, each_claude_code: ClaudeCode, compress: bool) -> None:
    """Three tools really run, their results go upstream, and client, ledger and invoice name one bill."""
    with stands.make(compress=compress) as stand:
        code, told = each_claude_code.run(stand.url, "SCENARIO:loop3 look")
    exchanges = _checked(stand)

    assert [compress] * 4 == ["content-encoding" in dict(seen.answer_headers) for seen in stand.messages()]
    assert (0, False, 4) == (code, told["is_error"], told["num_turns"])
    assert ["step-1", "step-2", "step-3"] == _outputs(stand)
    assert ["tool_use"] * 3 + ["end_turn"] == [exchange.stop_reason for exchange in exchanges]
    assert {(told["session_id"], "main", None)} == {
        (exchange.session_id, exchange.request_class, exchange.agent_id) for exchange in exchanges
    }
    assert (each_claude_code.version == VERSION) == (None not in {exchange.prompt_id for exchange in exchanges})
    expect_same_bill(told, exchanges)


def test_a_session_that_goes_on(stands: Stands, each_claude_code: ClaudeCode) -> None:
    """`--continue` in a new process is the same session, with all that was said and done before."""
    with stands.make() as stand:
        _, first = each_claude_code.run(stand.url, "SCENARIO:loop1 look")
        before = len(stand.messages())
        code, second = each_claude_code.run(stand.url, "SCENARIO:loop1 look again", "--continue")
    exchanges = _checked(stand)

    assert 0 == code
    assert first["session_id"] == second["session_id"]
    assert {first["session_id"]} == {exchange.session_id for exchange in exchanges}
    assert ["step-1", "step-1"] == _outputs(stand)
    # What is resumed keeps counting where it stopped; 2.1.197 counts anew.
    expect_same_bill(second, exchanges if each_claude_code.version == VERSION else exchanges[before:])


def test_a_session_that_goes_on_reads_its_cache(stands: Stands, claude_code: ClaudeCode) -> None:
    """What goes on reads all that the first process had written."""
    with stands.make() as stand:
        claude_code.run(stand.url, "SCENARIO:loop1 look")
        before = len(stand.messages())
        claude_code.run(stand.url, "SCENARIO:loop1 look again", "--continue")
    exchanges = _checked(stand)
    last, resumed = exchanges[before - 1].usage, exchanges[before].usage

    assert last is not None
    assert resumed is not None
    assert 0 < last.cache_read_input_tokens + last.cache_write_5m_input_tokens == resumed.cache_read_input_tokens


def test_tools_in_parallel(stands: Stands, each_claude_code: ClaudeCode) -> None:
    """Four tools of one turn run beside each other, and their results go upstream together."""
    with stands.make() as stand:
        code, told = each_claude_code.run(stand.url, "SCENARIO:para4 look")
    exchanges = _checked(stand)

    assert (0, 2) == (code, len(exchanges))
    assert [f"part-{part}" for part in (1, 2, 3, 4)] == sorted(_outputs(stand))
    expect_same_bill(told, exchanges)


def test_thinking(stands: Stands, each_claude_code: ClaudeCode) -> None:
    """Thinking blocks come back with their signatures as they were given, and are a part of the output."""
    with stands.make() as stand:
        code, told = each_claude_code.run(stand.url, "SCENARIO:think2 look")
    exchanges = _checked(stand)
    used = total(exchange.usage for exchange in exchanges if exchange.usage)

    assert 0 == code
    assert 2 == len(blocks(stand.messages()[-1].body, "thinking"))
    assert 0 < used.thinking_tokens < used.output_tokens
    expect_same_bill(told, exchanges)


def test_a_big_output(stands: Stands, each_claude_code: ClaudeCode) -> None:
    """25 kB that a tool put out go upstream to the last byte, in the request and in every one after it."""
    with stands.make() as stand:
        code, told = each_claude_code.run(stand.url, "SCENARIO:big25 look")
        each_claude_code.run(stand.url, "SCENARIO:hello", "--continue")
    exchanges = _checked(stand)

    assert (0, 3) == (code, len(exchanges))
    assert ["x" * 25_000] == _outputs(stand)
    expect_same_bill(told, exchanges[:2])


#: What the client says of an agent's kind: 2.1.197 says nothing.
AGENT_TYPES = {VERSION: "general-purpose"}


@pytest.mark.parametrize("count", [1, 2])
def test_subagents(stands: Stands, each_claude_code: ClaudeCode, count: int) -> None:
    """Each subagent's exchanges carry its id, type and class, within the session of its parent."""
    with stands.make() as stand:
        # With this one tool on offer, the simulator has nothing else to use.
        code, told = each_claude_code.run(stand.url, f"SCENARIO:para{count} ask somebody", "--tools", "Agent")
    exchanges = _checked(stand)
    subs = [exchange for exchange in exchanges if exchange.request_class == "subagent"]

    assert (0, count) == (code, len(subs))
    assert count == len({exchange.agent_id for exchange in subs} - {None})
    assert {AGENT_TYPES.get(each_claude_code.version)} == {exchange.agent_type for exchange in subs}
    assert {None} == {exchange.agent_id for exchange in exchanges if exchange not in subs}
    assert {told["session_id"]} == {exchange.session_id for exchange in exchanges}
    expect_same_bill(told, exchanges)


def test_a_cache_of_an_hour(stands: Stands, each_claude_code: ClaudeCode) -> None:
    """Writes for an hour are told from writes for five minutes, and priced as such."""
    with stands.make() as stand:
        code, told = each_claude_code.run(stand.url, "SCENARIO:loop1 look", ENABLE_PROMPT_CACHING_1H="1")
    exchanges = _checked(stand)
    used = total(exchange.usage for exchange in exchanges if exchange.usage)

    assert 0 == code
    assert 0 == used.cache_write_5m_input_tokens < used.cache_write_1h_input_tokens
    expect_same_bill(told, exchanges)


def test_an_unknown_model(stands: Stands, each_claude_code: ClaudeCode) -> None:
    """The API's 404 reaches Claude Code as it is: it gives up, and nothing has a cost."""
    with stands.make() as stand:
        code, told = each_claude_code.run(stand.url, "SCENARIO:hello", "--model", "claude-nonesuch")
    exchanges = _checked(stand)

    assert (1, True) == (code, told["is_error"])
    assert {(404, "not_found_error", None)} == {
        (exchange.http_status, exchange.error_type, exchange.cost_nano_usd) for exchange in exchanges
    }
    assert {"not_found_error"} == {json.loads(seen.answer)["error"]["type"] for seen in stand.messages()}
