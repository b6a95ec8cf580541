"""Requests as agents make them: system, tools, and turns of a tool use with its result; every word from a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

MODEL = "claude-sonnet-4-5-20250929"
WORDS = (
    "the agent reads file then edits function returns value error test passes module import cache token prefix route "
    "model batch queue worker retry budget stream delta"
).split()
TOOLS = 30
SYSTEM_CHARS, TOOL_CHARS, RESULT_CHARS, WORD_CHARS = 14_000, 900, 3_300, 6


def _text(dice: random.Random, chars: int) -> str:
    return " ".join(dice.choices(WORDS, k=chars // WORD_CHARS))


def _tool(dice: random.Random, number: int) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"arg0": {"type": "string"}}, "required": ["arg0"]}
    return {"name": f"tool_{number}", "description": _text(dice, TOOL_CHARS), "input_schema": schema}


def _turn(dice: random.Random, number: int, result_chars: int) -> list[dict[str, Any]]:
    name = f"toolu_{number:024d}"
    used = {"type": "tool_use", "id": name, "name": f"tool_{number % TOOLS}", "input": {"arg0": _text(dice, 90)}}
    result = {"type": "tool_result", "tool_use_id": name, "content": _text(dice, result_chars)}
    return [
        {"role": "assistant", "content": [{"type": "text", "text": _text(dice, 120)}, used]},
        {"role": "user", "content": [result]},
    ]


def conversation(seed: str, begins_with: int, turns: int, result_chars: int = RESULT_CHARS) -> Iterator[bytes]:
    """Yield the requests of one agent: the first has `begins_with` turns, each later one of `turns` has one more.

    With the mark on its last block, as agents move it along.
    """
    dice = random.Random(seed)  # noqa: S311 - words for a benchmark
    system = [{"type": "text", "text": _text(dice, SYSTEM_CHARS), "cache_control": {"type": "ephemeral"}}]
    request: dict[str, Any] = {"model": MODEL, "max_tokens": 8_000, "stream": True, "system": system}
    request["tools"] = [_tool(dice, number) for number in range(TOOLS)]
    messages: list[dict[str, Any]] = [{"role": "user", "content": _text(dice, 1_500)}]
    for number in range(begins_with + turns - 1):
        if number >= begins_with:
            yield _marked(request, messages)
        messages += _turn(dice, number, result_chars)
    yield _marked(request, messages)


def _marked(request: dict[str, Any], messages: list[dict[str, Any]]) -> bytes:
    last = messages[-1]
    content = last["content"] if isinstance(last["content"], list) else [{"type": "text", "text": last["content"]}]
    marked = {**last, "content": [*content[:-1], {**content[-1], "cache_control": {"type": "ephemeral"}}]}
    body = {**request, "messages": [*messages[:-1], marked]}
    return json.dumps(body, separators=(",", ":")).encode()
