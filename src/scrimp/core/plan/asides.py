"""Prompts that another thinking mode leaves behind: they come back with the mode, as people and clients switch it.

Thinking is part of the cache's key, so a conversation under two modes has two prompts in the cache::

    the next request of a thread         what becomes of the last one
    ----------------------------------   ---------------------------------------------------------------
    goes on from its prompt              its pause is over, and that is all (`machine.opened`)
    says the same with other thinking    it is set aside, under a name of its own, and held for who may come back
    goes on from what was set aside      that pause is over, too, and the aside is gone

An aside is a thread like others: its pings are paid for out of the same guard, and a session that begins elsewhere
makes them fewer. It goes when it is gone on from, when its pings are spent, or for newer ones beyond `ASIDES_MAX`.
"""

from __future__ import annotations

from bisect import bisect_left

import msgspec

from scrimp.core.belief import account as accounts
from scrimp.core.belief.account import Account, Pause, Pings
from scrimp.core.belief.prefix import Prompt
from scrimp.core.levers.hold import Facts, wanted_pings
from scrimp.core.plan.threads import Command, Forget, Opening, SetAside, State, Thread, put

#: Prompts that are kept aside of one thread; the oldest go first.
ASIDES_MAX = 2
#: The group of their pauses.
GROUP = "aside"


def shared_tokens(before: Prompt, prompt: Prompt) -> int:
    """Return how many tokens of an earlier prompt stand in front of another one, as far as its digests are kept."""
    if before.cache != prompt.cache:
        return 0
    one, other = before.digests, prompt.digests
    # A digest covers all before it, so from the first that differs on all do.
    count = bisect_left(range(min(len(one), len(other))), True, key=lambda i: one[i] != other[i])
    return before.tokens[count - 1] if count else 0


def asides_of(state: State, thread: str) -> list[str]:
    """Return the names of what is kept aside of a thread, the oldest first."""
    return [name for name in state.threads if name.startswith(f"{thread}/")]


def closed(state: State, opening: Opening, now_ms: int) -> tuple[State, list[Command]]:
    """End the pauses of the asides that a request goes on from, and forget those whose pings are spent."""
    commands: list[Command] = []
    for name in asides_of(state, opening.thread):
        aside, account = state.threads[name], state.account
        if not aside.prompt.digests:
            state = _without(state, accounts.dropped(account, name), name)
        elif _stands(aside, opening):
            kept = shared_tokens(aside.prompt, opening.plan.prompt)
            state = _without(state, accounts.resumed(account, name, now_ms, kept, opening.card), name)
            commands.append(Forget(name))
    return state, commands


def set_aside(state: State, before: Thread, pause: Pause, opening: Opening, now_ms: int) -> tuple[State, list[Command]]:
    """Hold on to a thread's last request, whose pause has just ended, if this one left it behind by its thinking."""
    if not _is_left(before, opening, now_ms):
        return state, []
    wanted = _wanted(state.account, before)
    allowance = max(0, state.account.allowance_pico_usd(before.card))
    worth = wanted.minutes if before.minutes_tokens else wanted.hours
    count = min(worth - before.sent, allowance // before.ping_pico_usd)
    if count <= 0:
        return state, []
    name, promised = f"{opening.thread}/{before.exchange_id}", before.sent + count
    granted = Pings(minutes=promised) if before.minutes_tokens else Pings(hours=promised)
    kept = msgspec.structs.replace(
        pause,
        pings=wanted,
        is_human=True,
        group=GROUP,
        counted_ms=max(pause.counted_ms, now_ms - pause.since_ms),
        left_ms=None,
        reserved_pico_usd=count * before.ping_pico_usd,
    )
    state = msgspec.structs.replace(state, account=accounts.paused(state.account, name, kept))
    state = put(state, name, msgspec.structs.replace(before, granted=granted))
    state, commands = _bounded(state, opening.thread)
    return state, [SetAside(opening.thread, name), *commands]


def _is_left(before: Thread, opening: Opening, now_ms: int) -> bool:
    """Whether thinking parts a request from a conversation's last one, which is still held, with no ping under way."""
    is_held = before.sent < before.promised and now_ms < before.used_at_ms + before.every_ms
    is_other = before.prompt.cache == opening.plan.prompt.cache and before.thinking != opening.thinking
    return is_held and is_other and not (before.upgrade or before.is_agent or _stands(before, opening))


def _stands(before: Thread, opening: Opening) -> bool:
    """Whether a good part of what is cached of a thread stands in front of a request."""
    return 2 * shared_tokens(before.prompt, opening.plan.prompt) >= before.hour_tokens + before.minutes_tokens


def _wanted(account: Account, thread: Thread) -> Pings:
    """Return the pings that are worth it from the start of the pause on, for all that is known of who left."""
    if thread.prompt.model in account.refusing:
        return Pings()
    facts = Facts("turn_ended", thread.hour_tokens, thread.minutes_tokens, has_tools=thread.has_tools)
    return wanted_pings(account, facts, thread.card)


def _bounded(state: State, thread: str) -> tuple[State, list[Command]]:
    commands: list[Command] = []
    for oldest in asides_of(state, thread)[:-ASIDES_MAX]:
        state = _without(state, accounts.dropped(state.account, oldest), oldest)
        commands.append(Forget(oldest))
    return state, commands


def _without(state: State, account: Account, name: str) -> State:
    threads = {each: thread for each, thread in state.threads.items() if each != name}
    return msgspec.structs.replace(state, account=account, threads=threads)
