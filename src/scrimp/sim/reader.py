"""What a client does with an answer: put a streamed message together again.

The inverse of `stream.events`, for agents that are played over sockets or through a gateway.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from scrimp.sim.blocks import JsonObject

#: delta type -> (the block's field that it adds to, the delta's field that it comes from)
_GROWS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("signature", "signature"),
    "input_json_delta": ("_input", "partial_json"),
}


def _events(body: bytes) -> Iterator[JsonObject]:
    for record in body.decode().split("\n\n"):
        lines = [line.removeprefix("data: ") for line in record.splitlines() if line.startswith("data: ")]
        if lines:
            event: JsonObject = json.loads("\n".join(lines))
            yield event


def _start(message: JsonObject, event: JsonObject) -> None:
    message.update(event["message"], content=[])


def _open(message: JsonObject, event: JsonObject) -> None:
    message["content"].append(dict(event["content_block"]))


def _grow(message: JsonObject, event: JsonObject) -> None:
    field, source = _GROWS[event["delta"]["type"]]
    block = message["content"][event["index"]]
    block[field] = block.get(field, "") + event["delta"][source]


def _close(message: JsonObject, event: JsonObject) -> None:
    block = message["content"][event["index"]]
    if "_input" in block:
        block["input"] = json.loads(block.pop("_input") or "{}")


def _end(message: JsonObject, event: JsonObject) -> None:
    message.update(event["delta"])
    message["usage"] = {**message["usage"], **event["usage"]}


_FOLD: dict[str, Callable[[JsonObject, JsonObject], None]] = {
    "message_start": _start,
    "content_block_start": _open,
    "content_block_delta": _grow,
    "content_block_stop": _close,
    "message_delta": _end,
}


def read_answer(content_type: str, body: bytes) -> JsonObject:
    """Return the message, or the error, that a whole answer of this content type holds."""
    message: JsonObject = {}
    if not content_type.startswith("text/event-stream"):
        message.update(json.loads(body))
    else:
        for event in _events(body):
            if event["type"] in _FOLD:
                _FOLD[event["type"]](message, event)
    return message
