"""The policy `scrimp-safe` on recorded steps: decisions in order of time, each from what was known by then.

The account is folded as a gateway would fold it: a pause closes when its thread's next request comes, pings are sent
as they were promised until then, and a new session of the account says that its person left the others. What is cached
is followed by lengths; `replay.emulator` then bills the decisions exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scrimp.core.belief import account as accounts
from scrimp.core.belief.account import HOUR_PING_MS, MINUTES_PING_MS, Account, Pause, Pings
from scrimp.core.belief.cache import CacheRules
from scrimp.core.levers.hold import Facts, after_leaving, group_of, hold, is_human, lifetime
from scrimp.core.levers.placement import write_price
from scrimp.core.plan.asides import ASIDES_MAX, GROUP
from scrimp.core.wire.blocks import Ttl
from scrimp.core.wire.models import traits
from scrimp.core.wire.prices import RateCard
from scrimp.replay.emulator import Decision, Ways
from scrimp.replay.steps import ROOT, Step
from scrimp.replay.tails import Tails
from scrimp.replay.warmth import Warm, Warmth

_LOOKBACK = CacheRules().lookback_positions


class _Held(msgspec.Struct, gc=False):
    """A pause as it is held: the step before it, and the pings that were granted."""

    step: int
    granted: Pings


class Holder:
    """Decides for one account's steps. `automatic` is what each of them costs under automatic caching, in pico-USD."""

    def __init__(
        self, steps: Sequence[Step], ways: Ways, cards: Sequence[RateCard], automatic: Sequence[int], account: Account
    ) -> None:
        self.account = account
        self._steps, self._ways, self._cards, self._automatic = steps, ways, cards, automatic
        self._warmth = Warmth(ways)
        self._tails = Tails(steps, ways)
        self._held: dict[str, _Held] = {}
        self._asides: dict[int, str] = {}
        self._sessions: set[str] = set()
        self._pings: dict[int, list[int]] = {}

    def decide(self) -> list[Decision]:
        """Return the decision for every step; afterwards `account` is what was learnt by the end."""
        marks = [self._step(index, step) for index, step in enumerate(self._steps)]
        for thread, held in list(self._held.items()):
            if self.account.pauses[thread].is_human:
                self._send_pings(thread, held, None)
        pings = self._pings
        return [
            Decision(*mark, tuple(pings[index])) if index in pings else Decision(*mark)
            for index, mark in enumerate(marks)
        ]

    def _step(self, index: int, step: Step) -> tuple[Ttl | None, Ttl | None, tuple[tuple[int, Ttl], ...]]:
        """Close the pause before a step, decide its marks, and say how the pause after it is held."""
        thread = f"{step.session_id}/{step.thread}"
        if step.session_id not in self._sessions:
            self._sessions.add(step.session_id)
            self._leave_others(step)
        if step.parent in self._asides and _stands(step, self._steps[step.parent]):
            self._close(self._asides.pop(step.parent), index, step)
        if thread in self._held:
            self._set_aside(thread, step)
            self._close(thread, index, step)
        card = self._cards[index]
        front = self._warmth.front(index, step)
        end = self._ways.ends[index]
        ttl = self._ttl(index, step, front, end - front.end)
        warm = self._warmth.write(index, step, front, end, ttl)
        own = front.end * card.cache_read + (end - front.end) * write_price(card, ttl)
        own += (step.total_tokens - end) * card.uncached_input
        account = accounts.billed(self.account, own, self._automatic[index], card)
        new = step.total_tokens - max(step.shared_tokens, step.given_tokens)
        self.account = accounts.extended(account, new)
        self._hold(thread, index, step, warm)
        base: Ttl = "1h" if warm.hour >= step.base_tokens and warm.hour else "5m"
        return ttl, base, self._fronts(index, warm, ttl)

    def _ttl(self, index: int, step: Step, front: Warm, new_tokens: int) -> Ttl | None:
        card = self._cards[index]
        if not step.has_tools:
            self.account = self._tails.seen(self.account, index, step)
            return "5m" if self._tails.marks(self.account, index, new_tokens, card) else None
        return lifetime(self.account, self._facts(step, front), new_tokens, card).ttl

    def _facts(self, step: Step, warm: Warm) -> Facts:
        return Facts(step.waiting, warm.hour, warm.minutes, step.signs, step.thread != "", step.has_tools)

    def _fronts(self, index: int, warm: Warm, ttl: Ttl | None) -> tuple[tuple[int, Ttl], ...]:
        """Mark where an hour ends and five minutes begin, and what the look-back from the end would not reach."""
        up, positions = self._ways.up[index], self._ways.positions
        fronts: list[tuple[int, Ttl]] = []
        if 0 < warm.hour < warm.end:
            fronts.append((warm.at, "1h"))
        is_far = positions[index] - positions[up] >= _LOOKBACK if up != ROOT else False
        if up not in {ROOT, warm.at} and (is_far or (ttl is None and warm.end >= self._ways.ends[up])):
            fronts.append((up, ttl or "5m"))
        return tuple(fronts)

    # --- pauses ---

    def _hold(self, thread: str, index: int, step: Step, warm: Warm) -> None:
        if is_human_step(step):
            self._forget(step.at_ms)
            self.account = accounts.observed(self.account, step.at_ms)
        facts, is_cached = self._facts(step, warm), warm.end >= traits(step.model).min_cacheable_tokens
        holding = hold(self.account, facts, step.model, self._cards[index])
        held = _Held(index, _of_a_kind(warm, holding.granted) if is_cached else Pings())
        pause = Pause(
            session_id=step.session_id,
            since_ms=step.at_ms,
            tokens=warm.end,
            pings=holding.wanted if is_cached else Pings(),
            is_human=is_human(facts),
            group=group_of(facts),
            reserved_pico_usd=self._reserve(held, self._cards[index]),
        )
        self.account = accounts.paused(self.account, thread, pause)
        self._held[thread] = held

    def _forget(self, now_ms: int) -> None:
        for thread in accounts.forgotten(self.account, now_ms):
            self._drop(thread, None)

    def _drop(self, thread: str, until_ms: int | None) -> None:
        """Forget a pause with the pings that it had up to a time, or with all of them."""
        held = self._held.pop(thread)
        if self.account.pauses[thread].is_human:
            self._send_pings(thread, held, until_ms)
        if self._asides.get(held.step) == thread:
            del self._asides[held.step]
        self.account = accounts.dropped(self.account, thread)

    def _leave_others(self, step: Step) -> None:
        """Cut the pings of pauses that wait for a person elsewhere, now that the person began a session."""
        for thread, pause in self.account.pauses.items():
            if pause.is_human and pause.left_ms is None and pause.session_id != step.session_id:
                held = self._held[thread]
                card = self._cards[held.step]
                age_ms = step.at_ms - pause.since_ms
                wanted = after_leaving(self.account, age_ms, pause.pings, card)
                granted = Pings(min(held.granted.minutes, wanted.minutes), min(held.granted.hours, wanted.hours))
                held.granted = granted
                reserved = self._reserve(held, card)
                self.account = accounts.left(self.account, thread, step.at_ms, wanted, reserved)

    def _set_aside(self, thread: str, step: Step) -> None:
        """Hold on to a prompt that another thinking mode leaves behind: it comes back with the mode, as people do."""
        held, pause = self._held[thread], self.account.pauses.get(thread)
        before = self._steps[held.step]
        goes_on = step.parent == held.step and _stands(step, before)
        if step.cause != "thinking" or goes_on or pause is None or before.thread:
            return
        warm = self._warmth.left[held.step]
        facts = Facts("turn_ended", warm.hour, warm.end - warm.hour, None, has_tools=before.has_tools)
        holding = hold(self.account, facts, before.model, self._cards[held.step])
        granted = _prolonged(warm, held.granted, holding.granted, step.at_ms - before.at_ms)
        if granted is None:
            return
        aside = f"{thread}/{held.step}"
        self._asides[held.step] = aside
        self._held[aside] = _Held(held.step, granted)
        self._held[thread] = _Held(held.step, Pings())
        kept = msgspec.structs.replace(
            pause,
            pings=holding.wanted,
            is_human=True,
            group=GROUP,
            counted_ms=max(pause.counted_ms, step.at_ms - pause.since_ms),
            left_ms=None,
            reserved_pico_usd=self._reserve(self._held[aside], self._cards[held.step]),
        )
        self.account = accounts.paused(self.account, aside, kept)
        of_thread = [name for name in self._asides.values() if name.startswith(f"{thread}/")]
        for oldest in of_thread[:-ASIDES_MAX]:
            self._drop(oldest, step.at_ms)

    def _reserve(self, held: _Held, card: RateCard) -> int:
        warm = self._warmth.left[held.step]
        minutes = held.granted.minutes * warm.end if warm.end > warm.hour else 0
        return (minutes + held.granted.hours * warm.hour) * card.cache_read

    def _close(self, thread: str, index: int, step: Step) -> None:
        held = self._held.pop(thread)
        self._send_pings(thread, held, step.at_ms)
        kept = step.shared_tokens if step.parent != ROOT else 0
        self.account = accounts.resumed(self.account, thread, step.at_ms, kept, self._cards[index])

    def _send_pings(self, thread: str, held: _Held, until_ms: int | None) -> None:
        """Send the pings of a pause up to a time, or all of them."""
        granted, step = held.granted, self._steps[held.step]
        if granted == Pings() or (until_ms is not None and until_ms - step.at_ms <= MINUTES_PING_MS):
            return
        warm, card, now_ms = self._warmth.left[held.step], self._cards[held.step], step.at_ms
        cost = 0
        if warm.end > warm.hour:
            times = _times(now_ms, MINUTES_PING_MS, granted.minutes, until_ms)
            if times:
                self._pings.setdefault(held.step, []).extend(times)
                now_ms = times[-1]
                self._warmth.use(warm, now_ms)
                cost += len(times) * (warm.end * card.cache_read + (step.total_tokens - warm.end) * card.uncached_input)
        if warm.hour:
            times = _times(now_ms, HOUR_PING_MS, granted.hours, until_ms)
            self._pings.setdefault(warm.at, []).extend(times)
            self._warmth.use_hour(warm, times[-1] if times else now_ms)
            cost += len(times) * warm.hour * card.cache_read
        self.account = accounts.pinged(self.account, thread, cost)


def _stands(step: Step, before: Step) -> bool:
    """Whether a good part of an earlier prompt stands in front of a step."""
    return 2 * step.shared_tokens >= before.end_tokens


def _prolonged(warm: Warm, promised: Pings, wanted: Pings, age_ms: int) -> Pings | None:
    """Return the pings of a pause that is held on for another reason: those sent, and from now on those wanted.

    None if that is too late: those promised are spent, or the next one would have been due before now.
    """
    is_hour = warm.hour == warm.end
    every_ms = HOUR_PING_MS if is_hour else MINUTES_PING_MS
    sent = max(0, age_ms - 1) // every_ms
    count = wanted.hours if is_hour else wanted.minutes
    if sent >= min(count, promised.hours if is_hour else promised.minutes):
        return None
    return Pings(0, count) if is_hour else Pings(count, 0)


def _of_a_kind(warm: Warm, pings: Pings) -> Pings:
    """Return the pings that hold all of a prompt: when those of five minutes are spent, its front of an hour is let go.

    So does the gateway (`core.plan.machine`).
    """
    return Pings(minutes=pings.minutes) if warm.end > warm.hour else Pings(hours=pings.hours)


def is_human_step(step: Step) -> bool:
    """Whether a person is waited for after a step."""
    return step.waiting not in {"tool", "agent"} and not step.thread


def _times(start_ms: int, every_ms: int, count: int, until_ms: int | None) -> list[int]:
    """Return when pings are sent: before the time at which the pause ends, if it does."""
    if until_ms is not None:
        count = min(count, max(0, until_ms - start_ms - 1) // every_ms)
    return [start_ms + every_ms * n for n in range(1, count + 1)]
