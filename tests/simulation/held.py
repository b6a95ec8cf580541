"""A gateway that holds caches, in front of a simulator, in one process and in virtual time; and who talks to it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

from scrimp.core.belief.exchange import Exchange
from scrimp.core.levers.hold import DEFAULTS, Settings
from scrimp.core.plan.planning import Mode, Policy
from scrimp.gateway.app import create_app
from scrimp.gateway.services import Services
from scrimp.sim.app import create_app as create_sim
from scrimp.sim.clients import scripted_agent
from scrimp.sim.machine import Simulator
from scrimp.sim.rules import Rules
from scrimp.store.ledger import MemoryLedger
from scrimp.upstream.asgi import AsgiUpstream
from scrimp.upstream.client import UpstreamRequest, UpstreamResponse
from scrimp.upstream.pricefeed import load_book
from tests.simulation.timeline import Timeline, settle

Body = dict[str, Any]

START_MS = 1_790_000_000_000
MINUTE_MS = 60_000
MODEL = "claude-opus-5-5"
HEADERS = {"x-api-key": "sk-fake", "anthropic-version": "2023-06-01", "content-type": "application/json"}
NAMED = {"x-claude-code-session-id": "5e55-10"}
MANUAL = "The same long manual for this agent. " * 6_000
TOOLS = [
    {"name": name, "description": "Does it.", "input_schema": {"type": "object"}} for name in ("Bash", "Edit", "Read")
]
MARK = {"cache_control": {"type": "ephemeral"}}


class Stack:
    """A gateway that holds, in front of a simulator, in one process and in virtual time."""

    def __init__(
        self, mode: Mode = "safe", rules: Rules | None = None, holding: Settings | None = DEFAULTS, **more: Any
    ) -> None:
        self.clock = Timeline(START_MS)
        self.simulator = Simulator(rules or Rules())
        self.closed: list[Exchange] = []
        self.ledger = MemoryLedger()
        self.api = create_sim(self.simulator, self.clock, record=True)
        services: dict[str, Any] = {
            "upstream": AsgiUpstream(self.api),
            "ledger": self.ledger,
            "prices": load_book(),
            "clock": self.clock,
            "policy": Policy(mode=mode),
            "on_closed": self.closed.append,
            "holding": holding,
            "sleep": self.clock.sleep,
            **more,
        }
        self.gateway = create_app(Services(**services))

    async def send(self, body: Body, headers: dict[str, str]) -> UpstreamResponse:
        """Send one request as a client would."""
        pairs = [(name.lower().encode(), value.encode()) for name, value in {**HEADERS, **headers}.items()]
        raw = json.dumps(body).encode()
        return await AsgiUpstream(self.gateway).send(UpstreamRequest("POST", "/v1/messages?beta=true", pairs, raw))

    async def ask(self, body: Body, headers: dict[str, str] = NAMED) -> Body:
        """Send one request and read its answer to the end."""
        answer = await self.send(body, headers)
        content = b"".join([chunk async for chunk in answer.chunks()])
        await answer.aclose()
        await settle()
        return json.loads(content) if content.startswith(b"{") else {}

    async def stop(self) -> None:
        """Stop the server, as uvicorn does."""
        messages = iter([{"type": "lifespan.shutdown"}])

        async def receive() -> dict[str, str]:
            return next(messages)

        async def send(_message: object) -> None:
            """Hear nothing."""

        await self.gateway({"type": "lifespan"}, receive, send)

    @property
    def pings(self) -> list[Exchange]:
        """The pings of the ledger."""
        return [each for each in self.closed if each.origin == "ping"]

    @property
    def sent_pings(self) -> list[Body]:
        """The pings that the API was sent."""
        bodies = [json.loads(each.body) for each in self.api.recorded]
        return [body for body in bodies if body["max_tokens"] == 0]

    def check_the_bill(self) -> None:
        """Whatever was sent is in the ledger, at what the API billed for it."""
        assert self.simulator.invoice.cost_nano_usd == sum(each.cost_nano_usd or 0 for each in self.closed)
        assert len(self.sent_pings) == len(self.pings)


def told(scenario: str, **more: Any) -> Body:
    """Return the first request of a conversation with tools, which marks its end."""
    content = [{"type": "text", "text": f"SCENARIO:{scenario} Mend the test."} | MARK]
    system = [{"type": "text", "text": MANUAL} | MARK]
    body = {"model": MODEL, "max_tokens": 1_000, "system": system, "tools": TOOLS}
    return {**body, "messages": [{"role": "user", "content": content}], **more}


def going_on(body: Body, answer: Body) -> Body:
    """Return the request that follows an answer: tool results, or the user's next words."""
    uses = [each["id"] for each in answer["content"] if each["type"] == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": use, "content": "All of it failed."} for use in uses]
    content = results or [{"type": "text", "text": "SCENARIO:text Go on."}]
    content[-1] |= MARK
    messages = json.loads(json.dumps(body["messages"]))
    for block in messages[-1]["content"]:
        block.pop("cache_control", None)
    return {
        **body,
        "messages": [
            *messages,
            {"role": "assistant", "content": answer["content"]},
            {"role": "user", "content": content},
        ],
    }


def run(story: Callable[[Stack], Awaitable[None]], stack: Stack | None = None) -> Stack:
    """Live through a story, and stop."""
    stack = stack or Stack()

    async def live() -> None:
        await story(stack)
        await stack.stop()

    asyncio.run(live())
    return stack


def pausing(
    scenario: str, minutes: int, headers: dict[str, str] = NAMED, **more: Any
) -> Callable[[Stack], Awaitable[None]]:
    """Return the story of one request, a pause, and the next request."""

    async def story(stack: Stack) -> None:
        first = told(scenario, **more)
        answer = await stack.ask(first, headers)
        await stack.clock.pass_ms(minutes * MINUTE_MS)
        await stack.ask(going_on(first, answer) if "content" in answer else first, headers)

    return story


def automatic(body: Body) -> Body:
    """Return a request with one-line automatic caching, and no other mark."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: bare(each) for key, each in value.items() if key != "cache_control"}
        return [bare(each) for each in value] if isinstance(value, list) else value

    return {**bare(body), **MARK}


async def play(stack: Stack, seeds: range, change: Callable[[Body], Body]) -> None:
    """Play conversations one after the other, with pauses of their own."""
    for seed in seeds:
        conversation, heard, draw = scripted_agent(seed), None, random.Random(seed)
        while True:
            try:
                ask = conversation.send(heard)  # type: ignore[arg-type]
            except StopIteration:
                break
            pause_ms = ask.pause_ms + 5_000
            if not ask.overlaps and draw.random() < 0.2:
                pause_ms += draw.choice((6, 12, 25, 70)) * MINUTE_MS
            await stack.clock.pass_ms(pause_ms)
            heard = await stack.ask({**change(ask.request), "stream": False}, ask.headers)


def bill_of(mode: Mode, seeds: range, change: Callable[[Body], Body] = dict) -> Stack:
    """Return the stack after these conversations."""
    return run(lambda stack: play(stack, seeds, change), Stack(mode))
