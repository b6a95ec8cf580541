"""From requests and answers to exchanges: the core's `plan` and `settle`, and one belief per principal.

Nothing here does I/O. Planning never fails a request: whatever goes wrong in it leaves the exchange unplanned.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from scrimp.core.belief.events import Event, FirstToken, RequestArrived, RequestFailed, UsageSeen
from scrimp.core.belief.exchange import Exchange
from scrimp.core.belief.identity import Identity, identify
from scrimp.core.belief.session import Belief, session_of, step, tails_of
from scrimp.core.plan.planning import Plan, plan, settle
from scrimp.core.wire.labels import clip
from scrimp.core.wire.request import Request, RequestUnreadable, parse
from scrimp.core.wire.response import Answer
from scrimp.gateway.faults import own_up
from scrimp.gateway.services import Services
from scrimp.gateway.tasktypes import TaskTypes
from scrimp.gateway.weights import Weights

_log = logging.getLogger("scrimp.gateway")

#: Principals whose beliefs are kept in memory; the least recently used are forgotten, which only costs predictions.
PRINCIPALS_MAX = 256
#: Models that are warned about, each once.
UNPRICED_MAX = 100


@dataclass
class Opened:
    """An exchange under way: its open row, and its plan where the request could be read."""

    exchange: Exchange
    request: Request | None = None
    plan: Plan | None = None
    first_token_at_ms: int | None = None


class Recorder:
    """Keeps what is believed of each principal and turns what happens into exchanges."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._beliefs: OrderedDict[str, Belief] = OrderedDict()
        self._task_types = TaskTypes()
        self._weights = Weights()
        self._unpriced: set[str] = set()

    def arrive(self, headers: Mapping[str, str], body: bytes | None) -> Opened:
        """Open an exchange for a request; `body` is None where it was too large to read."""
        now_ms = self._services.clock.now_ms()
        try:
            request = parse(body) if body is not None else None
        except RequestUnreadable:
            request = None
        who = identify(headers, request.user_id if request else None)
        exchange = _exchange(self._services.new_id(now_ms), now_ms, who, request)
        if request is None:
            return Opened(msgspec.structs.replace(exchange, planned=False))
        if request.is_thread:
            # The rest of its prompt is on the server, so there is nothing to predict from (API docs, message threads).
            return Opened(exchange, request)
        try:
            return self._planned(exchange, request, now_ms)
        except Exception as error:  # noqa: BLE001 - a fault of ours must never become the client's
            own_up("planning failed; the request is forwarded as it came", error)
            return Opened(msgspec.structs.replace(exchange, planned=False), request)

    def _planned(self, exchange: Exchange, request: Request, now_ms: int) -> Opened:
        services, principal = self._services, exchange.principal or ""
        belief = self._belief(principal)
        planned = plan(request, belief, services.policy, services.prices, now_ms, self._weights.count)
        session_id = session_of(belief, request, exchange.session_id, exchange.exchange_id)
        arrived = RequestArrived(
            exchange.exchange_id, session_id, planned.prompt, planned.split, now_ms, tails_of(request)
        )
        self._fold(principal, arrived)
        return Opened(msgspec.structs.replace(exchange, session_id=session_id), request, planned)

    def _belief(self, principal: str) -> Belief:
        belief = self._beliefs.setdefault(principal, Belief())
        self._beliefs.move_to_end(principal)
        if len(self._beliefs) > PRINCIPALS_MAX:
            self._beliefs.popitem(last=False)
        return belief

    def _fold(self, principal: str | None, event: Event) -> None:
        principal = principal or ""
        try:
            self._beliefs[principal] = step(self._belief(principal), event)
        except Exception as error:  # noqa: BLE001 - losing a belief costs predictions, losing an answer costs the client
            self._beliefs[principal] = Belief()
            own_up("what was believed of a principal is lost", error)

    def first_token(self, opened: Opened) -> None:
        """Note that the answer began: what the request wrote to the cache can be read from now on."""
        opened.first_token_at_ms = self._services.clock.now_ms()
        self._fold(opened.exchange.principal, FirstToken(opened.exchange.exchange_id, opened.first_token_at_ms))

    def close(
        self,
        opened: Opened,
        answer: Answer,
        *,
        status: int | None = None,
        request_id: str | None = None,
        error_type: str | None = None,
    ) -> Exchange:
        """Close an exchange with what its answer said, and price it."""
        now_ms, exchange = self._services.clock.now_ms(), opened.exchange
        metered = answer.metered(exchange.requested_model)
        settled = settle(metered, self._services.prices, exchange.opened_at_ms) if metered else None
        event: Event = RequestFailed(exchange.exchange_id, now_ms)
        if metered is not None:
            event = UsageSeen(exchange.exchange_id, metered.usage, now_ms)
        self._fold(exchange.principal, event)
        if settled is not None and settled.cost_nano_usd is None:
            self._warn_unpriced(answer.served_model or exchange.requested_model or "an unnamed model")
        return msgspec.structs.replace(
            exchange,
            closed_at_ms=now_ms,
            task_type=self._task_type(opened),
            first_token_at_ms=opened.first_token_at_ms,
            served_model=answer.served_model,
            message_id=answer.message_id,
            request_id=clip(request_id),
            http_status=status,
            stop_reason=answer.stop_reason,
            error_type=error_type or answer.error_type,
            usage=metered.usage if metered else None,
            usage_lines=metered.lines if metered else (),
            usage_complete=answer.usage_complete,
            cost_nano_usd=settled.cost_nano_usd if settled else None,
            baseline_cost_nano_usd=settled.baseline_cost_nano_usd if settled else None,
        )

    def _warn_unpriced(self, model: str) -> None:
        """Say once for each model that its cost is unknown; it is recorded as such, never as zero."""
        if model not in self._unpriced and len(self._unpriced) < UNPRICED_MAX:
            self._unpriced.add(model)
            _log.warning(
                "No price is known for %s, so its cost is recorded as unknown. Try: scrimp prices update", model
            )

    def _task_type(self, opened: Opened) -> str | None:
        try:
            return self._task_types.name(opened.exchange, opened.request)
        except Exception as error:  # noqa: BLE001 - a name is not worth losing an exchange
            own_up("naming the kind of work failed; the exchange has no task type", error)
            return None


def _exchange(exchange_id: str, now_ms: int, who: Identity, request: Request | None) -> Exchange:
    return Exchange(
        exchange_id=exchange_id,
        opened_at_ms=now_ms,
        source="gateway",
        requested_model=clip(request.model) if request else None,
        usage_complete=False,
        **msgspec.structs.asdict(who),
    )
