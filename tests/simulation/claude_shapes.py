"""Requests in the shape that Claude Code gives them (facts on clients, section 2), with words of our own."""

from __future__ import annotations

import copy
import random
from typing import Any

from scrimp.sim.habits import TOOL_NAMES, deferred, tool, words
from tests.simulation.breaks import MARK, SYSTEM

Body = dict[str, Any]


def claude_code_turn(seed: int) -> tuple[Body, Body]:
    """Return a request and the one after it, unbroken."""
    draw = random.Random(f"claude-code:{seed}")
    messages: list[Body] = [
        {"role": "user", "content": [_text(f"Reminder: {words(draw, 300)}"), _text(words(draw, 40))]},
        {"role": "system", "content": [_text(words(draw, 30))]},
    ]
    for turn in range(draw.randrange(1, 5)):
        messages += _tools_in_use(turn, draw)
    before: Body = {
        "model": "claude-opus-5-5",
        "max_tokens": 64_000,
        "system": [
            _text("x-anthropic-billing-header: cc_version=2.1.330.abc; cc_entrypoint=cli;"),
            _text(words(draw, 12)) | {"cache_control": MARK},
            _text(f"{SYSTEM}{words(draw, 2_000)}") | {"cache_control": MARK},
        ],
        "tools": [*(tool(name, draw) for name in TOOL_NAMES[:6]), deferred("DeferredPlaceholder", draw)],
        "messages": messages,
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high"},
        "metadata": {"user_id": "{}"},
        "stream": True,
    }
    after = copy.deepcopy(before)
    after["messages"] += _tools_in_use(9, draw)
    for body in (before, after):
        body["messages"][-1]["content"][-1]["cache_control"] = MARK
    return before, after


def _text(text: str) -> Body:
    return {"type": "text", "text": text}


def _tools_in_use(turn: int, draw: random.Random) -> list[Body]:
    """Return an answer that uses one to three tools at once, and their results."""
    ids = [f"toolu_{turn}_{at}" for at in range(draw.randint(1, 3))]
    given = {"command": f"look {turn}", "description": "Looks"}
    used = [{"type": "tool_use", "id": each, "name": TOOL_NAMES[0], "input": given} for each in ids]
    results = [{"type": "tool_result", "tool_use_id": each, "content": words(draw, 200)} for each in ids]
    return [
        {"role": "assistant", "content": [_text(words(draw, 20)), *used]},
        {"role": "user", "content": results},
    ]
