"""Rate cards by the billing line: what each line of an exchange is billed at."""

from __future__ import annotations

from collections.abc import Sequence

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.prices import PriceBook, RateCard
from scrimp.core.wire.usage import UsageLine


class Rates:
    """The cards by which `PriceBook.cost_nano_usd` bills; the book remembers those that it has looked up."""

    def __init__(self, book: PriceBook) -> None:
        self.book = book

    def cards(self, lines: Sequence[UsageLine], at_ms: int) -> list[RateCard | None]:
        """Return the rates that each line of an exchange is billed at, None for one without a known price."""
        return [self.book.line_card(line, at_ms, length) for line, length in self.book.with_lengths(lines)]


def lines_of(exchange: Exchange) -> tuple[UsageLine, ...]:
    """Return an exchange's billing lines; one line of its whole usage where the record kept no lines."""
    if exchange.usage_lines or exchange.usage is None:
        return exchange.usage_lines
    return (UsageLine(exchange.usage, exchange.served_model or exchange.requested_model),)
