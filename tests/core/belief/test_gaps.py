"""Life tables of pauses: what is counted, what is censored, and that chances never rise."""

from __future__ import annotations

from itertools import pairwise
from math import isclose

from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.gaps import EDGES_MS, FIRST_MS, LifeTable, expected, still_open

_ages = st.integers(min_value=0, max_value=2 * EDGES_MS[-1])
_pauses = st.lists(st.tuples(_ages, st.booleans()), max_size=12)
_SECOND = 1_000


def _table(pauses: list[tuple[int, bool]]) -> LifeTable:
    table = LifeTable()
    for age_ms, returned in pauses:
        table = table.seen(FIRST_MS, age_ms, returned=returned)
    return table


@given(_pauses)
def test_all_time_at_risk_is_counted_once(pauses: list[tuple[int, bool]]) -> None:
    """The seconds of all spans are the time from the first age to the end of each pause, up to the last age."""
    at_risk = sum(max(0, min(age, EDGES_MS[-1]) - FIRST_MS) for age, _ in pauses)
    assert isclose(at_risk / _SECOND, sum(_table(pauses).seconds), abs_tol=1e-6)


@given(_pauses)
def test_returns_are_those_that_happened_in_time(pauses: list[tuple[int, bool]]) -> None:
    """A return counts if it came after the first age and not after the last."""
    assert sum(FIRST_MS < age <= EDGES_MS[-1] and back for age, back in pauses) == sum(_table(pauses).returns)


@given(_pauses)
def test_chances_never_rise(pauses: list[tuple[int, bool]]) -> None:
    """The longer a pause lasts, the less likely it ends in the next second."""
    assert all(earlier >= later for earlier, later in pairwise(_table(pauses).chances))


@given(_pauses)
def test_chances_foresee_as_many_returns_as_there_were(pauses: list[tuple[int, bool]]) -> None:
    """Pooling neighbours moves returns between spans and loses none."""
    table = _table(pauses)
    foreseen = sum(chance * seconds for chance, seconds in zip(table.chances, table.seconds, strict=True))
    assert isclose(sum(table.returns), foreseen, abs_tol=1e-6)


@given(_pauses, st.lists(_ages, max_size=3))
def test_counting_in_pieces_is_counting_at_once(pauses: list[tuple[int, bool]], cuts: list[int]) -> None:
    """A pause that is counted while it is open, again and again, ends up as if counted once."""
    pieces = LifeTable()
    for age_ms, returned in pauses:
        stops = [FIRST_MS, *sorted(cut for cut in cuts if FIRST_MS < cut < age_ms), age_ms]
        for start, end in pairwise(stops):
            pieces = pieces.seen(start, end, returned=returned and end == age_ms)
    whole = _table(pauses)
    assert whole.returns == pieces.returns
    assert all(isclose(a, b, abs_tol=1e-6) for a, b in zip(whole.seconds, pieces.seconds, strict=True))


def test_open_pauses_make_returns_less_likely() -> None:
    """Who only counted returns would think that everybody returns: an open pause is time at risk."""
    returned = LifeTable().seen(FIRST_MS, 400_000, returned=True)
    assert returned.chances[0] > returned.seen(FIRST_MS, 500_000, returned=False).chances[0]


@given(st.floats(min_value=0.01, max_value=100), _pauses)
def test_a_scaled_table_has_the_same_chances(factor: float, pauses: list[tuple[int, bool]]) -> None:
    """Scaling changes the weight of a table, not what it says."""
    table = _table(pauses)
    pairs = zip(table.chances, table.scaled(factor).chances, strict=True)
    assert all(isclose(before, after, rel_tol=1e-6, abs_tol=1e-12) for before, after in pairs)


@given(_pauses, st.lists(_ages, min_size=1, max_size=6), st.floats(min_value=0, max_value=4))
def test_the_share_that_is_open_falls(pauses: list[tuple[int, bool]], ages: list[int], ratio: float) -> None:
    """It is 1 up to the first age, never rises, and falls by what is expected in between."""
    chances, ages = _table(pauses).chances, sorted(ages)
    shares = still_open(chances, ratio, ages)
    assert all(0 <= later <= earlier <= 1 for earlier, later in pairwise([1.0, *shares]))
    assert all(share == 1 for share, age in zip(shares, ages, strict=True) if age <= FIRST_MS)
    assert still_open(chances, ratio, [ages[-1]]) == shares[-1:]


@given(_pauses, _ages, _ages, _ages)
def test_expectations_add_up(pauses: list[tuple[int, bool]], first: int, second: int, third: int) -> None:
    """What is foreseen for a stretch of time is the sum over its parts."""
    start, middle, end = sorted((first, second, third))
    chances = _table(pauses).chances
    parts = expected(chances, start, middle) + expected(chances, middle, end)
    assert isclose(expected(chances, start, end), parts, abs_tol=1e-9)
