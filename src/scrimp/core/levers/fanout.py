"""Fan-out warm-up: of several requests that share a prefix nobody has cached yet, one goes and the rest wait for it.

An entry can be read only when its writer's first token is out, so N requests at once each pay for a write of their own;
one first and N-1 after its first token pay for one write and N-1 reads (API docs, prompt caching; levers study, 2e). A
wait is bounded by how long first tokens take, and never asked for where it saves too little for the time it costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from scrimp.core.belief.cache import Entry, Split, predict
from scrimp.core.belief.prefix import Prompt
from scrimp.core.belief.session import Belief, Flight

#: The share of first tokens that a wait outlasts.
PATIENCE = 0.95
#: How long a first token may take before any was seen: a base, and more for each 1,000 tokens that are not cached
#: (levers study, section 4: p90 of cold prompts of 40,000 to 260,000 tokens is 12 to 57 s, the median a quarter of it).
FIRST_WAIT_MS = 3_000
FIRST_WAIT_MS_PER_1000_TOKENS = 60
#: First tokens that must have been seen before their times replace the guess.
KNOWN_FROM = 8
#: What a second of waiting must save, in nano-USD: a cent, as a person's time at 36 dollars an hour.
LEAST_SAVED_NANO_USD_PER_SECOND = 10_000_000


class Wait(msgspec.Struct, frozen=True):
    """Hold a request back until the first token of `flight`, its end, or `until_ms`, whichever comes first."""

    flight: str
    until_ms: int
    saves_nano_usd: int
    reason: str


def patience_ms(belief: Belief, flight: Flight) -> int:
    """Return how long the first token of a flight may take: the p95 of those seen, a guess while there are few."""
    seen = sorted(belief.waits.get(flight.cache, ()))
    if len(seen) >= KNOWN_FROM:
        return seen[min(len(seen) - 1, int(len(seen) * PATIENCE))]
    return FIRST_WAIT_MS + FIRST_WAIT_MS_PER_1000_TOKENS * flight.estimated_tokens // 1_000


def wait_for(
    prompt: Prompt, split: Split, belief: Belief, now_ms: int, cost: Callable[[Split], int | None]
) -> Wait | None:
    """Say whom this prompt should wait for, None where going now is as good; `cost` prices a split in nano-USD."""
    entries = belief.caches.get(prompt.cache, {})
    in_flight = {digest: entry for digest, entry in entries.items() if entry.flights}
    if not any(digest in in_flight for digest in prompt.digests):
        return None
    landed = {digest: msgspec.structs.replace(entry, flights=frozenset()) for digest, entry in in_flight.items()}
    later = predict({**entries, **landed}, prompt, now_ms, belief.rules)
    now_cost, later_cost = cost(split), cost(later)
    if later.hit is None or now_cost is None or later_cost is None:
        return None
    known = _flights_of(in_flight, prompt.digests[later.hit : later.hit + 1], belief)
    if not known:
        return None
    name, flight = min(known, key=lambda each: each[1].at_ms)
    until_ms = flight.at_ms + patience_ms(belief, flight)
    saves = now_cost - later_cost
    if until_ms <= now_ms or saves * 1_000 < LEAST_SAVED_NANO_USD_PER_SECOND * (until_ms - now_ms):
        return None
    return Wait(name, until_ms, saves, "fan-out: another request is writing the prefix that this one can read")


def _flights_of(in_flight: dict[bytes, Entry], digests: Sequence[bytes], belief: Belief) -> list[tuple[str, Flight]]:
    """Return the flights that write any of these prefixes, as far as they are remembered."""
    names = {name for digest in digests if digest in in_flight for name in in_flight[digest].flights}
    return [(name, belief.flights[name]) for name in names if name in belief.flights]
