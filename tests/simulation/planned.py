"""Conversations as a gateway in safe mode would send them: planned, spliced, billed by the simulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec

from scrimp.core.belief.events import FirstToken, RequestArrived
from scrimp.core.belief.session import Belief, session_of, step, tails_of
from scrimp.core.plan.planning import Plan, Policy, plan
from scrimp.core.wire.blocks import Block
from scrimp.core.wire.request import parse
from scrimp.core.wire.splice import splice
from scrimp.core.wire.tokens import Calibration
from scrimp.core.wire.usage import Usage, meter, read_usage
from scrimp.sim.clients import Conversation
from scrimp.sim.machine import Simulator
from scrimp.sim.models import Model, find
from scrimp.sim.render import render
from scrimp.sim.rules import Rules
from scrimp.sim.tokens import ROLE_TOKENS, block_tokens
from scrimp.upstream.pricefeed import load_current_book

BOOK = load_current_book()
START_MS = 1_790_000_000_000
SAFE = Policy(mode="safe")


class Turn(msgspec.Struct, frozen=True):
    """One request: what was planned, what was sent, what the simulator billed for its input."""

    plan: Plan
    asked: dict[str, Any]
    sent: dict[str, Any]
    billed: Usage


def _with_tool_prompt(blocks: list[Block], counts: list[int], model: Model) -> list[int]:
    """Let the first tool pay for the prompt that the API adds for tools, whichever it is."""
    tools = [i for i, block in enumerate(blocks) if block.path.startswith("tools.")]
    payers = [i for i in tools if blocks[i].path == "tools.0"]
    if not payers or payers[0] == tools[0]:
        return counts
    counts[payers[0]] -= model.tool_prompt.auto
    counts[tools[0]] += model.tool_prompt.auto
    return counts


class Shell:
    """What stands around the core in a gateway, in virtual time: beliefs, flights, and one simulated API."""

    def __init__(self, policy: Policy = SAFE, rules: Rules | None = None) -> None:
        self.policy = policy
        self.rules = rules or Rules()
        self.simulator = Simulator(self.rules)
        self.belief = Belief()
        self.now_ms = START_MS
        self._landings: list[tuple[int, str]] = []
        self._count = 0

    def send(self, asked: dict[str, Any], headers: dict[str, str], now_ms: int) -> tuple[Turn | None, Any]:
        """Plan a request, send it, and fold what happened; no turn where the API refused."""
        for at_ms, name in sorted(each for each in self._landings if each[0] <= now_ms):
            self.belief = step(self.belief, FirstToken(name, at_ms))
        self._landings = [each for each in self._landings if each[0] > now_ms]
        body = json.dumps(asked).encode()
        request = parse(body)
        planned = plan(request, self.belief, self.policy, BOOK, now_ms, self._counter(asked))
        sent = json.loads(splice(body, planned.edits))
        answer = self.simulator.handle(sent, headers, now_ms)
        if answer.status != 200:
            return None, answer
        self._count += 1
        name = f"x{self._count}"
        session = session_of(self.belief, request, headers.get("x-claude-code-session-id"), name)
        arrived = RequestArrived(
            name,
            session,
            planned.prompt,
            planned.split,
            now_ms,
            tails_of(request),
            planned.kinds,
            planned.shadows,
            look=planned.look,
        )
        self.belief = step(self.belief, arrived)
        self._landings.append((now_ms + answer.first_token_ms, name))
        usage = read_usage(answer.body["usage"])
        assert usage is not None
        whole = meter(usage, None).usage
        return Turn(planned, asked, sent, msgspec.structs.replace(whole, output_tokens=0, thinking_tokens=0)), answer

    def _counter(self, asked: dict[str, Any]) -> Any:
        """Count blocks as the API would state them, so that only planning is judged."""
        model = find(asked["model"])
        assert model is not None
        positions = render(asked, model, self.rules).positions
        known = {position.path: position.tokens for position in positions}

        def weigh(block: Block) -> int:
            if block.path in known and not block.path.startswith("system."):
                return known[block.path]
            raw = json.loads(bytes(block.raw))
            shown = {"type": "text", "text": raw} if isinstance(raw, str) else raw
            if block.path.startswith("system.") and shown.get("text", "").startswith("x-anthropic-billing-header:"):
                return known[block.path]
            return block_tokens(shown, model) + (ROLE_TOKENS if block.role == "system" else 0)

        def count(_model: str, blocks: list[Block], _calibration: Calibration) -> list[int]:
            return _with_tool_prompt(blocks, [weigh(block) for block in blocks], model)

        return count

    @property
    def cost_nano_usd(self) -> int:
        """What the simulator billed so far, output included."""
        return self.simulator.invoice.cost_nano_usd

    def play(self, conversation: Conversation, pause_ms: int = 0) -> Iterator[Turn]:
        """Run one conversation in virtual time, so long after the last one."""
        started, heard = self.now_ms + pause_ms, None
        ended = started
        while True:
            try:
                ask = conversation.send(heard)  # type: ignore[arg-type]
            except StopIteration:
                return
            started = (started if ask.overlaps else max(started, ended)) + ask.pause_ms
            turn, answer = self.send(ask.request, ask.headers, started)
            ended, heard = max(ended, started + answer.duration_ms), answer.body
            self.now_ms = ended
            if turn is not None:
                yield turn


def clock(turn: int) -> str:
    """Return a line of some 25 tokens that says what time it is."""
    return f"Current time: {12 + turn // 60}:{turn % 60:02d}:{(33 + 7 * turn) % 60:02d}, on this host, for the user."


def with_a_clock(conversation: Conversation) -> Conversation:
    """Let a client state the time in front of its system prompt."""
    heard = None
    for number in count():
        try:
            ask = conversation.send(heard)  # type: ignore[arg-type]
        except StopIteration:
            return
        body = json.loads(json.dumps(ask.request))
        body["system"][0]["text"] = f"{clock(number)}\n{body['system'][0]['text']}"
        heard = yield msgspec.structs.replace(ask, request=body)
