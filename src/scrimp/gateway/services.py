"""What the gateway stands on, handed in once: every outside thing behind its seam."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from scrimp.config import BODY_LIMIT_BYTES
from scrimp.core.belief.exchange import Exchange
from scrimp.engine.outside import Outside
from scrimp.gateway.hops import Hops
from scrimp.gateway.hosts import HostCheck, any_host
from scrimp.store.ledger import Ledger
from scrimp.upstream.client import Upstream

#: Returns after so many seconds.
Sleep = Callable[[float], Awaitable[None]]


def ignore(_: Exchange) -> None:
    """Listen to nothing."""


@dataclass(frozen=True, kw_only=True)
class Services(Outside):
    """Everything outside: beside what the engine stands on, the API, the ledger, and who is told of closed exchanges.

    Where it is `chained`, the upstream's answers already carry what Scrimp says to clients. `sleep` returns after so
    many seconds of the `clock`.
    """

    upstream: Upstream
    ledger: Ledger
    on_closed: Callable[[Exchange], None] = ignore
    body_limit_bytes: int = BODY_LIMIT_BYTES
    host_check: HostCheck = any_host
    hops: Hops = field(default_factory=Hops)
    sleep: Sleep = asyncio.sleep
