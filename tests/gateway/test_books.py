"""Where exchanges are written down: whatever the ledger does, the others hear of it."""

from __future__ import annotations

import asyncio

import pytest

from scrimp.clock import VirtualClock
from scrimp.core.belief.exchange import Exchange
from scrimp.errors import LedgerError
from scrimp.gateway.books import Books
from scrimp.gateway.metrics import Metrics
from scrimp.gateway.services import Services
from scrimp.store.ledger import MemoryLedger
from scrimp.upstream.network import AiohttpUpstream
from scrimp.upstream.pricefeed import load_book

EXCHANGE = Exchange(exchange_id="x", opened_at_ms=1, source="gateway")


class Full(MemoryLedger):
    """A ledger that takes nothing."""

    async def open(self, exchange: Exchange) -> None:
        """Refuse."""
        raise LedgerError(f"no room for {exchange.exchange_id}.")

    def close(self, exchange: Exchange) -> None:
        """Refuse."""
        raise LedgerError(f"no room for {exchange.exchange_id}.")


def written(ledger: MemoryLedger) -> tuple[Metrics, list[Exchange]]:
    """Open and close an exchange; returns what was counted and told."""
    metrics, told = Metrics(), list[Exchange]()
    services = Services(
        upstream=AiohttpUpstream("http://127.0.0.1:1"),
        ledger=ledger,
        prices=load_book(),
        clock=VirtualClock(),
        on_closed=told.append,
    )
    books = Books(services, metrics)

    async def write() -> None:
        books.begun()
        await books.open(EXCHANGE)
        assert 1 == metrics.in_flight
        books.close(EXCHANGE)

    asyncio.run(write())
    return metrics, told


def test_an_exchange_is_written_counted_and_told() -> None:
    """Once each."""
    ledger = MemoryLedger()
    metrics, told = written(ledger)
    assert (0, [EXCHANGE], [EXCHANGE]) == (metrics.in_flight, told, list(ledger.exchanges()))


def test_a_ledger_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The exchange is counted and told all the same."""
    metrics, told = written(Full())
    assert (0, [EXCHANGE]) == (metrics.in_flight, told)
    assert 2 == caplog.text.count("no room for x.")
