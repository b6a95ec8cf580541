"""The files that people write: settings and prices. Whatever is in them, it is used or refused in a sentence."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from scrimp.config import FILE_VARIABLE, load_settings
from scrimp.core.wire.prices import BookData, build_book
from scrimp.core.wire.usage import TOKENS_MAX, Usage, UsageLine
from scrimp.errors import ConfigError
from scrimp.upstream.pricefeed import PACKAGED, read_price_file, render
from tests.fuzz.inputs import Input
from tests.fuzz.request_target import NOW_MS

#: What a ledger's column of money holds.
_NANO_USD_MAX = 2**63 - 1
_MOST = Usage(TOKENS_MAX, TOKENS_MAX, TOKENS_MAX, TOKENS_MAX, TOKENS_MAX)


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-"))


@cache
def _packaged() -> BookData:
    return read_price_file(PACKAGED)


def _file(name: str, text: bytes) -> Path:
    path = _folder() / name
    path.write_bytes(text)
    return path


def check_settings(given: Input) -> None:
    """Load settings from a file, and from the environment where the text has lines for it."""
    text, _, lines = given.text.partition(b"\n---\n")
    pairs = [line.decode("utf-8", "surrogateescape").partition("=") for line in lines.split(b"\n") if line]
    environ = {f"SCRIMP_{name}": value for name, _, value in pairs if "\0" not in name + value}
    environ |= {"HOME": str(_folder()), FILE_VARIABLE: str(_file("config.toml", text))}
    try:
        settings = load_settings({}, environ)
    except ConfigError as error:
        assert str(error)
        return
    assert settings == load_settings({}, environ)
    assert 0 <= settings.port <= 65_535
    assert settings.db


def check_prices(given: Input) -> None:
    """Read a price file and bill with it: no bill is below zero, and each fits a ledger."""
    path = _file("prices.json", given.text)
    try:
        data = read_price_file(path)
        book = build_book(_packaged().overlaid(data))
    except ConfigError as error:
        assert str(error)
        return
    except ValueError as error:  # `load_book` says the same with the file's name
        assert str(error)
        return
    assert data == read_price_file(_file("again.json", render(data)))
    for prices in data.models[:20]:
        for entry in prices.entries[:5]:
            lines = [UsageLine(_MOST, prices.model, inference_geo=geo) for geo in (None, *entry.geography)][:5]
            for line in lines:
                cost = book.cost_nano_usd([line], entry.from_ms or NOW_MS)
                assert cost is None or 0 <= cost <= _NANO_USD_MAX, "a bill does not fit into a ledger"
