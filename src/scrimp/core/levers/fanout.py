"""Fan-out warm-up: of several requests that share a prefix nobody has cached yet, one goes and the rest wait for it.

An entry can be read only when its writer's first token is out, so N requests at once each pay for a write of their own;
one first and N-1 after its first token pay for one write and N-1 reads (API docs, prompt caching; levers study, 2e). A
wait is bounded by how long first tokens take, and never asked for where it saves too little for the time it costs.
"""

from __future__ import annotations

import msgspec

from scrimp.core.belief.cache import Split
from scrimp.core.belief.events import Shadow
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
    """Hold a request back until the first token of `flight`, its end, or `until_ms`, whichever comes first.

    `shadows` are what it would have been billed had it gone at once, under the policies that are followed beside.
    """

    flight: str
    until_ms: int
    saves_nano_usd: int
    reason: str
    shadows: tuple[Shadow, ...] = ()


def patience_ms(belief: Belief, flight: Flight) -> int:
    """Return how long the first token of a flight may take: the p95 of those seen, a guess while there are few."""
    seen = sorted(belief.waits.get(flight.cache, ()))
    if len(seen) >= KNOWN_FROM:
        return seen[min(len(seen) - 1, int(len(seen) * PATIENCE))]
    return FIRST_WAIT_MS + FIRST_WAIT_MS_PER_1000_TOKENS * flight.estimated_tokens // 1_000


def under_way(belief: Belief, cache: str) -> set[bytes]:
    """Return the prefixes of a cache that are being written."""
    return {digest for digest, entry in belief.caches.get(cache, {}).items() if entry.flights}


def landed(belief: Belief, cache: str) -> Belief:
    """Return what will be believed once every prefix of a cache that is being written can be read."""
    entries = belief.caches.get(cache, {})
    written = {
        digest: msgspec.structs.replace(entries[digest], flights=frozenset()) for digest in under_way(belief, cache)
    }
    return msgspec.structs.replace(belief, caches={**belief.caches, cache: {**entries, **written}})


def wait_for(later: Prompt, split: Split, belief: Belief, now_ms: int, saves_nano_usd: int) -> Wait | None:
    """Say whom a prompt should wait for, None where going now is as good.

    `later` and `split` are what would be sent and read once all prefixes are `landed`, `saves_nano_usd` is how much
    less that costs than going now.
    """
    entries = belief.caches.get(later.cache, {})
    read = entries.get(later.digests[split.hit]) if split.hit is not None else None
    known = [(name, belief.flights[name]) for name in (read.flights if read else ()) if name in belief.flights]
    if not known:
        return None
    name, flight = min(known, key=lambda each: each[1].at_ms)
    until_ms = flight.at_ms + patience_ms(belief, flight)
    if until_ms <= now_ms or saves_nano_usd * 1_000 < LEAST_SAVED_NANO_USD_PER_SECOND * (until_ms - now_ms):
        return None
    return Wait(name, until_ms, saves_nano_usd, "fan-out: another request is writing the prefix that this one can read")
