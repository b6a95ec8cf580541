"""Threads of requests, and one principal's state as a value: what `machine` changes.

A thread is a line of requests each of which goes on the one before (`belief.session.thread_of`): a conversation, an
agent, a small request beside them. Of each its last request is kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from scrimp.core.belief import account as accounts
from scrimp.core.belief.account import HOUR_PING_MS, MINUTES_PING_MS, Account, Pings
from scrimp.core.belief.cache import TTL_MS
from scrimp.core.belief.prefix import Prompt
from scrimp.core.belief.session import Belief
from scrimp.core.levers.hold import Waiting
from scrimp.core.plan.planning import Plan
from scrimp.core.wire.prices import RateCard
from scrimp.core.wire.spoken import Spoken
from scrimp.core.wire.usage import Usage

#: Threads whose last request is kept to be gone on from, per principal; the least recently used go first.
THREADS_MAX = 256
#: Tools by which a client waits for an agent, or for its user (facts on Claude Code's tools).
AGENT_TOOLS = frozenset({"Task", "Agent"})
QUESTION_TOOLS = frozenset({"AskUserQuestion", "ExitPlanMode"})


class SetTimer(msgspec.Struct, frozen=True):
    """Call `timer_fired` for this thread at that time; a later one for the same thread replaces it."""

    thread: str
    at_ms: int


class Ping(msgspec.Struct, frozen=True):
    """Send the last request of this thread once more, with no output, so that its cache lives on.

    With `upgrade` a mark of an hour is set behind everything (`pinging.upgrade_edits`).
    """

    thread: str
    upgrade: bool = False


class SetAside(msgspec.Struct, frozen=True):
    """Keep the last request of this thread by another name from now on (`asides`); what it has of timers goes along."""

    thread: str
    name: str


class Forget(msgspec.Struct, frozen=True):
    """Keep the last request of this thread no longer."""

    thread: str


Command = SetTimer | Ping | SetAside | Forget


class Thread(msgspec.Struct, frozen=True):
    """The last request of a thread: its digests, what of it is cached and until when, and how it is held.

    `hour_tokens` of its front are cached for an hour and the `minutes_tokens` behind them for five minutes, both from
    `used_at_ms` on. Of `granted` pings `sent` went out, the first one as an `upgrade` where that is set. `edited` says
    that the turn has changed a file so far, `goes_on` that the next request belongs to the same turn. The digests are
    kept only while pings are left. `thinking` is the request's setting of that name (`pinging.thinking_of`).
    """

    session_id: str
    exchange_id: str
    prompt: Prompt
    card: RateCard
    used_at_ms: int
    hour_tokens: int
    minutes_tokens: int
    is_agent: bool
    can_ping: bool
    can_upgrade: bool
    has_tools: bool
    edited: bool = False
    goes_on: bool = False
    granted: Pings = Pings()
    sent: int = 0
    upgrade: bool = False
    thinking: str = ""

    @property
    def every_ms(self) -> int:
        """How long after a use the next ping is sent."""
        return MINUTES_PING_MS if self.minutes_tokens else HOUR_PING_MS

    @property
    def promised(self) -> int:
        """How many pings hold this thread's whole prompt."""
        return self.granted.minutes if self.minutes_tokens else self.granted.hours

    @property
    def until_ms(self) -> int:
        """When the whole prompt stops being cached."""
        return self.used_at_ms + TTL_MS["5m" if self.minutes_tokens else "1h"]

    @property
    def plain_tokens(self) -> int:
        """How many tokens stand behind what is cached; a ping pays for them in full."""
        return self.prompt.total_tokens - self.hour_tokens - self.minutes_tokens

    @property
    def ping_pico_usd(self) -> int:
        """What the next ping costs while the cache lives; an upgrade writes what the others pay for in full."""
        card = self.card
        return self._read_pico_usd + self.plain_tokens * (card.cache_write_1h if self.upgrade else card.uncached_input)

    @property
    def promised_pico_usd(self) -> int:
        """What all pings that are still to be sent cost; after an upgrade those that hold its hour."""
        if self.upgrade and (self.promised or self.sent):
            return self.ping_pico_usd + self.granted.hours * self.prompt.total_tokens * self.card.cache_read
        return self.ping_pico_usd * max(0, self.promised - self.sent)

    @property
    def _read_pico_usd(self) -> int:
        return (self.hour_tokens + self.minutes_tokens) * self.card.cache_read

    @property
    def is_worth_pings(self) -> bool:
        """Whether reading is what a ping pays for most: the lever's sums know of nothing else."""
        return self.can_ping and self.plain_tokens * self.card.uncached_input <= self._read_pico_usd


class State(msgspec.Struct, frozen=True):
    """One principal: what is believed of its caches and habits, and its threads by name."""

    belief: Belief = Belief()
    account: Account = msgspec.field(default_factory=Account)
    threads: Mapping[str, Thread] = {}


class Opening(msgspec.Struct, frozen=True):
    """A request that is being sent. `can_ping` and `can_upgrade` say how it could be repeated (`pinging`).

    `thinking` is its setting of that name (`pinging.thinking_of`).
    """

    exchange_id: str
    session_id: str
    thread: str
    plan: Plan
    card: RateCard
    is_agent: bool
    can_ping: bool
    can_upgrade: bool = False
    thinking: str = ""


class Ending(msgspec.Struct, frozen=True):
    """How a request's answer ended: what it used, why it stopped, and what it said; None if nobody listened.

    `automatic` is what one-line automatic caching was expected to use for the same prompt.
    """

    thread: str
    exchange_id: str
    usage: Usage
    automatic: Usage
    stop_reason: str | None
    spoken: Spoken | None = None


def waiting_for(stop_reason: str | None, tools: frozenset[str]) -> Waiting:
    """Say what an answer left open, by why it stopped and the tools that it asks for."""
    if stop_reason not in {"tool_use", "pause_turn"}:
        return "turn_ended"
    if tools & QUESTION_TOOLS:
        return "question"
    return "agent" if tools & AGENT_TOOLS else "tool"


# --- small changes, which all of the machine's transitions are made of ---


def put(state: State, name: str, thread: Thread) -> State:
    """Make this thread the newest one, and forget the oldest beyond the limit."""
    threads = {each: kept for each, kept in state.threads.items() if each != name}
    account = state.account
    for oldest in list(threads)[: max(0, len(threads) + 1 - THREADS_MAX)]:
        account = accounts.dropped(account, oldest)
        del threads[oldest]
    threads[name] = thread
    return msgspec.structs.replace(state, account=account, threads=threads)


def bare(thread: Thread) -> Thread:
    """Return a thread that gets no pings, and needs no digests for them."""
    prompt = msgspec.structs.replace(thread.prompt, digests=(), tokens=(), runs=(), marks=(), own_marks=())
    return msgspec.structs.replace(thread, prompt=prompt, granted=Pings(), upgrade=False)


def kept(state: State, account: Account, name: str, thread: Thread) -> State:
    """Return the state with this account and this thread."""
    return msgspec.structs.replace(state, account=account, threads={**state.threads, name: thread})


def timer_of(name: str, thread: Thread) -> list[Command]:
    """Return the timer of a thread's next ping, nothing where none is left."""
    if thread.sent >= thread.promised:
        return []
    return [SetTimer(name, thread.used_at_ms + thread.every_ms)]


def paused_at(state: State, name: str, exchange_id: str) -> Thread | None:
    """Return a thread that still waits where this exchange left it."""
    thread = state.threads.get(name)
    if thread is None or thread.exchange_id != exchange_id or name not in state.account.pauses:
        return None
    return thread


def let_go_of(state: State, name: str, thread: Thread) -> State:
    """Send no more pings for a thread, and give back what was set aside for them."""
    return kept(state, accounts.released(state.account, name), name, bare(thread))
