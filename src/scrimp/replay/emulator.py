"""The one biller of replay: what steps cost under given marks, lifetimes and pings, by the rules of the cache.

The rules are those of `scrimp.core.belief.cache` (its docstring has them), on lengths instead of digests. Positions of
an entry are few: the end of a step's prompt, where its last mark lies, and the end of tools and system (the base).
Each is a node; the nodes in front of a step are found once (`Ways`), so that each policy is one pass over the steps.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import chain

import msgspec

from scrimp.core.belief.cache import TTL_MS, CacheRules
from scrimp.core.wire.blocks import Ttl
from scrimp.core.wire.models import traits
from scrimp.core.wire.usage import Usage
from scrimp.replay.steps import ROOT, SentPing, Step

_RULES = CacheRules()


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What a policy does with a step.

    * `ttl` is the class of the mark at the end of the prompt, None for no mark there.
    * `base_ttl` is the class of the mark behind tools and system, None for none.
    * `fronts` are marks at the ends of steps that this one extends (their indexes), and the class of each.
    * `pings_ms` are the times at which this very prompt is sent again for the sake of the cache alone.
    * `sent` are pings that were sent in fact: they do what a ping does, and cost what they were billed.

    The caller keeps to the API's limits: four marks, and no hour behind five minutes.
    """

    ttl: Ttl | None
    base_ttl: Ttl | None
    fronts: tuple[tuple[int, Ttl], ...] = ()
    pings_ms: tuple[int, ...] = ()
    sent: tuple[SentPing, ...] = ()


class Ping(msgspec.Struct, frozen=True, gc=False):
    """The bill of one ping of a step."""

    step: int
    at_ms: int
    usage: Usage


class Bill(msgspec.Struct, frozen=True):
    """The input of every step, in order, and the pings, in order of time."""

    usages: list[Usage]
    pings: list[Ping]


def as_recorded(step: Step) -> Decision:
    """Return the marks as they were sent, behind the system prompt and at the end, both of the recorded class.

    The pings are those that were sent, too.
    """
    return Decision(step.ttl, step.ttl, sent=step.pings)


class Ways:
    """For each step, the way back through the steps whose whole prompt stands in front of it.

    * `up[i]` is the nearest such step, or ROOT; all others follow from there.
    * `positions[i]` counts look-back positions from the beginning of the way.
    * `base[i]` is the step that first had this step's base.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.ends = [step.end_tokens for step in steps]
        self.up: list[int] = []
        self.positions: list[int] = []
        self.base: list[int] = []
        for index, step in enumerate(steps):
            up = step.parent
            while up != ROOT and (self.ends[up] > step.shared_tokens or self.ends[up] > self.ends[index]):
                up = self.up[up]
            self.up.append(up)
            self.positions.append((self.positions[up] if up != ROOT else 0) + (step.blocks or 1))
            self.base.append(self._base(steps, index, step))

    def _base(self, steps: Sequence[Step], index: int, step: Step) -> int:
        if step.parent == ROOT or not step.base_tokens or step.base_tokens > step.shared_tokens:
            return index
        parent = steps[step.parent]
        return self.base[step.parent] if parent.base_tokens == step.base_tokens else index

    def back(self, index: int) -> Iterator[int]:
        """Walk from a step up to the beginning, itself first."""
        while index != ROOT:
            yield index
            index = self.up[index]


class _Cache:
    """Entries by node: when each runs out, its class, and from when on it can be read."""

    def __init__(self, nodes: int) -> None:
        self.expires_ms = [0] * nodes
        self.life_ms = [0] * nodes
        self.ready_ms = [0] * nodes

    def is_live(self, node: int, now_ms: int) -> bool:
        return self.ready_ms[node] <= now_ms < self.expires_ms[node]

    def refresh(self, node: int, now_ms: int) -> None:
        if self.ready_ms[node] <= now_ms < self.expires_ms[node]:
            self.expires_ms[node] = now_ms + self.life_ms[node]

    def write(self, node: int, life_ms: int, now_ms: int, ready_ms: int) -> None:
        """Write an entry; a second writer of one that lives only lengthens its life."""
        if now_ms < self.expires_ms[node]:
            life_ms = max(life_ms, self.life_ms[node])
            ready_ms = min(ready_ms, self.ready_ms[node])
        self.expires_ms[node] = now_ms + life_ms
        self.life_ms[node] = life_ms
        self.ready_ms[node] = ready_ms


class Emulator:
    """Bills one account's steps, as often as there are policies.

    `side_requests` says whether the client's own requests that transcripts leave out keep entries alive, too: to
    predict a recorded bill they must; policies are compared without, since nobody's bill shows them.

    `keeps_lifetimes` is the safer reading of what the docs leave open: each token lives as long as the mark that it was
    written with, so an entry of an hour that goes on from one of five minutes dies with it. The optimum is a bound
    under this reading only. The other one is what an upgrade ping would rest on (`levers.hold.Settings`).
    """

    def __init__(
        self,
        steps: Sequence[Step],
        rules: CacheRules = _RULES,
        *,
        side_requests: bool = False,
        keeps_lifetimes: bool = True,
    ) -> None:
        self.steps = steps
        self.ways = Ways(steps)
        self._rules = rules
        self._side_requests = side_requests
        self._keeps_lifetimes = keeps_lifetimes
        self._shortest = {step.model: traits(step.model).min_cacheable_tokens for step in steps}
        self._cache = _Cache(0)
        self._wanted: list[int] = []

    def bill(self, decisions: Sequence[Decision]) -> Bill:
        """Return what the steps use under one decision for each of them."""
        count = len(self.steps)
        self._cache = _Cache(2 * count)
        self._wanted = self._find_wanted(decisions)
        usages = [Usage()] * count
        pings: list[Ping] = []
        sent = {(ping.at_ms, index): ping.usage for index, each in enumerate(decisions) for ping in each.sent}
        for at_ms, is_step, index in self._events(decisions):
            usage = self._request(index, decisions[index], at_ms, is_ping=not is_step)
            if is_step:
                usages[index] = usage
            else:
                billed = sent.get((at_ms, index))
                self._upgrade(index, at_ms, billed)
                pings.append(Ping(index, at_ms, billed or usage))
        return Bill(usages, pings)

    def _upgrade(self, index: int, at_ms: int, billed: Usage | None) -> None:
        """Make the entry of a sent ping that wrote for an hour, whatever the class of the step's own marks."""
        if billed is not None and billed.cache_write_1h_input_tokens:
            self._cache.write(index, TTL_MS["1h"], at_ms, at_ms)

    def _events(self, decisions: Sequence[Decision]) -> Iterator[tuple[int, bool, int]]:
        """Return steps and pings in order of time; a ping comes before a step of the same moment."""
        steps = [(step.at_ms, True, index) for index, step in enumerate(self.steps)]
        pings = [(at_ms, False, index) for index, decision in enumerate(decisions) for at_ms in decision.pings_ms]
        pings += [(ping.at_ms, False, index) for index, decision in enumerate(decisions) for ping in decision.sent]
        return heapq.merge(steps, sorted(pings)) if pings else iter(steps)

    def _find_wanted(self, decisions: Sequence[Decision]) -> list[int]:
        """Return up to which step any entry on the way to each node is looked at: refreshing may stop there."""
        ways, window = self.ways, self._rules.lookback_positions
        pings = [bool(decision.pings_ms or decision.sent) for decision in decisions]
        wanted = [index if is_pinged else ROOT for index, is_pinged in enumerate(pings)]
        for index, decision in enumerate(decisions):
            last = len(decisions) if pings[index] else index
            for start in chain((index,), (front for front, _ in decision.fronts)):
                floor = ways.positions[start] - window
                for node in ways.back(start):
                    if ways.positions[node] <= floor:
                        break
                    wanted[node] = max(wanted[node], last)
        for index, up in enumerate(ways.up):
            if up != ROOT and wanted[up] > wanted[index]:
                wanted[index] = wanted[up]
        return wanted

    # --- one request ---

    def _request(self, index: int, decision: Decision, now_ms: int, *, is_ping: bool) -> Usage:
        step, ways, cache = self.steps[index], self.ways, self._cache
        shortest, end = self._shortest[step.model], ways.ends[index]
        base_node = len(self.steps) + ways.base[index]
        has_end = decision.ttl is not None and end >= shortest
        has_base = decision.base_ttl is not None and shortest <= step.base_tokens <= end and step.base_tokens > 0
        fronts = [mark for mark in decision.fronts if ways.ends[mark[0]] >= shortest] if decision.fronts else ()
        if not (has_end or has_base or fronts):
            return Usage(uncached_input_tokens=step.total_tokens)
        side_tokens = self._side(index, decision, base_node) if step.side and self._side_requests else 0
        hit = self._look_back(index, now_ms) if has_end else ROOT
        for front, _ in sorted(fronts, reverse=True):
            hit = self._look_back(front, now_ms) if hit == ROOT else hit
        read = ways.ends[hit] if hit != ROOT else 0
        life_ms = cache.life_ms[hit] if hit != ROOT else TTL_MS["1h"]
        if has_base and read < step.base_tokens and cache.is_live(base_node, now_ms):
            read, life_ms = step.base_tokens, cache.life_ms[base_node]
        last = max(
            end if has_end else 0,
            step.base_tokens if has_base else 0,
            max((ways.ends[front] for front, _ in fronts), default=0),
        )
        warmed = 0 if is_ping else max(step.given_tokens, side_tokens)
        read = min(max(read, warmed), last)
        self._keep(index, hit, base_node, read, now_ms)
        life_ms = life_ms if read > warmed and self._keeps_lifetimes else TTL_MS["1h"]
        return self._write(index, decision, base_node, read, last, now_ms, life_ms, (has_end, has_base, fronts))

    def _look_back(self, start: int, now_ms: int) -> int:
        """Return the nearest live entry within the window of a mark at the end of `start`, or ROOT."""
        ways, cache = self.ways, self._cache
        floor = ways.positions[start] - self._rules.lookback_positions
        for node in ways.back(start):
            if ways.positions[node] <= floor:
                return ROOT
            if cache.is_live(node, now_ms):
                return node
        return ROOT

    def _side(self, index: int, decision: Decision, base_node: int) -> int:
        """Let the client's own request in front of a step keep what it reads, and return how much it left warm."""
        step = self.steps[index]
        side = step.side
        if side is None or decision.ttl is None:
            return 0
        self._keep(index, self.ways.up[index], base_node, side.tokens, side.at_ms)
        return side.tokens if step.at_ms < side.at_ms + TTL_MS[decision.ttl] else 0

    def _keep(self, index: int, hit: int, base_node: int, read: int, now_ms: int) -> None:
        """Start the lifetimes of what is read again."""
        cache = self._cache
        if self.steps[index].base_tokens <= read:
            cache.refresh(base_node, now_ms)
        for node in self.ways.back(hit):
            cache.refresh(node, now_ms)
            if self._wanted[node] <= index or not self._rules.longer_read_refreshes_shorter:
                break

    def _write(
        self,
        index: int,
        decision: Decision,
        base_node: int,
        read: int,
        last: int,
        now_ms: int,
        front_ms: int,
        marks: tuple[bool, bool, Sequence[tuple[int, Ttl]]],
    ) -> Usage:
        """Make the entries of the marks behind what is read, and the bill.

        No entry outlives `front_ms`, the lifetime of what it goes on from (see the class).
        """
        step, ways, cache = self.steps[index], self.ways, self._cache
        has_end, has_base, fronts = marks
        ready_ms = step.first_token_at_ms or step.ended_at_ms or now_ms
        ready_ms = max(now_ms, ready_ms) if now_ms <= step.at_ms else now_ms
        one_hour = 0
        written: list[tuple[int, int, Ttl | None]] = [(ways.ends[front], front, ttl) for front, ttl in fronts]
        if has_base:
            written.append((step.base_tokens, base_node, decision.base_ttl))
        if has_end:
            written.append((ways.ends[index], index, decision.ttl))
        for tokens, node, ttl in written:
            if ttl is None:
                continue
            if ttl == "1h":
                one_hour = max(one_hour, tokens)
            if tokens > read:
                cache.write(node, min(TTL_MS[ttl], front_ms), now_ms, ready_ms)
            elif node == base_node and tokens <= step.given_tokens:
                cache.write(node, TTL_MS[ttl], now_ms, now_ms)
        upto_1h = min(max(read, one_hour), last)
        return Usage(
            uncached_input_tokens=step.total_tokens - last,
            cache_read_input_tokens=read,
            cache_write_5m_input_tokens=last - upto_1h,
            cache_write_1h_input_tokens=upto_1h - read,
        )


def bill(steps: Sequence[Step], decisions: Sequence[Decision] | None = None, *, side_requests: bool = False) -> Bill:
    """Return the bill of one account's steps, by default as they were recorded."""
    emulator = Emulator(steps, side_requests=side_requests)
    return emulator.bill([as_recorded(step) for step in steps] if decisions is None else decisions)
