"""`scrimp export`: what the ledger holds, read back by the report; never over a file, never half a file."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from scrimp.cli.main import READER_GONE, cli
from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage, UsageLine
from scrimp.errors import ConfigError, UsageError
from scrimp.replay.traces.ledger_export import read
from scrimp.replay.traces.trace import Source
from scrimp.store.ledger import open_ledger

NOON_MS = 1_795_608_000_000  # 2026-11-25 12:00 UTC
DAY_MS = 86_400_000

Fill = Callable[[int], list[Exchange]]


def _exchange(number: int) -> Exchange:
    usage = Usage(1, 2, 3, 4, number)
    return Exchange(
        exchange_id=f"ex_{number:06}",
        opened_at_ms=NOON_MS + number * DAY_MS // 2,
        source="gateway",
        message_id=f"msg_{number}",
        usage=usage,
        usage_lines=(UsageLine(usage, "claude-opus-4-6"),),
        cost_nano_usd=number,
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Return where the ledger is."""
    return tmp_path / "ledger.db"


@pytest.fixture
def fill(ledger: Path) -> Fill:
    """Put exchanges half a day apart into the ledger and return them."""

    def fill(count: int) -> list[Exchange]:
        exchanges = [_exchange(number) for number in range(count)]

        async def write() -> None:
            opened = open_ledger(ledger)
            for exchange in exchanges:
                opened.close(exchange)
            await opened.aclose()

        asyncio.run(write())
        return exchanges

    return fill


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(cli, ["export", *map(str, arguments)], catch_exceptions=False)
    assert (0, "") == (result.exit_code, result.stderr)
    return result.stdout


def _refused(*arguments: object) -> UsageError:
    with pytest.raises(UsageError) as caught:
        CliRunner().invoke(cli, ["export", *map(str, arguments)], catch_exceptions=False)
    assert (2, True) == (caught.value.exit_code, bool(caught.value.hint))
    return caught.value


def _exchanges(data: bytes) -> list[Exchange]:
    trace = read(Source("f", data))
    assert [] == trace.problems
    return trace.exchanges


@pytest.mark.parametrize("to", [[], ["-"]])
def test_the_whole_ledger_goes_to_standard_output(ledger: Path, fill: Fill, to: list[str]) -> None:
    """Every exchange, in the order of opening, and nothing else."""
    exchanges = fill(3)
    assert exchanges == _exchanges(_run("--db", ledger, *to).encode())


def test_a_file_is_written_for_its_owner_alone(ledger: Path, fill: Fill, tmp_path: Path) -> None:
    """As the ledger is; nothing is printed, and nothing else is left in the folder."""
    exchanges = fill(3)
    target = tmp_path / "out" / "x.jsonl"
    target.parent.mkdir()
    assert "" == _run("--db", ledger, target)
    assert (exchanges, 0o600) == (_exchanges(target.read_bytes()), stat.S_IMODE(target.stat().st_mode))
    assert [target] == list(target.parent.iterdir())


def test_the_report_of_an_export_is_that_of_its_ledger(ledger: Path, fill: Fill, tmp_path: Path) -> None:
    """To the last number, and the two together count once."""
    fill(5)
    target = tmp_path / "x.jsonl"
    _run("--db", ledger, target)
    twice = shutil.copy(target, tmp_path / "y.jsonl")
    answers = [
        json.loads(CliRunner().invoke(cli, ["report", "--json", *map(str, arguments)]).stdout)
        for arguments in (["--db", ledger], [target], [target, twice])
    ]
    assert [1, 1, 2] == [answer.pop("files") for answer in answers]
    assert [answers[0]] * 3 == answers


def test_since_and_until(ledger: Path, fill: Fill) -> None:
    """A day is meant whole, as in the report."""
    exchanges = fill(6)
    data = _run("--db", ledger, "--since", "2026-11-26", "--until", "2026-11-26")
    assert exchanges[1:3] == _exchanges(data.encode())


def test_an_empty_ledger_is_an_export_too(ledger: Path, fill: Fill) -> None:
    """The header alone."""
    fill(0)
    assert '{"scrimp_export":1}\n' == _run("--db", ledger)


def test_without_db_the_ledger_is_the_gateways(ledger: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its settings say."""
    exchanges = fill(1)
    monkeypatch.setenv("SCRIMP_DB", str(ledger))
    assert exchanges == _exchanges(_run().encode())


def test_a_file_that_is_there_is_not_overwritten(ledger: Path, fill: Fill, tmp_path: Path) -> None:
    """Only with --force, and then a link stays a link."""
    exchanges = fill(1)
    target, link = tmp_path / "x.jsonl", tmp_path / "link.jsonl"
    target.write_text("mine")
    link.symlink_to(target)
    for path in (target, link):
        assert "--force" in _refused("--db", ledger, path).hint
        assert "mine" == target.read_text()
    _run("--db", ledger, link, "--force")
    assert (exchanges, True) == (_exchanges(target.read_bytes()), link.is_symlink())


def test_the_ledger_is_never_written_over(ledger: Path, fill: Fill) -> None:
    """Not even with --force."""
    exchanges = fill(1)
    assert "is the ledger itself" in _refused("--db", ledger, ledger, "--force").message
    assert exchanges == _exchanges(_run("--db", ledger).encode())


@pytest.mark.parametrize(("name", "why"), [("gone/x.jsonl", "No such file or directory"), ("", "Is a directory")])
def test_a_file_that_cannot_be_written_is_told(ledger: Path, fill: Fill, tmp_path: Path, name: str, why: str) -> None:
    """With the system's reason."""
    fill(1)
    assert why in _refused("--db", ledger, tmp_path / name).message


def test_there_has_to_be_a_ledger(tmp_path: Path) -> None:
    """It is not made, and no file is."""
    assert isinstance(_refused("--db", tmp_path / "gone.db", tmp_path / "x.jsonl"), ConfigError)
    assert [] == [each for each in tmp_path.iterdir() if each.name != "home"]


def test_half_an_export_is_not_left_behind(ledger: Path, fill: Fill, tmp_path: Path) -> None:
    """A row that is no exchange ends it: a file that was there stays, and no other is there."""
    import sqlite3

    fill(3)
    with sqlite3.connect(ledger) as connection:
        connection.execute("UPDATE exchanges SET usage_lines = 'torn' WHERE exchange_id = 'ex_000002'")
    connection.close()
    target = tmp_path / "x.jsonl"
    target.write_text("mine")
    before = sorted(tmp_path.iterdir())
    result = CliRunner().invoke(cli, ["export", "--db", str(ledger), str(target), "--force"])
    assert 1 == result.exit_code
    assert ("mine", before) == (target.read_text(), sorted(tmp_path.iterdir()))


# --- as a process ---


@pytest.mark.parametrize("to", ["-", "/dev/stdout"])
def test_a_reader_may_stop_early(ledger: Path, fill: Fill, environment: dict[str, str], to: str) -> None:
    """`scrimp export | head -1` says nothing and ends as a shell expects it, with much more than a pipe holds."""
    fill(1_000)
    command = f'set -o pipefail; "{sys.executable}" -m scrimp export --db "{ledger}" {to} | head -n 1'
    ended = subprocess.run(["/bin/bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert (READER_GONE, '{"scrimp_export":1}\n', "") == (ended.returncode, ended.stdout, ended.stderr)


def test_progress_is_shown_on_a_terminal_alone(
    ledger: Path, fill: Fill, environment: dict[str, str], tmp_path: Path
) -> None:
    """On standard error, beside the file that is written."""
    exchanges = fill(20)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "scrimp", "export", "--db", str(ledger), str(tmp_path / "x.jsonl")]
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=theirs, check=False)
    os.close(theirs)
    shown = os.read(ours, 65_536)
    os.close(ours)
    assert (0, b"", True) == (ended.returncode, ended.stdout, b"Exporting" in shown)
    assert exchanges == _exchanges((tmp_path / "x.jsonl").read_bytes())
