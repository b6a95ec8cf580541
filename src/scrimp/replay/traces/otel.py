"""Reads OpenTelemetry GenAI spans: OTLP/JSON (`resourceSpans`, one document or one a line) and flat spans.

Flat spans stand one a line, or together in a JSON array.

A span of a model operation is one exchange; spans of agents and tools only surround such spans and are left out.
Attribute spellings live in `scrimp.telemetry`. The convention's input count is the whole prompt, so the uncached part
is what remains after reads and writes; a span that counts less than its cached parts follows the API's own meaning
(uncached only) and is read so, with a problem that says so. A span without an input or an output count is incomplete,
one without any count has no known usage. Times without a zone are UTC. A request that two instrumentations recorded,
one around the other, is counted once (see `otel_nesting`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.surrogates import UNREADABLE
from scrimp.core.wire.usage import TOKENS_MAX, Usage, UsageLine, total
from scrimp.replay.traces.lines import Complaints, numbered_lines
from scrimp.replay.traces.otel_nesting import Recorded, SpanKey, without_wrappers
from scrimp.replay.traces.trace import Source, Trace, is_countable, is_dated, printable
from scrimp.telemetry import ATTRIBUTES, MODEL_OPERATIONS, OTHER_OPERATIONS, PREFIX, RESOURCE_ATTRIBUTES

KIND = "otel"

_FOREIGN = "this line is JSON but holds no spans"
_CUT = "this JSON document is cut off or damaged"
_WRITE_ANEW = "have it written anew, nothing of it can be used"
_UNREADABLE = f"a count of this span is no whole number up to {TOKENS_MAX:,}"
_AS_UNKNOWN = "it is taken as unknown, so the true cost is higher"
_UNKNOWN_OPERATION = "this span's operation, {}, is none that is known as one request to a model"
_LEFT_OUT = "it was left out, and is not in any cost"
_NO_TIME = "this span has no readable start time"
_NEGATIVE = "this span counts fewer than zero tokens"
_UNCACHED_ONLY = "this span counts fewer input tokens than cached ones"
_AS_UNCACHED = "its input count is taken as the uncached part, check the version of what wrote it"
#: Flat spans spell their times and ids in different ways.
_STARTS = ("startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime")
_ENDS = ("endTimeUnixNano", "end_time_unix_nano", "end_time", "endTime")
_SPAN_IDS = ("spanId", "span_id")
_TRACE_IDS = ("traceId", "trace_id")
_PARENT_IDS = ("parentSpanId", "parent_span_id", "parent_id")
_NANOSECONDS_PER_MS = 1_000_000
#: No answer takes longer than this to begin: a day.
_SECONDS_MAX = 86_400

Attributes = Mapping[str, Any]


def sniff(head: bytes) -> bool:
    """Whether the first bytes look like spans: OTLP's envelope, or flat spans with GenAI attributes."""
    start = head.lstrip()
    if not start.startswith((b"{", b"[")):
        return False
    if b'"resourceSpans"' in start or b'"resource_spans"' in start:
        return True
    return PREFIX.encode() in start and b'"attributes"' in start


def read(source: Source) -> Trace:
    """Read every GenAI span of a file; spans of other things are left out silently."""
    complaints = Complaints(source.path)
    recorded: list[Recorded] = []
    parents: dict[SpanKey, SpanKey] = {}
    for ordinal, (line, span, resource) in enumerate(_spans(source.data, complaints)):
        key = _key(span, _SPAN_IDS)
        parent = _key(span, _PARENT_IDS)
        if key is not None and parent is not None:
            parents[key] = parent
        exchange = _exchange(span, resource, line, complaints)
        if exchange is not None:
            name = exchange.message_id or ("-".join(filter(None, key)) if key else f"{source.path}:{line}:{ordinal}")
            recorded.append(Recorded(replace(exchange, exchange_id=name), key))
    return Trace(source.path, KIND, without_wrappers(recorded, parents), problems=complaints.problems())


# --- finding spans ---


def _documents(data: bytes, complaints: Complaints) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the file's objects with their lines: of one JSON document if it is one, else of each line."""
    try:
        whole = msgspec.json.decode(data)
    except UNREADABLE:
        yield from _line_by_line(data, complaints)
        return
    if isinstance(whole, dict):
        yield 1, whole
    for item in _items(whole):
        yield 1, item


def _line_by_line(data: bytes, complaints: Complaints) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of each line; where some are broken and none holds spans, they are pieces of one document."""
    found = Complaints(complaints.path)
    lines = list(numbered_lines(data, msgspec.json.Decoder(dict[str, Any]), found, lambda _kind: _FOREIGN))
    if found.problems() and not any(_envelopes(each) or "attributes" in each for _, each in lines):
        complaints.add(_CUT, 1, _WRITE_ANEW)
        return
    complaints.take(found)
    yield from lines


def _envelopes(document: dict[str, Any]) -> list[dict[str, Any]]:
    return _items(document.get("resourceSpans") or document.get("resource_spans"))


def _items(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list, whatever else it holds."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _spans(data: bytes, complaints: Complaints) -> Iterator[tuple[int, dict[str, Any], Attributes]]:
    """Yield each span with its line and its resource's attributes."""
    for line, document in _documents(data, complaints):
        envelopes = _envelopes(document)
        if not envelopes and "attributes" not in document:
            complaints.add(_FOREIGN, line)
        elif not envelopes:
            yield line, document, _attributes(_dict(document.get("resource")).get("attributes"))
        for envelope in envelopes:
            resource = _attributes(_dict(envelope.get("resource")).get("attributes"))
            for scope in _items(envelope.get("scopeSpans") or envelope.get("scope_spans")):
                for span in _items(scope.get("spans")):
                    yield line, span, resource


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _plain(value: Any) -> Any:
    """Return the value that an OTLP value object wraps; 64-bit integers travel as strings."""
    if not isinstance(value, dict):
        return value
    kind, inner = next(iter(value.items()), ("", None))
    if kind == "arrayValue":
        return [_plain(each) for each in _items(_dict(inner).get("values"))]
    return _integer(inner) if kind == "intValue" else inner


def _attributes(raw: Any) -> Attributes:
    """Return attributes as a mapping, from OTLP's list of pairs or from a flat object."""
    if isinstance(raw, dict):
        return raw
    return {item["key"]: _plain(item.get("value")) for item in _items(raw) if isinstance(item.get("key"), str)}


# --- reading values ---


def _integer(value: Any) -> int | None:
    """Return a whole number, also from a string of digits or a float without fraction; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    try:
        return int(value)
    except ValueError:
        return None


def _first(values: Mapping[str, Any], keys: Iterable[str]) -> Any:
    return next((values[key] for key in keys if values.get(key) is not None), None)


def _string(attributes: Attributes, name: str) -> str | None:
    value = _first(attributes, ATTRIBUTES[name])
    return value if isinstance(value, str) and value else None


def _key(span: dict[str, Any], names: Iterable[str]) -> SpanKey | None:
    """Return a span's own key or its parent's, whose ids are unique within their trace only; None without an id."""
    context = _dict(span.get("context"))
    span_id, trace_id = (_first(span, keys) or _first(context, keys) for keys in (names, _TRACE_IDS))
    return (str(trace_id or ""), str(span_id)) if span_id else None


def _count(attributes: Attributes, name: str) -> int | None:
    """Return a count, None if it is unknown or too large to be one."""
    count = _integer(_first(attributes, ATTRIBUTES[name]))
    return None if count is None or count > TOKENS_MAX else count


def _has_unreadable_count(attributes: Attributes) -> bool:
    """Whether a count of tokens is stated that cannot be one."""
    return any(
        _first(attributes, spellings) is not None and _count(attributes, name) is None
        for name, spellings in ATTRIBUTES.items()
        if name.endswith("_tokens")
    )


def _time_ms(value: Any) -> int | None:
    """Return a time in milliseconds from nanoseconds since the epoch or from ISO 8601; without a zone it is UTC."""
    nanoseconds = _integer(value)
    at_ms = _iso_ms(value) if nanoseconds is None else nanoseconds // _NANOSECONDS_PER_MS
    return at_ms if at_ms is not None and is_dated(at_ms) else None


def _iso_ms(value: Any) -> int | None:
    try:
        moment = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _first_token_at_ms(attributes: Attributes, opened_at_ms: int) -> int | None:
    """Return when the answer began, from the seconds that it took."""
    seconds = _first(attributes, ATTRIBUTES["first_token_seconds"])
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _SECONDS_MAX:
        return None
    return opened_at_ms + round(seconds * 1000)


# --- exchanges ---


#: The input and the output count, which make a usage complete, then the parts of the input.
_COUNTS = (
    "total_input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_write_input_tokens",
    "cache_write_1h_input_tokens",
)


def _is_complete(attributes: Attributes) -> bool:
    return all(_count(attributes, name) is not None for name in _COUNTS[:2])


def _usage(attributes: Attributes) -> tuple[Usage | None, bool]:
    """Return a span's disjoint classes, and whether its input count left out the cached parts.

    A write of an hour is a part of what was written, also where only that part is stated.
    """
    counts = [_count(attributes, name) for name in _COUNTS]
    if all(count is None for count in counts):
        return None, False
    read_tokens, written, write_1h = (count or 0 for count in counts[2:])
    if write_1h > written >= 0:
        written = write_1h
    cached = read_tokens + written
    prompt = cached if counts[0] is None else counts[0]
    uncached_only = 0 <= prompt < cached
    usage = Usage(
        uncached_input_tokens=prompt if uncached_only else prompt - cached,
        cache_read_input_tokens=read_tokens,
        cache_write_5m_input_tokens=written - write_1h,
        cache_write_1h_input_tokens=write_1h,
        output_tokens=counts[1] or 0,
        thinking_tokens=_count(attributes, "thinking_tokens") or 0,
    )
    return usage, uncached_only


def _lines(attributes: Attributes, usage: Usage, model: str | None) -> tuple[UsageLine, ...]:
    """Return the billing lines: the answer's own, and the compactions that the API bills on top."""
    terms = [_string(attributes, name) for name in ("service_tier", "speed", "inference_geo")]
    compaction = Usage(
        uncached_input_tokens=_count(attributes, "compaction_input_tokens") or 0,
        output_tokens=_count(attributes, "compaction_output_tokens") or 0,
    )
    lines = [UsageLine(usage, model, "message", *terms)]
    if compaction != Usage():
        lines.append(UsageLine(compaction, model, "compaction", *terms))
    return tuple(lines)


def _is_exchange(attributes: Attributes, line: int, complaints: Complaints) -> bool:
    """Whether a span is one request to a model; one that may be, by its counts, and is not known to be, is told."""
    operation = _string(attributes, "operation")
    if operation is not None and operation not in MODEL_OPERATIONS | OTHER_OPERATIONS and _usage(attributes)[0]:
        complaints.add(_UNKNOWN_OPERATION.format(printable(operation)), line, _LEFT_OUT)
    if operation is None:
        return _usage(attributes)[0] is not None
    return operation in MODEL_OPERATIONS


def _exchange(span: dict[str, Any], resource: Attributes, line: int, complaints: Complaints) -> Exchange | None:
    """Make the exchange of a span, still without its id; None if it is none, or, with a complaint, cannot be used."""
    attributes = _attributes(span.get("attributes"))
    if not _is_exchange(attributes, line, complaints):
        return None
    opened_at_ms = _time_ms(_first(span, _STARTS))
    usage, uncached_only = _usage(attributes)
    if opened_at_ms is None:
        complaints.add(_NO_TIME, line)
        return None
    exchange = _filled(attributes, resource, opened_at_ms, usage)
    if not all(is_countable(each.usage) for each in exchange.usage_lines):
        complaints.add(_NEGATIVE, line)
        return None
    if _has_unreadable_count(attributes):
        complaints.add(_UNREADABLE, line, _AS_UNKNOWN)
        exchange = replace(exchange, usage_complete=False)
    if uncached_only:
        complaints.add(_UNCACHED_ONLY, line, _AS_UNCACHED)
    return replace(exchange, closed_at_ms=_time_ms(_first(span, _ENDS)))


def _filled(attributes: Attributes, resource: Attributes, opened_at_ms: int, usage: Usage | None) -> Exchange:
    """Make an exchange of everything but the span's own id and end."""
    requested = _string(attributes, "requested_model")
    served = _string(attributes, "served_model")
    lines = _lines(attributes, usage, served or requested) if usage is not None else ()
    agent_type = _string(attributes, "agent_type")
    project = _first(resource, RESOURCE_ATTRIBUTES["project"])
    stops = _first(attributes, ATTRIBUTES["stop_reasons"])
    return Exchange(
        exchange_id="",
        opened_at_ms=opened_at_ms,
        first_token_at_ms=_first_token_at_ms(attributes, opened_at_ms),
        source=KIND,
        tenant=_string(attributes, "tenant"),
        project=project if isinstance(project, str) else None,
        session_id=_string(attributes, "session_id"),
        agent_id=_string(attributes, "agent_id"),
        agent_type=agent_type,
        task_tag=_string(attributes, "task_tag"),
        task_type=f"agent: {agent_type}" if agent_type else _string(attributes, "operation"),
        requested_model=requested,
        served_model=served,
        message_id=_string(attributes, "message_id"),
        http_status=_count(attributes, "http_status"),
        stop_reason=stops[0] if isinstance(stops, list) and stops and isinstance(stops[0], str) else None,
        error_type=_string(attributes, "error_type"),
        usage=total(each.usage for each in lines) if lines else None,
        usage_lines=lines,
        usage_complete=_is_complete(attributes),
    )
