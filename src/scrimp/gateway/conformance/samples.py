"""Answers as the API writes them, each with something in it that a gateway may be tempted to tidy up."""

from __future__ import annotations

import json
from typing import Any

from scrimp.gateway.conformance.recorder import Conversation, Script
from scrimp.gateway.conformance.wire import Headers

JSON_TYPE = ("content-type", "application/json")
EVENT_TYPE = ("content-type", "text/event-stream; charset=utf-8")

_USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 1000,
    "cache_read_input_tokens": 20000,
    "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600},
    "output_tokens": 12,
    "service_tier": "standard",
}
MODEL = "claude-opus-5-5"

#: A whole message: a space after a colon, a number with a fraction of nought, an escape, fields that nobody knows.
MESSAGE = (
    b'{"model": "claude-opus-5-5","id":"msg_01Conformance","type":"message","role":"assistant",'
    b'"content":[{"type":"text","text":"caf\\u00e9 \xe4\xb8\xad"}],"stop_reason":"end_turn","stop_sequence":null,'
    b'"x_future_field":{"ratio":1.0},"usage":' + json.dumps(_USAGE).encode() + b"}\n"
)


def event(name: str, **data: Any) -> bytes:
    """Return one event as the API writes it."""
    said = json.dumps({"type": name, **data}, separators=(",", ":"))
    return f"event: {name}\ndata: {said}\n\n".encode()


START = event(
    "message_start",
    message={
        "id": "msg_01Conformance",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**_USAGE, "output_tokens": 1},
    },
)
PING = event("ping")
TEXT_START = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
BLOCK_STOP = event("content_block_stop", index=0)
FINAL_USAGE = {"output_tokens": 12}
DELTA = event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=FINAL_USAGE)
STOP = event("message_stop")
ERROR_EVENT = event("error", error={"type": "overloaded_error", "message": "Overloaded"}, request_id="req_01Stream")


def text(words: str) -> bytes:
    """Return the event of some words."""
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": words})


#: A short stream with a ping where the API sends one.
STREAM = (START, TEXT_START, PING, text("Hel"), text("lo"), BLOCK_STOP, DELTA, STOP)

REQUEST_ID = ("request-id", "req_01Conformance")
#: What the API says of the limits beside an answer.
LIMITS: Headers = (
    ("anthropic-ratelimit-requests-limit", "4000"),
    ("anthropic-ratelimit-requests-remaining", "3999"),
    ("anthropic-ratelimit-requests-reset", "2026-11-22T12:00:00Z"),
    ("anthropic-ratelimit-input-tokens-remaining", "1999000"),
    ("anthropic-ratelimit-output-tokens-remaining", "399000"),
    ("anthropic-ratelimit-unified-status", "allowed"),
    ("anthropic-ratelimit-unified-5h-utilization", "0.25"),
)


def whole(status: int = 200, headers: Headers = (JSON_TYPE,), body: bytes = MESSAGE) -> Script:
    """Return the script that gives one answer of known length."""

    def script(conversation: Conversation) -> None:
        conversation.answer(status, (*headers, REQUEST_ID), body)

    return script


def streamed(*events: bytes, ends: bool = True) -> Script:
    """Return the script that sends these events at once and ends the stream, or breaks it off."""

    def script(conversation: Conversation) -> None:
        conversation.begin(200, (EVENT_TYPE, REQUEST_ID))
        for each in events:
            conversation.chunk(each)
        conversation.chunk(b"") if ends else conversation.hang_up()

    return script


def problem(kind: str, message: str, **details: Any) -> bytes:
    """Return an error of the API, with a space and a line feed that a gateway may lose."""
    error: dict[str, Any] = {"type": kind, "message": message}
    if details:
        error["details"] = details
    return json.dumps({"type": "error", "error": error, "request_id": "req_01Conformance"}).encode() + b"\n"


#: status -> its error: clients choose what to do next by these very words and details.
PROBLEMS: dict[int, bytes] = {
    400: problem(
        "invalid_request_error",
        "messages.1.role: threads cannot be used with this request",
        error_code="thread_unsupported_request",
        unsupported=["context_management"],
    ),
    401: problem("authentication_error", "invalid x-api-key", error_code="invalid_key"),
    404: problem("not_found_error", "model: claude-none", error_code="model_not_found"),
    413: problem("request_too_large", "Request exceeds the maximum size", limit_bytes=33554432),
    429: problem("rate_limit_error", "This request would exceed your rate limit", error_code="spend_limit"),
    500: problem("api_error", "Internal server error"),
    529: problem("overloaded_error", "Overloaded", error_visibility="user_facing"),
}
#: status -> the headers that tell a client whether and when to come again.
PROBLEM_HEADERS: dict[int, Headers] = {
    429: (("retry-after", "1"), ("x-should-retry", "true")),
    500: (("x-should-retry", "false"),),
    529: (("retry-after", "1"),),
}
