"""What a token costs: dated price cards, selected by model, date, lane, prompt length and geography.

Nothing here knows a rate or a multiplier: a `PriceBook` is built from a `BookData` value, which the price feed
decodes from a file. Every product of a rate and a geography factor is checked to be a whole number of pico-USD when
the book is built, so that a bill is summed in integers and rounded once.

1 USD per million tokens is 1,000,000 pico-USD per token; 1 nano-USD is 1,000 pico-USD.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from functools import cached_property
from typing import Annotated, Literal

import msgspec

from scrimp.core.wire.labels import LABEL_CHARS_MAX
from scrimp.core.wire.usage import BILLED_ON_TOP, Usage, UsageLine

PICO_USD_PER_NANO_USD = 1_000
MILLISECONDS_PER_DAY = 86_400_000

#: No rate is higher than a dollar per token: so a bill of `TOKENS_MAX` tokens of each class fits into 64 bits.
RATE_PICO_USD_MAX = 10**12
PicoUsd = Annotated[int, msgspec.Meta(ge=0, le=RATE_PICO_USD_MAX)]
Positive = Annotated[int, msgspec.Meta(gt=0)]
#: A factor as (numerator, denominator).
Factor = tuple[Positive, Positive]
#: A table of prices within one entry: batch halves everything today, fast has cards of its own.
Lane = Literal["standard", "batch", "fast"]
#: Whose prompt length selects a long-prompt band; CONFLICT: the rule for several iterations is not published.
LongPromptScope = Literal["line", "exchange"]

STANDARD = "standard"

#: What selects bands besides the prompt's length: model, service tier, speed, geography and day.
_Selects = tuple[str | None, str | None, str | None, str | None, int]
#: Selections whose bands are remembered; past them all are looked up anew.
KNOWN_MAX = 1_000

_EPOCH = date(1970, 1, 1)
_ARN = re.compile(r"^arn:[a-z-]+:bedrock:[^/]*/")
_WINDOW_SUFFIX = "[1m]"
_VERSION_DOT = re.compile(r"(?<=\d)\.(?=\d)")
#: What a spelling may add to a model's id: a snapshot's date, "latest", and Bedrock's or Vertex's version.
_SNAPSHOT = re.compile(r"(?:[-@](?:\d{8}|latest|default)|-v\d+(?::[\w:]+)?)+$")


def nano_usd(pico_usd: int) -> int:
    """Round half up to whole nano-USD, as a bill does once for each exchange."""
    return (pico_usd + PICO_USD_PER_NANO_USD // 2) // PICO_USD_PER_NANO_USD


class RateCard(msgspec.Struct, frozen=True, gc=False):
    """Whole pico-USD per token, for each of the five disjoint token classes."""

    uncached_input: PicoUsd
    cache_read: PicoUsd
    cache_write_5m: PicoUsd
    cache_write_1h: PicoUsd
    output: PicoUsd

    def cost_pico_usd(self, usage: Usage) -> int:
        """Return the exact price of the tokens of `usage`; fees that are not per token are the book's."""
        return (
            usage.uncached_input_tokens * self.uncached_input
            + usage.cache_read_input_tokens * self.cache_read
            + usage.cache_write_5m_input_tokens * self.cache_write_5m
            + usage.cache_write_1h_input_tokens * self.cache_write_1h
            + usage.output_tokens * self.output
        )

    def times(self, factor: Factor) -> RateCard:
        """Multiply every rate; raise ValueError if one is then no whole number of pico-USD."""
        numerator, denominator = factor
        scaled = [divmod(rate * numerator, denominator) for rate in msgspec.structs.astuple(self)]
        if any(rest for _, rest in scaled):
            raise ValueError(f"{numerator}/{denominator} of these rates is not a whole number of pico-USD per token")
        return RateCard(*(whole for whole, _ in scaled))


#: Lower edges in tokens and their rates.
_Bands = tuple[tuple[int, RateCard], ...]


class PriceRow(msgspec.Struct, frozen=True):
    """One card of one lane, for prompts strictly longer than `above_tokens`."""

    lane: Lane
    rates: RateCard
    above_tokens: Annotated[int, msgspec.Meta(ge=0)] = 0


class PriceEntry(msgspec.Struct, frozen=True):
    """What holds for one model from a day (00:00 UTC) on; no day means since the model's launch.

    `geography` maps a value of `usage.inference_geo`, or a kind of cloud endpoint, to its factor. A value that is
    neither here nor among the book's neutral ones has no known price.
    """

    source: str
    rows: tuple[PriceRow, ...]
    from_day: date | None = msgspec.field(default=None, name="from")
    geography: dict[str, Factor] = {}

    @property
    def from_ms(self) -> int | None:
        """The moment from which this holds, in milliseconds since the epoch; None is since ever."""
        return None if self.from_day is None else (self.from_day - _EPOCH).days * MILLISECONDS_PER_DAY

    def lane(self, lane: str) -> list[PriceRow]:
        """Return one lane's cards: a prompt has that of the longest band that it is strictly longer than."""
        return [row for row in self.rows if row.lane == lane]


class ModelPrices(msgspec.Struct, frozen=True):
    """Every price one model ever had, oldest first, and the other names it goes by."""

    model: str
    entries: tuple[PriceEntry, ...]
    aliases: tuple[str, ...] = ()

    def entry(self, at_ms: int) -> PriceEntry:
        """Return what holds at a moment; the first entry also holds for any earlier one."""
        held = (entry for entry in reversed(self.entries) if entry.from_ms is None or entry.from_ms <= at_ms)
        return next(held, self.entries[0])


class BookData(msgspec.Struct, frozen=True):
    """A price file, decoded. Fields left out of a user's file are as in the packaged one.

    * `lanes` maps "service_tier/speed" as the API reports them to a lane; a pair that is not there has no price.
    * `prefixes` maps what clouds and proxies put before a model's id to the geography that it implies ("" is none).
    * `neutral_geographies` are the values of `usage.inference_geo` that change no price.
    * `long_prompt_scope` is the setting of `PriceBook` of that name.
    """

    unit: str
    models: tuple[ModelPrices, ...]
    compiled_from: str = ""
    lanes: dict[str, Lane] = {}
    prefixes: dict[str, str] = {}
    neutral_geographies: tuple[str, ...] = ()
    web_search_pico_usd: PicoUsd | None = None
    long_prompt_scope: LongPromptScope | None = None

    def overlaid(self, user: BookData) -> BookData:
        """Return this book with the user's models and settings in place of its own."""
        models = {each.model: each for each in self.models} | {each.model: each for each in user.models}
        fee = self.web_search_pico_usd if user.web_search_pico_usd is None else user.web_search_pico_usd
        return BookData(
            unit=self.unit,
            models=tuple(models.values()),
            compiled_from=" + ".join(filter(None, (self.compiled_from, user.compiled_from))),
            lanes=self.lanes | user.lanes,
            prefixes=self.prefixes | user.prefixes,
            neutral_geographies=user.neutral_geographies or self.neutral_geographies,
            web_search_pico_usd=fee,
            long_prompt_scope=user.long_prompt_scope or self.long_prompt_scope,
        )

    def beyond(self, base: BookData) -> BookData | None:
        """Return only what this book says that `base` does not, to be laid over `base`; None if that is nothing."""
        fee, neutral = self.web_search_pico_usd, self.neutral_geographies
        rest = BookData(
            unit=self.unit,
            models=tuple(each for each in self.models if each not in base.models),
            compiled_from=self.compiled_from,
            lanes=dict(self.lanes.items() - base.lanes.items()),
            prefixes=dict(self.prefixes.items() - base.prefixes.items()),
            neutral_geographies=() if neutral == base.neutral_geographies else neutral,
            web_search_pico_usd=None if fee == base.web_search_pico_usd else fee,
            long_prompt_scope=None if self.long_prompt_scope == base.long_prompt_scope else self.long_prompt_scope,
        )
        nothing = BookData(unit=self.unit, models=(), compiled_from=self.compiled_from)
        return None if rest == nothing else rest


class PriceBook(msgspec.Struct, frozen=True, dict=True):
    """Prices of every known model, ready to bill with: build one with `build_book`.

    `long_prompt_scope` says whose prompt length selects a long-prompt band. "line" judges each billing line by
    itself, as Claude Code's own cost function does; "exchange" judges by the sum over the executor's lines, which
    is never cheaper. The official rule for requests of several iterations is not published.
    """

    data: BookData
    by_name: dict[str, ModelPrices]
    prefixes: tuple[tuple[str, str], ...]
    web_search_pico_usd: int
    long_prompt_scope: LongPromptScope = "line"

    def find(self, model: str | None) -> ModelPrices | None:
        """Return the prices of a model under any spelling of its id, None if the model is unknown."""
        return self._spelled(model)[0]

    def line_card(self, line: UsageLine, at_ms: int, length: int) -> RateCard | None:
        """Return the rates that a billing line is billed at, geography included; None if they are not known.

        `at_ms` is when the exchange was opened, in milliseconds since the epoch. `length` is the prompt's length in
        tokens that selects the band (see `with_lengths`).
        """
        key = (line.model, line.service_tier, line.speed, line.inference_geo, at_ms // MILLISECONDS_PER_DAY)
        bands = self._known.get(key)
        if bands is None:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            bands = self._known[key] = self._bands(line, at_ms)
        for above_tokens, rates in bands:
            if length > above_tokens or not above_tokens:
                return rates
        return None

    @cached_property
    def _known(self) -> dict[_Selects, _Bands]:
        """What `_bands` has returned: every request asks several times for the same few."""
        return {}

    def _bands(self, line: UsageLine, at_ms: int) -> _Bands:
        """Return each band's lower edge in tokens and its rates, the longest first; none where they are not known."""
        prices, implied = self._spelled(line.model)
        lane = self.data.lanes.get(f"{line.service_tier or STANDARD}/{line.speed or STANDARD}")
        if prices is None or lane is None:
            return ()
        entry, geo, neutral = prices.entry(at_ms), line.inference_geo, self.data.neutral_geographies
        rows = sorted(entry.lane(lane), key=lambda row: -row.above_tokens)
        geography = implied if (geo or "") in neutral else geo
        if not geography or geography in neutral:
            return tuple((row.above_tokens, row.rates) for row in rows)
        factor = entry.geography.get(geography)
        return tuple((row.above_tokens, row.rates.times(factor)) for row in rows) if factor is not None else ()

    def cost_nano_usd(self, lines: Iterable[UsageLine], at_ms: int) -> int | None:
        """Return the bill of one exchange in nano-USD, rounded half up once; None if any part has no known price.

        No lines at all means that nothing is known to have been used, so there is no bill either: None.
        """
        total_pico_usd = None
        for line, length in self.with_lengths(tuple(lines)):
            cost = self._line_pico_usd(line, at_ms, length)
            if cost is None:
                return None
            total_pico_usd = (total_pico_usd or 0) + cost
        return None if total_pico_usd is None else nano_usd(total_pico_usd)

    def unpriced(self, lines: Iterable[UsageLine], at_ms: int) -> tuple[str, ...]:
        """Name, once each and in order, what has no known price, for a caller to warn about."""
        missing = [
            self._name(line)
            for line, length in self.with_lengths(tuple(lines))
            if self.line_card(line, at_ms, length) is None
        ]
        return tuple(dict.fromkeys(missing))

    def _name(self, line: UsageLine) -> str:
        """Name a line's model; if only the model's lane or geography is unknown, say which."""
        if self.find(line.model) is None:
            return line.model or "(no model)"
        parts = (line.service_tier, line.speed, line.inference_geo)
        return f"{line.model} ({'/'.join(part for part in parts if part)})"

    def with_lengths(self, lines: Sequence[UsageLine]) -> list[tuple[UsageLine, int]]:
        """Pair each line with the prompt length that selects its band."""
        own = [(line, line.usage.total_input_tokens) for line in lines]
        if self.long_prompt_scope == "line":
            return own
        whole = sum(length for line, length in own if line.kind not in BILLED_ON_TOP)
        return [(line, length if line.kind in BILLED_ON_TOP else whole) for line, length in own]

    def _line_pico_usd(self, line: UsageLine, at_ms: int, length: int) -> int | None:
        card = self.line_card(line, at_ms, length)
        if card is None:
            return None
        return card.cost_pico_usd(line.usage) + line.usage.web_search_requests * self.web_search_pico_usd

    def _spelled(self, model: str | None) -> tuple[ModelPrices | None, str]:
        """Return a model's prices and the geography that its spelling implies."""
        if model is None or len(model) > LABEL_CHARS_MAX:
            return None, ""
        if found := self.by_name.get(model) or self.by_name.get(_SNAPSHOT.sub("", model)):
            return found, ""
        name = _ARN.sub("", model.strip().lower()).removesuffix(_WINDOW_SUFFIX)
        name, geography = self._without_prefix(name)
        name = _VERSION_DOT.sub("-", name)
        return self.by_name.get(name) or self.by_name.get(_SNAPSHOT.sub("", name)), geography

    def _without_prefix(self, name: str) -> tuple[str, str]:
        """Strip one prefix after the other; the innermost that implies a geography has the last word."""
        geography = ""
        while found := next((pair for pair in self.prefixes if name.startswith(pair[0])), None):
            name, geography = name[len(found[0]) :], found[1] or geography
        return name, geography


def build_book(data: BookData) -> PriceBook:
    """Index and check a price file; raise ValueError, in one sentence, if it contradicts itself."""
    if data.web_search_pico_usd is None:
        raise ValueError("the price file does not say what a web search costs")
    by_name: dict[str, ModelPrices] = {}
    for prices in data.models:
        _check(prices)
        for name in (prices.model, *prices.aliases):
            if by_name.setdefault(name, prices) is not prices:
                raise ValueError(f"two models of the price file go by the name {name!r}")
    if "" in data.prefixes:
        raise ValueError("a prefix of the price file is empty")
    prefixes = tuple(sorted(data.prefixes.items(), key=lambda pair: -len(pair[0])))
    return PriceBook(data, by_name, prefixes, data.web_search_pico_usd, data.long_prompt_scope or "line")


def _check(prices: ModelPrices) -> None:
    """Raise ValueError unless the entries are dated in order and every lane has a card for short prompts."""
    days = [entry.from_day or _EPOCH for entry in prices.entries]
    if not days or days != sorted(set(days)):
        raise ValueError(f"the entries of {prices.model!r} in the price file are not dated in order")
    for entry in prices.entries:
        bands = [(row.lane, row.above_tokens) for row in entry.rows]
        if len(set(bands)) < len(bands) or any((lane, 0) not in bands for lane, _ in bands) or not bands:
            raise ValueError(f"the price file has no single card for each lane and band of {prices.model!r}")
        _check_whole(prices.model, entry)


def _check_whole(model: str, entry: PriceEntry) -> None:
    """Raise ValueError if a geography makes a rate no whole number of pico-USD, or one that cannot be."""
    for row in entry.rows:
        for place, factor in entry.geography.items():
            try:
                rates = row.rates.times(factor)
            except ValueError as error:
                raise ValueError(f"{model!r} in {place!r}: {error}") from None
            if max(msgspec.structs.astuple(rates)) > RATE_PICO_USD_MAX:
                raise ValueError(f"{model!r} in {place!r} costs more than a dollar per token")
