"""Requests to plan: marked or not, with token counts that are said and not estimated."""

from __future__ import annotations

import json
from typing import Any

from scrimp.core.belief.prefix import Prompt, read_prompt
from scrimp.core.wire.request import Request, parse
from scrimp.upstream.pricefeed import load_book

BOOK = load_book()
NOW_MS = 1_790_000_000_000
MARK = {"cache_control": {"type": "ephemeral"}}
TOOL = {"name": "Read", "description": "Reads.", "input_schema": {"type": "object"}}


def body_of(texts: list[str], marked: set[int], automatic: str | None = None, *, tools: bool = False) -> dict[str, Any]:
    """Return a request whose first text is the system prompt; `marked` are the texts that carry a mark."""
    blocks: list[dict[str, Any]] = [{"type": "text", "text": text} for text in texts]
    for index in marked:
        blocks[index] |= MARK
    body: dict[str, Any] = {"model": "claude-opus-5-5", "max_tokens": 9, "system": blocks[:1]}
    body["messages"] = [{"role": "user", "content": blocks[1:]}]
    if automatic:
        body["cache_control"] = {"type": "ephemeral", "ttl": automatic}
    return body | ({"tools": [TOOL]} if tools else {})


def read(body: dict[str, Any], tokens: int = 1_000) -> tuple[Request, Prompt]:
    """Read a request, of so many tokens a block."""
    request = parse(json.dumps(body).encode())
    return request, read_prompt(request, [tokens] * len(request.blocks))
