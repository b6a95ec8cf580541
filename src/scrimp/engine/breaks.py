"""Why a request reads less than was left for it: found when it arrives, kept if its bill agrees.

To explain a break the request before is needed, its text included: it stays in memory, within a limit, and only names
and numbers of a break leave this module. A client may hold several conversations under one session (a title, a search,
an agent that says no name), so a request is compared with the last one of its own kin.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from msgspec.structs import replace

from scrimp.core.belief.cache import Entries
from scrimp.core.belief.divergence import CacheMissReason
from scrimp.core.belief.exchange import Exchange
from scrimp.core.plan.candidate import Prices, line_of
from scrimp.core.plan.explain import Break, Last, confirmed, explain, last_of, may_lose, unwarmed
from scrimp.core.plan.planning import Plan
from scrimp.core.wire.labels import clip
from scrimp.core.wire.request import Request
from scrimp.core.wire.response import CacheMiss
from scrimp.core.wire.usage import Metered, Usage
from scrimp.engine.faults import own_up

#: Bytes of requests that are kept to compare later ones with; the least recently used sessions go first.
KEPT_BYTES_MAX = 32 * 1024 * 1024
#: What keeping a request takes besides its text, and what each of its blocks takes, in bytes.
_REQUEST_BYTES, _BLOCK_BYTES = 3_000, 400
#: Requests kept per agent of a session: one for each conversation that it holds at a time.
KEPT_PER_AGENT = 4

_Agent = tuple[str, str, str]
#: The API's own words that name what changed; others only say that it cannot compare.
_REASONS = frozenset({"model_changed", "tools_changed", "system_changed", "messages_changed"})


@dataclass
class _Kept:
    """A request that is kept; its bill, once there is one, says how long it was and what it left in the cache."""

    exchange_id: str
    opening: bytes
    last: Last
    size: int
    billed_tokens: int | None = None
    warm_tokens: int | None = None

    def as_billed(self) -> Last:
        """Return the request with its tokens stretched to its bill."""
        prompt, billed = self.last.prompt, self.billed_tokens
        if not billed or not prompt.total_tokens:
            return self.last
        tokens = tuple(each * billed // prompt.total_tokens for each in prompt.tokens)
        return replace(self.last, prompt=replace(prompt, tokens=tokens, total_tokens=billed))


class Arrived(NamedTuple):
    """What is known of a request when it arrives: its expected length in tokens, and the break that it seems to be.

    `before` is the request that it goes on from.
    """

    request: Request
    length: int
    before: _Kept | None
    found: Break | None


class Breaks:
    """Keeps the last requests of each agent, and explains what the next one loses."""

    def __init__(self, prices: Prices, limit_bytes: int = KEPT_BYTES_MAX) -> None:
        self._prices = prices
        self._limit = limit_bytes
        self._agents: OrderedDict[_Agent, list[_Kept]] = OrderedDict()
        self.size_bytes = 0

    def arrive(
        self, exchange: Exchange, request: Request, planned: Plan, entries: Entries, now_ms: int
    ) -> Arrived | None:
        """Explain a request that is about to be sent, and keep it; `entries` are those of before. Never raises."""
        try:
            before = self._kin(_agent_of(exchange), request, planned)
            found = self._explain(before, request, planned, entries, now_ms)
            self._keep(exchange, last_of(request, planned.prompt, now_ms))
            return Arrived(request, planned.prompt.total_tokens, before, found)
        except Exception as error:  # noqa: BLE001 - an explanation is not worth a request
            own_up("explaining a break of the cache failed; the exchange has none", error)
            return None

    def close(
        self, exchange: Exchange, arrived: Arrived | None, said: CacheMiss | None, metered: Metered | None
    ) -> dict[str, Any]:
        """Return the `break_*` fields of an exchange that ended: what its bill agrees with. Never raises."""
        try:
            self._settle(exchange, metered)
            if arrived is None or metered is None:
                return {}
            return self._columns(exchange, arrived, said, metered.usage)
        except Exception as error:  # noqa: BLE001 - an explanation is not worth an exchange
            own_up("explaining a break of the cache failed; the exchange has none", error)
            return {}

    def _explain(
        self, before: _Kept | None, request: Request, planned: Plan, entries: Entries, now_ms: int
    ) -> Break | None:
        if before is None:
            return unwarmed(planned.prompt, planned.split, entries, _not_yet)
        if not may_lose(before.last, planned.prompt, planned.split):
            return None
        return explain(before.as_billed(), request, planned.prompt, planned.split, entries, now_ms, _not_yet)

    def _columns(self, exchange: Exchange, arrived: Arrived, said: CacheMiss | None, usage: Usage) -> dict[str, Any]:
        found, length, before = arrived.found, arrived.length, arrived.before
        if found is None:
            found, length, before = _as_said(said, usage), usage.total_input_tokens, None
        price = partial(self._cost, arrived.request, at_ms=exchange.opened_at_ms)
        shown = found and confirmed(found, length, usage, price, before.warm_tokens if before else None)
        if not shown:
            return {}
        return {
            "break_cause": shown.cause,
            "break_reason": said.reason if said else shown.reason,
            "break_block": clip(shown.path) or None,
            "break_byte": shown.byte,
            "break_lost_tokens": shown.lost_tokens,
            "break_cost_nano_usd": shown.cost_nano_usd,
        }

    def _cost(self, request: Request, usage: Usage, at_ms: int) -> int | None:
        return self._prices.cost_nano_usd([line_of(request, usage)], at_ms)

    # --- what is kept ---

    def _kin(self, agent: _Agent, request: Request, planned: Plan) -> _Kept | None:
        """Return the request that this one goes on from, None where there is none."""
        kept = self._agents.get(agent)
        if not kept:
            return None
        self._agents.move_to_end(agent)
        opening = _opening(request)
        same = next((each for each in reversed(kept) if each.opening == opening), None)
        if same is not None or not planned.prompt.marks:
            return same  # what caches nothing and opens otherwise is another kind of work
        front = _front(request)
        return next((each for each in reversed(kept) if _front(each.last.request) == front), None)

    def _keep(self, exchange: Exchange, last: Last | None) -> None:
        if last is None:
            return
        size = _size_bytes(last.request)
        if size > self._limit:
            return
        agent = _agent_of(exchange)
        kept = self._agents.setdefault(agent, [])
        self._agents.move_to_end(agent)
        opening = _opening(last.request)
        earlier = [each for each in kept if each.opening == opening][:-1]
        for each in earlier or kept[: max(0, len(kept) + 1 - KEPT_PER_AGENT)]:
            kept.remove(each)
            self.size_bytes -= each.size
        kept.append(_Kept(exchange.exchange_id, opening, last, size))
        self.size_bytes += size
        while self.size_bytes > self._limit:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        agent, kept = next(iter(self._agents.items()))
        self.size_bytes -= kept.pop(0).size
        if not kept:
            del self._agents[agent]

    def _settle(self, exchange: Exchange, metered: Metered | None) -> None:
        """Note what a request left in the cache; one that was not answered left nothing, and is forgotten."""
        kept = self._agents.get(_agent_of(exchange), [])
        mine = next((each for each in kept if each.exchange_id == exchange.exchange_id), None)
        if mine is not None and metered is not None:
            mine.billed_tokens = metered.usage.total_input_tokens
            mine.warm_tokens = metered.usage.cache_read_input_tokens + metered.usage.cache_write_input_tokens
        elif mine is not None:
            kept.remove(mine)
            self.size_bytes -= mine.size
            if not kept:
                del self._agents[_agent_of(exchange)]


def _not_yet(_usage: Usage) -> None:
    """Leave the price of a break to its bill."""


def _size_bytes(request: Request) -> int:
    settings = sum(len(value) for _, value in request.settings)
    return _REQUEST_BYTES + settings + sum(_BLOCK_BYTES + block.size for block in request.blocks)


def _agent_of(exchange: Exchange) -> _Agent:
    return exchange.principal or "", exchange.session_id or "", exchange.agent_id or ""


def _opening(request: Request) -> bytes:
    """Return the digest of what a conversation opens with."""
    return next((block.digest for block in request.blocks if block.tier == "messages"), b"")


def _front(request: Request) -> tuple[bytes, ...]:
    return tuple(block.digest for block in request.blocks if block.tier != "messages")


def _as_said(said: CacheMiss | None, usage: Usage) -> Break | None:
    """Return the break that only the API knows of: the request before is not known here."""
    if said is None or said.reason not in _REASONS or not said.missed_input_tokens:
        return None
    left = usage.cache_read_input_tokens + said.missed_input_tokens
    reason: CacheMissReason = said.reason  # type: ignore[assignment]
    return Break(
        cause=reason,
        reason=reason,
        path="",
        byte=None,
        lost_tokens=said.missed_input_tokens,
        left_tokens=left,
        place_tokens=min(left, usage.total_input_tokens),
        cost_nano_usd=None,
    )
