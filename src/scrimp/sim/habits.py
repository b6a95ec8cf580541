"""What stays the same through one agent's conversation: its model, its tools, and how it caches."""

from __future__ import annotations

import base64
import random
import struct

import msgspec

from scrimp.sim.blocks import JsonObject, as_blocks
from scrimp.sim.models import find

MODELS = (
    "claude-opus-5-5",
    "claude-sonnet-5-5",
    "claude-haiku-5-5",
    "claude-fable-5-2",
    "claude-opus-5",
    "claude-opus-4-8",
    "claude-sonnet-4-6",
    "claude-haiku-4-5",
)
_BUDGET_THINKERS = frozenset({"claude-haiku-4-5"})
SCENARIOS = ("loop2", "loop3", "loop5", "para2", "para4", "para12", "think2", "big4", "hello")
TOOL_NAMES = ("Bash", "Read", "Edit", "Grep", "Glob", "Write", "Fetch", "Plan")
_WORDS = (
    "agent reads file then edits table and checks result before next step with care while tests run in order "
    "and every path stays short so that people can follow what changed and why it had to change at all"
).split()


class Caching(msgspec.Struct, frozen=True):
    """A client's habit: the lifetime of each explicit mark and of the automatic one, None where there is none."""

    tools: str | None = None
    system: str | None = None
    last: str | None = None
    automatic: str | None = None


CACHING = (
    Caching(),
    Caching(automatic="5m"),
    Caching(automatic="1h"),
    Caching(system="5m", last="5m"),
    Caching(system="1h", last="5m"),
    Caching(tools="1h", system="1h", last="1h"),
    Caching(system="1h", automatic="5m"),
)


class Traffic(msgspec.Struct, frozen=True):
    """What some of the agents do beside loops of tools; each can be switched off.

    * `compaction`: a long history is replaced by a summary that the model writes.
    * `images`: prompts and tool results carry pictures.
    * `system_messages`: system messages in the middle of a conversation, some of them empty but for an effort.
    * `deferred_tools`: tools that are not in the prompt until a tool result refers to them.
    * `wide_turns`: so many tool uses in one turn that the earlier breakpoint is out of sight.
    * `searches`: the API's own web search, whose results are cached by breakpoints that no request shows; off, because
      an observer of requests learns of them only by the next one.
    """

    compaction: bool = True
    images: bool = True
    system_messages: bool = True
    deferred_tools: bool = True
    wide_turns: bool = True
    searches: bool = False


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """What stays the same through one conversation."""

    model: str
    caching: Caching
    project: int
    stream: bool
    thinking: bool
    names_session: bool
    tool_count: int


def words(draw: random.Random, count: int) -> str:
    """Return so many words; drawn bit by bit, since texts are most of what a conversation draws."""
    bits = len(_WORDS).bit_length()
    drawn: list[str] = []
    while len(drawn) < count:
        at = draw.getrandbits(bits)
        if at < len(_WORDS):
            drawn.append(_WORDS[at])
    return " ".join(drawn)


def chance(draw: random.Random, percent: int) -> bool:
    """Say whether something happens that happens so often."""
    return draw.randrange(100) < percent


def style_of(draw: random.Random) -> Style:
    """Draw a style."""
    return Style(
        model=draw.choice(MODELS),
        caching=draw.choice(CACHING),
        project=draw.randrange(6),
        stream=chance(draw, 70),
        thinking=chance(draw, 50),
        names_session=chance(draw, 60),
        tool_count=draw.randint(1, len(TOOL_NAMES)),
    )


def tool(name: str, draw: random.Random) -> JsonObject:
    """Return a tool of this name, with a description of its own."""
    properties: JsonObject = {"command": {"type": "string"}, "description": {"type": "string"}}
    schema = {"type": "object", "properties": properties, "required": ["command"]}
    return {"name": name, "description": words(draw, draw.randint(30, 200)), "input_schema": schema}


def control(ttl: str | None) -> JsonObject:
    """Return a cache_control value, the way clients write the default lifetime: by leaving it out."""
    return {"type": "ephemeral"} if ttl in {None, "5m"} else {"type": "ephemeral", "ttl": ttl}


def marked(block: JsonObject, ttl: str | None) -> JsonObject:
    """Return the block with a breakpoint of this lifetime, None for none."""
    return block if ttl is None else {**block, "cache_control": control(ttl)}


def with_last_marked(messages: list[JsonObject], ttl: str | None) -> list[JsonObject]:
    """Mark the last block; as clients do, one that is no longer marked goes back to a plain string."""
    if ttl is None:
        return messages
    at = next(at for at in reversed(range(len(messages))) if messages[at]["content"])
    blocks = as_blocks(messages[at]["content"])
    return [*messages[:at], {**messages[at], "content": [*blocks[:-1], marked(blocks[-1], ttl)]}, *messages[at + 1 :]]


def thinking(model: str) -> JsonObject:
    """Return the thinking that a client asks this model for."""
    return {"type": "enabled", "budget_tokens": 2_048} if model in _BUDGET_THINKERS else {"type": "adaptive"}


#: The API's own web search.
SEARCH: JsonObject = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}


def takes_system_messages(name: str) -> bool:
    """Say whether a model takes system messages in the middle of a conversation."""
    model = find(name)
    return model is not None and model.system_messages


def picture(width: int, height: int) -> JsonObject:
    """Return an image block; its data is the head of a PNG of this size in pixels, and nothing else."""
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII5x", 13, b"IHDR", width, height)
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(head).decode()}
    return {"type": "image", "source": source}


def deferred(name: str, draw: random.Random) -> JsonObject:
    """Return a tool that is not in the prompt until a result refers to it."""
    return {**tool(name, draw), "defer_loading": True}
