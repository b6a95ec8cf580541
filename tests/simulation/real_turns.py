"""Turns of real sessions as requests: their recorded messages, behind tools and a system prompt of our own."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conftest import DATA
from tests.simulation.breaks import MARK, conversation

Body = dict[str, Any]

SESSIONS = DATA / "claude_code_sessions"
NO_SESSIONS = "no recorded sessions at shared/data/claude_code_sessions beside the repository: NOTHING REAL IS TESTED"
#: Messages of a session that are looked at, and characters of a request.
_MESSAGES_MAX, _CHARACTERS_MAX = 40, 120_000
_KEPT = {"text": ("text",), "tool_use": ("id", "name", "input"), "tool_result": ("tool_use_id", "content")}


def real_turns() -> Iterator[tuple[Body, Body]]:
    """Yield, for each session with enough in it, a request from its middle and the one after it."""
    for path in sorted(SESSIONS.rglob("*.jsonl.gz")):
        messages = _valid(_messages(path))
        ends = [at for at in range(3, len(messages), 2) if _suits(messages[:at])]
        if ends:
            yield _turn(messages, ends[len(ends) // 2])


def _turn(messages: list[Body], end: int) -> tuple[Body, Body]:
    before, _ = conversation(0)
    after = copy.deepcopy(before)
    before["messages"], after["messages"] = copy.deepcopy(messages[:end]), copy.deepcopy(messages[: end + 2])
    for body in (before, after):
        body["messages"][-1]["content"][-1]["cache_control"] = MARK
    return before, after


def _suits(messages: list[Body]) -> bool:
    """Whether there is something to rewrite and something to clear before the last message, within the size."""
    blocks = [block for message in messages[:-1] for block in message["content"]]
    texts = any(block["type"] == "text" and len(block["text"]) > 40 for block in blocks)
    results = any(block["type"] == "tool_result" and len(json.dumps(block["content"])) > 80 for block in blocks)
    return texts and results and len(json.dumps(messages)) < _CHARACTERS_MAX


def _messages(path: Path) -> list[Body]:
    """Return the conversation of a session file, one message for each answer and for what came between two."""
    messages: list[Body] = []
    at: dict[str, int] = {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            content = row.get("message", {}).get("content")
            if row["type"] not in {"user", "assistant"} or row.get("isSidechain") or not content:
                continue
            blocks = [{"type": "text", "text": content}] if isinstance(content, str) else _kept(content)
            name = row["message"].get("id") or ""
            if name in at:
                messages[at[name]]["content"] += blocks
            elif messages and messages[-1]["role"] == row["type"]:
                messages[-1]["content"] += blocks
            else:
                at |= {name: len(messages)} if name else {}
                messages.append({"role": row["type"], "content": blocks})
            if len(messages) > _MESSAGES_MAX:
                break
    return messages


def _kept(content: list[Body]) -> list[Body]:
    """Return the blocks of the three plain kinds, with the fields that the API takes."""
    return [
        {"type": block["type"], **{name: block[name] for name in _KEPT[block["type"]]}}
        for block in content
        if block["type"] in _KEPT and (block["type"] != "text" or block["text"])
    ]


def _valid(messages: list[Body]) -> list[Body]:
    """Return the messages up to where something is missing that a request needs."""
    for at, message in enumerate(messages):
        message["content"].sort(key=lambda block: block["type"] != "tool_result")
        before = messages[at - 1]["content"] if at else []
        asked = {block["id"] for block in before if block["type"] == "tool_use"}
        given = {block["tool_use_id"] for block in message["content"] if block["type"] == "tool_result"}
        if not message["content"] or message["role"] != ("assistant" if at % 2 else "user") or asked != given:
            return messages[:at]
    return messages
