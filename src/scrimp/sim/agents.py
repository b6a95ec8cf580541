"""The model's side of a conversation: what the simulated model answers, chosen from the prompt alone.

A user text that contains `SCENARIO:<name><count>` selects a script, the last such text wins:

* `loopN`, `longN`: N turns that use one of the client's tools, then text;
* `paraN`: one turn with N parallel uses, then text;
* `thinkN`: like loopN, each turn with a thinking block (where the request allows thinking);
* `bigN`: one tool use whose output is N kB where the tool is a shell, then text;
* `searchN`: a text after N web searches, where the web search tool is offered and allows so many;
* anything else: a short text.

The same seed, prompts and number of messages give the same answer: neither marks nor the tools' output play a part, so
that a client hears the same through a gateway that moves marks or shortens output.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from scrimp.sim import tokens
from scrimp.sim.blocks import JsonObject, as_blocks, as_object, compact
from scrimp.sim.models import Model
from scrimp.sim.signatures import Signature
from scrimp.sim.thinking import is_prompted

_SCENARIO = re.compile(r"SCENARIO:([a-z]+)(\d*)")
_SHELL = "Bash"

#: Where nobody says under which name the simulator is reached.
HOST = "sim.invalid"
_DEFAULT_COUNTS = {"loop": 3, "long": 30, "para": 4, "think": 1, "big": 25, "search": 1}
_WORDS = (
    "the file is read and the test passes now so this part works as asked because each step was small "
    "next comes one more check of the table where two rows differ by a single value that nobody needs"
).split()


class Scene(msgspec.Struct, frozen=True):
    """Where a conversation stands: the script, its count, and how many answers it has had since it was asked for."""

    script: str
    count: int
    step: int


class Reply(msgspec.Struct, frozen=True):
    """What the model answers: blocks, why it stopped, and what it cost in output tokens."""

    content: list[JsonObject]
    stop_reason: str
    output_tokens: int
    thinking_tokens: int
    web_search_requests: int = 0


class _Author:
    """Writes blocks; `draw` is seeded by the simulator's seed, the prompts and the number of messages."""

    def __init__(self, request: JsonObject, model: Model, seed: int, prefix: str, host: str) -> None:
        self.request = request
        self.model = model
        self.prefix = prefix
        self.host = host
        seen = [seed, len(request["messages"]), *map(_texts, filter(is_prompted, request["messages"]))]
        self.digest = sha256(compact(seen, sort_keys=False).encode("utf-8", "surrogatepass")).hexdigest()
        self.draw = random.Random(self.digest)

    def sentence(self, words: int) -> str:
        return " ".join(self.draw.choice(_WORDS) for _ in range(words)).capitalize() + "."

    def text(self) -> JsonObject:
        return {"type": "text", "text": self.sentence(self.draw.randint(6, 40))}

    def thinking(self) -> JsonObject:
        thought = self.sentence(self.draw.randint(20, 120))
        count = tokens.text_tokens(thought, self.model)
        shown = "" if as_object(self.request.get("thinking")).get("display") == "omitted" else thought
        signed = Signature(count, self.model.name, self.prefix, self.digest[:32])
        return {"type": "thinking", "thinking": shown, "signature": signed.encode()}

    def tool_use(self, tool: JsonObject, step: str, command: str = "") -> JsonObject:
        token = sha256(f"{self.digest}:{step}".encode()).hexdigest()[:24]
        return {
            "type": "tool_use",
            "id": f"toolu_{token}",
            "name": tool["name"],
            "input": _tool_input(tool, step, command or f"echo {step}"),
        }


def _tool_input(tool: JsonObject, step: str, command: str) -> JsonObject:
    """Return an input that the tool's schema accepts: every required field, filled by its type."""
    if tool["name"] == _SHELL:
        return {"command": command, "description": f"Run {step}"}
    schema = as_object(tool.get("input_schema"))
    known, required = as_object(schema.get("properties")), schema.get("required")
    names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    return {name: _value(as_object(known.get(name)), step) for name in names}


def _value(schema: JsonObject, step: str) -> Any:
    choices = schema.get("enum")
    if isinstance(choices, list) and choices:
        return choices[0]
    kind = schema.get("type")
    return {"integer": 1, "number": 1, "boolean": False, "array": [], "object": {}, "null": None}.get(str(kind), step)


def _usable_tools(request: JsonObject) -> list[JsonObject]:
    """Return the client's own tools that are in the prompt, the shell first."""
    offered = [tool for tool in as_blocks(request.get("tools")) if (tool.get("type") or "custom") == "custom"]
    named = [tool for tool in offered if isinstance(tool.get("name"), str) and not tool.get("defer_loading")]
    return sorted(named, key=lambda tool: tool["name"] != _SHELL)


def _texts(message: JsonObject) -> str:
    return "\n".join(str(block.get("text") or "") for block in as_blocks(message.get("content")))


def scene_of(request: JsonObject) -> Scene:
    """Return the script that the conversation is in, and its next step."""
    messages: Sequence[JsonObject] = request["messages"]
    for index in reversed(range(len(messages))):
        found = _SCENARIO.findall(_texts(messages[index])) if is_prompted(messages[index]) else []
        if found:
            script, count = found[-1]
            step = sum(message.get("role") == "assistant" for message in messages[index:])
            return Scene(script, int(count or _DEFAULT_COUNTS.get(script, 1)), step)
    return Scene("text", 1, 0)


def _loop(author: _Author, scene: Scene, tools: list[JsonObject]) -> list[JsonObject]:
    if scene.step >= scene.count or not tools:
        return [author.text()]
    return [author.text(), author.tool_use(tools[0], f"step-{scene.step + 1}")]


def _parallel(author: _Author, scene: Scene, tools: list[JsonObject]) -> list[JsonObject]:
    if scene.step > 0 or not tools:
        return [author.text()]
    return [author.text(), *(author.tool_use(tools[0], f"part-{part + 1}") for part in range(scene.count))]


def may_think(request: JsonObject, model: Model) -> bool:
    """Say whether the request allows thinking."""
    return (as_object(request.get("thinking")).get("type") or model.default_thinking) != "disabled"


def _think(author: _Author, scene: Scene, tools: list[JsonObject]) -> list[JsonObject]:
    thought = [author.thinking()] if may_think(author.request, author.model) else []
    return [*thought, *_loop(author, scene, tools)]


def _big(author: _Author, scene: Scene, tools: list[JsonObject]) -> list[JsonObject]:
    if scene.step > 0 or not tools:
        return [author.text()]
    return [author.tool_use(tools[0], "big", f"head -c {scene.count * 1000} /dev/zero | tr '\\0' x")]


def _search(author: _Author, scene: Scene, _tools: list[JsonObject]) -> list[JsonObject]:
    tools = as_blocks(author.request.get("tools"))
    limits = [tool.get("max_uses") for tool in tools if str(tool.get("type")).startswith("web_search_")]
    allowed = (limits[0] if isinstance(limits[0], int) else scene.count) if limits and scene.step == 0 else 0
    searches = min(scene.count, allowed)
    pairs = [block for at in range(searches) for block in _search_pair(author, at)]
    return [*pairs, author.text()]


def _search_pair(author: _Author, at: int) -> tuple[JsonObject, JsonObject]:
    use = f"srvtoolu_{author.digest[:20]}{at:04d}"
    found = {
        "type": "web_search_result",
        "url": f"http://{author.host}/found/{at}",
        "title": author.sentence(4),
        "encrypted_content": author.digest,
        "page_age": None,
    }
    return (
        {"type": "server_tool_use", "id": use, "name": "web_search", "input": {"query": author.sentence(3)}},
        {"type": "web_search_tool_result", "tool_use_id": use, "content": [found]},
    )


_SCRIPTS: dict[str, Callable[[_Author, Scene, list[JsonObject]], list[JsonObject]]] = {
    "loop": _loop,
    "long": _loop,
    "para": _parallel,
    "think": _think,
    "big": _big,
    "search": _search,
}


def _plain(author: _Author, _scene: Scene, _tools: list[JsonObject]) -> list[JsonObject]:
    return [author.text()]


def _cut(author: _Author, limit: int) -> Reply:
    """Return an answer that ran into max_tokens: as much text as fits."""
    room = limit * 1_000 // author.model.tokens_per_1000_bytes
    text = author.sentence(limit // 2 + 1)[:room]
    content: list[JsonObject] = [{"type": "text", "text": text}] if text else []
    return Reply(content, "max_tokens", tokens.text_tokens(text, author.model), 0)


def reply(request: JsonObject, model: Model, seed: int, *, prefix: str = "", host: str = HOST) -> Reply:
    """Return the model's answer to a checked request with room for at least one token.

    `prefix` is what its thinking is bound to, `host` is where the pages that it finds are.
    """
    author, scene = _Author(request, model, seed, prefix, host), scene_of(request)
    content = _SCRIPTS.get(scene.script, _plain)(author, scene, _usable_tools(request))
    used = sum(tokens.block_tokens(block, model) for block in content if not block["type"].endswith("_tool_result"))
    if used > request["max_tokens"]:
        return _cut(author, request["max_tokens"])
    thought = sum(tokens.block_tokens(block, model) for block in content if block["type"] == "thinking")
    searches = sum(block["type"] == "server_tool_use" for block in content)
    stop = "tool_use" if content[-1]["type"] == "tool_use" else "end_turn"
    return Reply(content, stop, used, thought, searches)
