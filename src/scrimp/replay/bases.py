"""How many tokens tools and system have, which transcripts do not hold.

The first request of a thread is the one place where a recorded split is looked at: what it read is what other sessions
had warmed, and so where their common mark lies. A thread that found nothing warm is taken to be like the others of its
model and build; where there are none, like the nearest in time, since tools change from build to build.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median_low
from typing import NamedTuple

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import ZERO

#: A first request that reads more than this share of its prompt goes on with an older conversation, so its read says
#: nothing of the base.
_WHOLE = 0.9

Thread = tuple[str, str]


def thread_of(exchange: Exchange) -> Thread:
    """Return the session and the agent of an exchange."""
    return exchange.session_id or exchange.exchange_id, exchange.agent_id or ""


def model_of(exchange: Exchange) -> str:
    """Return the model that answered, else the one that was asked for."""
    return exchange.served_model or exchange.requested_model or ""


class _Known(NamedTuple):
    is_agent: bool
    model: str
    client: str | None
    at_ms: int
    tokens: int


class Bases:
    """The bases of one account's threads."""

    def __init__(self, exchanges: Iterable[Exchange]) -> None:
        self._own: dict[Thread, int] = {}
        self._known: list[_Known] = []
        seen: set[Thread] = set()
        for exchange in exchanges:
            thread = thread_of(exchange)
            if thread not in seen:
                seen.add(thread)
                self._note(thread, exchange)

    def _note(self, thread: Thread, first: Exchange) -> None:
        usage = first.usage or ZERO
        read = usage.cache_read_input_tokens
        if 0 < read < _WHOLE * usage.total_input_tokens:
            self._own[thread] = read
            is_agent = first.agent_id is not None
            self._known.append(_Known(is_agent, model_of(first), first.client, first.opened_at_ms, read))

    def is_own(self, exchange: Exchange) -> bool:
        """Whether the base of an exchange's thread was seen, not guessed."""
        return thread_of(exchange) in self._own

    def of(self, exchange: Exchange) -> int:
        """Return the base of an exchange's thread, 0 where nothing is known."""
        own = self._own.get(thread_of(exchange))
        return self._like(exchange) if own is None else own

    def _like(self, exchange: Exchange) -> int:
        kin = [known for known in self._known if known.is_agent == (exchange.agent_id is not None)]
        kin = [known for known in kin if known.model == model_of(exchange)] or kin
        same = [known.tokens for known in kin if known.client == exchange.client]
        if same:
            return median_low(same)
        nearest = min(kin, key=lambda known: abs(known.at_ms - exchange.opened_at_ms), default=None)
        return nearest.tokens if nearest else 0
