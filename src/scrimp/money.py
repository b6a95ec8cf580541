"""Nano-dollars as people read them. Money is counted in integers; only here does it become text."""

from __future__ import annotations

from decimal import Decimal

NANO_PER_USD = 1_000_000_000
_CENTS_FROM_NANO_USD = 10 * NANO_PER_USD
#: Half a millionth of a dollar and less would read as zero in six places.
_SIX_PLACES_FROM_NANO_USD = 501


def usd(nano_usd: int) -> Decimal:
    """Return exact dollars."""
    return Decimal(nano_usd) / NANO_PER_USD


def in_usd(nano_usd: int | None) -> float | None:
    """Return dollars as `--json` states them; what is unknown stays None."""
    return None if nano_usd is None else nano_usd / NANO_PER_USD


def _places(nano_usd: int) -> int:
    if nano_usd >= _CENTS_FROM_NANO_USD:
        return 2
    return 9 if 0 < nano_usd < _SIX_PLACES_FROM_NANO_USD else 6


def dollars(nano_usd: int | None) -> str:
    """Return an amount for a person: cents from ten dollars on, six places below, nine where six would say zero.

    What is unknown is said, and is never zero.
    """
    if nano_usd is None:
        return "unknown"
    amount = abs(nano_usd)
    return f"{'-' if nano_usd < 0 else ''}${usd(amount):,.{_places(amount)}f}"
