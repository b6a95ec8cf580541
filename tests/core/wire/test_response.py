"""The meter reads usage from whole and streamed answers, compressed or not, cut anywhere."""

from __future__ import annotations

import gzip
import json
import sys
from typing import Any

import brotli
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire import response
from scrimp.core.wire.response import Answer, CacheMiss, ResponseMeter
from scrimp.core.wire.spoken import Spoken
from scrimp.core.wire.usage import Usage

START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "model": "claude-opus-5-5",
        "usage": {
            "input_tokens": 7,
            "cache_creation_input_tokens": 20,
            "cache_read_input_tokens": 100,
            "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 15},
            "output_tokens": 1,
        },
    },
}
DELTA = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 55}}
TEXT = {
    "type": "content_block_delta",
    "index": 0,
    "delta": {"type": "text_delta", "text": "hi \n\n data: not an event"},
}
FULL = Usage(7, 100, 5, 15, 55)


def sse(*events: dict[str, Any]) -> bytes:
    """Render events as the API streams them."""
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


STREAM = sse(START, {"type": "ping"}, TEXT, DELTA, {"type": "message_stop"})
CODERS = {None: bytes, "gzip": gzip.compress, "br": brotli.compress, "zstd": zstd.compress}


def feed(content_type: str, coding: str | None, body: bytes, size: int = 1 << 16) -> Answer:
    """Feed a body in chunks of one size."""
    meter = ResponseMeter(content_type, coding)
    for at in range(0, len(body), size):
        meter.feed(body[at : at + size])
    return meter.answer()


@pytest.mark.parametrize("coding", CODERS)
@given(size=st.integers(1, 400))
def test_a_stream_is_read_from_any_chunks(coding: str | None, size: int) -> None:
    """Final usage, ids and stop reason come out of every coding and cut."""
    answer = feed("text/event-stream; charset=utf-8", coding, CODERS[coding](STREAM), size)
    metered = answer.metered("asked-for")

    assert metered is not None
    assert FULL == metered.usage
    assert ("msg_1", "claude-opus-5-5", "end_turn", True) == (
        answer.message_id,
        answer.served_model,
        answer.stop_reason,
        answer.usage_complete,
    )


@given(st.integers(0, len(STREAM)))
def test_a_cut_stream_is_a_lower_bound(cut: int) -> None:
    """What was not seen is not invented, and usage is complete only once the final delta came."""
    answer = feed("text/event-stream", None, STREAM[:cut])
    metered = answer.metered(None)
    seen = metered.usage if metered else Usage()

    assert (metered is None) == (answer.usage is None)
    assert seen.output_tokens in ({1, 55} if metered else {0})
    assert answer.usage_complete == (seen.output_tokens == 55)
    assert seen.total_input_tokens in {0, FULL.total_input_tokens}


@pytest.mark.parametrize("start", [[], [{"type": "message_start", "message": {"usage": "odd"}}]])
def test_a_delta_alone_is_a_lower_bound(start: list[dict[str, Any]]) -> None:
    """Without a readable start the input is unknown, so the bill is not complete."""
    answer = feed("text/event-stream", None, sse(*start, DELTA))

    assert not answer.usage_complete
    assert answer.usage is not None


def test_only_a_delta_with_a_stop_reason_is_final() -> None:
    """Counts on the way are cumulative, not final; once final, nothing takes that back."""
    early = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9}}
    bare = {"type": "message_delta", "delta": {}}

    assert not feed("text/event-stream", None, sse(START, early)).usage_complete
    assert feed("text/event-stream", None, sse(START, early, DELTA, bare)).usage_complete


@pytest.mark.parametrize("usage", [{}, {"output_tokens": 5}, {"input_tokens": 5}])
def test_an_answer_that_does_not_say_is_not_complete(usage: dict[str, int]) -> None:
    """An empty usage is unknown, and half of one is a lower bound."""
    answer = feed("application/json", None, json.dumps({"id": "m", "usage": usage}).encode())

    assert not answer.usage_complete
    assert (answer.metered("m") is None) == (usage == {})


def test_names_are_cut() -> None:
    """A server cannot store text through its ids."""
    long = "x" * 10_000
    answer = feed(
        "application/json",
        None,
        json.dumps({"id": long, "model": long, "stop_reason": long, "usage": {"input_tokens": 1}}).encode(),
    )

    assert [200] * 3 == [len(each or "") for each in (answer.message_id, answer.served_model, answer.stop_reason)]


@pytest.mark.parametrize("coding", CODERS)
def test_a_whole_answer_is_read(coding: str | None) -> None:
    """A JSON Message carries its usage itself."""
    body = json.dumps({**START["message"], "type": "message", "stop_reason": "tool_use"}).encode()  # type: ignore[dict-item]
    answer = feed("application/json", coding, CODERS[coding](body))

    assert answer.usage_complete
    assert "tool_use" == answer.stop_reason


def test_an_error_envelope_names_its_type() -> None:
    """Errors have no usage; their type is recorded."""
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'

    assert Answer(error_type="overloaded_error") == feed("application/json", None, body)


def test_an_error_event_keeps_what_was_seen() -> None:
    """A stream that fails half-way leaves a lower bound and the error's type."""
    answer = feed("text/event-stream", None, sse(START, TEXT, {"type": "error", "error": {"type": "overloaded_error"}}))

    assert "overloaded_error" == answer.error_type
    assert not answer.usage_complete
    assert answer.usage is not None


@pytest.mark.parametrize(
    ("content_type", "coding", "body"),
    [
        ("application/json", None, b"<html>502</html>"),
        ("application/json", None, b""),
        ("application/json", "gzip", b"not gzip"),
        ("application/json", "lzma", b"{}"),
        ("application/json", None, b"[" * 100_000),
        ("text/event-stream", None, b"event: message_start\ndata: {torn\n\n"),
        ("text/event-stream", None, b'event: message_start\ndata: {"message":{"usage":"free"}}\n\n'),
        ("text/html", None, b"hello"),
        ("application/json", None, b'{"id":"\xff","usage":{"input_tokens":1,"output_tokens":1}}'),
        ("application/json", None, b'{"usage":{"input_tokens":1,"x":"\xff"}}'),
        ("text/event-stream", None, b'event: message_start\ndata: {"message":{"id":"\xff"}}\n\n'),
        ("application/json", None, b'{"usage":null}'),
    ],
)
def test_unreadable_answers_have_no_usage(content_type: str, coding: str | None, body: bytes) -> None:
    """The meter never raises and never makes up a zero."""
    answer = feed(content_type, coding, body)

    assert answer.metered("m") is None
    assert not answer.usage_complete


@pytest.mark.parametrize(("opens", "closes"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_no_depth_gets_through(opens: bytes, closes: bytes) -> None:
    """However deep a usage is nested, on the edge of what the decoder takes too, there is no usage and no error."""
    deep = (opens * depth + b"1" + closes * depth for depth in range(sys.getrecursionlimit() - 300, 1010))

    assert {None} == {feed("application/json", None, b'{"usage":%b}' % usage).usage for usage in deep}


def test_a_huge_answer_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the limit the body is dropped, not collected."""
    monkeypatch.setattr(response, "JSON_BYTES_MAX", 10)

    assert Answer(is_readable=False) == feed("application/json", None, b'{"id":"msg_1","usage":{"input_tokens":1}}')


def test_the_first_token_is_noticed_once_the_answer_begins() -> None:
    """A stream begins with message_start; a ping before it is not a beginning."""
    meter = ResponseMeter("text/event-stream", None)
    meter.feed(sse({"type": "ping"}))
    assert not meter.first_token_seen
    meter.feed(sse(START))
    assert meter.first_token_seen


def _diagnosed(diagnostics: object) -> CacheMiss | None:
    body = {"type": "message", "id": "m", "model": "claude-opus-5-5", "usage": {"input_tokens": 1}}
    plain = response.read_json(json.dumps({**body, "diagnostics": diagnostics}).encode())
    start = {"type": "message_start", "message": {**body, "diagnostics": diagnostics}}
    meter = ResponseMeter("text/event-stream", None)
    meter.feed(b"event: message_start\ndata: " + json.dumps(start).encode() + b"\n\n")
    assert plain.cache_miss == meter.answer().cache_miss
    assert plain.usage is not None
    return plain.cache_miss


def test_the_api_s_reason_for_a_cache_miss_is_read() -> None:
    """From the whole answer and from the first event of a stream alike (API docs, cache diagnostics)."""
    said = {"type": "tools_changed", "cache_missed_input_tokens": 812}
    assert CacheMiss("tools_changed", 812) == _diagnosed({"cache_miss_reason": said})
    assert CacheMiss("unavailable") == _diagnosed({"cache_miss_reason": {"type": "unavailable"}})


@pytest.mark.parametrize(
    "diagnostics", [None, {}, {"cache_miss_reason": None}, "?", 7, [], {"cache_miss_reason": {"type": 3}}]
)
def test_diagnostics_that_say_nothing_cost_nothing(diagnostics: object) -> None:
    """Null, pending and what cannot be read leave the rest of the answer as it is."""
    assert None is _diagnosed(diagnostics)


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
def test_what_an_answer_says_is_heard_where_somebody_listens(kind: str) -> None:
    """Its length, its question and its tools as numbers and names; nobody hears it by default."""
    use = {"type": "tool_use", "id": "t", "name": "Bash", "input": {}}
    said = [{"type": "text", "text": "Shall I?"}, use]
    body = json.dumps({"type": "message", **START["message"], "content": said}).encode()  # type: ignore[dict-item]
    if kind == "text/event-stream":
        text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Shall I?"}}
        body = sse(START, text, {"type": "content_block_start", "index": 1, "content_block": use}, DELTA)
    for listens, expected in ((True, Spoken(8, asks=True, tools=frozenset({"Bash"}))), (False, None)):
        meter = ResponseMeter(kind, None, listens=listens)
        for at in range(0, len(body), 7):
            meter.feed(body[at : at + 7])
        assert expected == meter.answer().spoken
        assert expected == meter.answer().spoken


def test_every_event_that_is_read_is_found_by_its_words() -> None:
    """The stream is searched for parts of names, and none that matters is without one."""
    usage = b'"usage":{"input_tokens":3,"output_tokens":1}'
    stream = (
        b'event: message_start\ndata: {"message":{"id":"m","model":"claude-opus-5-5",%b}}\n\n' % usage
        + b'event: message_delta\ndata: {"delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}\n\n'
        + b'event: error\ndata: {"error":{"type":"overloaded_error"}}\n\n'
    )
    meter, begun = ResponseMeter("text/event-stream", None), ResponseMeter("text/event-stream", None)
    meter.feed(stream)
    begun.feed(b'event: message_start\ndata: {"message":{}}\n\n')
    answer = meter.answer()
    assert ("m", "end_turn", "overloaded_error") == (answer.message_id, answer.stop_reason, answer.error_type)
    assert begun.first_token_seen
