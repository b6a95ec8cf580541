"""Compile the price book from the genai-prices package and our dated overrides.

genai-prices knows the rates; `data/overrides.toml` knows what it lacks: batch prices at every date, geography,
spellings, and the days on which a rate changed. Where they differ, the overrides win. Needs the extra
`scrimp[prices]`, which nothing else needs.
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from scrimp.core.wire.prices import (
    BookData,
    Factor,
    Lane,
    LongPromptScope,
    ModelPrices,
    PriceEntry,
    PriceRow,
    RateCard,
    build_book,
)
from scrimp.errors import ConfigError
from scrimp.upstream.pricefeed import DATA, RATE_FIELDS, UNIT, UNITS, whole_rate

OVERRIDES = DATA / "overrides.toml"
#: How a source begins that is the package of that name, in these files and in every price file.
GENAI_PRICES = "genai-prices"
PER_MTOK = UNITS["USD/MTok"]
PICO_USD_PER_USD = 1_000_000_000_000
#: Our token classes -> the names genai-prices may use for each, the more exact one first.
GENAI_FIELDS = {
    "uncached_input": ("input_mtok",),
    "cache_read": ("cache_read_mtok",),
    "cache_write_5m": ("cache_write_5m_mtok", "cache_write_mtok"),
    "cache_write_1h": ("cache_write_1h_mtok",),
    "output": ("output_mtok",),
}
_ORDINARY_ID = re.compile(r"^claude-(?P<line>[a-z]+)-(?P<version>\d+(?:-\d+)?)$")
_OLD_ID = re.compile(r"^claude-(?P<version>\d+(?:-\d+)?)-(?P<line>[a-z]+)$")


#: The cards of one lane: above how many prompt tokens -> rates.
Cards = dict[int, RateCard]


class Compiled(msgspec.Struct, frozen=True):
    """A compiled book, and one sentence for each thing in the sources that it could not follow."""

    book: BookData
    notes: tuple[str, ...]


class _Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model of overrides.toml; see the comments there."""

    renames: str | None = None
    same_as: str | None = None
    aliases: tuple[str, ...] = ()
    geography: str = "since_4_6"
    source: str | None = None
    entries: tuple[_Entry, ...] = ()


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One dated entry of overrides.toml, rates in USD per million tokens."""

    source: str
    from_day: dt.date | None = msgspec.field(default=None, name="from")
    rows: tuple[dict[str, float], ...] = ()
    change: dict[str, float] = {}
    drop: tuple[Lane, ...] = ()


class _Period(msgspec.Struct, frozen=True):
    """What genai-prices says of one model from a day on: the cards of each lane."""

    from_day: dt.date | None
    lanes: dict[Lane, Cards]


class Overrides(msgspec.Struct, frozen=True):
    """The whole of overrides.toml."""

    lanes: dict[str, Lane]
    prefixes: dict[str, str]
    geographies: dict[str, dict[str, Factor]]
    models: dict[str, _Model]
    book: Settings


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What overrides.toml says of the book as a whole."""

    neutral_geographies: tuple[str, ...]
    web_search_usd: float
    long_prompt_scope: LongPromptScope
    skip: tuple[str, ...]
    batch_factor: Factor


def compile_book(overrides_file: Path = OVERRIDES) -> Compiled:
    """Compile genai-prices as installed, under the overrides.

    Raises ConfigError if genai-prices is not installed or the overrides are not what they should be.
    """
    try:
        from genai_prices import __version__, data  # noqa: PLC0415 - a heavy, optional dependency
    except ImportError:
        raise ConfigError(
            "The package genai-prices, which prices are compiled from, is not installed.",
            "Install it with `pip install 'scrimp[prices]'`, or give a price file with --from.",
        ) from None
    anthropic = next(provider for provider in data.providers if provider.id == "anthropic")
    infos = {info.id: info for info in anthropic.models}
    try:
        raw = tomllib.loads(overrides_file.read_text("utf-8"))
        return compile_from(infos, msgspec.convert(raw, Overrides), f"{GENAI_PRICES} {__version__}")
    except (OSError, ValueError) as error:
        raise ConfigError(f"The price overrides {overrides_file} cannot be used: {error}.", "Mend the file.") from None


def compile_from(infos: Mapping[str, Any], overrides: Overrides, compiled_from: str) -> Compiled:
    """Compile models of genai-prices, by id, under the overrides; raise ValueError if the two do not fit."""
    taken = {model.renames or name for name, model in overrides.models.items()} | set(overrides.book.skip)
    todo = overrides.models | {name: _Model() for name in infos if name not in taken}
    models, notes = [], []
    for name in sorted(todo):
        try:
            models.append(_model(name, todo[name], infos, overrides, compiled_from))
        except _Unpriceable as reason:
            notes.append(f"{name} is left out: {reason}.")
    book = BookData(
        unit=UNIT,
        compiled_from=compiled_from,
        models=tuple(models),
        lanes=overrides.lanes,
        prefixes=overrides.prefixes,
        neutral_geographies=overrides.book.neutral_geographies,
        web_search_pico_usd=whole_rate(overrides.book.web_search_usd, PICO_USD_PER_USD),
        long_prompt_scope=overrides.book.long_prompt_scope,
    )
    build_book(book)
    return Compiled(book, tuple(notes))


class _Unpriceable(Exception):
    """A model of genai-prices whose price has a form that we do not know."""


def _model(name: str, ours: _Model, infos: Mapping[str, Any], overrides: Overrides, compiled_from: str) -> ModelPrices:
    theirs = ours.renames or ours.same_as or name
    info = infos.get(theirs)
    if info is None:
        raise _Unpriceable(f"{compiled_from} has no {theirs}")
    periods = _periods(info)
    source = ours.source or compiled_from
    dated = [(_versioned(each.source, compiled_from), _changed(periods[-1], each)) for each in ours.entries] or [
        (source, period) for period in periods
    ]
    geography = overrides.geographies[ours.geography]
    factor = overrides.book.batch_factor
    entries = [PriceEntry(each, _rows(period, factor), period.from_day, geography) for each, period in dated]
    return ModelPrices(name, tuple(entries), (*ours.aliases, *_swapped(name)))


def _versioned(source: str, compiled_from: str) -> str:
    """Say which version of genai-prices a source means, where it begins with that name."""
    rest = source.removeprefix(GENAI_PRICES)
    return source if rest == source else f"{compiled_from}{rest}"


def _changed(period: _Period, entry: _Entry) -> _Period:
    """Apply one dated entry of the overrides to what genai-prices says last."""
    lanes = {lane: cards for lane, cards in period.lanes.items() if lane not in entry.drop}
    if entry.rows:
        lanes["standard"] = {int(row.get("above_tokens", 0)): _card(row) for row in entry.rows}
    if entry.change:
        rates = {name: whole_rate(rate, PER_MTOK) for name, rate in entry.change.items()}
        lanes["standard"] = {above: replace(card, **rates) for above, card in lanes["standard"].items()}
    return _Period(entry.from_day, lanes)


def _card(rates: Mapping[str, Any]) -> RateCard:
    """Read a card from rates in USD per million tokens."""
    return msgspec.convert({name: whole_rate(rates.get(name), PER_MTOK) for name in RATE_FIELDS}, RateCard)


def _rows(period: _Period, batch_factor: Factor) -> tuple[PriceRow, ...]:
    """Write out every lane's cards; batch follows from the standard ones."""
    standard = period.lanes["standard"]
    lanes = period.lanes | {"batch": {above: card.times(batch_factor) for above, card in standard.items()}}
    return tuple(PriceRow(lane, card, above) for lane, cards in lanes.items() for above, card in sorted(cards.items()))


def _periods(info: Any) -> list[_Period]:
    """Read one model of genai-prices, oldest period first; its batch variants are left to the overrides."""
    fast = [variant.prices for variant in info.price_variants or () if variant.when == {"speed": "fast"}]
    conditional = info.prices if isinstance(info.prices, list) else []
    dated = [(_start(each.constraint), each.prices) for each in conditional]
    periods = []
    for day, prices in dated or [(None, info.prices)]:
        lanes: dict[Lane, Cards] = {"standard": _cards(prices)}
        if fast:
            lanes["fast"] = _cards(fast[0])
        periods.append(_Period(day, lanes))
    return periods


def _start(constraint: Any) -> dt.date | None:
    """Return the day from which a conditional price of genai-prices holds."""
    day = getattr(constraint, "start_date", None)
    if constraint is not None and not isinstance(day, dt.date):
        raise _Unpriceable(f"genai-prices prices it by {type(constraint).__name__}")
    return day


def _cards(prices: Any) -> Cards:
    """Read the bands of a price of genai-prices, where a band's rate is for every token of the request."""
    rates = {ours: _rate(prices, names) for ours, names in GENAI_FIELDS.items()}
    starts = {0} | {tier.start for rate in rates.values() for tier in getattr(rate, "tiers", ())}
    return {start: _genai_card(rates, start) for start in starts}


def _rate(prices: Any, names: tuple[str, ...]) -> Any:
    found = [rate for name in names if (rate := getattr(prices, name)) is not None]
    if not found:
        raise _Unpriceable(f"genai-prices has no {names[-1]} for it")
    return found[0]


def _genai_card(rates: Mapping[str, Any], above_tokens: int) -> RateCard:
    """Return the card of one band from rates that are plain or tiered decimals."""
    return RateCard(*(int(_at(rates[name], above_tokens) * PER_MTOK) for name in RATE_FIELDS))


def _at(rate: Any, above_tokens: int) -> Any:
    """Return the rate of a band: the last tier that starts no later, else the base."""
    tiers = [tier.price for tier in getattr(rate, "tiers", ()) if tier.start <= above_tokens]
    return tiers[-1] if tiers else getattr(rate, "base", rate)


def _swapped(name: str) -> tuple[str, ...]:
    """Return the spelling with the version and the line's name the other way round, if the id is an ordinary one."""
    for pattern, template in ((_ORDINARY_ID, "claude-{version}-{line}"), (_OLD_ID, "claude-{line}-{version}")):
        if found := pattern.match(name):
            return (template.format(**found.groupdict()),)
    return ()
