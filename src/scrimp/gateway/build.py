"""A gateway from settings: the real upstream, the real ledger, the current prices."""

from __future__ import annotations

import logging
from collections.abc import Callable

from scrimp.clock import SystemClock
from scrimp.config import Settings
from scrimp.core.belief.exchange import Exchange
from scrimp.errors import LedgerError
from scrimp.gateway.app import create_app
from scrimp.gateway.asgi import App
from scrimp.gateway.hosts import host_check
from scrimp.gateway.services import Services, ignore
from scrimp.store.ledger import Ledger, MemoryLedger, open_ledger
from scrimp.upstream.network import AiohttpUpstream
from scrimp.upstream.pricefeed import load_current_book

_log = logging.getLogger("scrimp.gateway")


def build(settings: Settings, on_closed: Callable[[Exchange], None] = ignore, *, chained: bool = False) -> App:
    """Return the app that serves these settings; `on_closed` is told of each exchange as it ends.

    Exchanges go to the ledger that the settings name; with `chained` the upstream is a gateway of ours, which records
    each of them itself, so they are only told of.

    Raises `ConfigError` for an address or a price file that cannot be used, `LedgerError` for such a ledger.
    """
    upstream = AiohttpUpstream(
        settings.upstream,
        trust_env=settings.trust_env,
        connect_timeout_ms=settings.connect_timeout_ms,
        connections_limit_count=settings.connections_limit_count,
    )
    prices = load_current_book()
    kept: Ledger = (
        MemoryLedger()
        if chained
        else open_ledger(
            settings.db,
            queue_limit_exchanges=settings.ledger_queue_limit_exchanges,
            retention_days=settings.retention_days,
        )
    )
    services = Services(
        upstream=upstream,
        ledger=kept,
        prices=prices,
        clock=SystemClock(),
        on_closed=on_closed,
        body_limit_bytes=settings.body_limit_bytes,
        chained=chained,
        host_check=host_check(settings.host, settings.hosts),
    )

    async def stop() -> None:
        await upstream.aclose()
        try:
            await kept.aclose()
        except LedgerError as error:
            _log.error("%s", error)

    return create_app(services, stop)
