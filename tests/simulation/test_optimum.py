"""The clairvoyant bound equals brute force on ten thousand small trees of prompts."""

from __future__ import annotations

import random

import pytest

from scrimp.core.plan.optimum import lossless
from tests.core.plan.trees import brute_force, tree


def _expect_equal(seeds: range) -> None:
    for seed in seeds:
        visits, cards = tree(random.Random(seed).randint)
        assert brute_force(visits, cards) == lossless(visits, cards), f"seed {seed}"


def test_the_bound_is_what_brute_force_finds() -> None:
    """On 2,000 trees the cost, and the tokens that nobody reads again, are those of brute force."""
    _expect_equal(range(2_000))


@pytest.mark.campaign
def test_the_bound_is_what_brute_force_finds_on_many_more() -> None:
    """On 10,000 trees it is so, too."""
    _expect_equal(range(10_000))
