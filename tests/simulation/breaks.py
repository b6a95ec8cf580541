"""Breaks of the cache to inject: each turns the request that would go on unbroken into one that does not."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable
from typing import Any, NamedTuple

Body = dict[str, Any]
Mutation = Callable[[Body, random.Random], str]

MARK = {"type": "ephemeral"}
#: Any text is as good as any other, if the minimum of every model is exceeded.
FILLER = "The quick brown fox jumps over the lazy dog and thinks about the price of tokens. " * 90


class Kind(NamedTuple):
    """A kind of break: the cause that is to be found, and what does it; it returns the path of the block it changes."""

    cause: str
    mutate: Mutation


def conversation(seed: int) -> tuple[Body, Body]:
    """Return a request of an agent and the one after it, unbroken: tools, two system blocks, a few turns, marks."""
    draw = random.Random(seed)
    tools = [
        {
            "name": f"tool_{name}",
            "description": f"Does {name}. {FILLER[: draw.randrange(200, 900)]}",
            "input_schema": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "number"}}},
        }
        for name in draw.sample(["read", "write", "run", "search", "fetch", "plan"], 4)
    ]
    system = [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330.abc; cc_entrypoint=cli;"},
        {"type": "text", "text": SYSTEM + FILLER, "cache_control": MARK},
    ]
    messages: list[Body] = [{"role": "user", "content": [{"type": "text", "text": "Mend the failing test. " + FILLER}]}]
    for turn in range(draw.randrange(1, 6)):
        messages += exchange(turn, draw)
    before: Body = {"model": "claude-opus-5-5", "max_tokens": 2_000, "tools": tools, "system": system}
    before |= {"messages": messages, "thinking": {"type": "adaptive"}}
    after = copy.deepcopy(before)
    after["messages"] += exchange(9, draw)
    for body in (before, after):
        body["messages"][-1]["content"][-1]["cache_control"] = MARK
    return before, after


SYSTEM = """You are an agent.
Today's date is 2026-11-25, Wednesday.
Session 3f0c9a1e-7b2d-4c55-9a10-5d1f2e3c4b5a belongs to build 1041 of the service.
git status: On branch main, 3 files modified
Be brief.
"""


def exchange(turn: int, draw: random.Random) -> list[Body]:
    """Return an answer with one tool in use, and its result."""
    used = {"type": "tool_use", "id": f"toolu_{turn}", "name": "tool_read", "input": {"a": f"file {turn}", "b": turn}}
    result = {"type": "tool_result", "tool_use_id": f"toolu_{turn}", "content": FILLER[: draw.randrange(300, 3_000)]}
    return [
        {"role": "assistant", "content": [{"type": "text", "text": f"Let me look at file {turn}."}, used]},
        {"role": "user", "content": [result, {"type": "text", "text": f"Note {turn}: go on."}]},
    ]


def _system_word(old: str, new: Callable[[random.Random], str]) -> Mutation:
    def mutate(body: Body, draw: random.Random) -> str:
        at = next(at for at, block in enumerate(body["system"]) if old in block["text"])
        block = body["system"][at]
        block["text"] = block["text"].replace(old, new(draw), 1)
        return f"system.{at}"

    return mutate


def _billing(body: Body, draw: random.Random) -> str:
    block = body["system"][0]
    block["text"] = re.sub(r"(cc_version=[\d.]+\.)\w+;", rf"\g<1>{draw.choice(['x', 'y'])}01;", block["text"])
    return "system.0"


def _add_tool(body: Body, draw: random.Random) -> str:
    at = draw.randrange(loaded(body) + 1)
    body["tools"].insert(at, {"name": "tool_new", "description": "Is new.", "input_schema": {"type": "object"}})
    return f"tools.{at}"


def _drop_tool(body: Body, draw: random.Random) -> str:
    at = draw.randrange(loaded(body))
    del body["tools"][at]
    return f"tools.{at}"


def _reorder_tools(body: Body, draw: random.Random) -> str:
    at = draw.randrange(loaded(body) - 1)
    body["tools"][at], body["tools"][at + 1] = body["tools"][at + 1], body["tools"][at]
    return f"tools.{at}"


def _edit_tool(body: Body, draw: random.Random) -> str:
    at = draw.randrange(loaded(body))
    body["tools"][at]["description"] = "Does it otherwise. " + body["tools"][at]["description"]
    return f"tools.{at}"


def _key_order_of_tool(body: Body, draw: random.Random) -> str:
    schemas = [tool["input_schema"] for tool in body["tools"][: loaded(body)]]
    at = draw.choice([at for at, schema in enumerate(schemas) if len(schema.get("properties", ())) > 1])
    schemas[at]["properties"] = dict(reversed(schemas[at]["properties"].items()))
    return f"tools.{at}"


def _key_order_of_input(body: Body, _draw: random.Random) -> str:
    path, used = first_block(body, "tool_use", lambda block: len(block["input"]) > 1)
    used["input"] = dict(reversed(used["input"].items()))
    return path


def _first_message(body: Body) -> str:
    assert body["messages"]
    return "messages.0.content.0"


def _speed(body: Body, _draw: random.Random) -> str:
    body["speed"] = "fast"
    return ""


def _setting(name: str, value: Any) -> Mutation:
    def mutate(body: Body, _draw: random.Random) -> str:
        body[name] = value
        return _first_message(body)

    return mutate


def _model(body: Body, draw: random.Random) -> str:
    body["model"] = draw.choice(["claude-sonnet-5-5", "claude-opus-5"])
    return ""


def _image(body: Body, _draw: random.Random) -> str:
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    source = {"type": "base64", "media_type": "image/png", "data": pixel}
    body["messages"][-1]["content"].insert(0, {"type": "image", "source": source})
    return _first_message(body)


def _edit_message(body: Body, draw: random.Random) -> str:
    path, block = first_block(body, "text", lambda block: len(block["text"]) > 40)
    starts = [0, *(found.start() for found in re.finditer(r"\b\w", block["text"]))]
    at = draw.choice([start for start in starts if not _is_telling(block["text"], start)])
    block["text"] = f"{block['text'][:at]}\nMind the gap."
    return path


def _is_telling(text: str, at: int) -> bool:
    """Whether the beginning of a line says what kind of line it is, whatever follows."""
    start = text.rfind("\n", 0, at) + 1
    return re.search(r"[^a-z ]|git|branch|commit|modified|untracked|today|now|date|time", text[start:at]) is not None


def _clear_result(body: Body, _draw: random.Random) -> str:
    path, block = first_block(body, "tool_result", lambda block: len(json.dumps(block["content"])) > 40)
    block["content"] = "[cleared]"
    return path


def first_block(body: Body, kind: str, suits: Callable[[Body], bool]) -> tuple[str, Body]:
    """Return the path and the block of the first one of a kind in the messages that suits."""
    return next(
        (f"messages.{number}.content.{at}", block)
        for number, message in enumerate(body["messages"])
        for at, block in enumerate(message["content"])
        if block["type"] == kind and suits(block)
    )


def loaded(body: Body) -> int:
    """Return how many tools are in the prompt; deferred ones come last and are not."""
    return sum(not tool.get("defer_loading") for tool in body["tools"])


def _compact(body: Body, _draw: random.Random) -> str:
    body["messages"] = [{"role": "user", "content": [{"type": "text", "text": "What happened so far: " + FILLER}]}]
    body["messages"][0]["content"][-1]["cache_control"] = MARK
    return _first_message(body)


CHANGES = (
    Kind("date", _system_word("2026-11-25", lambda draw: f"2026-12-{draw.randrange(10, 29)}")),
    Kind("date", _system_word("Wednesday", lambda draw: draw.choice(["Thursday", "Friday", "Monday"]))),
    Kind("id", _system_word("3f0c9a1e-7b2d", lambda draw: f"{draw.randrange(16**8):08x}-7b2d")),
    Kind("counter", _system_word("build 1041", lambda draw: f"build {draw.randrange(1042, 9999)}")),
    Kind("git_status", _system_word("branch main", lambda draw: f"branch topic{draw.randrange(9)}")),
    Kind("system_edited", _system_word("Be brief.", lambda _: "Take your time.")),
    Kind("billing_header", _billing),
    Kind("tools_added_or_removed", _add_tool),
    Kind("tools_added_or_removed", _drop_tool),
    Kind("tools_reordered", _reorder_tools),
    Kind("tool_changed", _edit_tool),
    Kind("key_order", _key_order_of_tool),
    Kind("key_order", _key_order_of_input),
    Kind("model", _model),
    Kind("speed", _speed),
    Kind("tool_choice", _setting("tool_choice", {"type": "none"})),
    Kind("thinking", _setting("thinking", {"type": "enabled", "budget_tokens": 1_024})),
    Kind("effort", _setting("output_config", {"effort": "max"})),
    Kind("images", _image),
    Kind("message_edited", _edit_message),
    Kind("result_cleared", _clear_result),
    Kind("compaction", _compact),
)


def text_of(body: Body, path: str) -> str:
    """Return the text that a path names, or its JSON without marks where it is no text."""
    found: Any = body
    for part in path.split("."):
        found = found[int(part)] if part.isdigit() else found[part]
    if found.get("type") == "text":
        return str(found["text"])
    return json.dumps({key: value for key, value in found.items() if key != "cache_control"})
