"""The seam: what each database does alike, also when processes die, share it, or find it torn."""

from __future__ import annotations

import random  # noqa: TID251 - a seeded random.Random picks the moments of death
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from scrimp.core.belief.exchange import Exchange
from scrimp.errors import LedgerError
from scrimp.store.database import Database, is_ledger
from scrimp.store.ledger import FIRST_MS, LAST_MS, database_of, open_ledger
from scrimp.store.migrations import HEAD
from scrimp.store.rows import CLOSED, OPEN, Row, to_row
from tests.store.databases import NewPlace, Place, SqlitePlace

#: How many moments of death are tried on each database.
DEATHS = 25

#: How many exchanges the dying process opens at once.
AT_ONCE = 8


@contextmanager
def _opened(place: Place) -> Iterator[Database]:
    database = database_of(place.url)
    database.connect()
    try:
        yield database
    finally:
        database.close()


def _row(name: str, state: str = OPEN, opened_at_ms: int = 1, closed_at_ms: int | None = None) -> Row:
    exchange = Exchange(exchange_id=name, opened_at_ms=opened_at_ms, closed_at_ms=closed_at_ms, source="gateway")
    return to_row(exchange, state)


def _kept(database: Database) -> list[tuple[str, str]]:
    return [(row[0], row[-1]) for row in database.rows(FIRST_MS, LAST_MS)]


# --- one shape -------------------------------------------------------------------------------------------------------


def test_versions(place: Place) -> None:
    """None where there is nothing, the newest revision for a fresh ledger, "" for one that alembic only began."""
    with _opened(place) as database:
        found = [database.version()]
        database.create_tables()
        found.append(database.version())
        place.execute("DELETE FROM alembic_version RETURNING 1")
        assert [None, HEAD, ""] == [*found, database.version()]


@pytest.mark.parametrize(
    ("tables", "version", "expected"),
    [
        ({"alembic_version"}, "", True),
        ({"alembic_version", "exchanges"}, "0001", True),
        ({"alembic_version", "notes"}, "0001", False),
        ({"notes"}, "", False),
    ],
)
def test_whose_tables_they_are(tables: set[str], version: str, *, expected: bool) -> None:
    """Another program's tables are no ledger, though it too may use alembic."""
    assert expected is is_ledger(tables, version)


def test_somebody_elses_tables_are_left_alone(place: Place) -> None:
    """A database of another program is refused in a sentence, and gets no tables of ours."""
    place.execute("CREATE TABLE alembic_version (version_num TEXT)")
    place.execute("INSERT INTO alembic_version VALUES ('0042') RETURNING 1")
    with pytest.raises(LedgerError, match="is a database, but no ledger"):
        open_ledger(place.url)
    assert {} == {name: each for name, each in place.objects().items() if "exchanges" in name}


def test_making_the_tables_twice_makes_them_once(place: Place) -> None:
    """Of two processes that begin a ledger at the same time the second finds it made."""
    with _opened(place) as database:
        database.create_tables()
        database.create_tables()
    assert [(HEAD,)] == place.execute("SELECT version_num FROM alembic_version")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_many_may_begin_a_ledger_at_the_same_moment(new_place: NewPlace, kind: str) -> None:
    """None of eight that open and make one fresh ledger together is refused because of the others."""
    together = threading.Barrier(8)

    def begin(place: Place) -> str | None:
        together.wait()
        with _opened(place) as database:
            database.create_tables()
            return database.version()

    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            assert [HEAD] * 8 == list(pool.map(begin, [new_place(kind)] * 8))


def test_existing_is_not_making(place: Place) -> None:
    """Whether there is a ledger can be asked without one being made."""
    assert (False, False) == (database_of(place.url).exists(), database_of(place.url).exists())
    with open_ledger(place.url):
        assert database_of(place.url).exists()


def test_a_failed_group_leaves_nothing(place: Place) -> None:
    """One row that cannot be written takes its whole group back, and the connection can go on."""
    with _opened(place) as database:
        database.create_tables()
        with pytest.raises(LedgerError, match="refused a statement"):
            database.commit([_row("a"), (*_row("b")[:1], None, *_row("b")[2:]), _row("c")])
        database.commit([_row("d")])
        assert [("d", OPEN)] == _kept(database)


def test_a_group_that_is_committed_twice_is_there_once(place: Place) -> None:
    """A writer that never heard whether its commit arrived may simply do it again."""
    group = [_row("a"), _row("b"), _row("a", CLOSED), _row("c", CLOSED), _row("c")]
    with _opened(place) as database:
        database.create_tables()
        for _ in range(2):
            database.commit(group)
        assert [("a", CLOSED), ("b", OPEN), ("c", CLOSED)] == _kept(database)


def test_a_value_of_every_size_is_kept(place: Place) -> None:
    """Numbers of one byte and of eight, below zero and above, come back as they were, row after row."""
    numbers = [0, 1, -1, 2**15, -(2**31) - 1, 2**31, 2**63 - 1, -(2**63)]
    with _opened(place) as database:
        database.create_tables()
        database.commit([_row(f"{number}", closed_at_ms=number) for number in numbers])
        found = {row[0]: row[_CLOSED_AT] for row in database.rows(FIRST_MS, LAST_MS)}
    assert {f"{number}": number for number in numbers} == found


_CLOSED_AT = _row("x", closed_at_ms=77).index(77)


def test_deleting_takes_the_oldest_closed_rows_only(place: Place) -> None:
    """Open rows stay, and so does what ended at the moment or later; a close without a time ended as it began."""
    rows = [
        _row("open", OPEN, 1),
        _row("first", CLOSED, 2, 5),
        _row("second", CLOSED, 3, 9),
        _row("timeless", CLOSED, 4),
        _row("late", CLOSED, 5, 10),
        _row("later", CLOSED, 10, 10),
    ]
    with _opened(place) as database:
        database.create_tables()
        database.commit(rows)
        assert (2, 1, 0) == tuple(database.delete_closed(10, 2) for _ in range(3))
        assert ["open", "late", "later"] == [name for name, _ in _kept(database)]


# --- processes that die, and processes that share ------------------------------------------------------------------


def _child(code: str, *arguments: str) -> subprocess.Popen[str]:
    program = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(program, stdout=subprocess.PIPE, text=True)


WRITER = """
    import asyncio, sys
    from scrimp.core.belief.exchange import Exchange
    from scrimp.store.ledger import open_ledger

    async def one(ledger, name):
        await ledger.open(Exchange(exchange_id=name, opened_at_ms=1, source="gateway"))
        print(name, flush=True)
        ledger.close(Exchange(exchange_id=name, opened_at_ms=1, closed_at_ms=2, source="gateway"))

    async def main(url, prefix, rounds, at_once):
        ledger = open_ledger(url)
        for round in range(rounds):
            await asyncio.gather(*(one(ledger, f"{prefix}-{round}-{n}") for n in range(at_once)))
        await ledger.aclose()

    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
"""


def _die(place: Place, seed: int) -> list[str]:
    """Let a process open and close exchanges, kill it at a random moment; return what it was told is committed."""
    child = _child(WRITER, place.url, "x", "1000000", f"{AT_ONCE}")
    assert child.stdout is not None
    acknowledged = [child.stdout.readline().strip() for _ in range(random.Random(seed).randint(1, 50 * AT_ONCE))]
    child.send_signal(signal.SIGKILL)
    acknowledged += [line.strip() for line in child.stdout if line.endswith("\n")]
    child.stdout.close()
    child.wait()
    return acknowledged


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_death_loses_no_open_row_and_at_most_the_last_closes(
    new_place: NewPlace, kind: str, seed_count: int | None
) -> None:
    """Killed with SIGKILL at any moment, the ledger holds what was acknowledged, and opens again.

    Where an open row waits for its commit, a close is committed with the open rows queued after it or before them, so
    that of the rounds before the last one of which an open row was acknowledged every exchange is closed.
    """
    for seed in range(seed_count or DEATHS):
        place = new_place(kind)
        acknowledged = _die(place, seed)
        with open_ledger(place.url, must_exist=True) as ledger:
            found = {each.exchange_id: each.closed_at_ms for each in ledger.exchanges()}
            ledger.close(Exchange(exchange_id="after", opened_at_ms=1, source="gateway"))
        last = max(int(name.split("-")[1]) for name in acknowledged)
        waits = kind == "postgresql"
        open_early = {
            name for name, closed in found.items() if waits and closed is None and int(name.split("-")[1]) < last
        }
        assert (set(), set()) == (set(acknowledged) - found.keys(), open_early), seed
        if isinstance(place, SqlitePlace):
            assert [("ok",)] == place.execute("PRAGMA integrity_check")


def test_many_processes_share_a_ledger(place: Place) -> None:
    """Gateways that begin one fresh ledger at the same time all write all of their exchanges, each once."""
    children = [_child(WRITER, place.url, f"{number}", "10", f"{AT_ONCE}") for number in range(4)]
    for child in children:
        child.communicate()
    assert [0] * 4 == [child.returncode for child in children]
    with open_ledger(place.url) as ledger:
        expected = {f"{number}-{turn}-{each}" for number in range(4) for turn in range(10) for each in range(AT_ONCE)}
        found = [(exchange.exchange_id, exchange.closed_at_ms) for exchange in ledger.exchanges()]
    assert [(name, 2) for name in sorted(expected)] == found


def test_a_process_that_ends_without_closing_writes_what_is_queued(place: Place) -> None:
    """A program that forgets to close its ledger loses nothing when it ends in the ordinary way."""
    child = _child(
        """
        import sys
        from scrimp.core.belief.exchange import Exchange
        from scrimp.store.ledger import open_ledger

        ledger = open_ledger(sys.argv[1])
        ledger.close(Exchange(exchange_id="a", opened_at_ms=1, source="gateway"))
        """,
        place.url,
    )
    child.communicate()
    with open_ledger(place.url) as ledger:
        assert ["a"] == [exchange.exchange_id for exchange in ledger.exchanges()]


def test_everyday_work_imports_neither_sqlalchemy_nor_alembic(place: Place) -> None:
    """Making, writing and reading a ledger needs no SQLAlchemy, and a file no psycopg: a start has to be quick."""
    child = _child(
        """
        import sys
        from scrimp.core.belief.exchange import Exchange
        from scrimp.store.ledger import open_ledger

        with open_ledger(sys.argv[1]) as ledger:
            ledger.close(Exchange(exchange_id="a", opened_at_ms=1, source="gateway"))
        with open_ledger(sys.argv[1]) as ledger:
            slow = {"sqlalchemy", "alembic", "aiohttp", "psycopg"}
            print(len(list(ledger.exchanges())), sorted(slow & set(sys.modules)))
        """,
        place.url,
    )
    needed = [] if isinstance(place, SqlitePlace) else ["psycopg"]
    assert f"1 {needed}\n" == child.communicate()[0]


# --- a SQLite file that was torn -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a ledger of 400 exchanges: 340 in the main file, 60 groups of one in its -wal file."""
    folder = tmp_path_factory.mktemp("unfinished")
    place = SqlitePlace(folder / "live.db")
    with _opened(place) as database:
        database.create_tables()
        database.commit([_row(f"{number:03}", CLOSED, number) for number in range(340)])
        place.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for number in range(340, 400):
            database.commit([_row(f"{number:03}", CLOSED, number)])
        for suffix in ("", "-wal"):
            shutil.copy(f"{place.path}{suffix}", folder / f"torn.db{suffix}")
    return folder


def _found(path: Path) -> list[int] | str:
    """Open a torn ledger and write to it; return the exchanges in it, or the sentence that says why not."""
    try:
        with open_ledger(path) as ledger:
            found = [int(each.exchange_id) for each in ledger.exchanges()]
            ledger.close(Exchange(exchange_id="999", opened_at_ms=999, source="gateway"))
        with open_ledger(path) as ledger:
            assert [*found, 999] == [int(each.exchange_id) for each in ledger.exchanges()]
    except LedgerError as error:
        return error.message
    else:
        return found


def _torn(unfinished: Path, folder: Path, suffix: str, size: int) -> Path:
    """Copy the unfinished ledger and cut one of its files."""
    for each in ("", "-wal"):
        shutil.copy(unfinished / f"torn.db{each}", folder / f"torn.db{each}")
    with (folder / f"torn.db{suffix}").open("r+b") as file:
        file.truncate(size)
    return folder / "torn.db"


def test_a_torn_write_ahead_log_costs_its_end_only(unfinished: Path, tmp_path: Path) -> None:
    """Cut anywhere, what was committed before the cut is there, in order, and the ledger can be written again."""
    whole = (unfinished / "torn.db-wal").stat().st_size
    counts = []
    for size in [*range(0, whole, whole // 40 + 1), whole]:
        found = _found(_torn(unfinished, tmp_path, "-wal", size))
        assert isinstance(found, list)
        assert list(range(len(found))) == found
        counts.append(len(found))
    assert (sorted(counts), 340, 400) == (counts, counts[0], counts[-1])


def test_a_torn_file_is_whole_or_one_sentence(unfinished: Path, tmp_path: Path) -> None:
    """Cut anywhere, the main file never passes for a ledger with less in it, nor for an empty one."""
    whole = (unfinished / "torn.db").stat().st_size
    sentences = set()
    for size in [0, 1, 99, 100, *range(512, whole, 512)]:
        found = _found(_torn(unfinished, tmp_path, "", size))
        assert isinstance(found, str) or list(range(400)) == found, size
        sentences.update([found.partition(" (")[0].replace(str(tmp_path), "")] if isinstance(found, str) else [])
    assert {"The ledger /torn.db is damaged"} == sentences


def test_a_torn_middle_is_one_sentence(tmp_path: Path) -> None:
    """Pages that were overwritten show while reading, as a sentence, after whatever could still be read."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as ledger:
        for number in range(2_000):
            ledger.close(Exchange(exchange_id=f"{number}", opened_at_ms=number, source="gateway"))
    content = path.read_bytes()
    path.write_bytes(content[: 25 * 4096] + b"\xff" * (len(content) - 25 * 4096))
    with pytest.raises(LedgerError, match="is damaged"), open_ledger(path) as ledger:
        list(ledger.exchanges())
