"""What the gateway stands on, handed in once: every outside thing behind its seam."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from scrimp.clock import Clock
from scrimp.config import BODY_LIMIT_BYTES
from scrimp.core.belief.exchange import Exchange
from scrimp.core.plan.planning import Policy
from scrimp.core.wire.prices import PriceBook
from scrimp.gateway.hops import Hops
from scrimp.gateway.hosts import HostCheck, any_host
from scrimp.store.ledger import Ledger
from scrimp.upstream.client import Upstream


def new_exchange_id(now_ms: int) -> str:
    """Return an id that sorts by time and does not collide."""
    return f"ex_{now_ms:012x}{secrets.token_hex(6)}"


def ignore(_: Exchange) -> None:
    """Listen to nothing."""


@dataclass(frozen=True)
class Services:
    """Everything outside: the API, the ledger, prices, time, ids, and who is told of each closed exchange.

    `chained` says that the upstream is a gateway of ours: what clients say to Scrimp is then for that one to hear, and
    its answers already carry what Scrimp says to clients.
    """

    upstream: Upstream
    ledger: Ledger
    prices: PriceBook
    clock: Clock
    policy: Policy = field(default_factory=Policy)
    new_id: Callable[[int], str] = new_exchange_id
    on_closed: Callable[[Exchange], None] = ignore
    body_limit_bytes: int = BODY_LIMIT_BYTES
    chained: bool = False
    host_check: HostCheck = any_host
    hops: Hops = field(default_factory=Hops)
