"""`scrimp demo`: it needs nothing, and it tells the truth even where that is inconvenient."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from scrimp.cli.main import cli
from scrimp.money import dollars
from scrimp.upstream.pricefeed import PACKAGED, load_book

if TYPE_CHECKING:
    from tests.cli.conftest import Scrimp


def test_it_prints_both_bills_and_says_that_they_agree(scrimp: Scrimp) -> None:
    """In a home that holds nothing, without a key; what it prints are the figures of `--json`."""
    told, counted = scrimp("demo"), scrimp("demo", "--json")
    assert (0, "", 0, "") == (told.returncode, told.stderr, counted.returncode, counted.stderr)
    story = json.loads(counted.stdout)
    assert story["agrees"]
    assert story["bare_nano_usd"] == story["observed_invoice_nano_usd"] == story["ledger_nano_usd"] > 0
    assert story["uncached_nano_usd"] > story["bare_nano_usd"]
    saved = story["bare_nano_usd"] - story["safe_invoice_nano_usd"]
    assert story["safe_invoice_nano_usd"] == story["safe_ledger_nano_usd"] > 0
    assert {"observe": 0, "safe": saved} == story["saved_nano_usd"]
    assert f"Saved by safe: {dollars(saved)} of {dollars(story['bare_nano_usd'])}, " in told.stdout
    assert dollars(story["uncached_nano_usd"]) in told.stdout
    for way, whole in (("bare", "bare_nano_usd"), ("observe", "ledger_nano_usd"), ("safe", "safe_ledger_nano_usd")):
        assert story[whole] == sum(scene[way] for scene in story["scenes"])
        assert dollars(story[whole]) in told.stdout
    assert all(dollars(scene[way]) in told.stdout for scene in story["scenes"] for way in ("bare", "observe", "safe"))
    assert "agree to the nano-dollar" in told.stdout
    assert f"{story['exchanges']} exchanges" in told.stdout


def test_the_day_of_its_prices_is_said(scrimp: Scrimp, environment: dict[str, str], tmp_path: Path) -> None:
    """They are those of one day, whatever day it is; and the packaged ones, whatever the user's own file says."""
    own = tmp_path / "config" / "scrimp" / "prices.json"
    environment |= {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert "at the list prices of 2026-11-25 that come with Scrimp.\n" in scrimp("demo").stdout
    own.parent.mkdir(parents=True)
    own.write_text("{")
    told = scrimp("demo")
    assert (0, True) == (told.returncode, f"Scrimp (your own file, {own}, is left out).\n" in told.stdout)


def test_nothing_is_left_behind(scrimp: Scrimp, tmp_path: Path) -> None:
    """Its ledger is its own and goes with it; the user's is not touched."""
    before = sorted(tmp_path.rglob("*"))
    scrimp("demo", env={"TMPDIR": str(tmp_path)})
    assert before == sorted(tmp_path.rglob("*"))


@pytest.mark.parametrize("seed", range(2))
def test_every_seed_agrees_and_tells_the_same_story_twice(seed: int) -> None:
    """A seed is a story; another one is another."""
    stories = [CliRunner().invoke(cli, ["demo", "--seed", str(seed), "--json"]) for _ in range(2)]
    assert [0, 0] == [story.exit_code for story in stories]
    assert stories[0].output == stories[1].output


def test_the_shares_add_up(scrimp: Scrimp) -> None:
    """Each agent's cost is printed with its share of the whole."""
    shares = [int(found) for found in re.findall(r"(\d+)%", scrimp("demo").stdout.partition("Where the money went")[2])]
    assert len(shares) > 1
    assert abs(100 - sum(shares)) <= len(shares)


@pytest.mark.parametrize("as_json", [True, False])
def test_it_fails_where_ledger_and_invoice_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    """Output that is a nano-dollar per token too dear is enough: exit code 1, and both amounts as they are."""
    wrong = tmp_path / "prices.json"
    wrong.write_text(json.dumps(_off_by_a_nano_dollar(json.loads(PACKAGED.read_bytes()))))
    monkeypatch.setattr("scrimp.upstream.pricefeed.load_book", lambda: load_book(wrong))
    result = CliRunner().invoke(cli, ["demo", *(["--json"] if as_json else [])])
    assert 1 == result.exit_code
    if as_json:
        story = json.loads(result.stdout)
        assert not story["agrees"]
        assert story["ledger_nano_usd"] != story["observed_invoice_nano_usd"] == story["bare_nano_usd"]
    else:
        assert "DO NOT AGREE" in result.stdout


def _off_by_a_nano_dollar(value: object) -> object:
    """Return a price file with every output rate one nano-dollar dearer."""
    if isinstance(value, dict):
        return {key: _dearer(each) if key == "output" else _off_by_a_nano_dollar(each) for key, each in value.items()}
    return [_off_by_a_nano_dollar(each) for each in value] if isinstance(value, list) else value


def _dearer(rate: object) -> object:
    return rate + 1_000 if isinstance(rate, int) else rate


@pytest.mark.parametrize("arguments", [["--seed", "x"], ["--nope"], ["extra"]])
def test_wrong_options_are_called_wrongly(arguments: list[str]) -> None:
    """Exit code 2, as for every command."""
    assert 2 == CliRunner().invoke(cli, ["demo", *arguments]).exit_code
