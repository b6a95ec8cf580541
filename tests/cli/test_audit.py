"""`scrimp audit`: the promised JSON, the exit codes, files and ledgers, and what it says when called wrongly."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage
from scrimp.errors import ConfigError, UsageError
from scrimp.replay.traces.ledger_export import write
from scrimp.store.ledger import open_ledger
from tests.cli.asked import told, told_json
from tests.replay.transcripts import Transcript

run = partial(told, "audit")
as_json = partial(told_json, "audit")

PROMISED = ["kind", "cause", "session", "exchange", "block", "byte", "cost_usd", "fix"]
#: 50,000 tokens of claude-opus-4-5 written for five minutes instead of read, at $6.25 and $0.50 a million.
COST_USD = 50_000 * (6.25 - 0.5) / 1_000_000


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    """Return a folder with one session whose cache ran out in a pause of seven minutes."""
    session = Transcript()
    session.user(0, "go")
    session.answer(2, "m1", 50_003)
    session.result(422)
    session.answer(424, "m2", 51_003)
    session.result(426)
    session.answer(427, "m3", 52_003, read=51_000)
    return session.kept_under(tmp_path)


def test_the_promised_shape(sessions: Path) -> None:
    """One object; each finding has its eight keys first, and their costs add up to the whole."""
    told = as_json(sessions)
    (finding,) = told["findings"]
    assert (["findings", "cost_usd"], PROMISED) == (list(told)[:2], list(finding)[: len(PROMISED)])
    assert ("caching across long idle gaps", "ttl_expired", "s1", "m2") == tuple(finding[name] for name in PROMISED[:4])
    assert told["cost_usd"] == finding["cost_usd"] == pytest.approx(COST_USD)
    assert (1, "m2") == (told["groups"][0]["count"], told["groups"][0]["dearest"])


def test_a_person_reads_the_money_first(sessions: Path) -> None:
    """The sum, the row, the place and the fix."""
    text = run(sessions)
    assert "3 requests in 1 session: cache breaks and pitfalls cost $0.287500" in text
    assert "1  $0.287500        1           1    50,000  caching across long idle gaps  ttl_expired" in text
    assert "Dearest: $0.287500, session s1, request m2, after 7 minutes." in text
    assert "Fix: Mark for an hour" in text


def test_top_cuts_findings_and_groups(sessions: Path) -> None:
    """The whole cost stays."""
    folder = sessions / "shop"
    text = (folder / "s1.jsonl").read_text(encoding="utf-8")
    one = Transcript("s2")
    one.user(900, "go")
    one.answer(902, "n1", 50_003)
    (folder / "s2.jsonl").write_bytes(one.source().data)
    assert text
    whole, cut = as_json(sessions), as_json(sessions, "--top", 1)
    assert (2, 1, 1) == (len(whole["findings"]), len(cut["findings"]), len(cut["groups"]))
    assert whole["cost_usd"] == cut["cost_usd"]
    assert "... and 1 more; show them with --top." in run(sessions, "--top", 1)


def test_findings_alone_are_no_failure(sessions: Path) -> None:
    """Exit code 1 only where --fail-over is given and exceeded."""
    run(sessions, code=0)
    run(sessions, "--fail-over", "0.30", code=0)
    run(sessions, "--fail-over", "0.28", code=1)
    run(sessions, "--fail-over", "0.28", "--json", code=1)


def _told() -> list[Exchange]:
    usage = Usage(cache_write_5m_input_tokens=20_000)
    plain = Exchange(
        exchange_id="ex_0",
        opened_at_ms=1_795_600_000_000,
        source="gateway",
        session_id="s1",
        served_model="claude-opus-5-5",
        usage=usage,
        closed_at_ms=1_795_600_001_000,
    )
    broken = {"break_cause": "date", "break_reason": "system_changed", "break_block": "system.0", "break_byte": 41}
    counted = {"break_lost_tokens": 20_000, "break_cost_nano_usd": 90_000_000}
    return [plain, replace(plain, exchange_id="ex_1", opened_at_ms=1_795_600_060_000, **broken, **counted)]


def test_a_ledger_tells_what_its_gateway_saw(tmp_path: Path) -> None:
    """Block and byte, from the database as from its export."""
    place = tmp_path / "ledger.db"
    with open_ledger(str(place)) as ledger:
        for exchange in _told():
            asyncio.run(ledger.open(exchange))
            ledger.close(exchange)
    exported = tmp_path / "export.jsonl"
    exported.write_bytes(b"".join(write(_told())))
    of_ledger, of_export = as_json("--db", place), as_json(exported)
    assert of_ledger["findings"] == of_export["findings"]
    expected = ["variable content before stable content", "date", "s1", "ex_1", "system.0", 41, 0.09]
    assert expected == [of_ledger["findings"][0][name] for name in PROMISED[:7]]
    assert "system.0 at byte 41" in run("--db", place)


def test_an_empty_ledger_says_what_to_do(tmp_path: Path) -> None:
    """No request, no finding, no failure."""
    with open_ledger(str(tmp_path / "ledger.db")):
        pass
    assert "No request is recorded here yet." in run("--db", tmp_path / "ledger.db")
    assert ([], 0) == tuple(as_json("--db", tmp_path / "ledger.db")[name] for name in ("findings", "cost_usd"))


def test_called_wrongly(tmp_path: Path, sessions: Path) -> None:
    """Both kinds of source at once, and a ledger that is not there."""
    with pytest.raises(UsageError, match="cannot be read together"):
        run(sessions, "--db", tmp_path / "ledger.db")
    with pytest.raises(ConfigError, match="There is no ledger"):
        run("--db", tmp_path / "ledger.db")
