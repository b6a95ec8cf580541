"""From requests and answers to exchanges: the core's `plan` and `settle`, and one state per principal.

Nothing here does I/O. Planning never fails a request: whatever goes wrong in it leaves the exchange unplanned.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

import msgspec

from scrimp.core.belief.events import Event, FirstToken, RequestArrived, RequestFailed, UsageSeen
from scrimp.core.belief.exchange import Exchange
from scrimp.core.belief.identity import Identity, identify, principal_of
from scrimp.core.belief.session import Belief, Trails, session_of, tails_of, thread_of
from scrimp.core.levers.fanout import Wait
from scrimp.core.plan.planning import Plan, Policy, plan, settle, waiting
from scrimp.core.plan.threads import Command, State
from scrimp.core.wire.blocks import Ttl
from scrimp.core.wire.labels import clip
from scrimp.core.wire.request import Request, RequestUnreadable, parsing
from scrimp.core.wire.response import Answer
from scrimp.core.wire.splice import SpliceError, splice
from scrimp.core.wire.turns import at_once
from scrimp.engine.breaks import Arrived, Breaks
from scrimp.engine.ceilings import Ceilings, longest_ttl
from scrimp.engine.chains import Chains
from scrimp.engine.faults import own_up
from scrimp.engine.modes import mode_of
from scrimp.engine.outside import Outside
from scrimp.engine.pauses import Held, Pauses
from scrimp.engine.pitfalls import Pitfalls
from scrimp.engine.readings import Readings
from scrimp.engine.states import States
from scrimp.engine.tasktypes import TaskTypes
from scrimp.engine.weights import Weights

_log = logging.getLogger("scrimp.engine")

#: A longer body is weighed in turns before it is planned, in bytes.
WEIGHED_AHEAD_BYTES = 256 * 1024
#: Models that are warned about, each once.
UNPRICED_MAX = 100


@dataclass
class Opened:
    """An exchange under way: its open row, and its plan where the request could be read.

    `body` is what is to be sent instead of what came, None where it goes as it came. `thread` is the line of requests
    that it goes on, "" where nothing is decided about it, and `commands` say what becomes of what is held of others;
    `held` is set by closing, where its cache is to be held.
    """

    exchange: Exchange
    request: Request | None = None
    plan: Plan | None = None
    first_token_at_ms: int | None = None
    arrived: Arrived | None = None
    body: bytes | None = None
    is_named: bool = False
    task_type: str | None = None
    thread: str = ""
    commands: list[Command] = field(default_factory=list)
    held: Held | None = None


class Recorder:
    """Keeps what is believed of each principal and turns what happens into exchanges."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._states = States(outside.account)
        self._task_types = TaskTypes()
        self._weights = Weights()
        self._chains = Chains()
        self._readings = Readings()
        self._ceilings = Ceilings(outside.prices)
        self._breaks = Breaks(outside.prices)
        self._pitfalls = Pitfalls()
        self._unpriced: set[str] = set()
        self.pauses = Pauses(outside, self._states, self._ceilings)

    def reading(self, body: bytes | None) -> Generator[None, None, Request | None]:
        """Read a body in turns, so that others are served between them; what cannot be read gives None."""
        try:
            request = (yield from parsing(body, self._readings)) if body is not None else None
        except RequestUnreadable:
            return None
        if request is not None and body is not None and len(body) > WEIGHED_AHEAD_BYTES:
            with suppress(Exception):  # whatever it is, planning meets it again and owns up to it
                yield from self._weights.weighing(request.model, request.blocks)
        return request

    def arrive(
        self, headers: Mapping[str, str], body: bytes | Request | None, raw: bytes = b"", waited: Wait | None = None
    ) -> Opened:
        """Open an exchange for a request, or for its body; None where it is too large or unreadable.

        `raw` is the body of a request that was read already: without it nothing is changed. `waited` is what `waits`
        said of it, where it was held back.
        """
        now_ms = self._outside.clock.now_ms()
        request = body if isinstance(body, Request | None) else at_once(self.reading(body))
        who = identify(headers, request.user_id if request else None)
        exchange = _exchange(self._outside.new_id(now_ms), now_ms, who, request, self._outside.source)
        if request is None:
            return Opened(msgspec.structs.replace(exchange, planned=False))
        if request.is_thread:
            # The rest of its prompt is on the server, so there is nothing to predict from (API docs, message threads).
            return Opened(self._bounded(exchange, request, now_ms), request)
        try:
            return self._planned(exchange, request, now_ms, self._policy(headers, raw), raw, waited)
        except Exception as error:  # noqa: BLE001 - a fault of ours must never become the client's
            own_up("planning failed; the request is forwarded as it came", error)
            return Opened(self._bounded(msgspec.structs.replace(exchange, planned=False), request, now_ms), request)

    def _bounded(self, exchange: Exchange, request: Request, now_ms: int, marked: Ttl | None = None) -> Exchange:
        """Return an exchange with the most that it can cost; `marked` is the longest lifetime that we ask for in it."""
        upper = self._ceilings.when_sent(request, now_ms, marked)
        return msgspec.structs.replace(exchange, cost_upper_nano_usd=upper)

    def _policy(self, headers: Mapping[str, str], raw: bytes) -> Policy:
        """Return what may be done to a request; the gateway that we stand before does it where there is one."""
        policy = self._outside.policy
        if self._outside.chained or not raw:
            return Policy()
        return msgspec.structs.replace(policy, mode=mode_of(headers, policy.mode))

    def waits(self, headers: Mapping[str, str], request: Request | None, raw: bytes) -> Wait | None:
        """Say which exchange's first token a request should wait for, because it can then read what that one writes."""
        policy = self._policy(headers, raw)
        if request is None or request.is_thread or policy.mode == "observe":
            return None
        state, now_ms = self._states.of(principal_of(headers)), self._outside.clock.now_ms()
        belief = state.belief
        if not belief.flights:
            return None
        try:
            found, count, chains = self._chains.trails(request), self._weights.count, self._chains.chain
            return waiting(
                request, belief, policy, self._outside.prices, now_ms, count, found, state.account, chains=chains
            )
        except Exception as error:  # noqa: BLE001 - waiting is a saving, and no request may fail for one
            own_up("a request goes at once, whatever it could have waited for", error)
            return None

    def _planned(
        self, exchange: Exchange, request: Request, now_ms: int, policy: Policy, raw: bytes, waited: Wait | None
    ) -> Opened:
        outside, principal = self._outside, exchange.principal or ""
        state = self._states.of(principal)
        belief, found, count = state.belief, self._chains.trails(request), self._weights.count
        chains, body = self._chains.chain, None
        planned = plan(request, belief, policy, outside.prices, now_ms, count, found, state.account, chains, waited)
        if planned.edits:
            planned, body = self._spliced(planned, request, belief, now_ms, raw, found)
        self._pitfalls.tell(principal, planned, policy)
        session_id = session_of(belief, request, exchange.session_id, exchange.exchange_id, found)
        thread = self._thread(state, planned, found, exchange.exchange_id)
        arrived = RequestArrived(
            exchange.exchange_id,
            session_id,
            planned.prompt,
            planned.split,
            now_ms,
            tails_of(request, found),
            planned.kinds,
            planned.shadows,
            thread,
            planned.look,
        )
        self._states.fold(principal, arrived)
        marked = longest_ttl(planned.prompt) if body is not None else None
        exchange = self._bounded(msgspec.structs.replace(exchange, session_id=session_id), request, now_ms, marked)
        before = belief.caches.get(planned.prompt.cache, {})
        seen = self._breaks.arrive(exchange, planned.moved or request, planned, before, now_ms)
        commands: list[Command] = []
        if thread:
            thread, commands = self.pauses.arrived(exchange, thread, request, planned, now_ms)
        return Opened(exchange, request, planned, arrived=seen, body=body, thread=thread, commands=commands)

    def _thread(self, state: State, planned: Plan, found: Trails, fresh: str) -> str:
        """Name the line of requests that a request goes on, where anything is decided about it or was."""
        return thread_of(state.belief, found, fresh) if state.threads or planned.mode != "observe" else ""

    def _spliced(
        self, planned: Plan, request: Request, belief: Belief, now_ms: int, raw: bytes, found: Trails
    ) -> tuple[Plan, bytes | None]:
        """Edit the client's bytes as planned; what cannot be edited goes as it came, and is planned as such."""
        try:
            return planned, splice(raw, planned.edits)
        except SpliceError as error:
            own_up("a request could not be edited and goes as it came", error)
            left = plan(request, belief, Policy(), self._outside.prices, now_ms, self._weights.count, found)
            return left, None

    def first_token(self, opened: Opened) -> None:
        """Note that the answer began: what the request wrote to the cache can be read from now on."""
        opened.first_token_at_ms = self._outside.clock.now_ms()
        self._states.fold(
            opened.exchange.principal or "", FirstToken(opened.exchange.exchange_id, opened.first_token_at_ms)
        )

    def close(
        self,
        opened: Opened,
        answer: Answer,
        *,
        status: int | None = None,
        request_id: str | None = None,
        error_type: str | None = None,
        was_sent: bool = True,
    ) -> Exchange:
        """Close an exchange with what its answer said, and price it; one that was never sent costs nothing."""
        now_ms, exchange = self._outside.clock.now_ms(), opened.exchange
        metered = answer.metered(exchange.requested_model)
        settled = settle(metered, self._outside.prices, exchange.opened_at_ms, opened.plan) if metered else None
        event: Event = RequestFailed(exchange.exchange_id, now_ms)
        if metered is not None:
            event = UsageSeen(exchange.exchange_id, metered.usage, now_ms)
        self._states.fold(exchange.principal or "", event)
        if settled is not None and settled.cost_nano_usd is None:
            self._warn_unpriced(answer.served_model or exchange.requested_model or "an unnamed model")
        closed = msgspec.structs.replace(
            exchange,
            closed_at_ms=now_ms,
            task_type=opened.task_type,
            first_token_at_ms=opened.first_token_at_ms,
            served_model=answer.served_model,
            message_id=answer.message_id,
            request_id=clip(request_id),
            http_status=status,
            stop_reason=answer.stop_reason,
            error_type=error_type or answer.error_type or _broken_off(answer, status),
            usage=metered.usage if metered else None,
            usage_lines=metered.lines if metered else (),
            usage_complete=answer.usage_complete,
            cost_nano_usd=settled.cost_nano_usd if settled else None,
            cost_upper_nano_usd=self._ceilings.when_closed(
                exchange.cost_upper_nano_usd, opened.request, answer, metered, status, exchange.opened_at_ms
            )
            if was_sent
            else 0,
            baseline_cost_nano_usd=settled.baseline_cost_nano_usd if settled else None,
            **self._breaks.close(exchange, opened.arrived, answer.cache_miss, metered),
        )
        if opened.thread:
            opened.held = self.pauses.ended(opened, answer, metered, closed)
        return closed

    def _warn_unpriced(self, model: str) -> None:
        """Say once for each model that its cost is unknown; it is recorded as such, never as zero."""
        if model not in self._unpriced and len(self._unpriced) < UNPRICED_MAX:
            self._unpriced.add(model)
            _log.warning(
                "No price is known for %s, so its cost is recorded as unknown. Try: scrimp prices update", model
            )

    def naming(self, opened: Opened) -> Generator[None, None, None]:
        """Name the kind of work, in turns where it takes long; closing names what is not named by then."""
        if opened.is_named:
            return
        opened.is_named = True
        try:
            opened.task_type = yield from self._task_types.naming(opened.exchange, opened.request)
        except Exception as error:  # noqa: BLE001 - a name is not worth losing an exchange
            own_up("naming the kind of work failed; the exchange has no task type", error)


def _broken_off(answer: Answer, status: int | None) -> str | None:
    """Return the error of an answer that came to an end without saying how: its last events are missing."""
    is_whole = answer.usage_complete or answer.stop_reason is not None or not answer.is_readable
    return None if status != HTTPStatus.OK or is_whole else "upstream_incomplete"


def _exchange(exchange_id: str, now_ms: int, who: Identity, request: Request | None, source: str) -> Exchange:
    return Exchange(
        exchange_id=exchange_id,
        opened_at_ms=now_ms,
        source=source,
        requested_model=clip(request.model) if request else None,
        usage_complete=False,
        **msgspec.structs.asdict(who),
    )
