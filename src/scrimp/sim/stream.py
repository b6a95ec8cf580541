"""A finished message as the server-sent events that the API streams it in (API docs, streaming messages).

Only `message_start` carries the split of cache writes by lifetime; `message_delta` repeats the cumulative totals
without it, as the API does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec

from scrimp.sim.blocks import JsonObject

TEXT_CHUNK = 48
JSON_CHUNK = 32

#: What the first event says about output: the few tokens sampled by then.
FIRST_OUTPUT_TOKENS = 2

_STOPS = ("stop_reason", "stop_sequence", "stop_details")
_ONLY_AT_THE_END = ("output_tokens_details", "server_tool_use", "iterations")
_DELTA_USAGE = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    *_ONLY_AT_THE_END,
)


class Event(msgspec.Struct, frozen=True):
    """One event and when it is sent, in milliseconds after the request's start."""

    name: str
    data: JsonObject
    at_ms: int = 0

    def encode(self) -> bytes:
        """Return the event's bytes."""
        data = json.dumps(self.data, separators=(",", ":"), ensure_ascii=False)
        return f"event: {self.name}\ndata: {data}\n\n".encode()


def _chunks(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def _text_deltas(block: JsonObject) -> tuple[JsonObject, list[JsonObject]]:
    pieces = _chunks(block["text"], TEXT_CHUNK)
    return {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces]


def _thinking_deltas(block: JsonObject) -> tuple[JsonObject, list[JsonObject]]:
    pieces = _chunks(block["thinking"], TEXT_CHUNK)
    deltas: list[JsonObject] = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
    signed = {"type": "signature_delta", "signature": block["signature"]}
    return {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signed]


def _input_deltas(block: JsonObject) -> tuple[JsonObject, list[JsonObject]]:
    shown = json.dumps(block["input"], ensure_ascii=False)
    pieces = ["", *_chunks(shown, JSON_CHUNK)]
    return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]


_DELTAS = {
    "text": _text_deltas,
    "thinking": _thinking_deltas,
    "tool_use": _input_deltas,
    "server_tool_use": _input_deltas,
}


def _block_events(index: int, block: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    start, deltas = _DELTAS[block["type"]](block) if block["type"] in _DELTAS else (block, [])
    yield "content_block_start", {"index": index, "content_block": start}
    if index == 0:
        yield "ping", {}
    for delta in deltas:
        yield "content_block_delta", {"index": index, "delta": delta}
    yield "content_block_stop", {"index": index}


def _start(message: JsonObject) -> JsonObject:
    """Return the message as it begins: of an answer in several iterations, with the first one's usage."""
    first = (message["usage"].get("iterations") or [{}])[0]
    begun = {key: value for key, value in first.items() if key in message["usage"]}
    usage = {key: value for key, value in {**message["usage"], **begun}.items() if key not in _ONLY_AT_THE_END}
    usage["output_tokens"] = min(FIRST_OUTPUT_TOKENS, usage["output_tokens"])
    return {**message, "content": [], "stop_reason": None, "usage": usage}


def _end(message: JsonObject) -> JsonObject:
    usage = {key: message["usage"][key] for key in _DELTA_USAGE if key in message["usage"]}
    return {"delta": {key: message[key] for key in _STOPS}, "usage": usage}


def _untimed(message: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    yield "message_start", {"message": _start(message)}
    for index, block in enumerate(message["content"]):
        yield from _block_events(index, block)
    yield "message_delta", _end(message)
    yield "message_stop", {}


def shown_text(event: Event) -> str:
    """Return what the event shows of the model's output."""
    delta = event.data.get("delta") or {}
    return str(delta.get("text") or delta.get("thinking") or delta.get("partial_json") or "")


def ends_usage(event: Event) -> bool:
    """Say whether the event brings the final usage."""
    return event.name == "message_delta"


def events(message: JsonObject, first_token_ms: int, duration_ms: int) -> tuple[Event, ...]:
    """Return the message's events, spread evenly from the first token to the end of the answer."""
    untimed = list(_untimed(message))
    steps = max(1, len(untimed) - 1)
    return tuple(
        Event(name, {"type": name, **fields}, first_token_ms + (duration_ms - first_token_ms) * step // steps)
        for step, (name, fields) in enumerate(untimed)
    )
