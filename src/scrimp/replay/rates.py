"""Rate cards by the billing line, remembered: a session's exchanges are billed from a handful of cards.

A price book finds a card by spelling, date, lane, band and geography for every line anew. Bands and dates only change
at known edges, so the card of one line is that of every line on the same side of the same edges.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.prices import MILLISECONDS_PER_DAY, PriceBook, RateCard
from scrimp.core.wire.usage import UsageLine

_Key = tuple[str | None, int, int, str | None, str | None, str | None]


class Rates:
    """Looks up the cards of lines as `PriceBook.cost_nano_usd` would, with the answers remembered."""

    def __init__(self, book: PriceBook) -> None:
        self.book = book
        self._edges: dict[str | None, tuple[int, ...]] = {}
        self._cards: dict[_Key, RateCard | None] = {}

    def cards(self, lines: Sequence[UsageLine], at_ms: int) -> list[RateCard | None]:
        """Return the rates that each line of an exchange is billed at, None for one without a known price."""
        return [self._card(line, at_ms, length) for line, length in self.book.with_lengths(lines)]

    def _card(self, line: UsageLine, at_ms: int, length: int) -> RateCard | None:
        model = line.model
        edges = self._edges.get(model)
        if edges is None:
            edges = self._edges[model] = self._edges_of(model)
        band = bisect_left(edges, length) if edges else 0
        key = (model, at_ms // MILLISECONDS_PER_DAY, band, line.service_tier, line.speed, line.inference_geo)
        if key not in self._cards:
            self._cards[key] = self.book.line_card(line, at_ms, length)
        return self._cards[key]

    def _edges_of(self, model: str | None) -> tuple[int, ...]:
        """Return the prompt lengths above which any card of a model begins."""
        prices = self.book.find(model)
        rows = [row for entry in prices.entries for row in entry.rows] if prices else []
        return tuple(sorted({row.above_tokens for row in rows if row.above_tokens}))


def lines_of(exchange: Exchange) -> tuple[UsageLine, ...]:
    """Return an exchange's billing lines; one line of its whole usage where the record kept no lines."""
    if exchange.usage_lines or exchange.usage is None:
        return exchange.usage_lines
    return (UsageLine(exchange.usage, exchange.served_model or exchange.requested_model),)
