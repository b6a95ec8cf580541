"""Properties of the expected price of the requests to come."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.prefix import MARKS_MAX, Mark
from scrimp.core.belief.sightings import Sightings, kinds, see
from scrimp.core.levers.placement import break_even_chance
from scrimp.core.plan.cost_to_go import expected_input_nano_usd
from scrimp.core.wire.prices import RateCard
from tests.core.plan.plans import body_of, read

CARD = RateCard(4_000_000, 200_000, 5_000_000, 8_000_000, 20_000_000)
TEXTS = ["s", *"abcde"]


def taught(returns: int, times: int) -> Sightings:
    """Return what is known after `times` prompts like these, of which `returns` came back within a minute."""
    _, prompt = read(body_of(TEXTS, set()))
    sightings = Sightings()
    for number in range(times):
        pause_ms = 60_000 if number <= returns else 7_200_000
        sightings = see(sightings, prompt.digests, kinds(prompt), number * pause_ms)
    return sightings


@given(st.sets(st.integers(0, 5), max_size=MARKS_MAX), st.integers(0, 30))
def test_it_lies_between_all_read_and_all_written(places: set[int], returns: int) -> None:
    """No request of the same length is expected to cost less than reading all of it, or more than writing all of it."""
    _, prompt = read(body_of(TEXTS, places))
    found = expected_input_nano_usd(prompt, prompt.marks, taught(returns, 30), CARD, kinds(prompt))
    assert 200 * prompt.total_tokens - 1 <= found <= 5_000 * prompt.total_tokens + 1


def test_without_marks_everything_is_plain() -> None:
    """A prompt without marks costs its plain price, whatever comes back."""
    _, prompt = read(body_of(TEXTS, set()))
    assert expected_input_nano_usd(prompt, (), taught(20, 30), CARD, kinds(prompt)) == pytest.approx(
        4_000 * prompt.total_tokens
    )


@given(st.integers(1, 40))
def test_a_mark_pays_from_its_break_even_on(returns: int) -> None:
    """Marking the whole prompt is expected to cost less than not marking it exactly from the break-even chance on."""
    _, prompt = read(body_of(TEXTS, set()))
    sightings = taught(returns, 41)
    marked = msgspec.structs.replace(prompt, marks=(Mark(5, "5m"),))
    returned = sightings.depths[prompt.digests[5]].returns
    chance = returned.chance("5m", sightings.kinds[kinds(prompt)[prompt.digests[5]]].chance("5m", 0.5, 20), 2)
    cheaper = (
        expected_input_nano_usd(marked, marked.marks, sightings, CARD, kinds(marked)) < 4_000 * prompt.total_tokens
    )
    assert (chance > break_even_chance(CARD, "5m")) == cheaper
