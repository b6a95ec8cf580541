"""OpenTelemetry GenAI spans: both spellings, both file shapes, and what an input count means."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage
from scrimp.replay.traces.otel import read, sniff
from scrimp.replay.traces.trace import Source, Trace

START_NS = 1_795_600_800_000_000_000
BASE: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "claude-opus-4-6",
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 7,
}


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}


def _otlp(*spans: dict[str, Any]) -> bytes:
    """Return spans, each given as its attributes, in OTLP's JSON encoding."""
    encoded = [
        {
            "spanId": f"{number:016x}",
            "startTimeUnixNano": str(START_NS + number * 1_000_000),
            "endTimeUnixNano": str(START_NS + 5_000_000_000),
            "attributes": [{"key": key, "value": _value(value)} for key, value in attributes.items()],
        }
        for number, attributes in enumerate(spans)
    ]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": encoded}]}]}).encode()


def _flat(attributes: dict[str, Any], **more: Any) -> bytes:
    span = {"name": "chat", "context": {"span_id": "0x1"}, "start_time": "2026-11-25T10:00:00.5Z"}
    return json.dumps(span | {"attributes": attributes} | more).encode() + b"\n"


def _read(data: bytes) -> Trace:
    return read(Source("f", data))


def _one(attributes: dict[str, Any]) -> Exchange:
    (exchange,) = _read(_otlp(attributes)).exchanges
    return exchange


@pytest.mark.parametrize("write", ["cache_write", "cache_creation"])
def test_the_input_count_is_the_whole_prompt(write: str) -> None:
    """Reads and writes are parts of it, under either spelling of a write."""
    more = {
        "gen_ai.usage.cache_read.input_tokens": 60,
        f"gen_ai.usage.{write}.input_tokens": 30,
        "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 10,
        "gen_ai.usage.reasoning.output_tokens": 3,
    }
    assert Usage(10, 60, 20, 10, 7, 3) == _one(BASE | more).usage


def test_an_input_count_below_its_parts_is_the_uncached_part() -> None:
    """Older writers follow the API's meaning; that is said."""
    trace = _read(_otlp(BASE | {"gen_ai.usage.cache_read.input_tokens": 5_000}))
    assert [Usage(100, 5_000, 0, 0, 7)] == [exchange.usage for exchange in trace.exchanges]
    assert ["this span counts fewer input tokens than cached ones"] == [problem.what for problem in trace.problems]


def test_compactions_are_billed_on_top() -> None:
    """The SDK leaves them out of the totals, as the API does."""
    more = {"anthropic.usage.compaction.input_tokens": 1_000, "anthropic.usage.compaction.output_tokens": 50}
    exchange = _one(BASE | more)
    assert [("message", 100), ("compaction", 1_000)] == [
        (line.kind, line.usage.uncached_input_tokens) for line in exchange.usage_lines
    ]
    assert Usage(1_100, output_tokens=57) == exchange.usage


def test_every_field_is_filled() -> None:
    """Models, session, agent, project, tag, tenant and times have their places."""
    more = {
        "gen_ai.response.id": "msg_1",
        "gen_ai.response.model": "claude-opus-4-6-x",
        "gen_ai.conversation.id": "c1",
        "gen_ai.agent.name": "planner",
        "gen_ai.response.finish_reasons": ["end_turn"],
        "anthropic.response.service_tier": "batch",
        "scrimp.task": "nightly",
        "scrimp.tenant": "acme",
    }
    exchange = _one(BASE | more)
    assert ("msg_1", "msg_1", "c1", "planner", "shop", "nightly", "acme", "end_turn", "otel", "agent: planner") == (
        exchange.exchange_id,
        exchange.message_id,
        exchange.session_id,
        exchange.agent_type,
        exchange.project,
        exchange.task_tag,
        exchange.tenant,
        exchange.stop_reason,
        exchange.source,
        exchange.task_type,
    )
    assert (START_NS // 1_000_000, START_NS // 1_000_000 + 5_000) == (exchange.opened_at_ms, exchange.closed_at_ms)
    (line,) = exchange.usage_lines
    assert ("claude-opus-4-6-x", "batch") == (line.model, line.service_tier)


def test_only_model_operations_are_exchanges() -> None:
    """An agent's span sums its children's usage and must not count twice; a span of something else is left out."""
    spans: list[dict[str, Any]] = [
        BASE,
        BASE | {"gen_ai.operation.name": "invoke_agent"},
        {"gen_ai.operation.name": "execute_tool"},
        {},
    ]
    trace = _read(_otlp(*spans))
    assert (1, []) == (len(trace.exchanges), trace.problems)


def test_a_failed_request_has_no_usage() -> None:
    """It is an exchange all the same, with its error."""
    exchange = _one({"gen_ai.operation.name": "chat", "error.type": "429", "http.response.status_code": 429})
    assert (None, False, "429", 429) == (
        exchange.usage,
        exchange.usage_complete,
        exchange.error_type,
        exchange.http_status,
    )


def test_flat_spans_line_by_line() -> None:
    """ISO times and mappings of attributes are read like OTLP's."""
    data = _flat(BASE) + _flat(BASE, context={"span_id": "0x2"})
    trace = _read(data)
    assert ([1_795_600_800_500] * 2, ["0x1", "0x2"]) == (
        [exchange.opened_at_ms for exchange in trace.exchanges],
        [exchange.exchange_id for exchange in trace.exchanges],
    )
    assert sniff(data)


def test_otlp_line_by_line_and_pretty_printed() -> None:
    """A file exporter writes an envelope a line; people pretty-print."""
    line = _otlp(BASE)
    pretty = json.dumps(json.loads(line), indent=2).encode()
    assert [2, 1] == [len(_read(data).exchanges) for data in (line + b"\n" + line, pretty)]
    assert sniff(line)
    assert sniff(pretty)


def test_spans_without_an_id_are_all_kept() -> None:
    """They get ids that differ."""
    data = _flat(BASE, context=None) * 3
    assert 3 == len({exchange.exchange_id for exchange in _read(data).exchanges})


def test_bad_spans_cost_only_themselves() -> None:
    """No time, negative counts, foreign and torn lines are told with their lines."""
    lines = [
        _flat(BASE),
        _flat(BASE, start_time="soon"),
        _flat(BASE | {"gen_ai.usage.output_tokens": -1}),
        b'{"a":1}\n',
        b'{"att',
    ]
    trace = _read(b"".join(lines))
    assert (1, {2, 3, 4, 5}) == (len(trace.exchanges), {problem.line for problem in trace.problems})


@pytest.mark.parametrize("wrong", ["many", None, [1], {"x": 1}, 1.5, True, "1e400", 10**30])
def test_counts_of_other_types_are_not_counts(wrong: Any) -> None:
    """Nothing raises, whatever stands where a number belongs."""
    trace = _read(_flat(BASE | {"gen_ai.usage.cache_read.input_tokens": wrong}))
    assert 1 == len(trace.exchanges)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "resourceSpans",
                        "scopeSpans",
                        "spans",
                        "attributes",
                        "key",
                        "value",
                        "resource",
                        "startTimeUnixNano",
                        "intValue",
                        "gen_ai.usage.input_tokens",
                    ]
                ),
                x,
            )
        ),
        max_leaves=30,
    )
)
def test_any_json_is_read_without_an_error(document: Any) -> None:
    """Total over any document."""
    data = json.dumps(document).encode()
    assert isinstance(_read(data), Trace)
    assert sniff(data) in {True, False}
