"""What happens between requests: pauses that begin and end, caches that are held through them, and the account of it.

    event            state                                           commands
    --------------   ---------------------------------------------   -----------------------------------------------
    opened           the thread's pause is over, or set aside        SetAside, Forget (see `asides`)
    ended            the bill is counted, a pause begins             SetTimer, where it is held by pings
    timer_fired      a ping is under way                             Ping, unless the pause is over or the cache dead
    pinged           its price is counted, the cache lives on        SetTimer, while pings are left
    ping_refused     nothing of that model is pinged again           none
    ping_failed      what it may have cost is counted, let go        none
    let_go           no more pings are promised                      none
    gone             the pause is forgotten                          none

Everything here is a function of values; the gateway sends the pings and keeps the time, tests do both in virtual time.
What a request did to the caches is folded by `belief.session`. An event says which exchange it is about: what is late,
because its thread has gone on meanwhile, changes nothing but the money that it tells of.
"""

from __future__ import annotations

import msgspec

from scrimp.core.belief import account as accounts
from scrimp.core.belief.account import Account, Pause, Pings
from scrimp.core.belief.cache import TTL_MS, land, predict, send
from scrimp.core.belief.session import Belief
from scrimp.core.belief.signs import edits, signs_in
from scrimp.core.levers.hold import (
    DEFAULTS,
    Facts,
    Holding,
    Settings,
    Waiting,
    after_leaving,
    group_of,
    hold,
    is_human,
)
from scrimp.core.plan import asides
from scrimp.core.plan.counterfactual import stretched
from scrimp.core.plan.pinging import upgraded_marks
from scrimp.core.plan.planning import Plan
from scrimp.core.plan.threads import (
    Command,
    Ending,
    Opening,
    Ping,
    State,
    Thread,
    bare,
    kept,
    let_go_of,
    paused_at,
    put,
    timer_of,
    waiting_for,
)
from scrimp.core.wire.spoken import Spoken
from scrimp.core.wire.usage import Usage

# --- requests ---


def opened(state: State, opening: Opening, now_ms: int) -> tuple[State, list[Command]]:
    """Close the pause that a request ends, and count what it appends; what its person left elsewhere is held less."""
    before, prompt = state.threads.get(opening.thread), opening.plan.prompt
    pause = state.account.pauses.get(opening.thread)
    kept = _kept_tokens(pause, before, opening.plan)
    account = accounts.resumed(state.account, opening.thread, now_ms, kept, opening.card)
    appended = prompt.total_tokens - (before.prompt.total_tokens if before else 0)
    account = accounts.extended(account, max(0, appended))
    thread = _thread_of(opening, before, now_ms)
    state = msgspec.structs.replace(state, account=account)
    if before is None and thread.has_tools and not thread.is_agent:
        state = _begun(state, opening, now_ms)
    state, commands = asides.closed(state, opening, now_ms)
    if before is not None and pause is not None:
        state, more = asides.set_aside(state, before, pause, opening, now_ms)
        commands += more
    return put(state, opening.thread, thread), commands


def _kept_tokens(pause: Pause | None, before: Thread | None, plan: Plan) -> int:
    """Return how much of what a pause held still stands in the request that ends it.

    A request goes on a thread by extending its last one, so all of it does, unless another cache is asked, or the
    digests that are kept of it say otherwise.
    """
    if pause is None or before is None or before.prompt.cache != plan.prompt.cache:
        return 0
    if not before.prompt.digests:
        return pause.tokens
    return min(pause.tokens, asides.shared_tokens(before.prompt, plan.prompt))


def _thread_of(opening: Opening, before: Thread | None, now_ms: int) -> Thread:
    prompt = opening.plan.prompt
    hour, minutes = _cached(opening.plan)
    return Thread(
        session_id=opening.session_id,
        exchange_id=opening.exchange_id,
        prompt=msgspec.structs.replace(prompt, blocks=()),
        card=opening.card,
        used_at_ms=now_ms,
        hour_tokens=hour,
        minutes_tokens=minutes,
        is_agent=opening.is_agent,
        can_ping=opening.can_ping,
        can_upgrade=opening.can_upgrade,
        has_tools=any(block.tier == "tools" for block in prompt.blocks),
        edited=before is not None and before.goes_on and before.edited,
        thinking=opening.thinking,
    )


def _cached(plan: Plan) -> tuple[int, int]:
    """Return how many tokens of a prompt will be cached for an hour, and how many behind them for five minutes."""
    tokens = plan.prompt.tokens
    upto = {ttl: max((tokens[mark.index] for mark in plan.split.marks if mark.ttl == ttl), default=0) for ttl in TTL_MS}
    return upto["1h"], max(0, upto["5m"] - upto["1h"])


def _begun(state: State, opening: Opening, now_ms: int) -> State:
    """Note that a person began something new: a session, or the same one over (a compaction, an empty history)."""
    of_session = [name for name, each in state.threads.items() if each.session_id == opening.session_id]
    if not of_session:
        return _others_left(state, now_ms)
    for name in of_session:
        pause = state.account.pauses.get(name)
        if pause is not None and pause.is_human:
            account = accounts.resumed(state.account, name, now_ms, 0, opening.card)
            state = let_go_of(msgspec.structs.replace(state, account=account), name, state.threads[name])
    return state


def _others_left(state: State, now_ms: int) -> State:
    """Hold pauses that wait for a person by fewer pings, now that they began another session."""
    threads, account = dict(state.threads), state.account
    for name, pause in state.account.pauses.items():
        thread = threads.get(name)
        if thread is None or not pause.is_human or pause.left_ms is not None:
            continue
        wanted = after_leaving(account, now_ms - pause.since_ms, pause.pings, thread.card)
        granted = Pings(min(thread.granted.minutes, wanted.minutes), min(thread.granted.hours, wanted.hours))
        threads[name] = msgspec.structs.replace(thread, granted=granted)
        reserved = min(pause.reserved_pico_usd, threads[name].promised_pico_usd)
        account = accounts.left(account, name, now_ms, wanted, reserved)
    return msgspec.structs.replace(state, account=account, threads=threads)


def ended(state: State, ending: Ending, now_ms: int, settings: Settings = DEFAULTS) -> tuple[State, list[Command]]:
    """Count the bill of a request whose answer has ended, and say how the pause that follows is held.

    The pause is counted from the start of the request, as lifetimes are. Where the thread has gone on meanwhile, only
    the bill is counted.
    """
    thread = state.threads.get(ending.thread)
    if thread is None:
        return state, []
    card, usage = thread.card, msgspec.structs.replace(ending.usage, output_tokens=0, web_search_requests=0)
    automatic = card.cost_pico_usd(stretched(ending.automatic, usage))
    account = accounts.billed(state.account, card.cost_pico_usd(usage), automatic, card)
    state = msgspec.structs.replace(state, account=account)
    if thread.exchange_id != ending.exchange_id:
        return state, []
    return _held(state, ending, thread, now_ms, settings)


def _held(state: State, ending: Ending, thread: Thread, now_ms: int, settings: Settings) -> tuple[State, list[Command]]:
    tools = ending.spoken.tools if ending.spoken else frozenset[str]()
    waiting, edited = waiting_for(ending.stop_reason, tools), thread.edited or edits(tools)
    if not ending.usage.cache_read_input_tokens + ending.usage.cache_write_input_tokens:
        # A prompt that the model finds too short, say: whatever was planned, a ping would pay for it in full.
        thread = msgspec.structs.replace(thread, hour_tokens=0, minutes_tokens=0)
    facts = Facts(
        waiting,
        thread.hour_tokens,
        thread.minutes_tokens,
        signs=_signs(ending.spoken, waiting, edited=edited),
        is_agent=thread.is_agent,
        has_tools=thread.has_tools,
    )
    account = accounts.observed(state.account, now_ms)
    settings = settings if thread.can_upgrade else DEFAULTS
    holding = hold(account, facts, thread.prompt.model, thread.card, settings)
    thread = msgspec.structs.replace(thread, edited=edited, goes_on=waiting != "turn_ended")
    thread, reserved = _granted(thread, holding, account)
    pause = Pause(
        session_id=thread.session_id,
        since_ms=thread.used_at_ms,
        tokens=thread.hour_tokens + thread.minutes_tokens,
        pings=holding.wanted if _takes_pings(thread, account) else Pings(),
        is_human=is_human(facts),
        group=group_of(facts),
        reserved_pico_usd=reserved,
    )
    account = accounts.paused(account, ending.thread, pause)
    return kept(state, account, ending.thread, thread), timer_of(ending.thread, thread)


def _takes_pings(thread: Thread, account: Account) -> bool:
    """Whether a cache of this thread could be held at all: if not, an hour has to do without pings, too."""
    return thread.is_worth_pings and thread.prompt.model not in account.refusing


def _signs(spoken: Spoken | None, waiting: Waiting, *, edited: bool) -> int | None:
    """Return how many signs of wanting a reply the end of a turn bears, None if that is not known."""
    if spoken is None or waiting != "turn_ended":
        return None
    return signs_in(spoken.characters, asks=spoken.asks, edited=edited)


def _granted(thread: Thread, holding: Holding, account: Account) -> tuple[Thread, int]:
    """Return a thread with the pings that it gets, and the money to set aside for them: what each really costs."""
    if not thread.is_worth_pings or holding.granted == Pings():
        return bare(thread), 0
    thread = msgspec.structs.replace(thread, granted=holding.granted, upgrade=holding.upgrade)
    allowance = account.allowance_pico_usd(thread.card)
    if holding.upgrade:
        reserved = thread.promised_pico_usd
        return (thread, reserved) if reserved <= allowance else (bare(thread), 0)
    count = min(thread.promised, max(0, allowance) // thread.ping_pico_usd)
    granted = Pings(minutes=count) if thread.minutes_tokens else Pings(hours=count)
    thread = msgspec.structs.replace(thread, granted=granted)
    return (thread if count else bare(thread)), count * thread.ping_pico_usd


# --- pings ---


def timer_fired(state: State, name: str, exchange_id: str, now_ms: int) -> tuple[State, list[Command]]:
    """Ping a thread whose pause is still on and whose cache still lives."""
    thread = paused_at(state, name, exchange_id)
    if thread is None or thread.sent >= thread.promised:
        return state, []
    if now_ms < thread.used_at_ms + thread.every_ms:
        return state, timer_of(name, thread)
    if now_ms >= thread.until_ms:
        return let_go_of(state, name, thread), []
    thread = msgspec.structs.replace(thread, sent=thread.sent + 1)
    return kept(state, state.account, name, thread), [Ping(name, thread.upgrade)]


def pinged(state: State, name: str, exchange_id: str, usage: Usage, at_ms: int) -> tuple[State, list[Command]]:
    """Count a ping that was sent at `at_ms`. One that found nothing to read ends the holding of its thread.

    One that was answered with output, which nobody asked for, counts as refused.
    """
    thread = paused_at(state, name, exchange_id)
    if thread is None:
        gone_on = state.threads.get(name)
        return (_spent(state, gone_on, gone_on.card.cost_pico_usd(usage)) if gone_on else state), []
    account = accounts.pinged(state.account, name, thread.card.cost_pico_usd(usage))
    state = msgspec.structs.replace(state, account=account)
    if usage.output_tokens:
        return ping_refused(state, name, thread.prompt.model), []
    if not usage.cache_read_input_tokens:
        return let_go_of(state, name, thread), []
    thread, refreshed = _lives_on(thread, at_ms), _refreshed(state.belief, thread, name, at_ms)
    state = msgspec.structs.replace(state, belief=refreshed)
    if thread.sent >= thread.promised:
        return let_go_of(state, name, thread), []
    return kept(state, account, name, thread), timer_of(name, thread)


def _spent(state: State, thread: Thread, pico_usd: int) -> State:
    """Count the money of a ping whose thread has gone on meanwhile."""
    return msgspec.structs.replace(state, account=accounts.billed(state.account, pico_usd, 0, thread.card))


def _lives_on(thread: Thread, at_ms: int) -> Thread:
    """Return a thread whose cache was used just now; the first ping of an upgrade made all of it one of an hour."""
    thread = msgspec.structs.replace(thread, used_at_ms=at_ms)
    if not thread.upgrade:
        return thread
    whole = thread.prompt.total_tokens
    return msgspec.structs.replace(thread, hour_tokens=whole, minutes_tokens=0, sent=0, upgrade=False)


def _refreshed(belief: Belief, thread: Thread, name: str, at_ms: int) -> Belief:
    """Record what a ping did to the caches: it is one more request with the same prompt."""
    prompt = thread.prompt
    if thread.upgrade:
        prompt = msgspec.structs.replace(prompt, marks=upgraded_marks(prompt, len(prompt.digests) - 1))
    entries = belief.caches.get(prompt.cache, {})
    split = predict(entries, prompt, at_ms, belief.rules)
    read = land(send(entries, prompt, split, at_ms, name, belief.rules), name)
    return msgspec.structs.replace(belief, caches={**belief.caches, prompt.cache: read})


def ping_refused(state: State, name: str, model: str) -> State:
    """Remember that a model takes no pings, and stop those of this thread, unless it asks another one by now."""
    state = msgspec.structs.replace(state, account=accounts.refused(state.account, model))
    thread = state.threads.get(name)
    return state if thread is None or thread.prompt.model != model else let_go_of(state, name, thread)


def ping_failed(state: State, name: str, exchange_id: str, *, was_paid: bool) -> State:
    """Let go of a thread whose ping came to nothing, and count its price where it may have been paid all the same."""
    thread = paused_at(state, name, exchange_id)
    if thread is None:
        gone_on = state.threads.get(name)
        return _spent(state, gone_on, gone_on.ping_pico_usd) if gone_on and was_paid else state
    account = accounts.pinged(state.account, name, thread.ping_pico_usd if was_paid else 0)
    return let_go_of(msgspec.structs.replace(state, account=account), name, thread)


def let_go(state: State, name: str, exchange_id: str) -> State:
    """Send no more pings for a thread that waits where this exchange left it."""
    thread = paused_at(state, name, exchange_id)
    return state if thread is None else let_go_of(state, name, thread)


def gone(state: State, name: str, exchange_id: str) -> State:
    """Forget the pause of a thread whose client is gone: nobody will come back to it, and nothing is learnt."""
    thread = state.threads.get(name)
    if thread is None or thread.exchange_id != exchange_id:
        return state
    return let_go_of(msgspec.structs.replace(state, account=accounts.dropped(state.account, name)), name, thread)
