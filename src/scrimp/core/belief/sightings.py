"""How often a piece of a prompt comes back, and how soon: the survival that decides whether marking it pays.

A depth is a place where prompts branch: the end of the tools, of a system block, of the first message, of the whole
prompt. Each is known by its rolling digest. When a later request carries it again, the pause says whether a cache of
five minutes or of an hour would have been read. A depth never seen before is judged by what became of others of its
kind, so that one-shot traffic teaches us not to mark, and a loop of turns teaches us to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TypeVar

import msgspec

from scrimp.core.belief.cache import TTL_MS
from scrimp.core.belief.prefix import Prompt, front_of
from scrimp.core.wire.blocks import Block, Ttl
from scrimp.core.wire.models import traits

V = TypeVar("V")

#: Depths and kinds remembered per principal; those seen longest ago go first. Forgetting one only costs a guess.
DEPTHS_MAX = 2_048
KINDS_MAX = 256
#: What is believed of a kind before anything is known of it, and how many outcomes that belief is worth (hold study,
#: section 7: with these, one-shot traffic stops being marked after some 26 requests).
PRIOR_CHANCE = 0.5
PRIOR_WEIGHT = 20.0
#: System blocks whose ends are depths.
SYSTEM_DEPTHS_MAX = 32
#: First blocks of the messages that are worth a depth of their own: documents and examples stand there.
_HEAD_BLOCKS = 2
#: How many outcomes its kind is worth to one depth.
KIND_WEIGHT = 2.0


def depths(prompt: Prompt) -> tuple[int, ...]:
    """Return the indices at which prompts branch: ends of tiers and of system blocks, first messages, the whole.

    Of very many system blocks only some count, evenly spread: marks are placed in the square of the time.
    """
    count, front = len(prompt.blocks), front_of(prompt.blocks)
    tools = sum(block.tier == "tools" for block in prompt.blocks[:front])
    system = range(tools, front, 1 + (front - tools) // SYSTEM_DEPTHS_MAX)
    ends = {tools - 1, *system, *range(front - 1, min(front + _HEAD_BLOCKS, count)), count - 1}
    shortest = traits(prompt.model).min_cacheable_tokens
    eligible = (_markable_upto(prompt.blocks, i) for i in ends if i >= 0)
    return tuple(sorted({i for i in eligible if i is not None and prompt.tokens[i] >= shortest}))


def _markable_upto(blocks: Sequence[Block], index: int) -> int | None:
    """Return the last block up to `index` that may carry a mark; None where there is none in its message."""
    return next((i for i in range(index, max(-1, index - 4), -1) if blocks[i].markable), None)


def kinds(prompt: Prompt) -> dict[bytes, bytes]:
    """Return the kind of each depth by its digest: where it stands, and the tools that the prompt offers.

    Prompts of one application offer the same tools, whatever volatile text their system prompt begins with. Those that
    were put in order come back more often than those that were not, so they are kinds of their own.
    """
    tools = next((prompt.digests[i] for i in reversed(range(front_of(prompt.blocks))) if _is_tool(prompt, i)), b"")
    last, ordered = len(prompt.blocks) - 1, b"ordered|" if prompt.is_ordered else b""
    return {
        prompt.digests[i]: ordered + _place(prompt, i, last) + prompt.cache.encode() + tools for i in depths(prompt)
    }


def likely(prompt: Prompt, index: int, chance: float) -> float:
    """Return the chance of a depth, no higher than that of a piece in front of it that is known to change."""
    fragile = prompt.fragile
    return chance if fragile is None or index < fragile.index else min(chance, fragile.chance)


def _is_tool(prompt: Prompt, index: int) -> bool:
    return prompt.blocks[index].tier == "tools"


def _place(prompt: Prompt, index: int, last: int) -> bytes:
    return b"tail|" if index >= last - 1 else prompt.blocks[index].tier.encode() + b"|"


class Returns(msgspec.Struct, frozen=True, gc=False):
    """How many waited to come back, and how many did within each lifetime."""

    waited: int = 0
    again_5m: int = 0
    again_1h: int = 0

    def waiting(self) -> Returns:
        """Count one more that waits."""
        return msgspec.structs.replace(self, waited=self.waited + 1)

    def after(self, pause_ms: int) -> Returns:
        """Count one of those that waited as back after a pause."""
        return Returns(
            self.waited,
            self.again_5m + (pause_ms < TTL_MS["5m"]),
            self.again_1h + (pause_ms < TTL_MS["1h"]),
        )

    def chance(self, ttl: Ttl, prior: float, weight: float) -> float:
        """Return the share that came back in time, shrunk to `prior` as if `weight` outcomes had shown it."""
        again = self.again_1h if ttl == "1h" else self.again_5m
        return (again + prior * weight) / (self.waited + weight)


class Sighting(msgspec.Struct, frozen=True, gc=False):
    """One depth: its kind, when it was last seen, and its returns so far; the last sighting has no outcome yet."""

    kind: bytes
    last_at_ms: int
    returns: Returns = Returns()


class Sightings(msgspec.Struct, frozen=True):
    """All depths of one principal, by digest, and the kinds that stand for those never seen before."""

    depths: Mapping[bytes, Sighting] = msgspec.field(default_factory=dict)
    kinds: Mapping[bytes, Returns] = msgspec.field(default_factory=dict)


def see(sightings: Sightings, carried: Iterable[bytes], fresh: Mapping[bytes, bytes], now_ms: int) -> Sightings:
    """Record a request: the digests it carries, and the depths of it that are worth knowing with their kinds."""
    depths, kinds = dict(sightings.depths), dict(sightings.kinds)
    for digest in tuple(filter(depths.__contains__, carried)):
        _came_back(depths, kinds, digest, depths.pop(digest), now_ms)
    for digest, kind in fresh.items():
        if digest not in depths:
            depths[digest] = Sighting(kind, now_ms)
            kinds[kind] = kinds.pop(kind, Returns()).waiting()
    return Sightings(_newest(depths, DEPTHS_MAX), _newest(kinds, KINDS_MAX))


def _came_back(
    depths: dict[bytes, Sighting], kinds: dict[bytes, Returns], digest: bytes, before: Sighting, now_ms: int
) -> None:
    """Count one return of a depth; its first one is also an outcome of its kind."""
    pause_ms = max(0, now_ms - before.last_at_ms)
    depths[digest] = Sighting(before.kind, now_ms, before.returns.waiting().after(pause_ms))
    if not before.returns.waited:
        kinds[before.kind] = kinds.pop(before.kind, Returns(waited=1)).after(pause_ms)


def _newest(kept: dict[bytes, V], limit: int) -> dict[bytes, V]:
    return dict(islice(kept.items(), len(kept) - limit, None)) if len(kept) > limit else kept


def chance(sightings: Sightings, digest: bytes, kind: bytes, ttl: Ttl) -> float:
    """Return the chance that what is sent now up to this depth is read again before the lifetime is over."""
    of_kind = sightings.kinds.get(kind, Returns()).chance(ttl, PRIOR_CHANCE, PRIOR_WEIGHT)
    known = sightings.depths.get(digest)
    return of_kind if known is None else known.returns.chance(ttl, of_kind, KIND_WEIGHT)
