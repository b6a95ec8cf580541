"""Nano-dollars as people read them. Money is counted in integers; only here does it become text."""

from __future__ import annotations

from decimal import Decimal

NANO_PER_USD = 1_000_000_000
_CENTS_FROM_NANO_USD = 10 * NANO_PER_USD


def usd(nano_usd: int) -> Decimal:
    """Return exact dollars."""
    return Decimal(nano_usd) / NANO_PER_USD


def dollars(nano_usd: int | None) -> str:
    """Return an amount for a person: cents from ten dollars on, six places below; unknown is said, never zero."""
    if nano_usd is None:
        return "unknown"
    places = 2 if abs(nano_usd) >= _CENTS_FROM_NANO_USD else 6
    return f"{'-' if nano_usd < 0 else ''}${usd(abs(nano_usd)):,.{places}f}"
