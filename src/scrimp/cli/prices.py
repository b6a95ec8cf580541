"""`scrimp prices`: the price book, its dates and sources, and how to bring it up to date."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scrimp.errors import ConfigError

if TYPE_CHECKING:
    from scrimp.core.wire.prices import BookData, ModelPrices, PriceBook, PriceEntry, RateCard

PICO_USD_PER_USD_MTOK = 1_000_000
PICO_USD_PER_USD = 1_000_000_000_000
SOURCE_WIDTH = 48
#: Heading of each rate's column, in the order of a `RateCard`.
RATES = {
    "uncached_input": "input",
    "cache_read": "read",
    "cache_write_5m": "5m write",
    "cache_write_1h": "1h write",
    "output": "output",
}


@click.group()
def command() -> None:
    """Show the price book, its dates and sources, or bring it up to date."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--model", help="Only this model, under any spelling of its id.")
@click.option("--at", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="What held at this time (UTC).")
@click.option("--history", is_flag=True, help="Every price a model ever had, not only the one that holds.")
@click.pass_context
def list_prices(ctx: click.Context, *, as_json: bool, model: str | None, at: datetime | None, history: bool) -> None:
    """Show what tokens cost, in USD per million. Exits with 1 if the model is unknown."""
    import msgspec

    from scrimp.upstream.pricefeed import load_current_book

    book = load_current_book()
    at_ms = _at_ms(at)
    prices = _chosen(book, model)
    rows = [row for each in prices for row in _rows(each, None if history else at_ms)]
    if as_json:
        click.echo(msgspec.json.encode(_as_object(book, rows, at_ms)).decode())
    elif rows:
        click.echo(_table(rows))
        click.echo(
            f"\nUSD per million tokens. 1,000 web searches: {_web_search_usd(book.web_search_pico_usd, 1_000)} USD."
        )
    if not rows:
        click.echo(f"scrimp: No price is known for {model!r}. See `scrimp prices list` for what is.", err=True)
        ctx.exit(1)


def _chosen(book: PriceBook, model: str | None) -> list[ModelPrices]:
    if model is None:
        return sorted(book.data.models, key=lambda prices: prices.model)
    found = book.find(model)
    return [found] if found else []


def _at_ms(at: datetime | None) -> int:
    """Return the asked-for moment, or now, in milliseconds since the epoch."""
    from scrimp.clock import SystemClock

    return SystemClock().now_ms() if at is None else int(at.replace(tzinfo=UTC).timestamp() * 1000)


def _rows(prices: ModelPrices, at_ms: int | None) -> Iterator[dict[str, Any]]:
    """Yield one record per card: of the entry that holds at `at_ms`, or of every entry if that is None."""
    days = [entry.from_day for entry in prices.entries[1:]]
    held = prices.entry(at_ms) if at_ms is not None else None
    for entry, until in zip(prices.entries, [*days, None], strict=True):
        if held is None or entry is held:
            yield from _cards(prices.model, entry, until)


def _cards(model: str, entry: PriceEntry, until: date | None) -> Iterator[dict[str, Any]]:
    for row in entry.rows:
        yield {
            "model": model,
            "lane": row.lane,
            "above_tokens": row.above_tokens,
            "rates": row.rates,
            "from": entry.from_day,
            "until": until,
            "geography": {place: f"{up}/{down}" for place, (up, down) in entry.geography.items()},
            "source": entry.source,
        }


def _usd(pico_usd: int) -> str:
    """Return pico-USD per token as an exact decimal of USD per million tokens."""
    return f"{(Decimal(pico_usd) / PICO_USD_PER_USD_MTOK).normalize():f}"


def _web_search_usd(pico_usd: int, searches: int) -> str:
    """Return the fee of some searches as an exact decimal of USD."""
    return f"{(Decimal(pico_usd) * searches / PICO_USD_PER_USD).normalize():f}"


def _read_multiplier(rates: RateCard) -> str:
    """Return a cache read's rate as a part of the uncached one's."""
    return f"{(Decimal(rates.cache_read) / rates.uncached_input).normalize():.6g}" if rates.uncached_input else "-"


def _table(rows: list[dict[str, Any]]) -> str:
    from tabulate import tabulate

    headers = ["model", "lane", "prompt over", *RATES.values(), "read x", "from", "until", "source"]
    body = [
        [
            row["model"],
            row["lane"],
            f"{row['above_tokens']:,}" if row["above_tokens"] else "",
            *(_usd(getattr(row["rates"], name)) for name in RATES),
            _read_multiplier(row["rates"]),
            row["from"] or "launch",
            row["until"] or "",
            row["source"],
        ]
        for row in rows
    ]
    numbers = ("right",) * (len(RATES) + 2)
    return tabulate(
        body,
        headers,
        disable_numparse=True,
        colalign=("left", "left", *numbers, "left", "left", "left"),
        maxcolwidths=[*[None] * (len(headers) - 1), SOURCE_WIDTH],
    )


def _as_object(book: PriceBook, rows: list[dict[str, Any]], at_ms: int) -> dict[str, Any]:
    """Return the one object of `--json`; rates are strings, exact decimals of USD per million tokens."""
    prices = [
        row
        | {"rates": {name: _usd(getattr(row["rates"], name)) for name in RATES}}
        | {"read_multiplier": _read_multiplier(row["rates"])}
        for row in rows
    ]
    return {
        "at_ms": at_ms,
        "unit": "USD/MTok",
        "compiled_from": book.data.compiled_from,
        "web_search_usd": _web_search_usd(book.web_search_pico_usd, 1),
        "prices": prices,
    }


@command.command()
@click.option(
    "--from", "from_file", type=click.Path(path_type=Path), help="A price file, instead of genai-prices as installed."
)
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if something would change.")
@click.pass_context
def update(ctx: click.Context, *, from_file: Path | None, check: bool) -> None:
    """Bring your price file up to date, and show what changes.

    Prices of your own, which say another source than genai-prices or Anthropic's pages, are kept.
    """
    from scrimp.upstream.pricefeed import PACKAGED, read_price_file, user_price_file

    packaged, target = read_price_file(PACKAGED), user_price_file()
    wanted = _wanted(from_file)
    current = _current(target)
    broken = current is None and target.exists()
    before = packaged.overlaid(current) if current else packaged
    own = _own(current, (packaged, wanted))
    after = packaged.overlaid(own).overlaid(wanted) if from_file else packaged.overlaid(wanted).overlaid(own)
    changes = _changes(before, after)
    if changes:
        click.echo(_change_table(changes))
    elif not broken:
        click.echo(_unchanged(wanted, from_file))
    if kept := [each.model for each in own.models if each in after.models]:
        click.echo(f"Kept as your own: {', '.join(kept)}, from {target}.")
    if check:
        ctx.exit(1 if changes or broken else 0)
    if changes or broken:
        _keep(target, after.beyond(packaged), wanted.compiled_from)


def _wanted(from_file: Path | None) -> BookData:
    """Return the prices to change to; what could not be compiled is named on standard error."""
    from scrimp.upstream.pricecompile import compile_book
    from scrimp.upstream.pricefeed import load_book, read_price_file

    if from_file is not None:
        load_book(from_file)
        return read_price_file(from_file)
    compiled = compile_book()
    for note in compiled.notes:
        click.echo(f"scrimp: {note}", err=True)
    return compiled.book


def _current(target: Path) -> BookData | None:
    """Return the user's file; None if there is none, or one that cannot be used and is to be replaced."""
    from scrimp.upstream.pricefeed import load_book, read_price_file

    if not target.exists():
        return None
    try:
        load_book(target)
        return read_price_file(target)
    except ConfigError as error:
        click.echo(f"scrimp: {error.message} It counts as empty.", err=True)
        return None


def _own(current: BookData | None, books: tuple[BookData, ...]) -> BookData:
    """Return what the user wrote themselves: settings, and models with a price that stands in no list that we know."""
    from msgspec.structs import replace

    from scrimp.core.wire.prices import BookData
    from scrimp.upstream.pricefeed import UNIT

    if current is None:
        return BookData(unit=UNIT, models=())
    listed = (all(_is_listed(each.model, entry, books) for entry in each.entries) for each in current.models)
    models = tuple(each for each, is_listed in zip(current.models, listed, strict=True) if not is_listed)
    return replace(current, models=models, compiled_from="")


def _is_listed(model: str, entry: PriceEntry, books: tuple[BookData, ...]) -> bool:
    """Say whether an entry was taken from a list of prices, and not changed by hand since."""
    from scrimp.upstream.pricecompile import GENAI_PRICES

    said = re.fullmatch(rf"({GENAI_PRICES}(?: \d[\w.]*)?)(?:[:,].*)?", entry.source)
    for book in books:
        if said and said[1] == book.compiled_from:
            return any(entry in each.entries for each in book.models if each.model == model)
    return bool(said) or any(entry.source == each.source for book in books for m in book.models for each in m.entries)


def _unchanged(wanted: BookData, from_file: Path | None) -> str:
    if from_file:
        return f"Your prices are those of {from_file} already."
    newer = "Newer ones may be in a newer package: pip install -U genai-prices, then scrimp prices update."
    return f"Your prices are those of {wanted.compiled_from}, as installed. {newer}"


def _facts(book: BookData) -> dict[tuple[str, str, str, str], str]:
    """Return everything that a bill depends on: (model, from, card, what) -> value."""
    facts = {("", "", "lane", pair): str(lane) for pair, lane in book.lanes.items()}
    facts |= {("", "", "prefix", prefix): place or "global" for prefix, place in book.prefixes.items()}
    facts[("", "", "web search", "1,000 searches")] = _web_search_usd(book.web_search_pico_usd or 0, 1_000)
    facts[("", "", "geography", "neutral")] = " ".join(filter(None, book.neutral_geographies))
    for prices in book.models:
        facts |= {(prices.model, "", "alias", alias): "yes" for alias in prices.aliases}
        for entry in prices.entries:
            facts |= {(prices.model, *key): value for key, value in _entry_facts(entry).items()}
    return facts


def _entry_facts(entry: PriceEntry) -> dict[tuple[str, str, str], str]:
    since = str(entry.from_day or "launch")
    facts = {(since, "geography", place): f"{up}/{down}" for place, (up, down) in entry.geography.items()}
    for row in entry.rows:
        card = f"{row.lane} over {row.above_tokens:,}" if row.above_tokens else row.lane
        facts |= {(since, card, heading): _usd(getattr(row.rates, name)) for name, heading in RATES.items()}
    return facts


def _changes(before: BookData, after: BookData) -> list[tuple[str, ...]]:
    """Return one row per fact that differs: model, from, card, what, before, after."""
    old, new = _facts(before), _facts(after)
    return [
        (*key, old.get(key, "-"), new.get(key, "-"))
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]


def _change_table(changes: list[tuple[str, ...]]) -> str:
    from tabulate import tabulate

    return tabulate(changes, ["model", "from", "card", "what", "before", "after"], disable_numparse=True)


def _keep(target: Path, book: BookData | None, compiled_from: str) -> None:
    """Write the user's price file, whole or not at all; an older one stays beside it."""
    import msgspec

    from scrimp.upstream.pricefeed import render

    former = target.with_suffix(".json.bak")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        replaced = target.exists()
        if replaced:
            target.replace(former)
        if book is not None:
            new = target.with_suffix(".json.new")
            new.write_bytes(render(msgspec.structs.replace(book, compiled_from=compiled_from)))
            new.replace(target)
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}.", "Make its folder writable.") from None
    done = f"Wrote {target}." if book else "The packaged prices hold: no file of your own is needed."
    click.echo(f"{done} The former file is now {former}." if replaced else done)
