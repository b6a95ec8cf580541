"""The scenes of `scrimp demo`: a whole conversation, and three clients whose habits make a cache dear or useless."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from scrimp.cli.stage import Stage

_MODEL = "claude-opus-5-5"
_TOOL = {
    "name": "Bash",
    "description": "Run a command.",
    "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
}
_MARK = {"cache_control": {"type": "ephemeral"}}
#: Lines of a system prompt, each of some twenty tokens.
_LINES = 1_200
_TURNS = 6
_TURN_MS = 20_000
_TOOL_MS = 12 * 60_000
_AGENTS = 5


class Scene(NamedTuple):
    """A part of the story: its name, and how it is played."""

    name: str
    play: Callable[[Stage, int], Awaitable[None]]


async def _day(stage: Stage, seed: int) -> None:
    """Let the scripted agent talk until it is done; virtual time passes as it pauses."""
    from scrimp.sim.clients import scripted_agent

    agent = scripted_agent(seed)
    heard: Any = None
    while True:
        try:
            ask = agent.send(heard)
        except StopIteration:
            return
        await stage.clock.pass_ms(ask.pause_ms)
        heard = await stage.ask(ask.request, ask.headers)


async def _unmarked(stage: Stage, _seed: int) -> None:
    """Talk as a client that asks for no caching: every turn pays for the whole prompt."""
    messages: list[Any] = []
    for turn in range(_TURNS):
        messages.append({"role": "user", "content": f"SCENARIO:hello Question {turn} of {_TURNS}."})
        heard = await stage.ask(_request("unmarked", messages), _headers("unmarked"))
        messages.append({"role": "assistant", "content": heard["content"]})
        await stage.clock.pass_ms(_TURN_MS)


async def _long_tool(stage: Stage, _seed: int) -> None:
    """Cache for five minutes, and wait for a tool for twelve: the cache is gone when it returns."""
    messages: list[Any] = [{"role": "user", "content": f"SCENARIO:loop{_TURNS} Build it and run all tests."}]
    for turn in range(_TURNS):
        heard = await stage.ask({**_request("long_tool", messages), **_MARK}, _headers("long_tool"))
        messages.append({"role": "assistant", "content": heard["content"]})
        used = [block["id"] for block in heard["content"] if block["type"] == "tool_use"]
        messages.append({"role": "user", "content": [_result(each) for each in used]})
        await stage.clock.pass_ms(_TOOL_MS if turn == _TURNS // 2 else _TURN_MS)


async def _fan_out(stage: Stage, _seed: int) -> None:
    """Start agents at once over one long prompt: each writes it to the cache, none can read it yet."""
    prompts = [[{"role": "user", "content": f"SCENARIO:hello Part {number} is yours."}] for number in range(_AGENTS)]
    marked = [{"type": "text", "text": _text("fan_out"), **_MARK}]
    requests = [{**_request("fan_out", prompt), "system": marked} for prompt in prompts]
    await stage.ask_at_once(requests, _headers("fan_out"))


def _request(name: str, messages: list[Any]) -> dict[str, Any]:
    system = [{"type": "text", "text": _text(name)}]
    return {"model": _MODEL, "max_tokens": 2_000, "system": system, "tools": [_TOOL], "messages": messages}


def _text(name: str) -> str:
    """Return a system prompt that no other client has."""
    return "".join(f"{name} {number}. Read what is there, mend what is broken, test it.\n" for number in range(_LINES))


def _result(use: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": use, "content": "ok"}


def _headers(name: str) -> dict[str, str]:
    """Return the headers of a client with a key of its own: nothing is known of it beforehand."""
    return {"x-api-key": f"sk-{name}", "anthropic-version": "2023-06-01", "content-type": "application/json"}


SCENES = (
    Scene("a coding agent with subagents", _day),
    Scene("a client that asks for no caching", _unmarked),
    Scene("a tool that runs for twelve minutes", _long_tool),
    Scene("five agents started at once", _fan_out),
)
