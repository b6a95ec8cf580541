"""`scrimp replay`: the promised JSON, the page, and what it says when something is wrong."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from scrimp.cli import replay
from scrimp.cli.main import cli
from scrimp.core.belief.exchange import PING, Exchange
from scrimp.core.wire.usage import Usage
from scrimp.errors import TraceFormatError, UsageError
from scrimp.replay import policies
from scrimp.replay.traces.ledger_export import write
from scrimp.store.ledger import open_ledger
from tests.cli.asked import told, told_json
from tests.replay.transcripts import Transcript

_run = partial(told, "replay")
_json = partial(told_json, "replay")


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    """Return a folder with one session: a tool that took seven minutes, then a quick one."""
    session = Transcript(model="claude-opus-4-6")
    session.user(0, "hi")
    session.answer(1, "m1", 50_000)
    session.result(420)
    session.answer(421, "m2", 51_000)
    session.result(425)
    session.answer(426, "m3", 52_000, read=50_997)
    return session.kept_under(tmp_path)


def test_json_has_the_promised_shape(sessions: Path) -> None:
    """Every policy with its cost, regret and causes; the optimum; how well the recorded bill was predicted."""
    answer = _json(sessions)
    assert (3, 1, {"lossless_usd", "pruned_usd"}) == (answer["exchanges"], answer["sessions"], set(answer["optimum"]))
    assert list(policies.POLICIES) == list(answer["policies"])
    optimum = answer["optimum"]["lossless_usd"]
    for policy in answer["policies"].values():
        assert pytest.approx(policy["input_cost_usd"] / optimum) == policy["regret"]
        assert pytest.approx(policy["input_cost_usd"] - optimum) == sum(policy["causes"].values())
        assert pytest.approx(policy["input_cost_usd"] + 30 * 25 / 1e6) == policy["cost_usd"]
    assert {"total_ratio", "median_session_error", "tool_turn_reads_exact"} <= set(answer["fidelity"])


def test_holding_beats_letting_go(sessions: Path) -> None:
    """A tool of seven minutes is pinged for once; automatic caching writes 50,000 tokens anew."""
    costs = {name: each["input_cost_usd"] for name, each in _json(sessions)["policies"].items()}
    assert costs["scrimp-safe"] < costs["automatic"] < costs["none"]


def test_policies_are_picked(sessions: Path) -> None:
    """--policy names them, in the order to be shown; the baseline need not be among them."""
    assert ["1h", "none"] == list(_json(sessions, "--policy", "1h, none,1h")["policies"])


def test_another_model_is_another_bill(sessions: Path) -> None:
    """--as-model prices the same prompts as another model, at its latest prices."""
    own, dear = (_json(sessions, *more) for more in ((), ("--as-model", "claude-fable-5-1")))
    assert (None, "claude-fable-5-1") == (own["as_model"], dear["as_model"])
    assert 2 * own["policies"]["none"]["input_cost_usd"] == pytest.approx(dear["policies"]["none"]["input_cost_usd"])


def test_jobs_change_nothing_but_time(sessions: Path) -> None:
    """Two accounts, replayed side by side."""
    (sessions / "other").mkdir()
    text = (sessions / "shop" / "s1.jsonl").read_text(encoding="utf-8")
    other = text.replace('"s1', '"s2').replace('"id": "m', '"id": "n').replace('"cwd": "shop"', '"cwd": "other"')
    (sessions / "other" / "s2.jsonl").write_text(other, encoding="utf-8")
    alone, together = (_json(sessions, "--jobs", jobs) for jobs in (1, 2))
    assert 2 == alone["accounts"]
    assert alone == together


def test_the_text_says_what_the_json_says(sessions: Path) -> None:
    """A row for each policy, the causes, and what the optimum is."""
    text = _run(sessions)
    assert [name for name in policies.POLICIES if f"\n{name} " not in text] == []
    assert "3 requests in 1 session" in text
    assert "the optimum knows all times beforehand" in text


def test_a_page_or_a_chart_is_written(sessions: Path, tmp_path: Path) -> None:
    """A page that stands alone, or with .svg the chart alone."""
    _run(sessions, "--html", tmp_path / "page.html")
    _run(sessions, "--html", tmp_path / "chart.svg")
    chart = (tmp_path / "chart.svg").read_text(encoding="utf-8")
    assert chart.startswith("<svg")
    assert chart.strip() in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_said(sessions: Path, tmp_path: Path) -> None:
    """With the reason."""
    with pytest.raises(UsageError, match="cannot be written"):
        _run(sessions, "--html", tmp_path / "missing" / "page.html")


def _held() -> list[Exchange]:
    """Return a request, the ping that holds it, and the request that reads it seven minutes later."""
    usage = Usage(cache_write_5m_input_tokens=50_000)
    first = Exchange(exchange_id="ex_0", opened_at_ms=1_795_600_000_000, source="gateway", principal="key",
                     session_id="s1", served_model="claude-opus-5-5", usage=usage, stop_reason="tool_use")  # fmt: skip
    read = Usage(cache_read_input_tokens=50_000)
    ping = replace(first, exchange_id="ex_1", opened_at_ms=first.opened_at_ms + 290_000, origin=PING, usage=read)
    more = Usage(cache_read_input_tokens=50_000, cache_write_5m_input_tokens=1_000)
    return [first, ping, replace(first, exchange_id="ex_2", opened_at_ms=first.opened_at_ms + 420_000, usage=more)]


def test_a_ledger_and_its_export_are_replayed_with_their_pings(tmp_path: Path) -> None:
    """Both predict the bill exactly, and say the same."""
    place, exported = tmp_path / "ledger.db", tmp_path / "export.jsonl"
    with open_ledger(str(place)) as ledger:
        for exchange in _held():
            asyncio.run(ledger.open(exchange))
            ledger.close(exchange)
    exported.write_bytes(b"".join(write(_held())))
    of_ledger, of_export = _json("--db", place), _json(exported)
    assert of_ledger["policies"] == of_export["policies"]
    assert of_ledger["fidelity"] == of_export["fidelity"]
    fidelity = of_ledger["fidelity"]
    assert (2, 1.0, 1.0) == (of_ledger["exchanges"], fidelity["total_ratio"], fidelity["tool_turn_reads_exact"])
    assert "counts 1 ping that Scrimp sent" in _run("--db", place)


def test_a_ledger_without_requests_cannot_be_replayed(tmp_path: Path, sessions: Path) -> None:
    """Nor can a ledger and recorded files together."""
    with open_ledger(str(tmp_path / "ledger.db")):
        pass
    with pytest.raises(TraceFormatError, match="Nothing in there"):
        _run("--db", tmp_path / "ledger.db")
    with pytest.raises(UsageError, match="cannot be read together"):
        _run(sessions, "--db", tmp_path / "ledger.db")


@pytest.mark.parametrize("names", ["best", "1h,best", ","])
def test_an_unknown_policy_is_refused(sessions: Path, names: str) -> None:
    """With those that there are."""
    result = CliRunner().invoke(cli, ["replay", str(sessions), "--policy", names])
    assert 2 == result.exit_code
    assert "scrimp-safe" in result.stderr


def test_an_unknown_model_is_refused(sessions: Path) -> None:
    """A model without a price is no price."""
    with pytest.raises(UsageError, match="no price for gpt-9"):
        _run(sessions, "--as-model", "gpt-9")


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    """A path that is not there."""
    with pytest.raises(TraceFormatError):
        _run(tmp_path / "missing")


def test_the_names_of_policies_are_those_of_the_table() -> None:
    """The command spells them again, to start quickly."""
    assert list(policies.POLICIES) == list(replay.POLICIES)
