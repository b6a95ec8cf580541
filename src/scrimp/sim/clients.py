"""The client's side: scripted agents that send requests and react to the answers they get.

One seed is one conversation of a tool-loop agent as they are seen in the field: a system prompt and tools that many
sessions share, turns that are only ever appended, one of several habits of caching, tool uses in parallel, pauses
short and long, a branch back to an earlier prompt, another model half-way, subagents beside each other, compaction,
pictures, system messages half-way, deferred tools (see `habits.Traffic`). The model's side is played by `agents`, which
the prompts direct by `SCENARIO:` words.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from hashlib import sha256
from typing import Any

import msgspec

from scrimp.sim import habits
from scrimp.sim.blocks import JsonObject
from scrimp.sim.checks import NEW_VERSION, OLD_VERSION
from scrimp.sim.habits import MODELS, SCENARIOS, TOOL_NAMES, Style, Traffic, chance, words
from scrimp.sim.machine import Answer, Simulator

ALL_TRAFFIC = Traffic()

_SECOND_MS = 1_000
_MINUTE_MS = 60_000


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


class _Agent:
    """One agent's history and habits; `draw` decides everything that is not decided by an answer.

    What `traffic` adds is decided by a source of its own, so that switching it off leaves the rest as it is.
    """

    def __init__(
        self, style: Style, draw: random.Random, session_id: str, agent_id: str | None, key: str, traffic: Traffic
    ) -> None:
        self.style = style
        self.draw = draw
        self.traffic = traffic
        self.more = random.Random(f"more:{session_id}:{agent_id}")
        self.session_id = session_id
        self.agent_id = agent_id
        self.key = key
        self.model = style.model
        self.messages: list[JsonObject] = []
        shared = random.Random(f"project:{style.project}:{agent_id is None}")
        self.system = words(shared, shared.choice((60, 400, 1_500, 3_000)))
        self.tools = [habits.tool(name, shared) for name in TOOL_NAMES[: style.tool_count]]
        if traffic.searches:
            self.tools.insert(0, habits.SEARCH)

    def request(self) -> JsonObject:
        caching = self.style.caching
        built: JsonObject = {
            "model": self.model,
            "max_tokens": 16_000,
            "system": [habits.marked({"type": "text", "text": self.system}, caching.system)],
            "tools": [*self.tools[:-1], habits.marked(self.tools[-1], caching.tools)],
            "messages": habits.with_last_marked(list(self.messages), caching.last),
            "stream": self.style.stream,
        }
        if caching.automatic:
            built["cache_control"] = habits.control(caching.automatic)
        if self.style.thinking:
            built["thinking"] = habits.thinking(self.model)
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

    def has(self, habit: str, percent: int) -> bool:
        """Say whether a kind of traffic happens now; whether it is on changes nothing about any other."""
        return chance(self.more, percent) and bool(getattr(self.traffic, habit))

    def prompt(self) -> None:
        if self.has("system_messages", 15) and habits.takes_system_messages(self.model):
            self.messages.append(self._system_message())
        scenario = self.draw.choice(SCENARIOS)
        if self.has("wide_turns", 4):
            scenario = f"para{self.more.randint(18, 26)}"
        if self.has("searches", 25):
            scenario = f"search{self.more.randint(1, 3)}"
        text = f"SCENARIO:{scenario} {words(self.draw, self.draw.randint(5, 120))}"
        content: Any = text
        if self.has("images", 8):
            content = [self._picture(), {"type": "text", "text": text}]
        self.messages.append({"role": "user", "content": content})

    def _system_message(self) -> JsonObject:
        if chance(self.more, 50):
            return {"role": "system", "content": words(self.more, 30)}
        effort = {"effort": self.more.choice(("low", "medium", "high"))}
        return {"role": "system", "content": [], "output_config": effort}

    def _picture(self) -> JsonObject:
        return habits.picture(self.more.randint(20, 3_000), self.more.randint(20, 3_000))

    def ask_for_summary(self) -> Ask:
        """Return the request that a client compacts its history with."""
        text = f"SCENARIO:summary {words(self.more, 40)}"
        self.messages.append({"role": "user", "content": text})
        return self.ask(_tool_pause(self.more))

    def compact(self, summary: str) -> None:
        """Go on with nothing but a summary of what was said."""
        self.messages = [{"role": "user", "content": f"{words(self.more, 12)} {summary}"}]

    def change_model(self, name: str) -> None:
        """Go on with another model, unless it does not take what was said so far."""
        needs = any(message["role"] == "system" for message in self.messages)
        if habits.takes_system_messages(name) or not needs:
            self.model = name

    def hear(self, message: JsonObject) -> bool:
        """Append an answer and, if it uses tools, their results; say whether the turn goes on."""
        self.messages.append({"role": "assistant", "content": message["content"]})
        uses = [block for block in message["content"] if block["type"] == "tool_use"]
        if uses:
            self.messages.append({"role": "user", "content": [self._result(use) for use in uses]})
        return bool(uses)

    def _result(self, use: JsonObject) -> JsonObject:
        output: Any = words(self.draw, self.draw.choice((3, 20, 150, 900)))
        if self.has("images", 3):
            output = [{"type": "text", "text": output}, self._picture()]
        elif self.has("deferred_tools", 4):
            output = [{"type": "tool_reference", "tool_name": self._found_tool()}]
        return {"type": "tool_result", "tool_use_id": use["id"], "content": output}

    def _found_tool(self) -> str:
        """Find a tool and offer it from now on, where clients put it: in the middle of the others."""
        found = habits.deferred(f"Found{len(self.tools)}", self.more)
        self.tools.insert(len(self.tools) // 2, found)
        return str(found["name"])


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
    return _Agent(parent.style, draw, parent.session_id, agent_id, parent.key, parent.traffic)


def _change_course(agent: _Agent, starts: list[int]) -> None:
    """Sometimes go back to before an earlier prompt, sometimes change the model."""
    if chance(agent.draw, 15):
        del agent.messages[agent.draw.choice(starts) :]
    if chance(agent.draw, 6):
        agent.change_model(agent.draw.choice(MODELS))


def _compaction(agent: _Agent) -> Generator[Ask, JsonObject, bool]:
    """Have the history summed up and go on from the summary; return False where the API refused."""
    body = yield agent.ask_for_summary()
    if _is_answer(body):
        agent.compact(" ".join(block.get("text", "") for block in body["content"]))
    return _is_answer(body)


def scripted_agent(seed: int, key: str = "sk-sim-0", traffic: Traffic = ALL_TRAFFIC) -> Conversation:
    """Yield one conversation's requests, in order; send each answer's body in to get the next one.

    `key` is the credential, so the workspace. The conversation ends by itself, early if the API refuses a request.
    """
    draw = random.Random(seed)
    digest = sha256(f"session:{seed}".encode()).hexdigest()
    session_id = "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))
    agent = _Agent(habits.style_of(draw), draw, session_id, None, key, traffic)
    starts = [0]
    going = yield from _turn(agent, 0)
    for _ in range(draw.randrange(4)):
        if not going:
            return
        _change_course(agent, starts)
        if chance(draw, 20):
            yield from _subagents(agent)
        if agent.has("compaction", 15) and agent.messages:
            if not (yield from _compaction(agent)):
                return
            starts = []
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
