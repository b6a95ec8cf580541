"""How long pauses last: a life table for each kind of pause, learnt from those that ended and those that did not yet.

A pause is the time from the start of a request to the start of the next one of its thread. Up to `FIRST_MS` any cache
outlives it, so only what is longer is told apart: for each span of time, how many pauses ended in it, and how long
pauses were open in it. Their quotient is the chance of a return a second. A pause that is still open, or that ended in
some other way, adds the time that it was seen open and nothing else: that is all that is known of it. Someone who only
counted returns would think that everybody returns.

Chances are made to fall with time (by pooling neighbours, the least change that does it), as they do for people: the
longer somebody has been away, the longer they stay away. That smooths the few long pauses of one user.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import exp

import msgspec

#: Pauses up to here are outlived by every cache; a ping every 290 s comes just before.
FIRST_MS = 300_000

#: Where the spans end, in milliseconds: one for each ping of three quarters of an hour, then ever longer ones.
EDGES_MS = (
    *(FIRST_MS + 290_000 * pings for pings in range(1, 10)),
    *(round(hours * 3_600_000) for hours in (0.9, 1.05, 1.5, 2, 4, 8, 16, 32, 80)),
)
_STARTS_MS = (FIRST_MS, *EDGES_MS[:-1])
_SPANS = tuple(zip(_STARTS_MS, EDGES_MS, strict=True))
_NOTHING = (0.0,) * len(EDGES_MS)
_MS_PER_S = 1_000


class LifeTable(msgspec.Struct, frozen=True, dict=True):
    """Pauses of one kind longer than `FIRST_MS`, for each span: how many ended by a return, and the seconds at risk."""

    returns: tuple[float, ...] = _NOTHING
    seconds: tuple[float, ...] = _NOTHING

    def scaled(self, factor: float) -> LifeTable:
        """Return the table as if `factor` times as many pauses had been seen: the same chances, other weight."""
        return LifeTable(tuple(each * factor for each in self.returns), tuple(each * factor for each in self.seconds))

    def seen(self, from_ms: int, until_ms: int, *, returned: bool) -> LifeTable:
        """Add that a pause was open from one age to another, and whether it then ended by a return."""
        if until_ms <= FIRST_MS:
            return self
        seconds = tuple(
            had + max(0, min(until_ms, end) - max(from_ms, start)) / _MS_PER_S
            for had, (start, end) in zip(self.seconds, _SPANS, strict=True)
        )
        returns = self.returns
        if returned and until_ms <= EDGES_MS[-1]:
            span = next(index for index, end in enumerate(EDGES_MS) if until_ms <= end)
            returns = (*returns[:span], returns[span] + 1, *returns[span + 1 :])
        return LifeTable(returns, seconds)

    @cached_property
    def chances(self) -> tuple[float, ...]:
        """The chance of a return in each span, a second, never rising from one span to the next."""
        pools: list[tuple[float, float, int]] = []
        for returns, seconds in zip(self.returns, self.seconds, strict=True):
            pool = (returns, seconds, 1)
            while pools and pools[-1][0] * pool[1] <= pool[0] * pools[-1][1]:
                before = pools.pop()
                pool = (before[0] + pool[0], before[1] + pool[1], before[2] + pool[2])
            pools.append(pool)
        return tuple(returns / seconds if seconds else 0.0 for returns, seconds, spans in pools for _ in range(spans))


def expected(chances: Sequence[float], from_ms: int, until_ms: int) -> float:
    """Return how many returns the chances foresee for one pause that is open from one age to another."""
    return (
        sum(
            chance * max(0, min(until_ms, end) - max(from_ms, start))
            for chance, (start, end) in zip(chances, _SPANS, strict=True)
            if end > from_ms and start < until_ms
        )
        / _MS_PER_S
    )


def still_open(chances: Sequence[float], ratio: float, ages_ms: Sequence[int]) -> list[float]:
    """Return the share of pauses longer than `FIRST_MS` that are still open at each age; ages never fall.

    `ratio` multiplies every chance.
    """
    shares, foreseen, span = [], 0.0, 0
    for age_ms in ages_ms:
        while span < len(_SPANS) and _SPANS[span][1] <= age_ms:
            foreseen += chances[span] * (_SPANS[span][1] - _SPANS[span][0])
            span += 1
        part = chances[span] * max(0, age_ms - _SPANS[span][0]) if span < len(_SPANS) else 0.0
        shares.append(exp(-ratio * (foreseen + part) / _MS_PER_S))
    return shares
