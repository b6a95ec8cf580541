"""Server tools: an answer in several iterations, each billed for the prompt that it read."""

from __future__ import annotations

from typing import Any

import pytest

from scrimp.sim.machine import Answer, Simulator
from scrimp.sim.models import day_ms
from scrimp.sim.rules import Rules

NOW = day_ms("2026-11-22")
HEADERS = {"x-api-key": "sk-a", "anthropic-version": "2023-06-01", "host": "127.0.0.1:9"}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
FIELDS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


def _request(**fields: Any) -> dict[str, Any]:
    system = [{"type": "text", "text": "careful " * 1_000, "cache_control": HOUR}]
    messages = [{"role": "user", "content": "SCENARIO:search3 " + "go " * 600}]
    base = {"model": "claude-opus-5-5", "max_tokens": 2_000, "system": system, "tools": [SEARCH]}
    return {**base, "messages": messages, "cache_control": HOUR, **fields}


def _usage(answer: Answer) -> dict[str, Any]:
    assert 200 == answer.status, answer.body
    usage: dict[str, Any] = answer.body["usage"]
    return usage


def _ask(rules: Rules | None = None, **fields: Any) -> dict[str, Any]:
    return _usage(Simulator(rules).handle(_request(**fields), HEADERS, NOW))


def test_totals_are_the_sum_of_the_iterations() -> None:
    """One iteration more than there are searches; one without searches says nothing of iterations."""
    usage = _ask()
    assert 4 == len(usage["iterations"])
    assert all(each["type"] == "message" for each in usage["iterations"])
    for name in FIELDS:
        assert usage[name] == sum(each[name] for each in usage["iterations"])
    assert "iterations" not in _ask(messages=[{"role": "user", "content": "hello"}])


def test_the_api_marks_results_for_five_minutes() -> None:
    """Even where the request marks for an hour: each iteration reads all before it and writes a result."""
    first, *later = _ask()["iterations"]
    assert 0 == first["cache_creation"]["ephemeral_5m_input_tokens"] < first["cache_creation_input_tokens"]
    cached = first["cache_creation_input_tokens"]
    for each in later:
        assert cached == each["cache_read_input_tokens"]
        assert 0 == each["cache_creation"]["ephemeral_1h_input_tokens"] == each["input_tokens"]
        assert 0 < each["cache_creation"]["ephemeral_5m_input_tokens"]
        cached += each["cache_creation_input_tokens"]


def test_without_a_mark_every_iteration_is_billed_in_full() -> None:
    """Nothing is written, and the prompt grows by what was found; so it does where the switch is off."""
    bare = _ask(cache_control=None, system="careful " * 1_000)["iterations"]
    assert {0} == {each["cache_creation_input_tokens"] + each["cache_read_input_tokens"] for each in bare}
    sizes = [each["input_tokens"] for each in bare]
    assert sizes == sorted(set(sizes))
    off = _ask(Rules(server_tool_breakpoints=False))["iterations"]
    assert {0} == {each["cache_creation"]["ephemeral_5m_input_tokens"] for each in off}
    assert all(each["input_tokens"] > 0 for each in off[1:])


def test_the_next_request_reads_up_to_the_last_result() -> None:
    """The API's own entries are found like any other."""
    simulator = Simulator()
    first = simulator.handle(_request(), HEADERS, NOW)
    said = {"role": "assistant", "content": first.body["content"]}
    messages = [*_request()["messages"], said, {"role": "user", "content": "and now"}]
    usage = _usage(simulator.handle(_request(messages=messages), HEADERS, NOW + 60_000))
    last = _usage(first)["iterations"][-1]
    assert last["cache_read_input_tokens"] + last["cache_creation_input_tokens"] == usage["cache_read_input_tokens"]


def test_a_stream_begins_with_the_first_iteration() -> None:
    """message_start knows no more; message_delta has the totals and the iterations."""
    answer = Simulator().handle(_request(stream=True), HEADERS, NOW)
    start, end = answer.events[0].data["message"]["usage"], answer.events[-2].data["usage"]
    first = _usage(answer)["iterations"][0]
    assert first["cache_creation_input_tokens"] == start["cache_creation_input_tokens"]
    assert first["cache_creation"] == start["cache_creation"]
    assert "iterations" not in start
    assert _usage(answer)["iterations"] == end["iterations"]


@pytest.mark.parametrize(("per", "dear"), [("iteration", False), ("request", True)])
def test_the_long_band_is_judged_per_iteration_or_whole(per: Any, dear: bool) -> None:
    """Two iterations of 70,000 tokens are short ones, or together a long one."""
    simulator = Simulator(Rules(band_per=per))
    messages = [{"role": "user", "content": "SCENARIO:search1 " + "word " * 31_000}]
    request = _request(model="claude-haiku-5-5", messages=messages, system="", cache_control=None)
    usage = _usage(simulator.handle(request, HEADERS, NOW))
    assert 100_000 < usage["input_tokens"] < 200_000
    tokens = 100 * usage["input_tokens"] + 500 * usage["output_tokens"]
    assert (5 if dear else 1) * tokens + 10_000_000 == simulator.invoice.cost_nano_usd


def test_pages_are_on_our_own_host() -> None:
    """Every address in an answer leads back to the simulator, so that a bypass shows."""
    answer = Simulator().handle(_request(), HEADERS, NOW)
    results = [block for block in answer.body["content"] if block["type"] == "web_search_tool_result"]
    urls = [found["url"] for block in results for found in block["content"]]
    assert [f"http://127.0.0.1:9/found/{at}" for at in range(3)] == urls
