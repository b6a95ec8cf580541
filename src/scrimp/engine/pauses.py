"""Pauses between the requests of a thread: opened and closed with its exchanges, and the pings that hold them.

`core.plan.machine` decides; here its events are told with what the exchanges know. What is `Held` is for a face that
keeps time and can send (`gateway.keeper`); each ping is an exchange of its own, of the session that it serves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

from scrimp.core.belief.exchange import PING, Exchange
from scrimp.core.levers.hold import DEFAULTS
from scrimp.core.plan import machine
from scrimp.core.plan.candidate import card_of
from scrimp.core.plan.pinging import can_upgrade, may_ping, thinking_of, upgrade_edits
from scrimp.core.plan.planning import AUTOMATIC, Plan
from scrimp.core.plan.threads import Command, Ending, Opening, SetTimer, State
from scrimp.core.wire.request import Request
from scrimp.core.wire.response import Answer
from scrimp.core.wire.splice import Edit
from scrimp.core.wire.usage import Metered
from scrimp.engine.ceilings import Ceilings, longest_ttl
from scrimp.engine.faults import own_up
from scrimp.engine.outside import Outside
from scrimp.engine.states import States

if TYPE_CHECKING:
    from scrimp.engine.recorder import Opened


@dataclass(frozen=True)
class Held:
    """A thread that is held after an exchange, and when its first ping is due.

    `exchange` is the row of the request that is repeated, `upper_nano_usd` the most that doing so can cost;
    `upgrade_edits` are made, too, where a ping is to be an upgrade.
    """

    principal: str
    thread: str
    exchange: Exchange
    at_ms: int
    upper_nano_usd: int | None
    upgrade_edits: tuple[Edit, ...] = ()


class Pauses:
    """Tells the states of principals what happened to their threads."""

    def __init__(self, outside: Outside, states: States, ceilings: Ceilings) -> None:
        self._outside = outside
        self._states = states
        self._ceilings = ceilings

    # --- requests ---

    def arrived(
        self, exchange: Exchange, thread: str, request: Request, plan: Plan, now_ms: int
    ) -> tuple[str, list[Command]]:
        """Note a request that is about to be sent; returns its thread, or "" where nothing will be held of it.

        The commands say what becomes of what is held already.
        """
        principal = exchange.principal or ""
        card = card_of(request, plan.prompt, self._outside.prices, now_ms)
        if plan.mode == "observe" or card is None:
            self._left_alone(principal, thread)
            return "", []
        opening = Opening(
            exchange_id=exchange.exchange_id,
            session_id=exchange.session_id or exchange.exchange_id,
            thread=thread,
            plan=plan,
            card=card,
            is_agent=exchange.agent_id is not None or exchange.request_class == "subagent",
            can_ping=self._outside.holding is not None and may_ping(request),
            can_upgrade=can_upgrade(request, plan),
            thinking=thinking_of(request),
        )
        return thread, self._states.move(principal, lambda state: machine.opened(state, opening, now_ms))

    def _left_alone(self, principal: str, name: str) -> None:
        """Let go of a thread that goes on in a request which nothing may be done to."""
        thread = self._states.of(principal).threads.get(name)
        if thread is not None:
            self._states.change(principal, lambda state: machine.gone(state, name, thread.exchange_id))

    def ended(self, opened: Opened, answer: Answer, metered: Metered | None, closed: Exchange) -> Held | None:
        """Note how a request ended; returns what is held from now on, None for nothing. Never raises.

        Where its answer did not come to its end, its client is gone or about to ask again: nothing is held.
        """
        try:
            at_ms = self._ended(opened, answer, metered, closed)
            return None if at_ms is None else self._held(opened, closed, at_ms)
        except Exception as error:  # noqa: BLE001 - holding is a saving, and no exchange may be lost for one
            own_up("a cache is not held", error)
            name, exchange_id = opened.thread, closed.exchange_id
            self._states.change(closed.principal or "", lambda state: machine.let_go(state, name, exchange_id))
            return None

    def _ended(self, opened: Opened, answer: Answer, metered: Metered | None, closed: Exchange) -> int | None:
        """Change the state by what a request's end tells; returns when its first ping is due, None for never."""
        principal, name, plan = closed.principal or "", opened.thread, opened.plan
        commands: list[Command] = []
        if metered is not None and plan is not None:
            automatic = plan.shadow(AUTOMATIC).usage
            ending = Ending(name, closed.exchange_id, metered.usage, automatic, answer.stop_reason, answer.spoken)
            now_ms, settings = self._outside.clock.now_ms(), self._outside.holding or DEFAULTS
            commands = self._states.move(principal, lambda state: machine.ended(state, ending, now_ms, settings))
        if metered is None or not answer.usage_complete or closed.error_type is not None:
            self._states.change(principal, lambda state: machine.gone(state, name, closed.exchange_id))
            return None
        return _next_ms(commands)

    def _held(self, opened: Opened, closed: Exchange, at_ms: int) -> Held | None:
        request, plan, settings = opened.request, opened.plan, self._outside.holding
        if request is None or plan is None or settings is None:
            return None
        upgrades = settings.upgrade_ping and can_upgrade(request, plan)
        silent, marked = msgspec.structs.replace(request, max_tokens=0), longest_ttl(plan.prompt)
        return Held(
            principal=closed.principal or "",
            thread=opened.thread,
            exchange=msgspec.structs.replace(opened.exchange, task_type=closed.task_type),
            at_ms=at_ms,
            upper_nano_usd=self._ceilings.when_sent(silent, closed.opened_at_ms, "1h" if upgrades else marked),
            upgrade_edits=upgrade_edits(plan.prompt) if upgrades else (),
        )

    # --- pings ---

    def due(self, held: Held) -> Command | None:
        """Say what is to be done now that a thread's timer fired: ping it, wait on, or nothing any more."""
        name, exchange_id, now_ms = held.thread, held.exchange.exchange_id, self._outside.clock.now_ms()
        commands = self._states.move(
            held.principal, lambda state: machine.timer_fired(state, name, exchange_id, now_ms)
        )
        return commands[0] if commands else None

    def let_go(self, held: Held) -> None:
        """Give back what was set aside for a thread that nobody can ping any more."""
        name, exchange_id = held.thread, held.exchange.exchange_id
        self._states.change(held.principal, lambda state: machine.let_go(state, name, exchange_id))

    def row(self, held: Held) -> Exchange:
        """Return the open row of a ping that is about to be sent."""
        now_ms = self._outside.clock.now_ms()
        return msgspec.structs.replace(
            held.exchange,
            exchange_id=self._outside.new_id(now_ms),
            opened_at_ms=now_ms,
            origin=PING,
            payer=held.exchange.session_id,
            cost_upper_nano_usd=held.upper_nano_usd,
        )

    def pinged(self, held: Held, closed: Exchange) -> int | None:
        """Note how a ping ended; returns when the next one is due, None for never."""
        commands = self._states.move(held.principal, _after(held.thread, held.exchange.exchange_id, closed))
        return _next_ms(commands)


def _next_ms(commands: Sequence[Command]) -> int | None:
    """Return when the next ping is due, None for never."""
    return next((each.at_ms for each in commands if isinstance(each, SetTimer)), None)


def _after(name: str, exchange_id: str, closed: Exchange) -> Callable[[State], tuple[State, list[Command]]]:
    """Return what a ping's end does to its principal's state."""
    usage = closed.usage
    if usage is not None and closed.usage_complete:
        return lambda state: machine.pinged(state, name, exchange_id, usage, closed.opened_at_ms)
    if closed.http_status == HTTPStatus.BAD_REQUEST:
        model = closed.requested_model or ""
        return lambda state: (machine.ping_refused(state, name, model), [])
    was_paid = closed.cost_upper_nano_usd != 0
    return lambda state: (machine.ping_failed(state, name, exchange_id, was_paid=was_paid), [])
