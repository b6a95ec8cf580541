"""What a set of marks does to the requests to come: the expected price of one of them, by where it will find a mark.

A token in front of a mark is read again with the chance of that mark's depth, else written again; a token behind the
last mark is plain (levers study, sections 2a and 2g). How many requests are to come is not known; a conversation that
has had `t` of them is expected to have as many again, and no fewer than six (section 2g).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from scrimp.core.belief.prefix import Mark, Prompt
from scrimp.core.belief.sightings import Sightings, chance, likely
from scrimp.core.levers.placement import write_price
from scrimp.core.wire.models import traits
from scrimp.core.wire.prices import PICO_USD_PER_NANO_USD, RateCard

#: Requests that are expected to follow, at the least.
HORIZON_REQUESTS = 6


def _odds(sightings: Sightings, prompt: Prompt, mark: Mark, known: dict[bytes, bytes], fallback: bytes) -> float:
    """Return the chance that the next request finds what this mark writes, in time."""
    digest = prompt.digests[mark.index]
    return likely(prompt, mark.index, chance(sightings, digest, known.get(digest, fallback), mark.ttl))


def expected_input_nano_usd(
    prompt: Prompt, marks: Sequence[Mark], sightings: Sightings, card: RateCard, known: dict[bytes, bytes]
) -> float:
    """Return what the input of one more request like this is expected to cost, in nano-USD; `known` are its kinds."""
    shortest = traits(prompt.model).min_cacheable_tokens
    fallback = next(reversed(known.values()), b"")
    eligible = [mark for mark in marks if prompt.tokens[mark.index] >= shortest]
    edges = [0, *(prompt.tokens[mark.index] for mark in eligible), prompt.total_tokens]
    spent = float((edges[-1] - edges[-2]) * card.uncached_input)
    odds = [_odds(sightings, prompt, mark, known, fallback) for mark in eligible]
    for i, (mark, (start, end)) in enumerate(zip(eligible, pairwise(edges[:-1]), strict=True)):
        # A deeper mark that is found reads everything in front of it, so the likeliest of those from here on decides.
        found = max(odds[i:])
        spent += (end - start) * (found * card.cache_read + (1 - found) * write_price(card, mark.ttl))
    return spent / PICO_USD_PER_NANO_USD
