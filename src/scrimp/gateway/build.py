"""A gateway from settings: the real upstream, the real ledger, the current prices."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from scrimp.clock import SystemClock
from scrimp.config import Settings
from scrimp.core.belief.account import Account
from scrimp.core.belief.exchange import Exchange
from scrimp.core.levers.hold import Settings as Holding
from scrimp.core.plan.planning import Policy
from scrimp.errors import LedgerError
from scrimp.gateway.app import create_app
from scrimp.gateway.asgi import App
from scrimp.gateway.hops import Hops
from scrimp.gateway.hosts import host_check
from scrimp.gateway.probe import speaks_scrimp
from scrimp.gateway.services import Services, ignore
from scrimp.store.ledger import Ledger, MemoryLedger, open_ledger
from scrimp.upstream.address import is_the_api
from scrimp.upstream.network import AiohttpUpstream
from scrimp.upstream.pricefeed import load_current_book

if TYPE_CHECKING:
    from scrimp.upstream.direct import DirectUpstream

_log = logging.getLogger("scrimp.gateway")


def build(
    settings: Settings,
    on_closed: Callable[[Exchange], None] = ignore,
    *,
    chained: bool = False,
    account: Account | None = None,
) -> App:
    """Return the app that serves these settings; see `parts_of`."""
    return create_app(*parts_of(settings, on_closed, chained=chained, account=account))


def _kind_of_upstream() -> type[AiohttpUpstream | DirectUpstream]:
    """Return the fast client where what it stands on is installed (the extra `fast`), else the plain one."""
    try:
        from scrimp.upstream.direct import DirectUpstream  # noqa: PLC0415 - httptools may be missing
    except ImportError:
        return AiohttpUpstream
    return DirectUpstream


def parts_of(
    settings: Settings,
    on_closed: Callable[[Exchange], None] = ignore,
    *,
    chained: bool = False,
    account: Account | None = None,
) -> tuple[Services, Callable[[], Awaitable[None]]]:
    """Return what the app stands on, and what to do when it stops; `on_closed` is told of each exchange as it ends.

    Exchanges go to the ledger that the settings name; with `chained` the upstream is a gateway of ours, which records
    each of them itself, so they are only told of. `account` is what is known beforehand of who will use it.

    Raises `ConfigError` for an address or a price file that cannot be used, `LedgerError` for such a ledger.
    """
    upstream = _kind_of_upstream()(
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
        policy=Policy(mode=settings.mode, order=settings.order),
        on_closed=on_closed,
        body_limit_bytes=settings.body_limit_bytes,
        chained=chained,
        holding=Holding(upgrade_ping=settings.upgrade_ping) if settings.hold else None,
        account=account or Account(),
        host_check=host_check(settings.host, settings.hosts),
        hops=Hops(None if is_the_api(settings.upstream) else partial(speaks_scrimp, upstream), next_is_ours=chained),
    )

    async def stop() -> None:
        await services.hops.aclose()
        await upstream.aclose()
        try:
            await kept.aclose()
        except LedgerError as error:
            _log.error("%s", error)

    return services, stop
