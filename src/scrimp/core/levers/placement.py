"""Where breakpoints pay: the exact placement of up to four marks over a prompt's levels of survival.

A level is a depth of the prompt that the next request is expected to share with some chance. A token in front of a mark
with chance `s` is written now at the write price `w` and, if the next request comes in time and matches, read at `r`;
left unmarked it is paid plain both times. Marking it saves, in units of the plain price,
`h(s) = s (w - r) - (w - 1)` (levers study, section 2a); a segment is judged by the mark that ends it. Chances do not
rise with depth, so a dynamic programme over (level, marks used, lifetime) finds the best set.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scrimp.core.belief.cache import TTL_MS
from scrimp.core.belief.prefix import MARKS_MAX
from scrimp.core.wire.blocks import Ttl
from scrimp.core.wire.prices import RateCard


class Level(msgspec.Struct, frozen=True, gc=False):
    """A depth that may be marked: `tokens` in front of it, and the chance that the next request finds it, by lifetime.

    The chance is that the next request matches up to here and comes before the lifetime is over; `chances` holds it for
    each `Ttl` that may be asked for.
    """

    tokens: int
    chances: tuple[tuple[Ttl, float], ...]


class Placed(msgspec.Struct, frozen=True, gc=False):
    """A mark on the level at `index`, and what its own segment is expected to save, in pico-USD."""

    index: int
    ttl: Ttl
    gain_pico_usd: float


def write_price(card: RateCard, ttl: Ttl | None) -> int:
    """Return what a token costs when it is written for this lifetime, or for none, in pico-USD."""
    if ttl is None:
        return card.uncached_input
    return card.cache_write_1h if ttl == "1h" else card.cache_write_5m


def gain_per_token(card: RateCard, ttl: Ttl, chance: float) -> float:
    """Return what marking one token is expected to save, in pico-USD; negative where it loses (levers study, 2a)."""
    written = write_price(card, ttl)
    return chance * (written - card.cache_read) - (written - card.uncached_input)


def break_even_chance(card: RateCard, ttl: Ttl) -> float:
    """Return the chance of being read from which on a mark of this lifetime pays."""
    written = write_price(card, ttl)
    return (written - card.uncached_input) / (written - card.cache_read)


def place(levels: Sequence[Level], card: RateCard, slots: int = MARKS_MAX) -> tuple[Placed, ...]:
    """Return the marks that save most, at most `slots`, longer lifetimes first as the API asks; none where none pays.

    `levels` are in order of depth.
    """
    best: dict[tuple[int, Ttl], tuple[float, tuple[Placed, ...]]] = {}
    for _ in range(slots):
        grown = {
            (i, ttl): _extended(levels, card, best, i, ttl, chance)
            for i, level in enumerate(levels)
            for ttl, chance in level.chances
        }
        best = {key: max(grown[key], best.get(key, grown[key]), key=_saved) for key in grown}
    return max(best.values(), key=_saved, default=(0.0, ()))[1] if any(map(_saves, best.values())) else ()


def _saved(plan: tuple[float, tuple[Placed, ...]]) -> tuple[float, int]:
    """Order plans by what they save, and by the fewer marks where that is the same."""
    return plan[0], -len(plan[1])


def _saves(plan: tuple[float, tuple[Placed, ...]]) -> bool:
    return plan[0] > 0


def _extended(
    levels: Sequence[Level],
    card: RateCard,
    best: dict[tuple[int, Ttl], tuple[float, tuple[Placed, ...]]],
    index: int,
    ttl: Ttl,
    chance: float,
) -> tuple[float, tuple[Placed, ...]]:
    """Return the best plan that ends with a mark of this lifetime on the level at `index`."""
    per_token = gain_per_token(card, ttl, chance)

    def after(saved: float, marks: tuple[Placed, ...], upto: int) -> tuple[float, tuple[Placed, ...]]:
        gain = (levels[index].tokens - upto) * per_token
        return saved + gain, (*marks, Placed(index, ttl, gain))

    plans = [after(0.0, (), 0)]
    plans += [
        after(saved, marks, levels[i].tokens)
        for (i, before), (saved, marks) in best.items()
        if i < index and TTL_MS[before] >= TTL_MS[ttl]
    ]
    return max(plans, key=_saved)
