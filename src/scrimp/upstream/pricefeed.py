"""Where prices come from: the packaged book, and a user's file laid over it.

The packaged `data/prices.json` is compiled from genai-prices and `data/overrides.toml` (see `pricecompile`); loading
it needs msgspec alone and takes a few milliseconds. A price file is JSON of the shape of `BookData`, its rates in one
of `UNITS`; a user's file may hold any part of it. A field that we do not know is refused, and so is a model or a field
that stands twice: what somebody wrote about prices must not go unheard.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from scrimp.core.wire.prices import BookData, ModelPrices, PriceBook, PriceEntry, PriceRow, RateCard, build_book
from scrimp.errors import ConfigError

DATA = Path(__file__).parent / "data"
PACKAGED = DATA / "prices.json"
UNIT = "pico-USD/token"
#: What a price file may count in -> pico-USD per token.
UNITS = {UNIT: 1, "USD/MTok": 1_000_000}
#: A price file larger than this is not a price file.
PRICE_FILE_BYTES_MAX = 4_000_000
RATE_FIELDS = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")

#: Which field of a price file holds records, and of what kind.
_RECORDS: dict[str, type[msgspec.Struct]] = {
    "models": ModelPrices,
    "entries": PriceEntry,
    "rows": PriceRow,
    "rates": RateCard,
}

_HINT = "Mend or remove it, or write it anew with `scrimp prices update`."


def load_book(user_file: Path | None = None) -> PriceBook:
    """Return the packaged prices, with the models and settings of `user_file`, if given, in place of their own.

    Raises ConfigError if the user's file cannot be read or used; the packaged book can then still be loaded.
    """
    if user_file is None:
        return _load(None, 0, 0)
    try:
        stat = user_file.stat()
    except OSError as error:
        raise _unusable(user_file, f"cannot be read: {error.strerror}") from None
    return _load(user_file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _load(user_file: Path | None, _mtime_ns: int, _size: int) -> PriceBook:
    """Read and build; the file's time and size are the cache's key."""
    packaged = read_price_file(PACKAGED)
    if user_file is None:
        return build_book(packaged)
    try:
        return build_book(packaged.overlaid(read_price_file(user_file)))
    except ValueError as error:
        raise _unusable(user_file, f"contradicts itself: {error}") from None


def load_current_book() -> PriceBook:
    """Return the prices that commands bill with: the packaged ones, and the user's own file if there is one.

    Raises ConfigError as `load_book` does.
    """
    path = user_price_file()
    return load_book(path if path.exists() else None)


class OwnPrices(msgspec.Struct, frozen=True):
    """What a user's own price file changes: how many models it prices, and whether it says more than that."""

    path: Path
    models_count: int
    has_settings: bool


def own_prices() -> OwnPrices | None:
    """Return what the user's own price file changes, None where there is none; raises ConfigError as `load_book`."""
    path = user_price_file()
    if not path.exists():
        return None
    user = read_price_file(path)
    settings = msgspec.structs.replace(user, models=(), compiled_from="")
    return OwnPrices(path, len(user.models), settings != BookData(unit=user.unit, models=()))


def describe_book() -> str:
    """Return what bills are priced by, as the end of "cost $1 at ...": list price, but for what the user changed."""
    own = own_prices()
    if own is None or not (own.models_count or own.has_settings):
        return "list price"
    models = f"{own.models_count} {'model' if own.models_count == 1 else 'models'}"
    parts = [models] * bool(own.models_count) + ["settings"] * own.has_settings
    return f"list price, but for {' and '.join(parts)} of {own.path}"


def user_price_file() -> Path:
    """Return where `scrimp prices update` writes and every command looks; it need not exist."""
    return _config_dir(sys.platform, os.environ.get, Path.home()) / "prices.json"


def _config_dir(platform: str, env: Callable[[str], str | None], home: Path) -> Path:
    """Return the platform's folder for our settings."""
    if platform == "darwin":
        return home / "Library" / "Application Support" / "scrimp"
    if platform == "win32":
        return Path(env("APPDATA") or home / "AppData" / "Roaming") / "scrimp"
    return Path(env("XDG_CONFIG_HOME") or home / ".config") / "scrimp"


def read_price_file(path: Path) -> BookData:
    """Decode one price file into pico-USD per token.

    Raises ConfigError if it is unreadable, too large, no JSON, of another shape, or in an unknown unit.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(PRICE_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from None
    if len(raw) > PRICE_FILE_BYTES_MAX:
        raise _unusable(path, f"is larger than {PRICE_FILE_BYTES_MAX} bytes")
    try:
        return _decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _unusable(path, f"cannot be used: {error}") from None


class _Unit(msgspec.Struct):
    unit: str


def _decode(raw: bytes) -> BookData:
    unit = msgspec.json.decode(raw, type=_Unit).unit
    if unit not in UNITS:
        raise ValueError(f"its unit {unit!r} is not one of {', '.join(UNITS)}")
    if unit == UNIT:
        decoded = msgspec.json.decode(raw, type=BookData)
    else:
        decoded = msgspec.convert(_in_pico_usd(msgspec.json.decode(raw), UNITS[unit]), type=BookData)
    for fault in _unheard(json.loads(raw, object_pairs_hook=_fields_once), BookData, ""):
        raise ValueError(fault)
    return decoded


def _fields_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's fields; raise ValueError if one stands twice."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it says {next(name for name in names if names.count(name) > 1)!r} twice in one place")
    return fields


def _unheard(record: dict[str, Any], kind: type[msgspec.Struct], where: str) -> Iterator[str]:
    """Yield a sentence for each field that `kind` does not have, and for each model that stands twice."""
    known = kind.__struct_encode_fields__
    for name in record:
        if name not in known:
            yield f"{where or 'it'} has {name!r}, which is none of {', '.join(known)}"
    models = [each["model"] for each in record.get("models", ())]
    yield from (f"it prices {model!r} twice" for model in models if models.count(model) > 1)
    for name in _RECORDS.keys() & set(known) & record.keys():
        held = record[name] if isinstance(record[name], list) else [record[name]]
        for each in held:
            yield from _unheard(each, _RECORDS[name], where or repr(each.get("model", "")))


def _in_pico_usd(value: Any, scale: int) -> Any:
    """Return a decoded price file with every rate multiplied; anything that is no rate stays as it is."""
    if isinstance(value, dict):
        return {
            key: whole_rate(each, scale) if key in RATE_FIELDS else _in_pico_usd(each, scale)
            for key, each in value.items()
        } | ({"unit": UNIT} if "unit" in value else {})
    if isinstance(value, list):
        return [_in_pico_usd(each, scale) for each in value]
    return value


def whole_rate(rate: Any, scale: int) -> Any:
    """Return a rate in pico-USD per token; raise ValueError if it is finer than that. What is no number stays."""
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        return rate
    scaled = Decimal(str(rate)) * scale
    if scaled != int(scaled):
        raise ValueError(f"the rate {rate} is finer than a pico-USD per token")
    return int(scaled)


def _unusable(path: Path, what: str) -> ConfigError:
    return ConfigError(f"The price file {path} {what}.", _HINT)


def render(book: BookData) -> bytes:
    """Write a book as a price file: the same book gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(book, order="sorted"), indent=1) + b"\n"
