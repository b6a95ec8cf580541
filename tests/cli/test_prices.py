"""Tests of `scrimp prices`, run as a user runs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from scrimp.cli.main import cli
from scrimp.core.wire.prices import BookData, RateCard
from scrimp.errors import ConfigError
from scrimp.upstream.pricefeed import PACKAGED, load_current_book, read_price_file, render, user_price_file


def run(*arguments: str) -> Result:
    """Run one command in this process."""
    return CliRunner().invoke(cli, ["prices", *arguments])


def listed(*arguments: str) -> dict[str, Any]:
    """Return the object that `list --json` prints."""
    result = run("list", "--json", *arguments)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def rates(path: Path, model: str, output: int) -> Path:
    """Write a price file in which one model's output costs `output` pico-USD per token."""
    data = read_price_file(PACKAGED)
    prices = next(each for each in data.models if each.model == model)
    entry = prices.entries[-1]
    rows = tuple(msgspec.structs.replace(r, rates=msgspec.structs.replace(r.rates, output=output)) for r in entry.rows)
    entries = (*prices.entries[:-1], msgspec.structs.replace(entry, rows=rows, source="contract"))
    changed = msgspec.structs.replace(prices, entries=entries)
    path.write_bytes(render(msgspec.structs.replace(data, models=(changed,))))
    return path


def test_list_shows_every_model_as_a_table() -> None:
    """The table names each model, exact decimals, the read multiplier, the band and the source."""
    result = run("list")
    assert 0 == result.exit_code
    lines = result.stdout.splitlines()
    haiku = [line.split() for line in lines if line.startswith("claude-haiku-5-5")]
    row = ["claude-haiku-5-5", "batch", "100,000", "0.25", "0.025", "0.3125", "0.5", "1.25", "0.1", "launch"]
    assert row == haiku[3][:10]
    assert {each.model for each in load_current_book().data.models} <= {line.split(" ")[0] for line in lines}
    assert "1,000 web searches: 10 USD." in result.stdout


def test_list_as_json_is_one_object_of_exact_decimals() -> None:
    """Rates are strings with nothing lost; the price in force depends on the date, to the second."""
    before = listed("--model", "claude-sonnet-5.5", "--at", "2026-10-06T23:59:59")["prices"][0]
    after = listed("--model", "claude-sonnet-5-5", "--at", "2026-10-07")["prices"][0]
    assert ("0.2", "0.1", None, "2026-10-07") == tuple(_of(before))
    assert ("0.1", "0.05", "2026-10-07", None) == tuple(_of(after))
    assert {"uncached_input": "2", "cache_write_5m": "2.5", "cache_write_1h": "4", "output": "10"}.items() <= after[
        "rates"
    ].items()
    assert ("USD/MTok", "0.01") == (listed()["unit"], listed()["web_search_usd"])


def _of(price: dict[str, Any]) -> list[Any]:
    return [price["rates"]["cache_read"], price["read_multiplier"], price["from"], price["until"]]


def test_list_with_history_shows_every_dated_price() -> None:
    """Without --history only the price in force is shown."""
    assert ["2026-10-07", None] == [
        price["until"]
        for price in listed("--model", "claude-sonnet-5-5", "--history")["prices"]
        if price["lane"] == "batch"
    ]
    assert 2 == len(listed("--model", "claude-sonnet-5-5", "--at", "2026-11-01")["prices"])


def test_list_of_an_unknown_model_answers_no() -> None:
    """An unknown model exits with 1, prints an object all the same, and says where to look."""
    result = run("list", "--json", "--model", "claude-none-1")
    assert 1 == result.exit_code
    assert [] == json.loads(result.stdout)["prices"]
    assert "No price is known for 'claude-none-1'" in result.stderr


def test_list_called_wrongly() -> None:
    """A date that is none is a usage error."""
    assert 2 == run("list", "--at", "yesterday").exit_code


def test_update_from_the_packaged_state_changes_nothing() -> None:
    """The book is compiled from the same genai-prices; that it can only be as new as that package is said."""
    result = run("update")
    said = f"Your prices are those of {load_current_book().data.compiled_from}, as installed. Newer ones may be in a"
    assert (0, 1, True) == (result.exit_code, result.stdout.count("\n"), result.stdout.startswith(said))
    assert "pip install -U genai-prices" in result.stdout
    assert not user_price_file().exists()


def test_update_from_a_file_shows_and_keeps_what_changes(tmp_path: Path) -> None:
    """Only what differs is kept, what it was is shown, and the new price is in force."""
    source = rates(tmp_path / "mine.json", "claude-opus-5", 20_000_000)
    result = run("update", "--from", str(source))
    assert 0 == result.exit_code
    assert ["claude-opus-5", "launch", "standard", "output", "25", "20"] in [
        line.split() for line in result.stdout.splitlines()
    ]
    assert ["claude-opus-5"] == [each.model for each in read_price_file(user_price_file()).models]
    assert "20" == listed("--model", "claude-opus-5")["prices"][0]["rates"]["output"]
    again = run("update", "--from", str(source))
    assert f"Your prices are those of {source} already." in again.stdout


def test_update_check_writes_nothing(tmp_path: Path) -> None:
    """--check answers no with exit code 1 where something would change, and yes with 0."""
    source = rates(tmp_path / "mine.json", "claude-opus-5", 20_000_000)
    assert 1 == run("update", "--check", "--from", str(source)).exit_code
    assert not user_price_file().exists()
    assert 0 == run("update", "--check").exit_code


def test_update_keeps_the_user_s_own_prices(tmp_path: Path) -> None:
    """A contract's price, and a fee, outlive every update, and are named; what was asked for by name replaces them."""
    run("update", "--from", str(rates(tmp_path / "mine.json", "claude-opus-5", 20_000_000)))
    data = read_price_file(user_price_file())
    user_price_file().write_bytes(render(msgspec.structs.replace(data, web_search_pico_usd=7)))
    result = run("update")
    assert (0, True) == (result.exit_code, "Kept as your own: claude-opus-5, from " in result.stdout)
    assert ("20", "7") == (listed("--model", "claude-opus-5")["prices"][0]["rates"]["output"], fee_of(listed()))
    run("update", "--from", str(rates(tmp_path / "mine.json", "claude-opus-5", 21_000_000)))
    assert ("21", "10000000000") == (
        listed("--model", "claude-opus-5")["prices"][0]["rates"]["output"],
        fee_of(listed()),
    )


def fee_of(book: dict[str, Any]) -> str:
    """Return what a web search costs, in pico-USD."""
    return f"{float(book['web_search_usd']) * 1e12:.0f}"


def changed_rate(model: str, source: str) -> BookData:
    """Return a price file in which a model's only price says this source, and is not the packaged one."""
    data = read_price_file(PACKAGED)
    prices = next(each for each in data.models if each.model == model)
    row = msgspec.structs.replace(prices.entries[0].rows[0], rates=RateCard(10, 10, 10, 10, 10))
    entry = msgspec.structs.replace(prices.entries[0], rows=(row,), source=source)
    return msgspec.structs.replace(data, models=(msgspec.structs.replace(prices, entries=(entry,)),))


@pytest.mark.parametrize(
    ("source", "is_kept"),
    [
        ("contract", True),
        (read_price_file(PACKAGED).compiled_from, True),
        (f"{read_price_file(PACKAGED).compiled_from}, and a note", True),
        ("genai-prices 0.0.1", False),
        ("genai-prices: a note", False),
        ("Anthropic, Pricing, by telephone", True),
    ],
)
def test_what_an_update_takes_for_the_user_s_own(source: str, is_kept: bool) -> None:
    """A price that no list has under that name: another list's is replaced, one changed by hand is not."""
    user_price_file().parent.mkdir(parents=True)
    user_price_file().write_bytes(render(changed_rate("claude-opus-5", source)))
    assert is_kept is ("Kept as your own: claude-opus-5" in run("update").stdout)
    assert is_kept is user_price_file().exists()
    assert (not is_kept) is user_price_file().with_suffix(".json.bak").exists()


def test_update_mends_a_torn_file() -> None:
    """A user's file that cannot be used stops `list`, and `update` replaces it as its message says."""
    user_price_file().parent.mkdir(parents=True)
    user_price_file().write_text('{"unit": "USD')
    assert isinstance(run("list").exception, ConfigError)
    assert 1 == run("update", "--check").exit_code
    result = run("update")
    (what,) = result.stderr.splitlines()
    assert what.endswith("It counts as empty.")
    former = user_price_file().with_suffix(".json.bak")
    done = f"The packaged prices hold: no file of your own is needed. The former file is now {former}.\n"
    assert (0, done) == (result.exit_code, result.stdout)
    assert 0 == run("list").exit_code


def test_update_without_genai_prices_says_what_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """The optional package missing is named with the line that installs it."""
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    error = run("update").exception
    assert isinstance(error, ConfigError)
    assert "pip install 'scrimp[prices]'" in error.hint


def test_update_from_a_bad_file_touches_nothing(tmp_path: Path) -> None:
    """A file in an unknown unit is refused before anything is written."""
    bad = tmp_path / "bad.json"
    bad.write_text('{"unit": "EUR/MTok", "models": []}')
    error = run("update", "--from", str(bad)).exception
    assert isinstance(error, ConfigError)
    assert "EUR/MTok" in error.message
    assert not user_price_file().exists()


def test_update_into_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A settings folder that is a file is one sentence, not a trace."""
    user_price_file().parent.parent.mkdir(parents=True)
    user_price_file().parent.write_text("in the way")
    error = run("update", "--from", str(rates(tmp_path / "mine.json", "claude-opus-5", 20_000_000))).exception
    assert isinstance(error, ConfigError)
    assert "cannot be written" in error.message
