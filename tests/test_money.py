"""Nano-dollars as people read them: exact where it matters, never zero where it is unknown."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.money import NANO_PER_USD, dollars, in_usd, usd

#: A quadrillion dollars either way.
AMOUNTS = st.integers(-(10**24), 10**24)


def read(shown: str) -> Decimal:
    """Return an amount as a person reads it."""
    return Decimal(shown.replace("$", "").replace(",", ""))


@given(AMOUNTS)
def test_dollars_are_exact(nano_usd: int) -> None:
    """No nano-dollar is lost, and none appears."""
    assert Fraction(nano_usd, NANO_PER_USD) == Fraction(usd(nano_usd))


@given(AMOUNTS)
def test_json_states_the_nearest_float(nano_usd: int) -> None:
    """The float nearest to the exact amount; what is unknown stays so."""
    assert float(Fraction(nano_usd, NANO_PER_USD)) == in_usd(nano_usd)
    assert in_usd(None) is None


@given(AMOUNTS)
def test_a_person_reads_the_nearest_cent_or_millionth(nano_usd: int) -> None:
    """Cents from ten dollars on, six places below, rounded half to even; what would be zero then is exact."""
    shown = read(dollars(nano_usd))
    step = Decimal("0.01") if abs(nano_usd) >= 10 * NANO_PER_USD else Decimal("0.000001")
    assert usd(nano_usd).quantize(step, ROUND_HALF_EVEN) in {shown, 0}
    assert shown == usd(nano_usd) or usd(nano_usd).quantize(step, ROUND_HALF_EVEN) != 0


@given(st.integers(-2_000, 2_000) | AMOUNTS)
def test_zero_is_shown_for_nothing_alone(nano_usd: int) -> None:
    """However small an amount is, a person never reads that it was free."""
    assert (nano_usd == 0) is (read(dollars(nano_usd)) == 0)


@pytest.mark.parametrize(
    ("nano_usd", "shown"),
    [
        (None, "unknown"),
        (0, "$0.000000"),
        (1, "$0.000000001"),
        (500, "$0.000000500"),
        (501, "$0.000001"),
        (-20, "-$0.000000020"),
        (1_500, "$0.000002"),
        (1_234_567_890, "$1.234568"),
        (9_999_999_999, "$10.000000"),
        (10_000_000_000, "$10.00"),
        (1_234_567_890_123, "$1,234.57"),
        (-1_500_000, "-$0.001500"),
        (-20_000_000_000, "-$20.00"),
    ],
)
def test_amounts_as_they_are_shown(nano_usd: int | None, shown: str) -> None:
    """What is unknown is said; the sign stands before the currency."""
    assert shown == dollars(nano_usd)
