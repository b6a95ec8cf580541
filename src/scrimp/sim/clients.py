"""The client's side: scripted agents that send requests and react to the answers they get.

One seed is one conversation of a tool-loop agent as they are seen in the field: a system prompt and tools that many
sessions share, turns that are only ever appended, one of several habits of caching, tool uses in parallel, pauses
short and long, a branch back to an earlier prompt, another model half-way, subagents beside each other. The model's
side is played by `agents`, which the prompts direct by `SCENARIO:` words.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from hashlib import sha256
from typing import Any

import msgspec

from scrimp.sim.blocks import JsonObject, as_blocks
from scrimp.sim.checks import NEW_VERSION, OLD_VERSION
from scrimp.sim.machine import Answer, Simulator

_SECOND_MS = 1_000
_MINUTE_MS = 60_000

_MODELS = (
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
_SCENARIOS = ("loop2", "loop3", "loop5", "para2", "para4", "para12", "think2", "big4", "hello")
_TOOL_NAMES = ("Bash", "Read", "Edit", "Grep", "Glob", "Write", "Fetch", "Plan")
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


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One request and when it is sent: `pause_ms` after all earlier answers are out.

    With `overlaps` it is sent that long after the start of the request before it instead. `agent_id` names a subagent.
    """

    request: JsonObject
    headers: dict[str, str]
    pause_ms: int
    session_id: str
    agent_id: str | None = None
    overlaps: bool = False


class _Style(msgspec.Struct, frozen=True, kw_only=True):
    """What stays the same through one conversation."""

    model: str
    caching: Caching
    project: int
    stream: bool
    thinking: bool
    names_session: bool
    tool_count: int


def _words(draw: random.Random, count: int) -> str:
    return " ".join(draw.choice(_WORDS) for _ in range(count))


def _chance(draw: random.Random, percent: int) -> bool:
    return draw.randrange(100) < percent


def _style(draw: random.Random) -> _Style:
    return _Style(
        model=draw.choice(_MODELS),
        caching=draw.choice(CACHING),
        project=draw.randrange(6),
        stream=_chance(draw, 70),
        thinking=_chance(draw, 50),
        names_session=_chance(draw, 60),
        tool_count=draw.randint(1, len(_TOOL_NAMES)),
    )


def _tool(name: str, draw: random.Random) -> JsonObject:
    properties: JsonObject = {"command": {"type": "string"}, "description": {"type": "string"}}
    schema = {"type": "object", "properties": properties, "required": ["command"]}
    return {"name": name, "description": _words(draw, draw.randint(30, 200)), "input_schema": schema}


def _control(ttl: str | None) -> JsonObject:
    """Return a cache_control value, the way clients write the default lifetime: by leaving it out."""
    return {"type": "ephemeral"} if ttl in {None, "5m"} else {"type": "ephemeral", "ttl": ttl}


def _marked(block: JsonObject, ttl: str | None) -> JsonObject:
    return block if ttl is None else {**block, "cache_control": _control(ttl)}


def _with_last_marked(messages: list[JsonObject], ttl: str | None) -> list[JsonObject]:
    """Mark the last block; as clients do, one that is no longer marked goes back to a plain string."""
    if ttl is None:
        return messages
    blocks = as_blocks(messages[-1]["content"])
    return [*messages[:-1], {**messages[-1], "content": [*blocks[:-1], _marked(blocks[-1], ttl)]}]


class _Agent:
    """One agent's history and habits; `draw` decides everything that is not decided by an answer."""

    def __init__(self, style: _Style, draw: random.Random, session_id: str, agent_id: str | None, key: str) -> None:
        self.style = style
        self.draw = draw
        self.session_id = session_id
        self.agent_id = agent_id
        self.key = key
        self.model = style.model
        self.messages: list[JsonObject] = []
        shared = random.Random(f"project:{style.project}:{agent_id is None}")
        self.system = _words(shared, shared.choice((60, 400, 1_500, 3_000)))
        self.tools = [_tool(name, shared) for name in _TOOL_NAMES[: style.tool_count]]

    def request(self) -> JsonObject:
        caching = self.style.caching
        built: JsonObject = {
            "model": self.model,
            "max_tokens": 16_000,
            "system": [_marked({"type": "text", "text": self.system}, caching.system)],
            "tools": [*self.tools[:-1], _marked(self.tools[-1], caching.tools)],
            "messages": _with_last_marked(list(self.messages), caching.last),
            "stream": self.style.stream,
        }
        if caching.automatic:
            built["cache_control"] = _control(caching.automatic)
        if self.style.thinking:
            built["thinking"] = _thinking(self.model)
        return built

    def headers(self) -> dict[str, str]:
        if not self.style.names_session:
            return {"authorization": f"Bearer {self.key}", "anthropic-version": NEW_VERSION}
        named = {"x-claude-code-session-id": self.session_id}
        if self.agent_id:
            named["x-claude-code-agent-id"] = self.agent_id
        return {"x-api-key": self.key, "anthropic-version": OLD_VERSION, **named}

    def ask(self, pause_ms: int, *, overlaps: bool = False) -> Ask:
        return Ask(
            request=self.request(),
            headers=self.headers(),
            pause_ms=pause_ms,
            session_id=self.session_id,
            agent_id=self.agent_id,
            overlaps=overlaps,
        )

    def prompt(self) -> None:
        text = f"SCENARIO:{self.draw.choice(_SCENARIOS)} {_words(self.draw, self.draw.randint(5, 120))}"
        self.messages.append({"role": "user", "content": text})

    def hear(self, message: JsonObject) -> bool:
        """Append an answer and, if it uses tools, their results; say whether the turn goes on."""
        self.messages.append({"role": "assistant", "content": message["content"]})
        uses = [block for block in message["content"] if block["type"] == "tool_use"]
        if uses:
            self.messages.append({"role": "user", "content": [self._result(use) for use in uses]})
        return bool(uses)

    def _result(self, use: JsonObject) -> JsonObject:
        output = _words(self.draw, self.draw.choice((3, 20, 150, 900)))
        return {"type": "tool_result", "tool_use_id": use["id"], "content": output}


def _thinking(model: str) -> JsonObject:
    return {"type": "enabled", "budget_tokens": 2_048} if model in _BUDGET_THINKERS else {"type": "adaptive"}


def _tool_pause(draw: random.Random) -> int:
    return draw.randint(50, 9 * _SECOND_MS)


def _human_pause(draw: random.Random) -> int:
    ranges = ((3 * _SECOND_MS, _MINUTE_MS), (_MINUTE_MS, 4 * _MINUTE_MS), (6 * _MINUTE_MS, 40 * _MINUTE_MS))
    low, high = draw.choices((*ranges, (62 * _MINUTE_MS, 150 * _MINUTE_MS)), weights=(60, 20, 14, 6))[0]
    return draw.randint(low, high)


Conversation = Generator[Ask, JsonObject, None]


def _is_answer(body: JsonObject) -> bool:
    return body.get("type") == "message"


def _turn(agent: _Agent, pause_ms: int, *, overlaps: bool = False) -> Generator[Ask, JsonObject, bool]:
    """Run one prompt to its end; return False where the API refused, so that the agent gives up."""
    agent.prompt()
    body = yield agent.ask(pause_ms, overlaps=overlaps)
    while _is_answer(body) and agent.hear(body):
        body = yield agent.ask(_tool_pause(agent.draw))
    return _is_answer(body)


def _subagents(parent: _Agent) -> Generator[Ask, JsonObject, None]:
    """Start one to three subagents within a few milliseconds, then let them work in turns."""
    count = parent.draw.randint(1, 3)
    turns = [_turn(_child(parent, at), parent.draw.randint(3, 15), overlaps=at > 0) for at in range(count)]
    waiting: list[tuple[Generator[Ask, JsonObject, bool], Any]] = [(turn, None) for turn in turns]
    while waiting:
        turn, heard = waiting.pop(0)
        try:
            asked = turn.send(heard)
        except StopIteration:
            continue
        waiting.append((turn, (yield asked)))


def _child(parent: _Agent, at: int) -> _Agent:
    agent_id = "a" + sha256(f"{parent.session_id}:{len(parent.messages)}:{at}".encode()).hexdigest()[:16]
    draw = random.Random(agent_id)
    return _Agent(parent.style, draw, parent.session_id, agent_id, parent.key)


def _change_course(agent: _Agent, starts: list[int]) -> None:
    """Sometimes go back to before an earlier prompt, sometimes change the model."""
    if _chance(agent.draw, 15):
        del agent.messages[agent.draw.choice(starts) :]
    if _chance(agent.draw, 6):
        agent.model = agent.draw.choice(_MODELS)


def scripted_agent(seed: int, key: str = "sk-sim-0") -> Conversation:
    """Yield one conversation's requests, in order; send each answer's body in to get the next one.

    `key` is the credential, so the workspace. The conversation ends by itself, early if the API refuses a request.
    """
    draw = random.Random(seed)
    digest = sha256(f"session:{seed}".encode()).hexdigest()
    session_id = "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))
    agent = _Agent(_style(draw), draw, session_id, None, key)
    starts = [0]
    going = yield from _turn(agent, 0)
    for _ in range(draw.randrange(4)):
        if not going:
            return
        _change_course(agent, starts)
        if _chance(draw, 20):
            yield from _subagents(agent)
        starts = [*(start for start in starts if start < len(agent.messages)), len(agent.messages)]
        going = yield from _turn(agent, _human_pause(draw))


class Played(msgspec.Struct, frozen=True):
    """One request of a played conversation with its answer and its start, in milliseconds since the epoch."""

    ask: Ask
    answer: Answer
    started_at_ms: int


def play(conversation: Conversation, simulator: Simulator, start_ms: int) -> list[Played]:
    """Run one conversation against the simulator in virtual time, from `start_ms` on."""
    played: list[Played] = []
    started, ended = start_ms, start_ms
    heard: Any = None
    while True:
        try:
            ask = conversation.send(heard)
        except StopIteration:
            return played
        started = (started if ask.overlaps else max(started, ended)) + ask.pause_ms
        answer = simulator.handle(ask.request, ask.headers, started)
        ended = max(ended, started + answer.duration_ms)
        played.append(Played(ask, answer, started))
        heard = answer.body
