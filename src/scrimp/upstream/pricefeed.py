"""Where prices come from: the packaged book, and a user's file laid over it.

The packaged `data/prices.json` is compiled from genai-prices and `data/overrides.toml` (see `pricecompile`); loading
it needs msgspec alone and takes a few milliseconds. A price file is JSON of the shape of `BookData`, its rates in one
of `UNITS`; a user's file may hold any part of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from scrimp.core.wire.prices import BookData, PriceBook, build_book
from scrimp.errors import ConfigError

DATA = Path(__file__).parent / "data"
PACKAGED = DATA / "prices.json"
UNIT = "pico-USD/token"
#: What a price file may count in -> pico-USD per token.
UNITS = {UNIT: 1, "USD/MTok": 1_000_000}
#: A price file larger than this is not a price file.
PRICE_FILE_BYTES_MAX = 4_000_000
RATE_FIELDS = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")

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
        return msgspec.json.decode(raw, type=BookData)
    book: dict[str, Any] = msgspec.json.decode(raw)
    return msgspec.convert(_in_pico_usd(book, UNITS[unit]), type=BookData)


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
