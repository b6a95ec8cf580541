"""OpenTelemetry GenAI spans: both spellings, both file shapes, and what an input count means."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage
from scrimp.replay.traces.otel import read, sniff
from scrimp.replay.traces.trace import Source, Trace
from scrimp.telemetry import ATTRIBUTES

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


@pytest.mark.parametrize(
    ("counts", "expected", "complete"),
    [
        ({"input_tokens": 5, "output_tokens": 7}, Usage(5, output_tokens=7), True),
        ({"output_tokens": 7}, Usage(output_tokens=7), False),
        ({"input_tokens": 5}, Usage(5), False),
        ({"output_tokens": 7, "cache_read.input_tokens": 60}, Usage(0, 60, output_tokens=7), False),
        ({"cache_read.input_tokens": 60}, Usage(0, 60), False),
        ({}, None, False),
    ],
)
def test_a_count_that_is_unknown_is_not_zero(counts: dict[str, Any], expected: Usage | None, complete: bool) -> None:
    """One side alone is a lower bound, no count at all is no usage, and nothing is complained about."""
    attributes = {"gen_ai.operation.name": "chat"} | {f"gen_ai.usage.{name}": count for name, count in counts.items()}
    trace = _read(_flat(attributes))
    assert [(expected, complete)] == [(each.usage, each.usage_complete) for each in trace.exchanges]
    assert [] == trace.problems


def test_the_write_of_an_hour_alone_is_a_write() -> None:
    """It is a part of what was written also where the whole is not stated: not uncached input."""
    more = {"gen_ai.usage.input_tokens": 5_000, "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 4_000}
    assert Usage(1_000, 0, 0, 4_000, 7) == _one(BASE | more).usage


@pytest.mark.parametrize(
    ("start", "at_ms"),
    [
        ("2026-11-25T10:00:00", START_NS // 1_000_000),
        ("2026-11-25T10:00:00Z", START_NS // 1_000_000),
        ("2026-11-25T12:00:00+02:00", START_NS // 1_000_000),
        (START_NS, START_NS // 1_000_000),
        (str(START_NS), START_NS // 1_000_000),
    ],
)
def test_times_without_a_zone_are_utc(start: Any, at_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the report is made."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert [at_ms] == [each.opened_at_ms for each in _read(_flat(BASE, start_time=start)).exchanges]
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("start", [10**30, -1, "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", 0.5, [1]])
def test_a_time_without_a_day_is_no_time(start: Any) -> None:
    """It could not be reported by day."""
    trace = _read(_flat(BASE, start_time=start))
    assert ([], ["this span has no readable start time"]) == (trace.exchanges, [each.what for each in trace.problems])


@pytest.mark.parametrize(
    ("seconds", "after_ms"), [(0.25, 250), (3, 3_000), (0, 0), (-1, None), (True, None), ("1", None), (1e300, None)]
)
def test_when_the_first_token_came(seconds: Any, after_ms: int | None) -> None:
    """Seconds from the start; what cannot be a wait is unknown."""
    (exchange,) = _read(_flat(BASE | {"gen_ai.response.time_to_first_chunk": seconds})).exchanges
    expected = None if after_ms is None else exchange.opened_at_ms + after_ms
    assert expected == exchange.first_token_at_ms


@pytest.mark.parametrize(("name", "spelling"), [(name, each) for name, all_ in ATTRIBUTES.items() for each in all_])
def test_every_spelling_of_the_table_is_read(name: str, spelling: str) -> None:
    """A row that changes no exchange would be a promise that nobody keeps."""
    values: dict[str, Any] = {
        "stop_reasons": ["x"],
        "operation": "text_completion",
        "first_token_seconds": 2,
        "cache_write_1h_input_tokens": 2,
    }
    value = values.get(name, 3 if name.endswith("tokens") or name == "http_status" else "x")
    attributes = {key: each for key, each in BASE.items() if key not in ATTRIBUTES[name]}
    plain, told = (_read(_flat(each)).exchanges for each in (attributes, attributes | {spelling: value}))
    assert plain != told


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


def test_an_array_of_spans_is_read() -> None:
    """On one line or on many, of flat spans or of envelopes."""
    spans = [json.loads(_flat(BASE, context={"span_id": name})) for name in "ab"]
    for document in (spans, [json.loads(_otlp(BASE, BASE))]):
        for indent in (None, 2):
            data = json.dumps(document, indent=indent).encode()
            assert (2, [], True) == (len((trace := _read(data)).exchanges), trace.problems, sniff(data))


@pytest.mark.parametrize("indent", [1, 2, 8])
def test_a_document_cut_short_is_one_problem(indent: int) -> None:
    """Its lines are pieces of one document, not 65 lines that were skipped."""
    data = json.dumps(json.loads(_otlp(BASE, BASE)), indent=indent).encode()
    for end in (len(data) // 2, len(data) - 2):
        trace = _read(data[:end])
        said = ["f line 1: this JSON document is cut off or damaged; have it written anew, nothing of it can be used."]
        assert ([], said) == (trace.exchanges, list(map(str, trace.problems)))


def test_an_unknown_operation_is_told() -> None:
    """A span with usage that is left out would be missing from the bill without a word."""
    trace = _read(
        _otlp(BASE | {"gen_ai.operation.name": "messages\x1b"}, BASE | {"gen_ai.operation.name": "embeddings"})
    )
    assert ([], 1) == (trace.exchanges, len(trace.problems))
    assert "operation, messages\\x1b, is none that is known as one request to a model" in trace.problems[0].what


def test_an_id_is_unique_within_its_trace_only() -> None:
    """So both ids name a span."""
    data = b"".join(_flat(BASE, context={"span_id": "s", "trace_id": name}) for name in "ab")
    assert ["a-s", "b-s"] == [each.exchange_id for each in _read(data).exchanges]


def test_two_instrumentations_of_one_request_are_one_exchange() -> None:
    """A framework's span around the client library's, in OTLP's spelling and in that of flat spans."""
    inner = BASE | {"gen_ai.response.id": "msg_1"}
    flat = _flat(BASE, context={"trace_id": "t", "span_id": "out"}) + _flat(
        inner, context={"trace_id": "t", "span_id": "in"}, parent_id="out"
    )
    otlp = json.loads(_otlp(BASE, inner))
    otlp["resourceSpans"][0]["scopeSpans"][0]["spans"][1]["parentSpanId"] = f"{0:016x}"
    for data in (flat, json.dumps(otlp).encode()):
        assert ["msg_1"] == [each.exchange_id for each in _read(data).exchanges]


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
        _flat(BASE | {"anthropic.usage.compaction.output_tokens": -1}),
        _flat(BASE | {"gen_ai.usage.cache_write.input_tokens": -1}),
        b'{"a":1}\n',
        b'{"att',
    ]
    trace = _read(b"".join(lines))
    said = {(problem.line, problem.count) for problem in trace.problems}
    assert (1, {(2, 1), (3, 3), (6, 1), (7, 1)}) == (len(trace.exchanges), said)


@pytest.mark.parametrize("wrong", ["many", None, [1], {"x": 1}, 5.7, "5.7", True, "1e400", 10**30])
def test_counts_of_other_types_are_not_counts(wrong: Any) -> None:
    """Whatever stands where a whole number belongs is unknown, and is not cut down to one."""
    trace = _read(_flat(BASE | {"gen_ai.usage.cache_read.input_tokens": wrong}))
    assert [Usage(100, output_tokens=7)] == [each.usage for each in trace.exchanges]


@pytest.mark.parametrize("wrong", ["1e3", 5.7, 10**18, "many"])
@pytest.mark.parametrize("name", ["input_tokens", "output_tokens", "cache_read.input_tokens"])
def test_a_count_that_cannot_be_one_is_told(name: str, wrong: Any) -> None:
    """It is unknown, so the exchange is a lower bound; it is not called negative, and not billed."""
    trace = _read(_flat(BASE | {f"gen_ai.usage.{name}": wrong}))
    assert [False] == [each.usage_complete for each in trace.exchanges]
    (problem,) = trace.problems
    assert "a count of this span is no whole number up to 1,000,000,000" == problem.what
    assert "it is taken as unknown, so the true cost is higher" == problem.then


@pytest.mark.parametrize("right", [60, "60", 60.0])
def test_whole_numbers_may_be_written_in_three_ways(right: Any) -> None:
    """OTLP writes 64-bit integers as strings, some writers as floats."""
    (exchange,) = _read(_flat(BASE | {"gen_ai.usage.cache_read.input_tokens": right})).exchanges
    assert Usage(40, 60, output_tokens=7) == exchange.usage


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
