"""An account that already knows its user: their own past sessions are replayed, and only what they teach is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from scrimp.core.belief.account import Account, learnt
from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.prices import PriceBook
from scrimp.replay.branching import steps_of
from scrimp.replay.emulator import Emulator
from scrimp.replay.policies import cards_of, held, setting_of
from scrimp.replay.rates import Rates
from scrimp.replay.traces.claude_history import Link

_USER = "user"


def taught_by(exchanges: Sequence[Exchange], links: Mapping[str, Link], book: PriceBook) -> Account:
    """Return what past sessions teach of one user, whatever the projects; a fresh account if there are none.

    `exchanges` come in the order of opening; `links` are those of their messages (`traces.links`).
    """
    together = [replace(exchange, principal=_USER) for exchange in exchanges]
    steps = steps_of(together, links).get(_USER, [])
    if not steps:
        return Account()
    cards = cards_of(steps, Rates(book))
    return learnt(held(setting_of(Emulator(steps), cards, Account()))[1])
