"""Properties of candidates: priced once, and the first of the cheapest is taken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.cache import Split
from scrimp.core.belief.session import Belief
from scrimp.core.belief.sightings import kinds
from scrimp.core.plan.candidate import Candidate, card_of, cheapest, line_of, priced
from scrimp.core.plan.cost_to_go import HORIZON_REQUESTS, expected_input_nano_usd
from scrimp.core.wire.usage import Usage
from tests.core.plan.plans import BOOK, NOW_MS, body_of, read


@given(st.sets(st.integers(0, 3), max_size=4))
def test_a_candidate_costs_what_it_writes_now_and_what_is_to_come(places: set[int]) -> None:
    """The total is the price of this request and that of as many as are expected to follow."""
    request, prompt = read(body_of(["s", *"abc"], places))
    card = card_of(request, prompt, BOOK, NOW_MS)
    assert card is not None
    found = priced(request, prompt, Belief(), BOOK, card, NOW_MS, "why", kinds(prompt))
    now = BOOK.cost_nano_usd([line_of(request, found.split.usage)], NOW_MS)
    ahead = expected_input_nano_usd(prompt, prompt.marks, Belief().sightings, card, kinds(prompt))
    assert kinds(prompt) == found.kinds
    assert (now, (now or 0) + HORIZON_REQUESTS * ahead) == (found.cost_nano_usd, found.total_nano_usd)


@given(st.lists(st.integers(0, 5), min_size=1))
def test_the_first_of_the_cheapest_is_taken(totals: list[int]) -> None:
    """Where nothing is cheaper than the request as it came, which stands first, nothing is changed."""
    _, prompt = read(body_of(["s", "a"], set()))
    split = Split(None, (), Usage())
    candidates = [Candidate(prompt, split, 0, float(total), str(at), {}) for at, total in enumerate(totals)]
    assert str(totals.index(min(totals))) == cheapest(candidates).reason
