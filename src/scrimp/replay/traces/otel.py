"""Reads OpenTelemetry GenAI spans: OTLP/JSON (`resourceSpans`, one document or one a line) and lines of flat spans.

A span of a model operation is one exchange; spans of agents and tools only surround such spans and are left out.
Attribute spellings live in `scrimp.telemetry`. The convention's input count is the whole prompt, so the uncached part
is what remains after reads and writes; a span that counts less than its cached parts follows the API's own meaning
(uncached only) and is read so, with a problem that says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage, UsageLine, total
from scrimp.replay.traces.lines import Complaints, numbered_lines
from scrimp.replay.traces.trace import Source, Trace, is_countable
from scrimp.telemetry import ATTRIBUTES, MODEL_OPERATIONS, PREFIX, RESOURCE_ATTRIBUTES

KIND = "otel"

_FOREIGN = "this line is JSON but holds no spans"
_NO_TIME = "this span has no readable start time"
_NEGATIVE = "this span counts fewer than zero tokens"
_UNCACHED_ONLY = "this span counts fewer input tokens than cached ones"
_AS_UNCACHED = "its input count is taken as the uncached part, check the version of what wrote it"
#: Flat spans spell their times and ids in different ways.
_STARTS = ("startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime")
_ENDS = ("endTimeUnixNano", "end_time_unix_nano", "end_time", "endTime")
_SPAN_IDS = ("spanId", "span_id")
_NANOSECONDS_PER_MS = 1_000_000

Attributes = Mapping[str, Any]


def sniff(head: bytes) -> bool:
    """Whether the first bytes look like spans: OTLP's envelope, or flat spans with GenAI attributes."""
    start = head.lstrip()
    if not start.startswith(b"{"):
        return False
    if b'"resourceSpans"' in start or b'"resource_spans"' in start:
        return True
    first = start.split(b"\n", 1)[0]
    return PREFIX.encode() in first and b'"attributes"' in first


def read(source: Source) -> Trace:
    """Read every GenAI span of a file; spans of other things are left out silently."""
    complaints = Complaints(source.path)
    exchanges = []
    for ordinal, (line, span, resource) in enumerate(_spans(source.data, complaints)):
        exchange = _exchange(span, resource, (line, ordinal), complaints)
        if exchange is not None:
            exchanges.append(exchange)
    return Trace(source.path, KIND, exchanges, problems=complaints.problems())


# --- finding spans ---


def _documents(data: bytes, complaints: Complaints) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the file as one JSON document if it is one, else line by line."""
    decoder = msgspec.json.Decoder(dict[str, Any])
    try:
        yield 1, decoder.decode(data)
    except (msgspec.DecodeError, RecursionError):
        yield from numbered_lines(data, decoder, complaints, lambda _kind: _FOREIGN)


def _items(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list, whatever else it holds."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _spans(data: bytes, complaints: Complaints) -> Iterator[tuple[int, dict[str, Any], Attributes]]:
    """Yield each span with its line and its resource's attributes."""
    for line, document in _documents(data, complaints):
        envelopes = _items(document.get("resourceSpans") or document.get("resource_spans"))
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
    try:
        return int(value)
    except (ValueError, OverflowError):
        return None


def _first(values: Mapping[str, Any], keys: Iterable[str]) -> Any:
    return next((values[key] for key in keys if values.get(key) is not None), None)


def _string(attributes: Attributes, name: str) -> str | None:
    value = _first(attributes, ATTRIBUTES[name])
    return value if isinstance(value, str) and value else None


def _count(attributes: Attributes, name: str) -> int | None:
    return _integer(_first(attributes, ATTRIBUTES[name]))


def _time_ms(value: Any) -> int | None:
    """Return a time in milliseconds from nanoseconds since the epoch or from ISO 8601."""
    nanoseconds = _integer(value)
    if nanoseconds is not None:
        return nanoseconds // _NANOSECONDS_PER_MS
    try:
        return round(datetime.fromisoformat(value).timestamp() * 1000) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


# --- exchanges ---


def _usage(attributes: Attributes) -> tuple[Usage | None, bool]:
    """Return a span's disjoint classes, and whether its input count left out the cached parts."""
    given, output = _count(attributes, "total_input_tokens"), _count(attributes, "output_tokens")
    if given is None and output is None:
        return None, False
    read_tokens = _count(attributes, "cache_read_input_tokens") or 0
    written = _count(attributes, "cache_write_input_tokens") or 0
    write_1h = min(_count(attributes, "cache_write_1h_input_tokens") or 0, written)
    uncached = (given or 0) - read_tokens - written
    uncached_only = given is not None and uncached < 0 <= given
    usage = Usage(
        uncached_input_tokens=(given or 0) if uncached_only else uncached,
        cache_read_input_tokens=read_tokens,
        cache_write_5m_input_tokens=written - write_1h,
        cache_write_1h_input_tokens=write_1h,
        output_tokens=output or 0,
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


def _is_exchange(attributes: Attributes) -> bool:
    operation = _string(attributes, "operation")
    if operation is None:
        return _usage(attributes)[0] is not None
    return operation in MODEL_OPERATIONS


def _exchange(
    span: dict[str, Any], resource: Attributes, place: tuple[int, int], complaints: Complaints
) -> Exchange | None:
    """Make the exchange of a span; None if it is none, or, with a complaint, cannot be used.

    `place` is its line and its ordinal in the file: its id, if nothing else names it.
    """
    line = place[0]
    attributes = _attributes(span.get("attributes"))
    if not _is_exchange(attributes):
        return None
    opened_at_ms = _time_ms(_first(span, _STARTS))
    usage, uncached_only = _usage(attributes)
    if opened_at_ms is None:
        complaints.add(_NO_TIME, line)
        return None
    if usage is not None and not is_countable(usage):
        complaints.add(_NEGATIVE, line)
        return None
    if uncached_only:
        complaints.add(_UNCACHED_ONLY, line, _AS_UNCACHED)
    span_id = _first(span, _SPAN_IDS) or _first(_dict(span.get("context")), _SPAN_IDS)
    exchange = _filled(attributes, resource, opened_at_ms, usage)
    name = exchange.message_id or (str(span_id) if span_id else f"span-{opened_at_ms}-{place[1]}")
    return replace(exchange, exchange_id=name, closed_at_ms=_time_ms(_first(span, _ENDS)))


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
        usage_complete=usage is not None,
    )
