"""What the engine stands on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scrimp.engine.outside import new_exchange_id

#: Until the year 9999.
MOMENTS = st.integers(0, 253_402_300_799_000)


@given(MOMENTS, MOMENTS)
def test_ids_sort_by_time(one_ms: int, other_ms: int) -> None:
    """The order of the ids is the order of the moments."""
    one, other = new_exchange_id(one_ms), new_exchange_id(other_ms)
    assert (one_ms < other_ms) == (one[:15] < other[:15])
    assert (one_ms == other_ms) == (one[:15] == other[:15])
    assert len(one) == len(other) == 27


def test_ids_of_one_moment_differ() -> None:
    """A thousand within one millisecond."""
    assert 1000 == len({new_exchange_id(5) for _ in range(1000)})
