"""What a policy paid above the clairvoyant optimum, each token with its cause.

Every prompt is laid beside a floor that reads what an earlier prompt already held, writes what is new for five minutes
once, and leaves plain what nobody will ever read. What a policy pays beyond that floor has a cause; so has what the
optimum pays beyond it ("unavoidable", counted against the others). Together they are the regret, to the pico-dollar:

    cause          tokens
    ------------   ------------------------------------------------------------------------------------------
    expired        held before, paid for again because their lifetime was over
    in_flight      held before, but the request that wrote them had no first token yet
    look_back      alive, but more than 20 positions in front of the next mark
    no_mark        held before, but no entry ended where the prompts part, or nothing was marked at all
    too_short      held before, below the shortest length that the model caches
    hour_used      the extra price of an hour where a pause of more than five minutes was outlived
    hour_unused    the same where there was none
    never_read     the price of marking what nobody reads again
    plain          new, and left unmarked: cheaper now, whatever it costs later
    pings_kept     pings in front of a request that read what they held
    pings_wasted   pings after which nobody came, or the cache was dead all the same
    unavoidable    what knowing the future would have cost, too (negative)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, get_args

import msgspec

from scrimp.core.belief.cache import TTL_MS, CacheRules
from scrimp.core.plan.optimum import Bound
from scrimp.core.wire.models import traits
from scrimp.core.wire.prices import RateCard
from scrimp.core.wire.usage import Usage
from scrimp.replay.emulator import Bill, Decision, Ways
from scrimp.replay.steps import ROOT, Step

Cause = Literal[
    "expired",
    "in_flight",
    "look_back",
    "no_mark",
    "too_short",
    "hour_used",
    "hour_unused",
    "never_read",
    "plain",
    "pings_kept",
    "pings_wasted",
    "unavoidable",
]
CAUSES: tuple[Cause, ...] = get_args(Cause)

_LOOKBACK = CacheRules().lookback_positions


class Course(msgspec.Struct, frozen=True):
    """One account's steps under one policy: what was decided, what it was billed, and the rates of each step."""

    steps: Sequence[Step]
    ways: Ways
    cards: Sequence[RateCard]
    decisions: Sequence[Decision]
    bill: Bill

    def costs(self) -> list[int]:
        """Return what each step cost, without its answer, in pico-USD; its pings count to the step that was held."""
        costs = [input_pico_usd(usage, card) for usage, card in zip(self.bill.usages, self.cards, strict=True)]
        for ping in self.bill.pings:
            costs[ping.step] += input_pico_usd(ping.usage, self.cards[ping.step])
        return costs


def input_pico_usd(usage: Usage, card: RateCard) -> int:
    """Return the price of the input side of a usage."""
    return (
        usage.uncached_input_tokens * card.uncached_input
        + usage.cache_read_input_tokens * card.cache_read
        + usage.cache_write_5m_input_tokens * card.cache_write_5m
        + usage.cache_write_1h_input_tokens * card.cache_write_1h
    )


def causes_of(course: Course, bound: Bound) -> dict[Cause, int]:
    """Return the regret of a course by cause, in pico-USD; they add up to its cost less the bound."""
    return _Causes(course, bound).sums()


class _Causes:
    """Walks over a course once and adds up."""

    def __init__(self, course: Course, bound: Bound) -> None:
        self._course, self._bound = course, bound
        self._sums: dict[Cause, int] = defaultdict(int)
        self._floor = 0
        self._used_ms = [step.at_ms for step in course.steps]
        self._premium = [0] * len(course.steps)
        self._outlived = [False] * len(course.steps)

    def sums(self) -> dict[Cause, int]:
        """Return what was added up."""
        self._count_pings()
        for index in range(len(self._course.steps)):
            self._count_step(index)
        for premium, outlived in zip(self._premium, self._outlived, strict=True):
            self._sums["hour_used" if outlived else "hour_unused"] += premium
        self._sums["unavoidable"] = self._floor - self._bound.cost_pico_usd
        return {cause: self._sums[cause] for cause in CAUSES if self._sums[cause]}

    # --- requests ---

    def _count_step(self, index: int) -> None:
        course = self._course
        step, usage, card = course.steps[index], course.bill.usages[index], course.cards[index]
        held = min(max(step.shared_tokens if step.parent != ROOT else 0, step.given_tokens), step.total_tokens)
        unread = self._bound.unread_tokens[index]
        kept = step.total_tokens - held - unread
        self._floor += held * card.cache_read + kept * card.cache_write_5m + unread * card.uncached_input
        read, hour = usage.cache_read_input_tokens, usage.cache_write_1h_input_tokens
        marked_upto = step.total_tokens - usage.uncached_input_tokens
        self._premium[index] = hour * (card.cache_write_1h - card.cache_write_5m)
        if read < held:
            self._count_lost(index, read, held, marked_upto)
        elif read > held:
            self._sums["plain"] += (read - held) * (card.cache_read - card.cache_write_5m)
        plain_kept = held + kept - max(held, read, min(marked_upto, held + kept))
        self._sums["plain"] += plain_kept * (card.uncached_input - card.cache_write_5m)
        marked_unread = max(0, marked_upto - max(held + kept, read))
        self._sums["never_read"] += marked_unread * (card.cache_write_5m - card.uncached_input)
        self._note_pause(index, read)

    def _count_lost(self, index: int, read: int, held: int, marked_upto: int) -> None:
        """Say why tokens that were held before were not read."""
        course, card = self._course, self._course.cards[index]
        up = course.ways.up[index]
        entry = course.ways.ends[up] if up != ROOT else 0
        entry = max(entry, min(held, course.steps[index].given_tokens), min(held, course.steps[index].base_tokens))
        why = self._why(index, up)
        for start, end, cause in ((read, min(entry, held), why), (max(read, min(entry, held)), held, "no_mark")):
            if start < end:
                written = max(0, min(end, marked_upto) - start)
                again = written * card.cache_write_5m + (end - start - written) * card.uncached_input
                self._sums[cause] += again - (end - start) * card.cache_read

    def _why(self, index: int, up: int) -> Cause:
        course = self._course
        step, decision = course.steps[index], course.decisions[index]
        ttl = decision.ttl or decision.base_ttl
        if ttl is None and not decision.fronts:
            return "no_mark"
        if step.total_tokens < traits(step.model).min_cacheable_tokens:
            return "too_short"
        if up == ROOT:
            return "expired"
        before = course.steps[up]
        if step.at_ms >= self._used_ms[up] + TTL_MS[course.decisions[up].ttl or "5m"]:
            return "expired"
        if (before.first_token_at_ms or before.ended_at_ms or before.at_ms) > step.at_ms:
            return "in_flight"
        far = course.ways.positions[index] - course.ways.positions[up] >= _LOOKBACK
        return "look_back" if far else "no_mark"

    def _note_pause(self, index: int, read: int) -> None:
        """Note which hours were used: what a step reads after more than five minutes without any use."""
        ways, now_ms = self._course.ways, self._course.steps[index].at_ms
        up = ways.up[index]
        paused = up != ROOT and now_ms - self._used_ms[up] >= TTL_MS["5m"]
        for at in ways.back(up):
            if not paused or self._outlived[at]:
                break
            self._outlived[at] = ways.ends[at] <= read
        if up != ROOT:
            self._used_ms[up] = max(self._used_ms[up], now_ms)

    # --- pings ---

    def _count_pings(self) -> None:
        """Say of each ping whether the next request of its thread read what it held."""
        course = self._course
        after = self._next_of_thread()
        for ping in course.bill.pings:
            self._used_ms[ping.step] = max(self._used_ms[ping.step], ping.at_ms)
            at = after[ping.step]
            while at != ROOT and course.steps[at].at_ms < ping.at_ms:
                at = after[at]
            kept = at != ROOT and course.bill.usages[at].cache_read_input_tokens >= course.ways.ends[ping.step]
            cost = input_pico_usd(ping.usage, course.cards[ping.step])
            self._sums["pings_kept" if kept else "pings_wasted"] += cost

    def _next_of_thread(self) -> list[int]:
        after = [ROOT] * len(self._course.steps)
        last: dict[tuple[str, str], int] = {}
        for index, step in enumerate(self._course.steps):
            thread = (step.session_id, step.thread)
            if thread in last:
                after[last[thread]] = index
            last[thread] = index
        return after
