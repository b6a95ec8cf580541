"""Tests of loading price files, the packaged one and a user's, good and bad."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire.prices import PriceBook, RateCard
from scrimp.core.wire.usage import Usage, UsageLine
from scrimp.errors import ConfigError
from scrimp.upstream.pricefeed import (
    PACKAGED,
    PRICE_FILE_BYTES_MAX,
    OwnPrices,
    _config_dir,
    _decode,
    describe_book,
    load_book,
    load_current_book,
    own_prices,
    read_price_file,
    render,
    user_price_file,
)

RATES = {"uncached_input": 1.5, "cache_read": 0.025, "cache_write_5m": 2, "cache_write_1h": 3, "output": 7.125}


def card_of(book: PriceBook, model: str) -> RateCard | None:
    """Return what a short prompt was billed at in the beginning."""
    return book.line_card(UsageLine(Usage(1), model), 0, 1)


def user_book(unit: str = "USD/MTok", **rates: object) -> dict[str, object]:
    """Return a user's price file for one model of their own."""
    row = {"lane": "standard", "rates": RATES | rates}
    return {"unit": unit, "models": [{"model": "claude-mine-1", "entries": [{"source": "contract", "rows": [row]}]}]}


def written(path: Path, content: object) -> Path:
    """Write a price file, as JSON unless it is text already."""
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_the_packaged_book_is_loaded_once() -> None:
    """The packaged book is cached, and every model of it has a price today."""
    book = load_book()
    assert load_book() is book
    assert [] == [each.model for each in book.data.models if card_of(book, each.model) is None]


def test_loading_needs_no_heavy_import() -> None:
    """Start-up is quick because a price book needs msgspec alone: no genai-prices, SQLAlchemy, aiohttp or click."""
    code = "import sys, scrimp.upstream.pricefeed as p; p.load_book(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert set() == loaded & {"genai_prices", "pydantic", "sqlalchemy", "aiohttp", "click", "tomllib", "anthropic"}


def test_a_users_file_is_laid_over_the_packaged_book(tmp_path: Path) -> None:
    """The user's model is priced, in their unit, exactly; the packaged models and settings stay."""
    book = load_book(written(tmp_path / "prices.json", user_book()))
    expected = RateCard(1_500_000, 25_000, 2_000_000, 3_000_000, 7_125_000)
    assert expected == card_of(book, "claude-mine-1-20260101")
    opus = card_of(load_book(), "claude-opus-5")
    assert opus == card_of(book, "claude-opus-5")


def test_a_user_may_reprice_a_known_model_and_the_fee(tmp_path: Path) -> None:
    """A model of the packaged book takes the user's price, in pico-USD too, and so does a web search."""
    content = user_book("pico-USD/token", uncached_input=1, cache_read=2, cache_write_5m=3, cache_write_1h=4, output=5)
    content["models"][0]["model"] = "claude-opus-5"  # type: ignore[index]
    book = load_book(written(tmp_path / "prices.json", content | {"web_search_pico_usd": 9}))
    assert RateCard(1, 2, 3, 4, 5) == card_of(book, "claude-opus-5")
    assert 9 == book.web_search_pico_usd


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """The cache knows a file by its time and size."""
    path = written(tmp_path / "prices.json", user_book())
    load_book(path)
    written(path, user_book(output=10.25))
    card = card_of(load_book(path), "claude-mine-1")
    assert card is not None
    assert 10_250_000 == card.output


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (user_book("EUR/MTok"), "its unit 'EUR/MTok' is not one of"),
        ({"models": []}, "missing required field `unit`"),
        (json.dumps(user_book())[:-9], "truncated"),
        ("", "truncated"),
        ("[]", "Expected `object`"),
        ("\ufeff{}", "malformed"),
        (user_book(output="7"), "Expected `int`"),
        (user_book(output=True), "Expected `int`"),
        (user_book(output=-1), ">= 0"),
        (user_book(output=1e-7), "finer than a pico-USD"),
        (user_book("pico-USD/token"), "Expected `int`"),
        (user_book() | {"lanes": {"standard/standard": "cheap"}}, "Invalid enum"),
        ("[" * 100_000, "cannot be used"),
        (user_book() | {"prefixes": {"": "us"}}, "contradicts itself"),
        (user_book() | {"currency": "EUR"}, "it has 'currency', which is none of unit, models"),
        (user_book(cache_write=1), "'claude-mine-1' has 'cache_write', which is none of uncached_input"),
        (user_book() | {"models": user_book()["models"] * 2}, "it prices 'claude-mine-1' twice"),  # type: ignore[operator]
        (json.dumps(user_book()).replace('"output": 7.125', '"output": 7.125, "output": 1'), "it says 'output' twice"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, content: object, what: str) -> None:
    """Torn, mistyped, contradictory or oddly measured files say so in one sentence; the packaged book still loads."""
    path = written(tmp_path / "prices.json", content)
    with pytest.raises(ConfigError) as caught:
        load_book(path)
    assert what in caught.value.message
    assert caught.value.message.startswith(f"The price file {path} ")
    assert "\n" not in caught.value.message
    assert "scrimp prices update" in caught.value.hint
    assert load_book().find("claude-opus-5") is not None


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a folder and a file that is far too large say so."""
    big = tmp_path / "big.json"
    with big.open("wb") as file:
        file.truncate(PRICE_FILE_BYTES_MAX + 1)
    for path, what in ((tmp_path / "none", "No such file"), (tmp_path, "directory"), (big, "is larger than")):
        with pytest.raises(ConfigError, match=what):
            load_book(path)


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    """A link that leads nowhere is a file that cannot be read, not a crash."""
    link = tmp_path / "prices.json"
    link.symlink_to(link)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_book(link)


def test_commands_use_the_users_file_if_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a user's file the packaged book is current; with one, it is laid over."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert load_book() is load_current_book()
    user_price_file().parent.mkdir()
    written(user_price_file(), user_book())
    assert load_current_book().find("claude-mine-1") is not None


@pytest.fixture
def own_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return where the user's own price file would be; there is none yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    user_price_file().parent.mkdir()
    return user_price_file()


def test_what_a_bill_is_priced_by_is_said(own_file: Path) -> None:
    """List price without a file of the user's own; else which file it is, and how much of it."""
    assert (None, "list price") == (own_prices(), describe_book())
    written(own_file, user_book())
    assert OwnPrices(own_file, 1, has_settings=False) == own_prices()
    assert f"list price, but for 1 model of {own_file}" == describe_book()
    written(own_file, user_book() | {"web_search_pico_usd": 9})
    assert f"list price, but for 1 model and settings of {own_file}" == describe_book()
    written(own_file, {"unit": "USD/MTok", "models": []})
    assert "list price" == describe_book()
    written(own_file, "{")
    with pytest.raises(ConfigError):
        describe_book()


def test_every_field_of_a_book_may_be_said(own_file: Path) -> None:
    """The packaged book, which says everything, is a user's file as well."""
    own_file.write_bytes(PACKAGED.read_bytes())
    assert load_book().data.models == load_current_book().data.models


def test_each_platform_keeps_settings_where_it_does() -> None:
    """XDG on Linux with its fallback, Application Support on macOS, APPDATA on Windows with its fallback."""
    home = Path("home")
    full, empty = {"XDG_CONFIG_HOME": "xdg", "APPDATA": "roaming"}, dict[str, str]()
    places = [_config_dir(name, env.get, home) for name in ("linux", "darwin", "win32") for env in (full, empty)]
    assert [
        Path("xdg/scrimp"),
        Path("home/.config/scrimp"),
        *[Path("home/Library/Application Support/scrimp")] * 2,
        Path("roaming/scrimp"),
        Path("home/AppData/Roaming/scrimp"),
    ] == places


def test_rendering_loses_nothing(tmp_path: Path) -> None:
    """A book written and read again is the same book, and written again the same bytes."""
    data = read_price_file(PACKAGED)
    path = tmp_path / "again.json"
    path.write_bytes(render(data))
    assert data == read_price_file(path)
    assert PACKAGED.read_bytes() == render(read_price_file(path))


@given(st.binary(max_size=200) | st.text().map(lambda text: json.dumps(text).encode()))
def test_any_bytes_are_a_book_or_an_error(raw: bytes) -> None:
    """Nothing but a ValueError comes out of foreign bytes."""
    with pytest.raises(ValueError):  # noqa: PT011 - whichever message, it is the type that callers rely on
        _decode(raw)
