"""Where exchanges are written down: the ledger, the metrics, and whoever is told as they end.

The ledger failing does not fail a request: it is logged, and the exchange goes on unrecorded.
"""

from __future__ import annotations

import logging

from scrimp.core.belief.exchange import Exchange
from scrimp.errors import LedgerError
from scrimp.gateway.metrics import Metrics
from scrimp.gateway.services import Services

_log = logging.getLogger("scrimp.gateway")


class Books:
    """Writes down what begins and what ends."""

    def __init__(self, services: Services, metrics: Metrics) -> None:
        self._services = services
        self._metrics = metrics

    async def open(self, exchange: Exchange) -> None:
        """Return once the open row is committed, or cannot be for now."""
        try:
            await self._services.ledger.open(exchange)
        except LedgerError as error:
            _log.warning("%s The request goes on; its row follows once the ledger takes it.", error)

    def begun(self) -> None:
        """Count one exchange under way; each of them is to be closed."""
        self._metrics.opened()

    def close(self, exchange: Exchange) -> None:
        """Write down how an exchange ended."""
        try:
            self._services.ledger.close(exchange)
        except LedgerError as error:
            _log.warning("%s The exchange %s stays open.", error, exchange.exchange_id)
        self._metrics.closed(exchange)
        self._services.on_closed(exchange)
