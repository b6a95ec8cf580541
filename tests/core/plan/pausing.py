"""Threads that ask, are answered and wait, as states of the machine."""

from __future__ import annotations

from typing import Any

import msgspec

from scrimp.core.belief import account as accounts
from scrimp.core.belief.account import SLACK_PERCENT, SLACK_TOKENS, Account
from scrimp.core.belief.cache import predict
from scrimp.core.belief.events import FirstToken, RequestArrived, Shadow
from scrimp.core.belief.prefix import Mark
from scrimp.core.belief.session import step
from scrimp.core.levers.hold import DEFAULTS, Settings
from scrimp.core.plan.machine import ended, opened, pinged, timer_fired
from scrimp.core.plan.pinging import thinking_of
from scrimp.core.plan.planning import ALONE, AUTOMATIC, Plan
from scrimp.core.plan.threads import Command, Ending, Opening, SetTimer, State
from scrimp.core.wire.prices import RateCard
from scrimp.core.wire.spoken import Spoken
from scrimp.core.wire.usage import Usage
from tests.core.plan.plans import NOW_MS, body_of, read

#: Reads at 0.05 of the base price.
CARD = RateCard(1_000, 50, 1_250, 2_000, 5_000)
BLOCK_TOKENS = 10_000
MINUTE_MS = 60_000
RICH = accounts.billed(Account(), 0, 10**15, CARD)
EDITED = Spoken(tools=frozenset({"Edit"}))
#: What automatic caching would have used for each exchange, by its id, as `asked` says.
AUTOMATIC_USAGE: dict[str, Usage] = {}
#: What was to be done when the last request was sent.
COMMANDS: list[Command] = []


def asked(
    state: State,
    blocks: int,
    now_ms: int = NOW_MS,
    *,
    exchange: str = "x1",
    thread: str = "t",
    session: str = "s",
    ttl: str = "5m",
    model: str | None = None,
    **changes: Any,
) -> State:
    """Return the state after a request of so many blocks, marked at its end, was sent and began to be answered.

    `mode` is its type of thinking.
    """
    plain, tools, mode = changes.pop("plain", 0), changes.pop("tools", True), changes.pop("mode", "adaptive")
    body = body_of([f"text {i}" for i in range(blocks)], set(), tools=tools) | {"thinking": {"type": mode}}
    request, prompt = read(body if model is None else body | {"model": model}, BLOCK_TOKENS)
    last = len(prompt.blocks) - 1 - plain
    prompt = msgspec.structs.replace(prompt, marks=(Mark(last, ttl),))  # type: ignore[arg-type]
    split = predict(state.belief.caches.get(prompt.cache, {}), prompt, now_ms, state.belief.rules)
    AUTOMATIC_USAGE[exchange] = split.usage
    shadows = tuple(Shadow(policy, prompt, split) for policy in (ALONE, AUTOMATIC))
    plan = Plan("safe", prompt, split, 0, 0, "", shadows=shadows)
    fields = {"is_agent": False, "can_ping": True, "thinking": thinking_of(request), **changes}
    state, COMMANDS[:] = opened(state, Opening(exchange, session, thread, plan, CARD, **fields), now_ms)
    arrived = RequestArrived(exchange, session, prompt, split, now_ms, shadows=shadows, thread=thread)
    belief = step(step(state.belief, arrived), FirstToken(exchange, now_ms))
    assert request.model == prompt.model
    return msgspec.structs.replace(state, belief=belief)


def answered(
    state: State,
    now_ms: int = NOW_MS,
    *,
    exchange: str = "x1",
    thread: str = "t",
    stop_reason: str = "tool_use",
    spoken: Spoken | None = EDITED,
    settings: Settings = DEFAULTS,
) -> tuple[State, list[Command]]:
    """Return the state after an answer that used what automatic caching would have used, and what is to be done."""
    usage = AUTOMATIC_USAGE.get(exchange, Usage())
    return ended(state, Ending(thread, exchange, usage, usage, stop_reason, spoken), now_ms, settings)


def waiting(blocks: int = 10, **changes: Any) -> State:
    """Return a state with one thread that waits for a tool."""
    return answered(asked(State(account=RICH), blocks, **changes))[0]


def hit(state: State, thread: str = "t") -> Usage:
    """Return the usage of a ping that reads all that is cached."""
    held = state.threads[thread]
    return Usage(held.plain_tokens, held.hour_tokens + held.minutes_tokens)


def reserved(state: State) -> int:
    """Return what is set aside by the pauses, each with its own."""
    return sum(pause.reserved_pico_usd for pause in state.account.pauses.values())


class Course:
    """A state in time that passes, with the timers that it asked for; its pings find all that they look for."""

    def __init__(self, state: State) -> None:
        self.state, self.now_ms, self.count = state, NOW_MS, 0
        self.timers: dict[str, int] = {}

    def obey(self, thread: str, commands: list[Command]) -> None:
        """Set the timer, or send the ping."""
        self.timers.pop(thread, None)
        for command in commands:
            if isinstance(command, SetTimer):
                self.timers[thread] = command.at_ms
            else:
                self.ping(thread)

    def ping(self, thread: str) -> None:
        """Send a ping."""
        exchange = self.state.threads[thread].exchange_id
        self.state, more = pinged(self.state, thread, exchange, hit(self.state, thread), self.now_ms)
        self.obey(thread, more)

    def wait(self, delta_ms: int) -> None:
        """Let time pass, timer by timer."""
        end_ms = self.now_ms + delta_ms
        while self.timers and min(self.timers.values()) <= end_ms:
            thread = min(self.timers, key=self.timers.__getitem__)
            self.now_ms = max(self.now_ms, self.timers[thread])
            exchange = self.state.threads[thread].exchange_id
            self.state, commands = timer_fired(self.state, thread, exchange, self.now_ms)
            self.obey(thread, commands)
        self.now_ms = end_ms

    def check_money(self) -> None:
        """Check that what is set aside is the pauses' own, and spending with it within the guard."""
        account = self.state.account
        assert reserved(self.state) == account.reserved_pico_usd >= 0
        limit = account.automatic_pico_usd * (100 + SLACK_PERCENT) // 100 + SLACK_TOKENS * account.base(CARD)
        assert account.spent_pico_usd + account.reserved_pico_usd <= limit
