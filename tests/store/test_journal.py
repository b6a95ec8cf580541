"""The journal beside a ledger: what was added outlives the process, until it is committed, and no longer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.exchange import Exchange
from scrimp.errors import LedgerError
from scrimp.store.journal import Journal, noted, take_over
from scrimp.store.ledger import SqlLedger
from scrimp.store.rows import OPEN, Row, folded, to_row


def row(name: str, at_ms: int = 1, **known: Any) -> Row:
    """Return an open row."""
    return to_row(Exchange(exchange_id=name, opened_at_ms=at_ms, source="gateway", usage_complete=False, **known), OPEN)


@given(st.lists(st.sampled_from(["add", "turn", "clear"]), max_size=30))
def test_what_was_added_is_there_until_its_group_is_committed(steps: list[str]) -> None:
    """Against a model of two lists: a turn that finds the other part free changes the parts, clearing empties it."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        journal = Journal(folder / "l.db")
        now: list[Row] = []
        before: list[Row] = []
        for number, step in enumerate(steps):
            if step == "add":
                assert journal.add(row(f"{number:02}"))
                now.append(row(f"{number:02}"))
            elif step == "turn":
                journal.turn()
                now, before = (before, now) if not before else (now, before)
            else:
                journal.clear()
                before = []
            assert {*now, *before} == {*noted(folder / "l.db")}
        journal.close()
        assert {*now, *before} == {*noted(folder / "l.db")}
        assert bool(now) + bool(before) == len(list(folder.iterdir()))


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)


@given(NAMES, st.integers(-(2**63), 2**63 - 1), st.none() | NAMES, st.none() | st.integers(0, 2**63 - 1))
def test_a_row_is_read_as_it_was_written(name: str, at_ms: int, session: str | None, bound: int | None) -> None:
    """Any text, any number, and what is not known."""
    with TemporaryDirectory() as folder:
        ledger = Path(folder) / "l.db"
        journal, said = Journal(ledger), row(name, at_ms, session_id=session, cost_upper_nano_usd=bound)
        assert journal.add(said)
        assert [said] == noted(ledger)
        journal.close()


WRITER = """
import sys, time
from pathlib import Path
from scrimp.core.belief.exchange import Exchange
from scrimp.store.journal import Journal
from scrimp.store.rows import OPEN, to_row
journal = Journal(Path(sys.argv[1]))
for name in sys.argv[2:]:
    assert journal.add(to_row(Exchange(exchange_id=name, opened_at_ms=1, source="gateway", usage_complete=False), OPEN))
print("added", flush=True)
time.sleep(600)
"""


def _added(ledger: Path, *names: str) -> subprocess.Popen[str]:
    """Start a process that adds rows and lives on."""
    living = subprocess.Popen([sys.executable, "-c", WRITER, str(ledger), *names], stdout=subprocess.PIPE, text=True)
    assert living.stdout is not None
    assert "added\n" == living.stdout.readline()
    return living


def _killed(living: subprocess.Popen[str]) -> None:
    with living:
        living.send_signal(signal.SIGKILL)


def test_rows_of_a_killed_process_are_in_the_ledger_that_is_opened_next(tmp_path: Path) -> None:
    """As long as it lives they are its own, and readers see them; then they are written, once, and the file goes."""
    path = tmp_path / "ledger" / "l.db"
    path.parent.mkdir()
    living = _added(path, "a", "b")
    with SqlLedger(path) as ledger:
        assert ["a", "b"] == [each.exchange_id for each in ledger.exchanges()]
        assert ["a", "b"] == sorted(each[0] for each in noted(path))
    _killed(living)
    with SqlLedger(path) as ledger:
        assert [] == noted(path)
        assert ["a", "b"] == [each.exchange_id for each in ledger.exchanges()]
    assert [path] == list(path.parent.iterdir())


def test_what_cannot_be_written_now_stays(tmp_path: Path) -> None:
    """A ledger in trouble loses nothing: readers find the row, and the next one who opens the ledger tries again."""
    _killed(_added(tmp_path / "l.db", "a"))

    def refused(_rows: object) -> None:
        raise LedgerError("The ledger is locked by another process.")

    take_over(tmp_path / "l.db", refused)
    assert [row("a")] == noted(tmp_path / "l.db")
    written: list[Row] = []
    take_over(tmp_path / "l.db", written.extend)
    assert ([row("a")], []) == (written, noted(tmp_path / "l.db"))


def test_a_torn_line_costs_no_other(tmp_path: Path) -> None:
    """What was not written whole was never promised; what came before and after it was."""
    path = tmp_path / "l.db"
    journal = Journal(path)
    assert journal.add(row("a"))
    file, _ = sorted(tmp_path.glob("l.db-open-*"))
    with file.open("ab") as torn:
        torn.write(b'\n{"exchange_id":"torn","opened_at_ms":')
    assert journal.add(row("b"))
    assert [row("a"), row("b")] == noted(path)
    file.write_bytes(b"\xff\n[1]\n{}\n" + file.read_bytes())
    assert [row("a"), row("b")] == noted(path)
    journal.clear()
    journal.close()


def test_names_that_a_dead_process_left_are_not_used_again(tmp_path: Path) -> None:
    """The numbers of processes come round: what another one of this number left behind stays as it is."""
    left = tmp_path / f"l.db-open-{os.getpid()}-0"
    left.write_bytes(b"left")
    (tmp_path / f"l.db-open-{os.getpid()}~").write_bytes(b"")
    journal = Journal(tmp_path / "l.db")
    assert journal.add(row("a"))
    assert ([row("a")], b"left") == (noted(tmp_path / "l.db"), left.read_bytes())


def test_a_place_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    """It is said, not raised, and other ledgers' files are nobody's business."""
    journal = Journal(tmp_path / "gone" / "l.db")
    assert (False, False, []) == (journal.add(row("a")), journal.add(row("a")), noted(tmp_path / "gone" / "l.db"))
    other = Journal(tmp_path / "other.db")
    assert other.add(row("a"))
    assert [] == noted(tmp_path / "l.db") == noted(tmp_path / "*")


@pytest.mark.parametrize("times", [1, 2])
def test_a_group_is_one_row_of_each_exchange(times: int) -> None:
    """The last word is the close, with the time at which it was opened."""
    opened = Exchange(exchange_id="a", opened_at_ms=5, source="gateway", usage_complete=False)
    closed = Exchange(exchange_id="a", opened_at_ms=9, source="gateway", http_status=200)
    kept = Exchange(exchange_id="a", opened_at_ms=5, source="gateway", http_status=200)
    rows = [to_row(opened, OPEN), to_row(closed, "closed"), *[to_row(opened, OPEN)] * times, row("b")]
    assert [to_row(kept, "closed"), row("b")] == folded(rows)
