"""What is believed about one principal: its sessions and the caches its requests have filled.

`Belief` is a value; `step` folds one event into it. It belongs to one principal, so nothing of another's can be
reached from it, whatever session id a request claims.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2s
from itertools import chain, islice, takewhile
from typing import Any, TypeVar, overload

import msgspec

from scrimp.core.belief.cache import CacheRules, Entries, drop, land, send
from scrimp.core.belief.events import Event, FirstToken, RequestArrived, RequestFailed, UsageSeen
from scrimp.core.belief.prefix import front_of
from scrimp.core.belief.sightings import Sightings, see
from scrimp.core.belief.templates import FAMILIES_MAX, Family
from scrimp.core.wire.blocks import Block
from scrimp.core.wire.request import Request
from scrimp.core.wire.tokens import Calibration, observe
from scrimp.core.wire.usage import ZERO, Usage

K = TypeVar("K")
V = TypeVar("V")

_DIGEST_BYTES = 16
#: The chains of digests by which conversations are recognised; see `trails`.
Trails = tuple[Sequence[bytes], tuple[bytes, ...]]

#: Sessions remembered per principal; the least recently used go first. Forgetting one only costs predictions.
SESSIONS_MAX = 512
#: Ends of conversations by which later requests are recognised, two of each request, per principal.
TAILS_MAX = 2048
#: Caches (one for each model and speed) remembered per principal.
CACHES_MAX = 64
#: Exchanges whose first token or end is still awaited, per principal.
FLIGHTS_MAX = 4096
#: Times to a first token remembered per cache.
WAITS_MAX = 64


#: What a tool of the client's own is called, with and without the type that it may state.
_CLIENT_TOOLS = frozenset({"tool", "custom"})


class Session(msgspec.Struct, frozen=True):
    """One conversation of an agent."""

    session_id: str
    first_at_ms: int
    last_at_ms: int
    exchanges: int = 0
    usage: Usage = ZERO


class Tail(msgspec.Struct, frozen=True, gc=False):
    """The end of a conversation that was sent, and what is known of the answer that comes after it.

    `prefix` is the digest of its prompt; `thread` names the line of requests that only went on (see `thread_of`).
    `at_ms` is when it was sent; where the API's own tools may have a part in the answer, when that began.
    """

    session_id: str
    cache: str
    model: str
    prefix: bytes
    at_ms: int
    is_marked: bool
    thread: str = ""


class Flight(msgspec.Struct, frozen=True):
    """An exchange under way: whose it is, which cache it writes to, its prompt's estimated length, and since when.

    `tails` are set where they are to learn when its answer began.
    """

    session_id: str
    cache: str
    model: str
    estimated_tokens: int
    at_ms: int = 0
    tails: tuple[bytes, ...] = ()


class Belief(msgspec.Struct, frozen=True):
    """Everything believed about one principal.

    `caches` holds one set of entries per `Prompt.cache`, `tails` the ends of conversations by digest, `calibration`
    what the bills so far say about our token estimates, `sightings` which parts of prompts come back, `families` which
    of their lines change. `shadows` holds, by policy, the caches as they would be had that one always been in force,
    `waits` the latest times to a first token by cache.
    """

    caches: Mapping[str, Entries] = msgspec.field(default_factory=dict)
    shadows: Mapping[str, Mapping[str, Entries]] = msgspec.field(default_factory=dict)
    sessions: Mapping[str, Session] = msgspec.field(default_factory=dict)
    tails: Mapping[bytes, Tail] = msgspec.field(default_factory=dict)
    flights: Mapping[str, Flight] = msgspec.field(default_factory=dict)
    calibration: Calibration = Calibration()
    waits: Mapping[str, tuple[int, ...]] = msgspec.field(default_factory=dict)
    sightings: Sightings = Sightings()
    families: Mapping[bytes, Family] = msgspec.field(default_factory=dict)
    rules: CacheRules = CacheRules()


class _Seeded(Sequence[bytes]):
    """A chain told apart by a seed; a digest is worked out when it is asked for, which few ever are."""

    def __init__(self, seed: bytes, chain: tuple[bytes, ...]) -> None:
        self._seed = seed
        self._chain = chain

    def __len__(self) -> int:
        return len(self._chain)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> _Seeded: ...
    def __getitem__(self, at: int | slice) -> bytes | _Seeded:
        if isinstance(at, slice):
            return _Seeded(self._seed, self._chain[at])
        return blake2s(self._seed + self._chain[at], digest_size=_DIGEST_BYTES).digest()


def trails(request: Request, known: tuple[bytes, ...] = ()) -> Trails:
    """Return two chains of digests over the messages: one seeded by tools and system, one by nothing.

    `known` is the beginning of the latter, for a caller that has it.

    Unlike a prompt's chain they hold no setting and drop no thinking: a session survives a change of model or effort,
    and by the second chain even a system prompt that says another time of day in every request.
    """
    front = front_of(request.blocks)
    before = blake2s(b"".join([block.digest for block in request.blocks[:front]])).digest()
    digest, trail = known[-1] if known else b"", list(known)
    for block in request.blocks[front + len(known) :]:
        digest = blake2s(digest + block.digest, digest_size=_DIGEST_BYTES).digest()
        trail.append(digest)
    messages_alone = tuple(trail)
    return _Seeded(before, messages_alone), messages_alone


def offers_server_tools(blocks: Sequence[Block]) -> bool:
    """Whether tools stand at the head of these blocks that the API may run itself: their kinds name them."""
    tools = takewhile(lambda block: block.path.startswith("tools."), blocks)
    return any(tool.kind not in _CLIENT_TOOLS for tool in tools)


def session_of(belief: Belief, request: Request, stated: str | None, fresh: str, found: Trails | None = None) -> str:
    """Name the session of a request: the one it states, else the one whose messages it extends, else `fresh`.

    `found` are the request's `trails`, for a caller that has them.
    """
    if stated:
        return stated
    whole, messages_alone = found or trails(request)
    # Equal opening words under another system prompt are another conversation; only going on makes them one.
    candidates = chain(_ends(belief, (whole, messages_alone)), reversed(messages_alone[:-1]))
    return next((belief.tails[digest].session_id for digest in candidates if digest in belief.tails), fresh)


def _ends(belief: Belief, found: Trails) -> Iterator[bytes]:
    """Return the digests of the first chain that can be ends of conversations, the longest one first.

    An end is remembered by both chains, so where the second one has none, the first one need not be worked out.
    """
    whole, messages_alone = found
    places = [i for i, digest in enumerate(messages_alone) if digest in belief.tails]
    return (whole[i] for i in reversed(places))


def thread_of(belief: Belief, found: Trails, fresh: str) -> str:
    """Name the line of requests that a request goes on: that of the longest one it extends, else `fresh`.

    One session can hold several: agents, and small requests that a client sends beside its conversation.
    """
    ends = _ends(belief, found)
    return next((belief.tails[digest].thread for digest in ends if digest in belief.tails), fresh) or fresh


def tails_of(request: Request, found: Trails | None = None) -> tuple[bytes, ...]:
    """Return the digests by which a later request that extends this one is recognised; `found` as in `session_of`."""
    return tuple(trail[-1] for trail in found or trails(request) if trail)


def _put(known: Mapping[K, V], key: K, value: V, limit: int) -> dict[K, V]:
    """Return `known` with `key` as its newest entry and no more than `limit` entries."""
    return _put_all(known, {key: value}, limit)


def _put_all(known: Mapping[K, V], newest: Mapping[K, V], limit: int) -> dict[K, V]:
    """Return `known` with these as its newest entries and no more than `limit` entries."""
    kept = dict(known)
    for key in newest:
        kept.pop(key, None)
    kept.update(newest)
    if len(kept) > limit:
        for oldest in tuple(islice(kept, len(kept) - limit)):
            del kept[oldest]
    return kept


def _arrive(belief: Belief, event: RequestArrived) -> Belief:
    cache, entries = event.prompt.cache, belief.caches.get(event.prompt.cache, {})
    entries = send(entries, event.prompt, event.split, event.at_ms, event.exchange_id, belief.rules)
    known = belief.sessions.get(event.session_id) or Session(event.session_id, event.at_ms, event.at_ms)
    session = msgspec.structs.replace(known, last_at_ms=event.at_ms, exchanges=known.exchanges + 1)
    # What was moved behind the prompt is gone from the next one, so no answer stands behind the same prefix again.
    is_whole = bool(event.prompt.digests) and event.prompt.total_tokens == event.prompt.tokens[-1]
    prefix = event.prompt.digests[-1] if is_whole else b""
    tail = Tail(
        event.session_id, cache, event.prompt.model, prefix, event.at_ms, bool(event.prompt.marks), event.thread
    )
    tails = _put_all(belief.tails, dict.fromkeys(event.tails, tail), TAILS_MAX)
    awaited = event.tails if tail.is_marked and offers_server_tools(event.prompt.blocks) else ()
    flight = Flight(event.session_id, cache, event.prompt.model, event.prompt.total_tokens, event.at_ms, awaited)
    return msgspec.structs.replace(
        belief,
        caches=_put(belief.caches, cache, entries, CACHES_MAX),
        sessions=_put(belief.sessions, event.session_id, session, SESSIONS_MAX),
        tails=tails,
        flights=_put(belief.flights, event.exchange_id, flight, FLIGHTS_MAX),
        sightings=_noted(belief, event),
        shadows=_shadowed(belief, event),
        families=_put(belief.families, event.look.key, event.look.family, FAMILIES_MAX)
        if event.look
        else belief.families,
    )


def _shadowed(belief: Belief, event: RequestArrived) -> Mapping[str, Mapping[str, Entries]]:
    """Record what the request would have done to the caches under other policies."""
    shadows = dict(belief.shadows)
    for each in event.shadows:
        caches = shadows.get(each.policy, {})
        entries = caches.get(each.prompt.cache, {})
        sent = send(entries, each.prompt, each.split, event.at_ms, event.exchange_id, belief.rules)
        shadows[each.policy] = _put(caches, each.prompt.cache, sent, CACHES_MAX)
    return shadows


def _noted(belief: Belief, event: RequestArrived) -> Sightings:
    """Remember the depths of a prompt, where anything will ever be decided by them."""
    if not event.kinds:
        return belief.sightings
    return see(belief.sightings, event.prompt.digests, event.kinds, event.at_ms)


def _changed(belief: Belief, flight: Flight, change: Callable[[Entries], Entries], **also: Any) -> Belief:
    """Change the entries that a flight meets, as they are and as they would be under other policies."""

    def changed(caches: Mapping[str, Entries]) -> Mapping[str, Entries]:
        entries = caches.get(flight.cache, {})
        now = change(entries)
        return caches if now is entries else {**caches, flight.cache: now}

    shadows = {policy: changed(caches) for policy, caches in belief.shadows.items()}
    return msgspec.structs.replace(belief, caches=changed(belief.caches), shadows=shadows, **also)


def _ended(belief: Belief, exchange_id: str, flight: Flight, change: Callable[[Entries, str], Entries]) -> Belief:
    flights = dict(belief.flights)
    flights.pop(exchange_id, None)
    return _changed(belief, flight, lambda entries: change(entries, exchange_id), flights=flights)


def _first_token(belief: Belief, event: FirstToken) -> Belief:
    flight = belief.flights.get(event.exchange_id)
    if flight is None:
        return belief
    known = belief.waits.get(flight.cache, ())[1 - WAITS_MAX :]
    waits = _put(belief.waits, flight.cache, (*known, event.at_ms - flight.at_ms), CACHES_MAX)
    begun = {
        tail: msgspec.structs.replace(belief.tails[tail], at_ms=event.at_ms)
        for tail in flight.tails
        if tail in belief.tails
    }
    tails = _put_all(belief.tails, begun, TAILS_MAX) if begun else belief.tails
    return _changed(belief, flight, lambda entries: land(entries, event.exchange_id), waits=waits, tails=tails)


def _usage_seen(belief: Belief, event: UsageSeen) -> Belief:
    flight = belief.flights.get(event.exchange_id)
    if flight is None:
        return belief
    belief = _ended(belief, event.exchange_id, flight, land)
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
    return belief if flight is None else _ended(belief, event.exchange_id, flight, drop)


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
