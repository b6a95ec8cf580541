"""Breaks of the cache and other pitfalls in recorded traffic: each with its place, its cause, its cost and its fix.

A break is a request that was billed for fewer reads than the request before it had left in the cache. What it cost is
the difference of two bills: the recorded one, and the emulator's had the prefix been readable. Where the gateway saw
the requests themselves, its own finding (`Exchange.break_cause`) stands; of others, the steps say what the recording
shows. What the bills do not show is not reported, and what nothing explains is called unknown, with its money.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from scrimp.core.belief.cache import TTL_MS, CacheRules
from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.models import traits
from scrimp.core.wire.prices import RateCard, nano_usd
from scrimp.core.wire.usage import ZERO, Usage
from scrimp.replay.advice import HOURS_FIX, advice_for
from scrimp.replay.emulator import Ways, bill
from scrimp.replay.rates import Rates, lines_of
from scrimp.replay.regret import input_pico_usd
from scrimp.replay.steps import ROOT, Step
from scrimp.replay.wastes import Recorded, wastes

#: Losses of no more tokens than this are the length of texts that was estimated, no break.
NEGLIGIBLE_TOKENS = 1_000
_LOOKBACK = CacheRules().lookback_positions
#: What replay's steps call a change -> what a break is called, and the API's word for it.
_CHANGES: dict[str, tuple[str, str]] = {
    "compaction": ("compaction", "messages_changed"),
    "microcompact": ("result_cleared", "messages_changed"),
    "resumed": ("resumed", "messages_changed"),
    "thinking_dropped": ("thinking_dropped", "messages_changed"),
    "thinking": ("thinking", "messages_changed"),
    "model": ("model", "model_changed"),
}
#: The first request of a conversation that was cleared owes nothing to the one before.
_BEGINS_ANEW = "cleared"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One loss. Money is nano-USD, None where the model has no price; None elsewhere is "not known".

    * `kind` is the pitfall (`replay.advice`), `cause` what happened, `reason` the API's own word for it.
    * `block` and `byte` say where the prompt changed; `tokens` is how many were paid for in vain.
    * `gap_ms` is the pause in front of an entry that ran out, `hold_nano_usd` what holding it would have cost.
    """

    kind: str
    cause: str
    session_id: str
    exchange_id: str
    at_ms: int
    tokens: int
    cost_nano_usd: int | None
    fix: str
    reason: str | None = None
    block: str | None = None
    byte: int | None = None
    gap_ms: int | None = None
    hold_nano_usd: int | None = None


class Group(msgspec.Struct, frozen=True):
    """Findings of one cause: how many in how many sessions, their sum, and the dearest of them."""

    kind: str
    cause: str
    count: int
    sessions: int
    tokens: int
    cost_nano_usd: int
    dearest: Finding
    hold_nano_usd: int


class Audit(msgspec.Struct, frozen=True):
    """Everything that was found, the dearest first, beside the input side of all bills with a known price."""

    exchanges: int
    sessions: int
    input_nano_usd: int
    cost_nano_usd: int
    findings: list[Finding]
    groups: list[Group]


def audit(
    accounts: Mapping[str, Sequence[Step]],
    exchanges: Sequence[Exchange],
    rates: Rates,
    watch: Callable[[list[str]], Iterable[str]] = iter,
) -> Audit:
    """Audit steps of accounts beside the exchanges that they were made from; `watch` may show progress."""
    known = {exchange.exchange_id: exchange for exchange in exchanges}
    findings: list[Finding] = []
    spent = 0
    accounts = {name: steps for name, steps in accounts.items() if steps and steps[0].exchange_id in known}
    for name in watch(list(accounts)):
        account = _Account(accounts[name], known, rates)
        findings += account.findings()
        spent += account.spent_pico_usd()
    findings.sort(key=lambda each: (-(each.cost_nano_usd or 0), each.at_ms, each.exchange_id))
    return Audit(
        exchanges=sum(map(len, accounts.values())),
        sessions=len({step.session_id for steps in accounts.values() for step in steps}),
        input_nano_usd=nano_usd(spent),
        cost_nano_usd=sum(each.cost_nano_usd or 0 for each in findings),
        findings=findings,
        groups=grouped(findings),
    )


def grouped(findings: Iterable[Finding]) -> list[Group]:
    """Put findings of one cause and one fix together, the dearest group first."""
    by_cause: dict[tuple[str, str, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        by_cause[finding.kind, finding.cause, finding.fix].append(finding)
    groups = [
        Group(
            kind=kind,
            cause=cause,
            count=len(found),
            sessions=len({each.session_id for each in found}),
            tokens=sum(each.tokens for each in found),
            cost_nano_usd=sum(each.cost_nano_usd or 0 for each in found),
            dearest=max(found, key=lambda each: each.cost_nano_usd or 0),
            hold_nano_usd=sum(each.hold_nano_usd or 0 for each in found),
        )
        for (kind, cause, _), found in by_cause.items()
    ]
    return sorted(groups, key=lambda group: (-group.cost_nano_usd, group.kind, group.cause))


class _Account:
    """One account's steps beside their bills."""

    def __init__(self, steps: Sequence[Step], known: Mapping[str, Exchange], rates: Rates) -> None:
        self._steps = steps
        self._exchanges = [known[step.exchange_id] for step in steps]
        self._usages = [exchange.usage or ZERO for exchange in self._exchanges]
        self._cards = [rates.cards(lines_of(each), each.opened_at_ms)[0] for each in self._exchanges]
        self._ways = Ways(steps)
        self._before = _before(steps)
        self._used_ms = self._uses()

    def spent_pico_usd(self) -> int:
        """Return the input side of all bills, those of pings included."""
        return sum(
            input_pico_usd(each, card)
            for usage, step, card in zip(self._usages, self._steps, self._cards, strict=True)
            if card is not None
            for each in (usage, *(ping.usage for ping in step.pings))
        )

    def findings(self) -> list[Finding]:
        """Return all findings, in no order."""
        left = self._left()
        broken = {index: tokens for index, tokens in left.items() if self._is_lost(index, tokens)}
        found = [*self._breaks(broken), *self._told(), *self._fan_outs()]
        place = {step.exchange_id: index for index, step in enumerate(self._steps)}
        lost = {place[each.exchange_id]: each.tokens for each in found}
        recorded = Recorded(self._steps, self._usages, self._cards, lost)
        vain = [self._finding(each.step, each.cause, each.tokens, each.pico_usd) for each in wastes(recorded)]
        return found + vain

    def _finding(self, index: int, cause: str, tokens: int, pico_usd: int | None, reason: str | None = None) -> Finding:
        step, advice = self._steps[index], advice_for(cause)
        return Finding(
            kind=advice.kind,
            cause=cause,
            session_id=step.session_id,
            exchange_id=step.exchange_id,
            at_ms=step.at_ms,
            tokens=tokens,
            cost_nano_usd=None if pico_usd is None else nano_usd(pico_usd),
            fix=advice.fix,
            reason=reason,
        )

    # --- what the gateway saw itself ---

    def _is_told(self, index: int) -> bool:
        return self._exchanges[index].source in {"gateway", "sdk"}

    def _told(self) -> list[Finding]:
        """Return the breaks that the gateway found when it held the requests."""
        return [
            self._timed(index, self._as_told(index, exchange, exchange.break_cause))
            for index, exchange in enumerate(self._exchanges)
            if exchange.break_cause is not None
        ]

    def _as_told(self, index: int, exchange: Exchange, cause: str) -> Finding:
        found = self._finding(index, cause, exchange.break_lost_tokens or 0, None, exchange.break_reason)
        return msgspec.structs.replace(
            found, block=exchange.break_block, byte=exchange.break_byte, cost_nano_usd=exchange.break_cost_nano_usd
        )

    # --- breaks ---

    def _left(self) -> dict[int, int]:
        """Return, for each step that goes on from another, how many tokens it could have read."""
        found = {}
        for index, step in enumerate(self._steps):
            before, end = self._before[index], self._ways.ends[index]
            if before == ROOT or step.cause == _BEGINS_ANEW or self._is_told(index):
                continue
            if step.cause == "compaction":
                found[index] = end
            elif step.cause is not None:
                found[index] = min(self._ways.ends[before], end)
            elif step.parent != ROOT:
                found[index] = min(self._ways.ends[step.parent], step.shared_tokens, end)
        return found

    def _is_lost(self, index: int, left: int) -> bool:
        return left - self._usages[index].cache_read_input_tokens > NEGLIGIBLE_TOKENS

    def _breaks(self, left: Mapping[int, int]) -> list[Finding]:
        as_it_was = bill(self._steps, side_requests=True).usages
        unbroken = bill(self._readable(left), side_requests=True).usages
        return [
            self._timed(index, self._break(index, tokens, as_it_was[index], unbroken[index]))
            for index, tokens in left.items()
        ]

    def _readable(self, left: Mapping[int, int]) -> list[Step]:
        """Return the steps as they would be had nothing stood in the way of what was left."""
        return [
            msgspec.structs.replace(step, given_tokens=max(step.given_tokens, left[index])) if index in left else step
            for index, step in enumerate(self._steps)
        ]

    def _break(self, index: int, left: int, expected: Usage, unbroken: Usage) -> Finding:
        usage, card = self._usages[index], self._cards[index]
        cost = None if card is None else max(0, input_pico_usd(usage, card) - input_pico_usd(unbroken, card))
        cause, reason = self._cause(index, left, expected)
        return self._finding(index, cause, left - usage.cache_read_input_tokens, cost, reason)

    def _cause(self, index: int, left: int, expected: Usage) -> tuple[str, str | None]:
        """Say why; where the rules of the cache expected the read, nothing that is recorded explains its loss."""
        if left - expected.cache_read_input_tokens <= NEGLIGIBLE_TOKENS:
            return "unknown", None
        change = _CHANGES.get(self._steps[index].cause or "")
        return change or (self._of_the_cache(index), None)

    def _of_the_cache(self, index: int) -> str:
        step, up = self._steps[index], self._steps[index].parent
        before = self._steps[up]
        if step.total_tokens < traits(step.model).min_cacheable_tokens:
            return "below_minimum"
        if step.ttl is None:
            return "not_marked"
        if step.at_ms >= self._used_ms[index] + TTL_MS[before.ttl or "5m"]:
            return "ttl_expired"
        if (before.first_token_at_ms or before.ended_at_ms or before.at_ms) > step.at_ms:
            return "concurrency"
        is_far = self._ways.positions[index] - self._ways.positions[up] >= _LOOKBACK
        return "look_back" if is_far else "unknown"

    # --- pauses ---

    def _uses(self) -> list[int]:
        """Return when what each step could read was last used before it."""
        used_ms = [step.at_ms for step in self._steps]
        last = []
        for step in self._steps:
            last.append(used_ms[step.parent] if step.parent != ROOT else step.at_ms)
            if step.parent != ROOT:
                used_ms[step.parent] = step.at_ms
        return last

    def _timed(self, index: int, found: Finding) -> Finding:
        """Give an entry that ran out its pause, and what holding it through that pause would have cost."""
        before, card = self._before[index], self._cards[index]
        if found.cause != "ttl_expired" or before == ROOT:
            return found
        step, last = self._steps[index], self._steps[before]
        gap_ms = step.at_ms - (self._used_ms[index] if step.parent != ROOT else last.at_ms)
        if card is None:
            return msgspec.structs.replace(found, gap_ms=gap_ms)
        hold = nano_usd(_hold_pico_usd(last, self._ways.ends[before], gap_ms, card))
        if found.cost_nano_usd is not None and hold >= found.cost_nano_usd:
            found = msgspec.structs.replace(found, cause="idle_too_long", fix=advice_for("idle_too_long").fix)
        elif gap_ms >= TTL_MS["1h"]:
            found = msgspec.structs.replace(found, fix=HOURS_FIX)
        return msgspec.structs.replace(found, gap_ms=gap_ms, hold_nano_usd=hold)

    # --- first requests of threads ---

    def _fan_outs(self) -> list[Finding]:
        """Return the threads that wrote what another thread of their kind was writing, or had just written."""
        latest: dict[tuple[str, str | None, str | None], int] = {}
        found = []
        for index, step in enumerate(self._steps):
            exchange = self._exchanges[index]
            key = (step.cache, exchange.client, exchange.agent_type or "" if exchange.agent_id else None)
            other = latest.get(key, ROOT)
            if other != ROOT and self._before[index] == ROOT and not self._is_told(index):
                found += self._beside(index, other)
            latest[key] = index
        return found

    def _beside(self, index: int, other: int) -> list[Finding]:
        step, sibling, usage = self._steps[index], self._steps[other], self._usages[index]
        left = min(step.base_tokens, sibling.base_tokens, self._ways.ends[index])
        read, card = usage.cache_read_input_tokens, self._cards[index]
        is_warm = step.at_ms < sibling.at_ms + TTL_MS[sibling.ttl or "5m"]
        if not is_warm or left - read <= NEGLIGIBLE_TOKENS or step.parent != ROOT:
            return []
        began = sibling.first_token_at_ms or sibling.ended_at_ms or sibling.at_ms
        cause = "concurrency" if began > step.at_ms else "front_varies"
        again = None if card is None else (left - read) * (_written(usage, card) - card.cache_read)
        return [self._finding(index, cause, left - read, again)]


def _before(steps: Sequence[Step]) -> list[int]:
    """Return the step before each one in its thread."""
    latest: dict[tuple[str, str], int] = {}
    before = []
    for index, step in enumerate(steps):
        thread = (step.session_id, step.thread)
        before.append(latest.get(thread, ROOT))
        latest[thread] = index
    return before


def _written(usage: Usage, card: RateCard) -> int:
    """Return the rate at which the front of a prompt was written: an hour comes before five minutes."""
    if usage.cache_write_1h_input_tokens:
        return card.cache_write_1h
    return card.cache_write_5m if usage.cache_write_5m_input_tokens else card.uncached_input


def _hold_pico_usd(last: Step, end: int, gap_ms: int, card: RateCard) -> int:
    """Return the cheaper way to hold a prefix through a pause: to send it again in time, or to write it for an hour."""
    every_ms = TTL_MS[last.ttl or "5m"]
    once = end * card.cache_read + (last.total_tokens - end) * card.uncached_input
    pings = (gap_ms - 1) // every_ms * once
    if last.ttl == "1h" or gap_ms >= TTL_MS["1h"]:
        return pings
    return min(pings, end * (card.cache_write_1h - card.cache_write_5m))
