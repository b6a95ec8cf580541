"""What is believed about one principal: its sessions and the caches its requests have filled.

`Belief` is a value; `step` folds one event into it. It belongs to one principal, so nothing of another's can be
reached from it, whatever session id a request claims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate, islice
from typing import TypeVar

import msgspec

from scrimp.core.belief.cache import CacheRules, Entries, drop, land, send
from scrimp.core.belief.events import Event, FirstToken, RequestArrived, RequestFailed, UsageSeen
from scrimp.core.wire.blocks import Block
from scrimp.core.wire.request import Request
from scrimp.core.wire.tokens import Calibration, observe
from scrimp.core.wire.usage import ZERO, Usage

K = TypeVar("K")
V = TypeVar("V")

#: Sessions remembered per principal; the least recently used go first. Forgetting one only costs predictions.
SESSIONS_MAX = 512
#: Ends of conversations by which later requests are recognised, two of each request, per principal.
TAILS_MAX = 2048
#: Caches (one for each model and speed) remembered per principal.
CACHES_MAX = 64
#: Exchanges whose first token or end is still awaited, per principal.
FLIGHTS_MAX = 4096


class Session(msgspec.Struct, frozen=True):
    """One conversation of an agent."""

    session_id: str
    first_at_ms: int
    last_at_ms: int
    exchanges: int = 0
    usage: Usage = ZERO


class Flight(msgspec.Struct, frozen=True):
    """An exchange under way: whose it is, which cache its writes belong to, how long its prompt was estimated."""

    session_id: str
    cache: str
    model: str
    estimated_tokens: int


class Belief(msgspec.Struct, frozen=True):
    """Everything believed about one principal.

    `caches` holds one set of entries per `Prompt.cache`, `tails` the ends of conversations by digest, `calibration`
    what the bills so far say about our token estimates.
    """

    caches: Mapping[str, Entries] = msgspec.field(default_factory=dict)
    sessions: Mapping[str, Session] = msgspec.field(default_factory=dict)
    tails: Mapping[bytes, str] = msgspec.field(default_factory=dict)
    flights: Mapping[str, Flight] = msgspec.field(default_factory=dict)
    calibration: Calibration = Calibration()
    rules: CacheRules = CacheRules()


def trails(request: Request) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return two chains of digests over the messages: one seeded by tools and system, one by nothing.

    Unlike a prompt's chain they hold no setting and drop no thinking: a session survives a change of model or effort,
    and by the second chain even a system prompt that says another time of day in every request.
    """
    before = blake2b(b"".join(block.digest for block in request.blocks if block.tier != "messages")).digest()
    blocks = tuple(request.tier("messages"))
    return _trail(before, blocks), _trail(b"", blocks)


def _trail(seed: bytes, blocks: Sequence[Block]) -> tuple[bytes, ...]:
    def follow(digest: bytes, block: Block) -> bytes:
        return blake2b(digest + block.digest, digest_size=16).digest()

    return tuple(accumulate(blocks, follow, initial=seed))[1:]


def session_of(belief: Belief, request: Request, stated: str | None, fresh: str) -> str:
    """Name the session of a request: the one it states, else the one whose messages it extends, else `fresh`."""
    if stated:
        return stated
    whole, messages_alone = trails(request)
    # Equal opening words under another system prompt are another conversation; only going on makes them one.
    candidates = (*reversed(whole), *reversed(messages_alone[:-1]))
    return next((belief.tails[digest] for digest in candidates if digest in belief.tails), fresh)


def tails_of(request: Request) -> tuple[bytes, ...]:
    """Return the digests by which a later request that extends this one is recognised."""
    return tuple(trail[-1] for trail in trails(request) if trail)


def _put(known: Mapping[K, V], key: K, value: V, limit: int) -> dict[K, V]:
    """Return `known` with `key` as its newest entry and no more than `limit` entries."""
    kept = {old: known[old] for old in islice(known, max(0, len(known) - limit + 1), None) if old != key}
    kept[key] = value
    return kept


def _arrive(belief: Belief, event: RequestArrived) -> Belief:
    cache, entries = event.prompt.cache, belief.caches.get(event.prompt.cache, {})
    entries = send(entries, event.prompt, event.split, event.at_ms, event.exchange_id, belief.rules)
    known = belief.sessions.get(event.session_id) or Session(event.session_id, event.at_ms, event.at_ms)
    session = msgspec.structs.replace(known, last_at_ms=event.at_ms, exchanges=known.exchanges + 1)
    tails = belief.tails
    for tail in event.tails:
        tails = _put(tails, tail, event.session_id, TAILS_MAX)
    flight = Flight(event.session_id, cache, event.prompt.model, event.prompt.total_tokens)
    return msgspec.structs.replace(
        belief,
        caches=_put(belief.caches, cache, entries, CACHES_MAX),
        sessions=_put(belief.sessions, event.session_id, session, SESSIONS_MAX),
        tails=tails,
        flights=_put(belief.flights, event.exchange_id, flight, FLIGHTS_MAX),
    )


def _settled(belief: Belief, exchange_id: str, change: Entries, cache: str) -> Belief:
    flights = {key: flight for key, flight in belief.flights.items() if key != exchange_id}
    return msgspec.structs.replace(belief, caches={**belief.caches, cache: change}, flights=flights)


def _first_token(belief: Belief, event: FirstToken) -> Belief:
    flight = belief.flights.get(event.exchange_id)
    if flight is None:
        return belief
    landed = land(belief.caches.get(flight.cache, {}), event.exchange_id)
    return msgspec.structs.replace(belief, caches={**belief.caches, flight.cache: landed})


def _usage_seen(belief: Belief, event: UsageSeen) -> Belief:
    flight = belief.flights.get(event.exchange_id)
    if flight is None:
        return belief
    landed = land(belief.caches.get(flight.cache, {}), event.exchange_id)
    belief = _settled(belief, event.exchange_id, landed, flight.cache)
    belief = _calibrated(belief, flight, event.usage)
    session = belief.sessions.get(flight.session_id)
    if session is None:
        return belief
    spent = msgspec.structs.replace(session, usage=session.usage + event.usage)
    return msgspec.structs.replace(belief, sessions={**belief.sessions, session.session_id: spent})


def _calibrated(belief: Belief, flight: Flight, usage: Usage) -> Belief:
    """Learn from a bill how long the prompt really was."""
    if not flight.estimated_tokens or not usage.total_input_tokens:
        return belief
    learnt = observe(belief.calibration, flight.model, flight.estimated_tokens, usage.total_input_tokens)
    return msgspec.structs.replace(belief, calibration=learnt)


def _failed(belief: Belief, event: RequestFailed) -> Belief:
    flight = belief.flights.get(event.exchange_id)
    if flight is None:
        return belief
    return _settled(
        belief, event.exchange_id, drop(belief.caches.get(flight.cache, {}), event.exchange_id), flight.cache
    )


def step(belief: Belief, event: Event) -> Belief:
    """Fold one event into what is believed. Events of exchanges that were forgotten change nothing."""
    match event:
        case RequestArrived():
            return _arrive(belief, event)
        case FirstToken():
            return _first_token(belief, event)
        case UsageSeen():
            return _usage_seen(belief, event)
        case RequestFailed():
            return _failed(belief, event)
