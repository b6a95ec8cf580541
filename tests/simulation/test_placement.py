"""The placement of marks equals brute force on ten thousand small cases."""

from __future__ import annotations

import random

import pytest

from scrimp.core.levers.placement import Level, place
from scrimp.core.wire.prices import RateCard
from tests.core.levers.test_placement import CARDS, best_by_force, gain_of


def drawn(draw: random.Random) -> tuple[list[Level], RateCard, int]:
    """Draw a small case as `level_lists` does; one in four has ties of chance and depths that are close together."""
    count, is_tied = draw.randint(0, 5), not draw.randrange(4)
    depths = sorted(draw.sample(range(1, 10 if is_tied else 50_000), count))
    chances = [round(draw.random(), 1) if is_tied else draw.random() for _ in range(count)]
    soon, later = sorted((draw.random(), draw.random()))
    levels = [
        Level(depth, (("5m", match * soon), ("1h", match * later)))
        for depth, match in zip(depths, sorted(chances, reverse=True), strict=True)
    ]
    return levels, CARDS[draw.choice(sorted(CARDS))], draw.randint(1, 4)


def test_ten_thousand_small_cases_are_placed_as_brute_force_does() -> None:
    """On 10,000 seeded cases the programme saves what the best of all allowed sets of marks saves."""
    placings = 0
    for seed in range(10_000):
        levels, card, slots = drawn(random.Random(seed))
        placed = place(levels, card, slots)
        placings += bool(placed)
        assert best_by_force(levels, card, slots) == pytest.approx(
            gain_of(levels, card, [(each.index, each.ttl) for each in placed]), rel=1e-9, abs=1e-3
        ), f"seed {seed}"
    assert 4_000 < placings < 10_000
