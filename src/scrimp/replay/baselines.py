"""What the same recorded traffic would have cost without a cache, and with the one-line automatic cache.

Both are estimates from recorded sizes: prompts and answers stay as they were, only who pays which input rate changes.
Automatic caching (API docs, prompt caching: one `cache_control` at the top level) is modelled as one 5-minute entry
for each chain of session, agent and model: a prompt that starts within 5 minutes of the chain's last one and is not
shorter reads what that one wrote and writes the rest; any other prompt is written whole. Prompts below the model's
shortest cacheable length are not cached.
"""

from __future__ import annotations

from scrimp.core.belief.exchange import CLIENT, Exchange
from scrimp.core.wire.models import traits
from scrimp.core.wire.prices import RateCard
from scrimp.core.wire.usage import BILLED_ON_TOP, UsageLine

#: How long an automatic cache entry lives after its last use (API docs, prompt caching).
ENTRY_LIFE_MS = 300_000

_Chain = tuple[str, str | None, str | None]


class Baselines:
    """Adds up both estimates in pico-USD; lines must come in the order in which their exchanges were opened."""

    def __init__(self) -> None:
        self.uncached_pico_usd = 0
        self.automatic_pico_usd = 0
        self._entries: dict[_Chain, tuple[int, int]] = {}
        self._shortest: dict[str | None, int] = {}

    def add(self, exchange: Exchange, line: UsageLine, card: RateCard) -> None:
        """Add one billing line of an exchange, billed at `card`; what we sent ourselves would not have been at all."""
        if exchange.origin != CLIENT:
            return
        usage = line.usage
        length = usage.total_input_tokens
        output = usage.output_tokens * card.output
        uncached = length * card.uncached_input + output
        self.uncached_pico_usd += uncached
        if line.kind in BILLED_ON_TOP or length < self._shortest_cacheable(line.model):
            self.automatic_pico_usd += uncached
            return
        read = self._read(exchange, line.model, length)
        self.automatic_pico_usd += read * card.cache_read + (length - read) * card.cache_write_5m + output

    def add_fee(self, pico_usd: int) -> None:
        """Add what caching does not change, such as the fee of web searches."""
        self.uncached_pico_usd += pico_usd
        self.automatic_pico_usd += pico_usd

    def _shortest_cacheable(self, model: str | None) -> int:
        if model not in self._shortest:
            self._shortest[model] = traits(model or "").min_cacheable_tokens
        return self._shortest[model]

    def _read(self, exchange: Exchange, model: str | None, length: int) -> int:
        """Return how much of a prompt the chain's entry holds, and make the prompt the new entry."""
        chain = (exchange.session_id or exchange.exchange_id, exchange.agent_id, model)
        held, used_at_ms = self._entries.get(chain, (0, exchange.opened_at_ms))
        self._entries[chain] = (length, exchange.opened_at_ms)
        alive = exchange.opened_at_ms - used_at_ms <= ENTRY_LIFE_MS
        return held if alive and held <= length else 0
