"""A request's JSON as content blocks: string content is one text block, and marks are not part of a block."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

JsonObject = dict[str, Any]

#: Blocks whose `input` the model wrote: its key order is a part of the prompt (API docs, prompt caching).
TOOL_USES = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


def as_object(value: Any) -> JsonObject:
    """Return a JSON object, empty where there is none."""
    return value if isinstance(value, dict) else {}


def as_blocks(content: Any) -> list[JsonObject]:
    """Return content as a list of blocks; a string is one text block, nothing at all is no block."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def nested(block: JsonObject) -> list[JsonObject]:
    """Return the blocks inside a block, such as those of a tool_result."""
    return as_blocks(block.get("content"))


#: Objects that the API takes as they are.
_FREE_OBJECTS = frozenset({"input", "input_schema"})


def walk(blocks: list[JsonObject]) -> Iterator[JsonObject]:
    """Yield every block and every block inside it, outermost first."""
    for block in blocks:
        yield block
        yield from walk(nested(block))


def compact(value: Any, *, sort_keys: bool) -> str:
    """Return JSON without white space."""
    return json.dumps(value, sort_keys=sort_keys, separators=(",", ":"), ensure_ascii=False)


def _comparable(block: JsonObject) -> JsonObject:
    shown = {key: value for key, value in block.items() if key != "cache_control" and value is not None}
    for free in _FREE_OBJECTS & shown.keys():
        if free == "input_schema" or block.get("type") in TOOL_USES:
            shown[free] = compact(shown[free], sort_keys=False)
    if isinstance(shown.get("content"), (str, list)):
        shown["content"] = [_comparable(inner) for inner in nested(block)]
    return shown


def canonical(block: JsonObject) -> str:
    """Return the text that stands for what the API renders of a block.

    Two blocks render alike exactly if their canonical texts are equal: marks, null fields and the order of keys do not
    count, but inside a tool's `input` and in its `input_schema`, which are no objects of the API's own, the order does.
    """
    return compact(_comparable(block), sort_keys=True)


def request_blocks(request: JsonObject) -> list[JsonObject]:
    """Return every block of the messages, the nested ones included."""
    messages = [message for message in request.get("messages") or () if isinstance(message, dict)]
    return [block for message in messages for block in walk(as_blocks(message.get("content")))]
