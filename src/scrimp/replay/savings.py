"""What was saved beside what the same requests would have cost alone, and what we spent ourselves to do so.

Alone is what the ledger states for each exchange (`Exchange.baseline_cost_nano_usd`); for what we sent ourselves it is
nothing, so a ping counts against the savings with all that it cost.
"""

from __future__ import annotations

import msgspec

from scrimp.core.belief.exchange import CLIENT, Exchange


class Own(msgspec.Struct):
    """What we sent ourselves for one reason; `cost_nano_usd` is the sum of what is known."""

    exchanges: int = 0
    cost_nano_usd: int = 0


class Savings(msgspec.Struct):
    """Sums over the exchanges that state what they would have cost alone, in nano-USD; None if none does.

    * `own` is what we sent ourselves, by origin; it is a part of `cost_nano_usd`.
    * `is_upper_bound` says that something of ours may have been billed, and nobody knows how much.
    """

    alone_nano_usd: int | None = None
    cost_nano_usd: int | None = None
    own: dict[str, Own] = msgspec.field(default_factory=dict)
    is_upper_bound: bool = False

    @property
    def saved_nano_usd(self) -> int | None:
        """What was saved, below zero where more was spent."""
        if self.alone_nano_usd is None or self.cost_nano_usd is None:
            return None
        return self.alone_nano_usd - self.cost_nano_usd

    def add(self, exchange: Exchange) -> None:
        """Add an exchange."""
        cost, alone = exchange.cost_nano_usd, exchange.baseline_cost_nano_usd
        if exchange.origin != CLIENT:
            self._add_own(exchange)
            alone = 0
        if cost is not None and alone is not None:
            self.alone_nano_usd = (self.alone_nano_usd or 0) + alone
            self.cost_nano_usd = (self.cost_nano_usd or 0) + cost

    def _add_own(self, exchange: Exchange) -> None:
        own = self.own.setdefault(exchange.origin, Own())
        own.exchanges += 1
        own.cost_nano_usd += exchange.cost_nano_usd or 0
        is_whole = exchange.usage_complete and exchange.cost_nano_usd is not None
        self.is_upper_bound |= not is_whole and exchange.cost_upper_nano_usd != 0
