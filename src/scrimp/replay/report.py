"""Where the money went: exchanges folded into totals, groups and two baselines. No input or output happens here.

Every exchange costs what its record says it cost, else what the price book says; one whose price is unknown is counted
as unpriced and adds nothing. Costs are whole nano-USD for each exchange, so that groups add up to the total exactly.
A sum that leaves out anything that may have been billed is a lower bound, and says so. What the API refused (an HTTP
status of 400 or more, no usage) is not billed (API docs, errors), so it makes no sum a lower bound. Where each exchange
states the most that it can have cost, a sum has an upper bound, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from typing import Literal, get_args

import msgspec

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.prices import MILLISECONDS_PER_DAY, RateCard, nano_usd
from scrimp.core.wire.usage import Usage, UsageLine
from scrimp.replay.baselines import Baselines
from scrimp.replay.rates import Rates, lines_of
from scrimp.replay.savings import Savings

By = Literal["task", "model", "session", "agent", "project", "day", "tenant"]
BYS: tuple[By, ...] = get_args(By)

#: The five token classes, as they are named everywhere.
CLASSES = (
    "uncached_input_tokens",
    "cache_read_input_tokens",
    "cache_write_5m_input_tokens",
    "cache_write_1h_input_tokens",
    "output_tokens",
)

#: HTTP statuses from this one on are refusals: the API did nothing, and bills nothing.
REFUSED_FROM_STATUS = 400
#: Where a record without an end is one that may still be under way; other recordings state no end for other reasons.
_GATEWAY = "gateway"

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


class Group(msgspec.Struct):
    """The exchanges of one key. `cost_nano_usd` is the sum of the known costs, None if none is known.

    `cost_upper_nano_usd` is the most that they can have cost together, None if there is no bound for one of them.

    * `unpriced_exchanges` have no known cost, for whatever reason.
    * `incomplete_exchanges` left some usage, but broke off before the final count.
    * `partial_output_exchanges` come from clients that recorded only the beginning of the output count.
    * `refused_exchanges` were refused by the API: they have no usage and were not billed.
    * `open_exchanges` were opened by a gateway and never closed: still under way, or the gateway died.
    * `broken_exchanges` are all others without a complete usage; they may be billed, as open ones may.
    """

    key: str
    exchanges: int
    unpriced_exchanges: int
    partial_output_exchanges: int
    incomplete_exchanges: int
    refused_exchanges: int
    broken_exchanges: int
    open_exchanges: int
    cost_nano_usd: int | None
    cost_upper_nano_usd: int | None
    share: float
    usage: Usage

    @property
    def is_lower_bound(self) -> bool:
        """Whether the true cost may be higher than the one that is stated."""
        left_out = self.unpriced_exchanges - self.refused_exchanges
        return self.cost_nano_usd is not None and bool(
            self.partial_output_exchanges or self.incomplete_exchanges or left_out
        )


class Dearest(msgspec.Struct, frozen=True):
    """The key that the most is known to have been spent on, and whether that is a lower bound."""

    key: str
    cost_nano_usd: int
    is_lower_bound: bool


class Report(msgspec.Struct):
    """Everything that a report says; `groups` are the dearest first.

    * `total` is the group of all exchanges.
    * `unmetered_exchanges` have no recorded usage: refused, broken off, or still open.
    * `class_cost_nano_usd` splits what the price book billed by token class, in the order of `CLASSES`;
      `web_search_nano_usd` is the rest of that bill, and `billed_nano_usd` all of it.
    * `uncached_nano_usd` and `automatic_nano_usd` are estimates for the exchanges of that bill (see `baselines`).
    * `savings` are what the ledger states, and what we spent ourselves.
    """

    by: By
    total: Group
    sessions: int
    groups: list[Group]
    unmetered_exchanges: int
    unpriced_models: dict[str, int]
    class_cost_nano_usd: dict[str, int]
    web_search_nano_usd: int
    billed_nano_usd: int
    uncached_nano_usd: int
    automatic_nano_usd: int
    savings: Savings
    dearest_task: Dearest | None
    dearest_session: Dearest | None
    first_at_ms: int | None
    last_at_ms: int | None


class _Tally:
    """Running sums of one group: plain integers, because there are many exchanges."""

    _STATES = ("priced", "partial", "incomplete", "refused", "broken", "open")
    _COUNTS = ("exchanges", *_STATES, "cost", "upper", "unbounded", "thinking", "searches")
    __slots__ = (*_COUNTS, "tokens")

    def __init__(self) -> None:
        self.exchanges = self.priced = self.partial = self.incomplete = self.refused = self.broken = self.open = 0
        self.cost = self.upper = self.unbounded = self.thinking = self.searches = 0
        self.tokens = [0, 0, 0, 0, 0]

    def add_exchange(self, exchange: Exchange, cost_nano_usd: int | None) -> bool:
        """Add an exchange, and return whether its known cost may leave something out."""
        self.exchanges += 1
        self.partial += exchange.output_partial
        self.add_upper(_upper(exchange, cost_nano_usd))
        usage = exchange.usage
        if cost_nano_usd is not None:
            self.priced += 1
            self.cost += cost_nano_usd
        if usage is not None:
            self.add_usage(usage)
            if exchange.usage_complete:
                return exchange.output_partial or cost_nano_usd is None
            self.incomplete += 1
        elif cost_nano_usd is None and _is_refused(exchange):
            self.refused += 1
            return exchange.output_partial
        if exchange.closed_at_ms is None and exchange.source == _GATEWAY:
            self.open += 1
        else:
            self.broken += 1
        return True

    def add_upper(self, upper_nano_usd: int | None) -> None:
        if upper_nano_usd is None:
            self.unbounded += 1
        else:
            self.upper += upper_nano_usd

    def add_usage(self, usage: Usage) -> None:
        tokens = self.tokens
        tokens[0] += usage.uncached_input_tokens
        tokens[1] += usage.cache_read_input_tokens
        tokens[2] += usage.cache_write_5m_input_tokens
        tokens[3] += usage.cache_write_1h_input_tokens
        tokens[4] += usage.output_tokens
        self.thinking += usage.thinking_tokens
        self.searches += usage.web_search_requests

    def add(self, other: _Tally) -> None:
        for name in self._COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.tokens = [mine + theirs for mine, theirs in zip(self.tokens, other.tokens, strict=True)]

    def usage(self) -> Usage:
        uncached, read, write_5m, write_1h, output = self.tokens
        return Usage(uncached, read, write_5m, write_1h, output, self.thinking, self.searches)

    def group(self, key: str, whole_nano_usd: int) -> Group:
        return Group(
            key=key,
            exchanges=self.exchanges,
            unpriced_exchanges=self.exchanges - self.priced,
            partial_output_exchanges=self.partial,
            incomplete_exchanges=self.incomplete,
            refused_exchanges=self.refused,
            broken_exchanges=self.broken,
            open_exchanges=self.open,
            cost_nano_usd=self.cost if self.priced else None,
            cost_upper_nano_usd=None if self.unbounded else self.upper,
            share=self.cost / whole_nano_usd if whole_nano_usd else 0.0,
            usage=self.usage(),
        )


def _is_refused(exchange: Exchange) -> bool:
    """Say whether the API refused: an error that is not its own states a cost that it may have had all the same."""
    status = exchange.http_status
    return status is not None and status >= REFUSED_FROM_STATUS and not exchange.cost_upper_nano_usd


def _upper(exchange: Exchange, cost_nano_usd: int | None) -> int | None:
    """Return the most that an exchange can have cost, None where no bound is known."""
    if exchange.usage is not None and exchange.usage_complete and not exchange.output_partial:
        return cost_nano_usd
    if exchange.usage is None and cost_nano_usd is None and _is_refused(exchange):
        return 0
    return exchange.cost_upper_nano_usd


# --- keys ---


def task_of(exchange: Exchange) -> str:
    """Return the owner's name for the work where given, else the inferred type."""
    return exchange.task_tag or exchange.task_type or "no task type"


def day_of(exchange: Exchange) -> str:
    """Return the UTC day on which an exchange was opened."""
    return day_at(exchange.opened_at_ms)


def day_at(at_ms: int) -> str:
    """Return the UTC day of a moment, as in 2026-01-31."""
    return date.fromordinal(_EPOCH_ORDINAL + at_ms // MILLISECONDS_PER_DAY).isoformat()


class _AgentTree:
    """Names agents by their way down from the main one: "main > Explore". Parents come before their children."""

    def __init__(self) -> None:
        self._ways: dict[str, str] = {}

    def __call__(self, exchange: Exchange) -> str:
        if exchange.agent_id is None:
            return exchange.agent_type or "main"
        way = self._ways.get(exchange.agent_id)
        if way is None:
            above = self._ways.get(exchange.parent_agent_id or "", "main")
            way = self._ways[exchange.agent_id] = f"{above} > {exchange.agent_type or 'agent'}"
        return way


_KEYS: dict[By, Callable[[], Callable[[Exchange], str]]] = {
    "task": lambda: task_of,
    "model": lambda: lambda exchange: exchange.served_model or exchange.requested_model or "no model",
    "session": lambda: lambda exchange: exchange.session_id or "no session",
    "agent": _AgentTree,
    "project": lambda: lambda exchange: exchange.project or "no project",
    "day": lambda: day_of,
    "tenant": lambda: lambda exchange: exchange.tenant or "no tenant",
}


# --- the fold ---


class _Bill:
    """Prices exchanges one by one, and splits what they cost by token class."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        self.baselines = Baselines()
        self.class_pico_usd = [0, 0, 0, 0, 0]
        self.web_search_pico_usd = 0
        self.unpriced_models: dict[str, int] = {}

    def cost(self, exchange: Exchange) -> int | None:
        """Return an exchange's cost in nano-USD, None if unknown; known ones also go into the baselines."""
        lines = lines_of(exchange)
        cards = self._rates.cards(lines, exchange.opened_at_ms)
        priced = [(line, card) for line, card in zip(lines, cards, strict=True) if card is not None]
        if len(priced) < len(lines):
            if exchange.cost_nano_usd is None:
                self._note_unpriced(exchange)
            return exchange.cost_nano_usd
        pico_usd = sum([self._line(exchange, line, card) for line, card in priced])
        if exchange.cost_nano_usd is not None or not priced:
            return exchange.cost_nano_usd
        return nano_usd(pico_usd)

    def _line(self, exchange: Exchange, line: UsageLine, card: RateCard) -> int:
        """Return the price of one line in pico-USD, and add it to everything that is summed by line."""
        usage = line.usage
        uncached = usage.uncached_input_tokens * card.uncached_input
        read = usage.cache_read_input_tokens * card.cache_read
        write_5m = usage.cache_write_5m_input_tokens * card.cache_write_5m
        write_1h = usage.cache_write_1h_input_tokens * card.cache_write_1h
        output = usage.output_tokens * card.output
        sums = self.class_pico_usd
        sums[0] += uncached
        sums[1] += read
        sums[2] += write_5m
        sums[3] += write_1h
        sums[4] += output
        self.baselines.add(exchange, line, card)
        fee = usage.web_search_requests * self._rates.book.web_search_pico_usd
        if fee:
            self.web_search_pico_usd += fee
            self.baselines.add_fee(fee)
        return uncached + read + write_5m + write_1h + output + fee

    def _note_unpriced(self, exchange: Exchange) -> None:
        for name in self._rates.book.unpriced(lines_of(exchange), exchange.opened_at_ms):
            self.unpriced_models[name] = self.unpriced_models.get(name, 0) + 1


class _Costs:
    """What each key cost, as far as is known."""

    def __init__(self) -> None:
        self.nano_usd: dict[str, int] = {}
        self._bounds: set[str] = set()

    def add(self, key: str, cost_nano_usd: int | None, *, is_lower_bound: bool) -> None:
        self.nano_usd[key] = self.nano_usd.get(key, 0) + (cost_nano_usd or 0)
        if is_lower_bound:
            self._bounds.add(key)

    def dearest(self) -> Dearest | None:
        found = min(self.nano_usd.items(), key=lambda item: (-item[1], item[0]), default=None)
        return None if found is None else Dearest(*found, found[0] in self._bounds)


def fold(exchanges: Iterable[Exchange], rates: Rates, by: By = "task") -> Report:
    """Fold exchanges, given in the order of opening, into a report grouped by `by`."""
    key_of = _KEYS[by]()
    bill = _Bill(rates)
    tallies: dict[str, _Tally] = {}
    sessions, tasks, savings = _Costs(), _Costs(), Savings()
    unmetered = 0
    first_at_ms = last_at_ms = None
    for exchange in exchanges:
        key = key_of(exchange)
        tally = tallies.get(key)
        if tally is None:
            tally = tallies[key] = _Tally()
        cost = bill.cost(exchange)
        savings.add(exchange)
        is_lower_bound = tally.add_exchange(exchange, cost)
        unmetered += exchange.usage is None
        if exchange.session_id is not None:
            sessions.add(exchange.session_id, cost, is_lower_bound=is_lower_bound)
        tasks.add(task_of(exchange), cost, is_lower_bound=is_lower_bound)
        first_at_ms = exchange.opened_at_ms if first_at_ms is None else first_at_ms
        last_at_ms = exchange.opened_at_ms
    whole = _Tally()
    for tally in tallies.values():
        whole.add(tally)
    groups = [tally.group(key, whole.cost) for key, tally in tallies.items()]
    return Report(
        by=by,
        total=whole.group("", whole.cost),
        sessions=len(sessions.nano_usd),
        groups=sorted(groups, key=lambda group: (-(group.cost_nano_usd or 0), group.key)),
        unmetered_exchanges=unmetered,
        unpriced_models=bill.unpriced_models,
        class_cost_nano_usd=dict(zip(CLASSES, map(nano_usd, bill.class_pico_usd), strict=True)),
        web_search_nano_usd=nano_usd(bill.web_search_pico_usd),
        billed_nano_usd=nano_usd(sum(bill.class_pico_usd) + bill.web_search_pico_usd),
        uncached_nano_usd=nano_usd(bill.baselines.uncached_pico_usd),
        automatic_nano_usd=nano_usd(bill.baselines.automatic_pico_usd),
        savings=savings,
        dearest_task=tasks.dearest(),
        dearest_session=sessions.dearest(),
        first_at_ms=first_at_ms,
        last_at_ms=last_at_ms,
    )
