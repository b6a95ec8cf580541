"""What the engine stands on, handed in once: prices, time, ids and what the owner allows."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from scrimp.clock import Clock
from scrimp.core.belief.account import Account
from scrimp.core.levers.hold import Settings
from scrimp.core.plan.planning import Policy
from scrimp.core.wire.prices import PriceBook

#: The header with the exchange's id, which every answer of a gateway of ours carries: whoever sees it is behind one.
EXCHANGE_HEADER = "scrimp-exchange"


def new_exchange_id(now_ms: int) -> str:
    """Return an id that sorts by time and does not collide."""
    return f"ex_{now_ms:012x}{os.urandom(6).hex()}"


@dataclass(frozen=True, kw_only=True)
class Outside:
    """Prices, time, ids and the owner's policy.

    `chained` says that what is sent goes to a gateway of ours: what may be done to it is for that one to say. `source`
    is the face's own name, which its exchanges carry. `holding` says how caches are held by pings, None that they are
    not; only a face that keeps time can. `account` is what is known of people before any of them was seen.
    """

    prices: PriceBook
    clock: Clock
    policy: Policy = field(default_factory=Policy)
    new_id: Callable[[int], str] = new_exchange_id
    chained: bool = False
    source: str = "gateway"
    holding: Settings | None = None
    account: Account = field(default_factory=Account)
