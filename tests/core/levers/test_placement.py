"""Properties of the placement of breakpoints."""

from __future__ import annotations

from itertools import combinations, pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrimp.core.belief.cache import TTL_MS
from scrimp.core.levers.placement import Level, break_even_chance, gain_per_token, place
from scrimp.core.wire.blocks import Ttl
from scrimp.core.wire.prices import RateCard

TTLS: tuple[Ttl, ...] = ("5m", "1h")
CARDS = {
    0.1: RateCard(5_000_000, 500_000, 6_250_000, 10_000_000, 25_000_000),
    0.05: RateCard(4_000_000, 200_000, 5_000_000, 8_000_000, 20_000_000),
    0.025: RateCard(10_000_000, 250_000, 12_500_000, 20_000_000, 50_000_000),
}
cards = st.sampled_from(sorted(CARDS)).map(CARDS.__getitem__)


@st.composite
def level_lists(draw: st.DrawFn, most: int = 5) -> list[Level]:
    """Draw levels of rising depth whose chances do not rise with it; a longer lifetime never lowers a chance."""
    depths = sorted(draw(st.lists(st.integers(1, 50_000), max_size=most, unique=True)))
    matches = sorted(draw(st.lists(st.floats(0, 1), min_size=len(depths), max_size=len(depths))), reverse=True)
    soon, later = sorted((draw(st.floats(0, 1)), draw(st.floats(0, 1))))
    return [
        Level(depth, (("5m", match * soon), ("1h", match * later)))
        for depth, match in zip(depths, matches, strict=True)
    ]


def best_by_force(levels: list[Level], card: RateCard, slots: int) -> float:
    """Try every set of at most `slots` marks with every order of lifetimes that the API takes."""
    best = 0.0
    for count in range(1, slots + 1):
        for chosen in combinations(range(len(levels)), count):
            for ttls in product(TTLS, repeat=count):
                if all(TTL_MS[a] >= TTL_MS[b] for a, b in pairwise(ttls)):
                    best = max(best, gain_of(levels, card, list(zip(chosen, ttls, strict=True))))
    return best


def gain_of(levels: list[Level], card: RateCard, marks: list[tuple[int, Ttl]]) -> float:
    """Add up what each marked segment saves."""
    gain, before = 0.0, 0
    for index, ttl in marks:
        level = levels[index]
        gain += (level.tokens - before) * gain_per_token(card, ttl, dict(level.chances)[ttl])
        before = level.tokens
    return gain


@settings(max_examples=2_000)
@given(level_lists(), cards, st.integers(1, 4))
def test_saves_as_much_as_brute_force(levels: list[Level], card: RateCard, slots: int) -> None:
    """The programme saves exactly what the best of all allowed sets of marks saves."""
    placed = place(levels, card, slots)
    assert best_by_force(levels, card, slots) == pytest.approx(
        gain_of(levels, card, [(each.index, each.ttl) for each in placed]), rel=1e-9, abs=1e-3
    )


@given(level_lists(most=12), cards, st.integers(1, 4))
def test_marks_are_such_as_the_api_takes(levels: list[Level], card: RateCard, slots: int) -> None:
    """Marks are in order of depth, no more than the slots, and no lifetime is longer than one in front of it."""
    placed = place(levels, card, slots)
    assert len(placed) <= slots
    assert sorted({each.index for each in placed}) == [each.index for each in placed]
    assert sorted((TTL_MS[each.ttl] for each in placed), reverse=True) == [TTL_MS[each.ttl] for each in placed]


@given(cards, st.sampled_from(TTLS), st.integers(1, 10_000), st.floats(0, 1))
def test_one_level_is_marked_from_its_break_even_on(card: RateCard, ttl: Ttl, tokens: int, chance: float) -> None:
    """A single level is marked exactly where its chance exceeds (w - 1) / (w - r)."""
    placed = place([Level(tokens, ((ttl, chance),))], card)
    assert (chance > break_even_chance(card, ttl)) == bool(placed)


def test_the_study_s_break_evens() -> None:
    """The break-even chances are those of the levers study, section 2a, for its three read multipliers."""
    found = [[round(break_even_chance(CARDS[r], ttl), 3) for r in (0.1, 0.05, 0.025)] for ttl in TTLS]
    assert [[0.217, 0.208, 0.204], [0.526, 0.513, 0.506]] == found


def test_a_volatile_tail_is_not_marked() -> None:
    """A tail that the next request will not repeat stays unmarked, the stable part in front of it is marked."""
    levels = [Level(8_000, (("5m", 0.9),)), Level(9_000, (("5m", 0.0),))]
    assert [(0, "5m")] == [(each.index, each.ttl) for each in place(levels, CARDS[0.05])]
