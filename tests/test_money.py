"""Nano-dollars as people read them: exact where it matters, never zero where it is unknown."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.money import NANO_PER_USD, dollars, usd

#: A quadrillion dollars either way.
AMOUNTS = st.integers(-(10**24), 10**24)


@given(AMOUNTS)
def test_dollars_are_exact(nano_usd: int) -> None:
    """No nano-dollar is lost, and none appears."""
    assert Fraction(nano_usd, NANO_PER_USD) == Fraction(usd(nano_usd))


@given(AMOUNTS)
def test_a_person_reads_the_nearest_cent_or_millionth(nano_usd: int) -> None:
    """Cents from ten dollars on, six places below, rounded half to even."""
    shown = Decimal(dollars(nano_usd).replace("$", "").replace(",", ""))
    step = Decimal("0.01") if abs(nano_usd) >= 10 * NANO_PER_USD else Decimal("0.000001")
    assert usd(nano_usd).quantize(step, ROUND_HALF_EVEN) == shown


@pytest.mark.parametrize(
    ("nano_usd", "shown"),
    [
        (None, "unknown"),
        (0, "$0.000000"),
        (1, "$0.000000"),
        (500, "$0.000000"),
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
