"""What only SQLite knows: names, rights, errors in one sentence, transactions, and a fresh file made once."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from scrimp.core.belief.exchange import Exchange
from scrimp.errors import ConfigError, LedgerError
from scrimp.store import sqlite
from scrimp.store.database import LedgerBusy
from scrimp.store.ledger import SqlLedger, open_ledger
from scrimp.store.migrations import HEAD


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("ledger.db", "ledger.db"),
        ("/var/ledger.db", "/var/ledger.db"),
        ("sqlite:///ledger.db", "ledger.db"),
        ("sqlite:////var/ledger.db", "/var/ledger.db"),
        ("sqlite+pysqlite:////var/ledger.db", "/var/ledger.db"),
        (Path("a/b.db"), "a/b.db"),
    ],
)
def test_a_url_or_a_path_names_a_file(url: str | Path, path: str) -> None:
    """Bare paths and SQLAlchemy's URLs name the same files."""
    assert Path(path) == sqlite.path_of(url)


def test_a_tilde_is_the_home(tmp_path: Path) -> None:
    """~ is the user's home, as in a shell."""
    assert tmp_path / "home" / "ledger.db" == sqlite.path_of("~/ledger.db")


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///", ":memory:", "sqlite:///:memory:"])
def test_a_ledger_has_to_be_a_file(url: str) -> None:
    """What names no file is refused, with what would."""
    with pytest.raises(ConfigError, match="names no file"):
        sqlite.path_of(url)


def test_another_database_is_refused_by_name() -> None:
    """A URL of another database says that it cannot be used, and does not become a file of that name."""
    with pytest.raises(ConfigError, match="cannot keep a ledger in 'mysql'"):
        sqlite.path_of("mysql://host/name")


def test_file_and_folders_are_private(tmp_path: Path) -> None:
    """What is made is for its owner's eyes only, the write-ahead file too; what was there keeps its rights."""
    tmp_path.chmod(0o755)
    path = tmp_path / "data" / "scrimp" / "ledger.db"
    connection = sqlite.connect(path)
    sqlite.create_tables(connection)
    wal = path.with_name("ledger.db-wal")
    assert (0o755, 0o700, 0o700, 0o600, 0o600) == tuple(
        map(_mode, (tmp_path, path.parent.parent, path.parent, path, wal))
    )
    connection.close()


def test_the_connection_is_durable_enough_and_waits(tmp_path: Path) -> None:
    """Write-ahead log, synchronous=NORMAL, and the wait that was asked for."""
    connection = sqlite.connect(tmp_path / "ledger.db", 1_234)
    names = ("journal_mode", "synchronous", "busy_timeout", "journal_size_limit")
    assert ("wal", 1, 1_234, sqlite.JOURNAL_LIMIT_BYTES) == tuple(
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names
    )
    connection.close()


def _folder(path: Path) -> None:
    path.mkdir()


def _noise(path: Path) -> None:
    path.write_bytes(b"this is no database at all, but long enough to have a header of one" * 100)


def _torn(path: Path) -> None:
    connection = sqlite.connect(path)
    sqlite.create_tables(connection)
    connection.close()
    path.write_bytes(path.read_bytes()[: 4096 + 1000])


def _below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("a file where a folder should be")


def _open(path: Path) -> None:
    connection = sqlite.connect(path)
    try:
        with sqlite.in_sentences(path):
            sqlite.version_of(connection, path)
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_folder, "cannot be opened"),
        (_noise, "is not a ledger"),
        (_torn, "is damaged"),
        (_below_a_file, "cannot be made"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    """Each kind of broken file says in one sentence what it is, with its path, and in another what to do."""
    path = tmp_path / "folder" / "ledger.db"
    path.parent.mkdir()
    spoil(path)
    with pytest.raises(LedgerError, match=sentence) as caught:
        _open(path)
    assert (True, True) == (str(path) in caught.value.message, caught.value.hint.endswith("."))


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    """A database of another program is no ledger, and gets no tables of ours."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    connection.close()
    with pytest.raises(LedgerError, match="is a database, but no ledger"):
        _open(path)


def test_versions(tmp_path: Path) -> None:
    """None for an empty file, the newest revision for a fresh ledger, "" for one that alembic only began."""
    path = tmp_path / "ledger.db"
    connection = sqlite.connect(path)
    found = [sqlite.version_of(connection, path)]
    sqlite.create_tables(connection)
    found.append(sqlite.version_of(connection, path))
    connection.execute("DELETE FROM alembic_version")
    found.append(sqlite.version_of(connection, path))
    connection.close()
    assert [None, HEAD, ""] == found


def test_making_the_tables_twice_makes_them_once(tmp_path: Path) -> None:
    """Of two processes that begin a ledger at the same time the second finds it made."""
    connection = sqlite.connect(tmp_path / "ledger.db")
    sqlite.create_tables(connection)
    sqlite.create_tables(connection)
    assert [(HEAD,)] == connection.execute("SELECT version_num FROM alembic_version").fetchall()
    connection.close()


def test_many_may_begin_a_ledger_at_the_same_moment(tmp_path: Path) -> None:
    """None of eight that open and make one fresh file together is refused because of the others."""
    together = threading.Barrier(8)

    def begin(path: Path) -> str | None:
        together.wait()
        connection = sqlite.connect(path)
        sqlite.create_tables(connection)
        version = sqlite.version_of(connection, path)
        connection.close()
        return version

    with ThreadPoolExecutor(8) as pool:
        for number in range(30):
            assert [HEAD] * 8 == list(pool.map(begin, [tmp_path / f"{number}.db"] * 8))


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    """Whatever is raised within takes all of it back, and the connection can go on."""
    connection = sqlite.connect(tmp_path / "ledger.db")
    connection.execute("CREATE TABLE t (n INTEGER)")
    with pytest.raises(sqlite3.Error), sqlite.transaction(connection):
        connection.executemany("INSERT INTO t VALUES (?)", [(1,), (object(),)])
    with sqlite.transaction(connection):
        connection.execute("INSERT INTO t VALUES (2)")
    assert [(2,)] == connection.execute("SELECT n FROM t").fetchall()
    connection.close()


def test_reading_sees_one_moment_and_writes_nothing(tmp_path: Path) -> None:
    """A reader keeps the state that it began with while others write, and cannot write itself."""
    path = tmp_path / "ledger.db"
    writer = sqlite.connect(path)
    writer.execute("CREATE TABLE t (n INTEGER)")
    writer.execute("INSERT INTO t VALUES (1), (2)")
    with sqlite.reading(path) as reader:
        rows = reader.execute("SELECT n FROM t")
        first = rows.fetchone()
        writer.execute("INSERT INTO t VALUES (3)")
        assert [(1,), (2,)] == [first, *rows]
    with pytest.raises(LedgerBusy, match="may not be written"), sqlite.reading(path) as reader:
        reader.execute("INSERT INTO t VALUES (4)")
    writer.close()


@pytest.mark.parametrize(
    ("code", "kind", "sentence"),
    [
        (sqlite3.SQLITE_BUSY, LedgerBusy, "is locked by another process"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, LedgerBusy, "is locked by another process"),
        (sqlite3.SQLITE_FULL, LedgerBusy, "its disk is full"),
        (sqlite3.SQLITE_IOERR_WRITE, LedgerBusy, "cannot be read or written by its disk"),
        (sqlite3.SQLITE_CORRUPT, LedgerError, "is damaged"),
        (sqlite3.SQLITE_CONSTRAINT, LedgerError, "refused a statement"),
    ],
)
def test_each_error_code_has_its_meaning(code: int, kind: type[LedgerError], sentence: str, tmp_path: Path) -> None:
    """Extended codes mean what their family means; what may heal is told apart from what never will."""
    error = sqlite3.OperationalError("its own words")
    error.sqlite_errorcode = code
    with pytest.raises(LedgerError, match=f"{sentence} .its own words") as caught, sqlite.in_sentences(tmp_path):
        raise error
    assert kind is type(caught.value)


# --- a file that goes while it is written -------------------------------------------------------------------------


def _exchange(name: str) -> Exchange:
    return Exchange(exchange_id=name, opened_at_ms=1, source="gateway")


async def _written(ledger: SqlLedger, *names: str) -> None:
    """Open exchanges and wait until their rows are in the file, not only beside it."""
    for name in names:
        await ledger.open(_exchange(name))
    await ledger.flush()


def _names(path: Path) -> list[str]:
    with SqlLedger(path) as ledger:
        return [exchange.exchange_id for exchange in ledger.exchanges()]


def _move(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def _delete_all(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def _delete_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def _replace(path: Path) -> None:
    """Put another ledger, with a row of its own, in the file's place."""
    _delete_all(path)
    other = SqlLedger(path)
    asyncio.run(other.open(_exchange("theirs")))
    other._stop()


@pytest.mark.parametrize(
    ("take", "kept"),
    [(Path.unlink, []), (_move, []), (_delete_all, []), (_delete_folder, []), (_replace, ["theirs"])],
)
def test_a_file_that_goes_is_begun_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, take: Callable[[Path], None], kept: list[str]
) -> None:
    """What comes afterwards is in the file that the path names then, and the log says once what happened."""
    path = tmp_path / "data" / "ledger.db"

    async def scenario() -> None:
        ledger = SqlLedger(path)
        await _written(ledger, "before")
        await asyncio.to_thread(take, path)
        await _written(ledger, "after", "later")
        assert ledger.trouble is None
        await ledger.aclose()

    asyncio.run(scenario())
    assert sorted([*kept, "after", "later"]) == sorted(_names(path))
    (record,) = caplog.records
    assert ("ERROR", True) == (record.levelname, f"The ledger {path} was deleted or replaced" in record.getMessage())


def test_a_file_that_was_moved_keeps_what_it_had(tmp_path: Path) -> None:
    """The rows that were only in its log are in the file, wherever it is now."""
    path = tmp_path / "ledger.db"

    async def scenario() -> None:
        ledger = SqlLedger(path)
        await _written(ledger, *(f"{number:02}" for number in range(50)))
        _move(path)
        await ledger.open(_exchange("after"))
        await ledger.aclose()

    asyncio.run(scenario())
    assert [*(f"{number:02}" for number in range(50)), "after"] == _names(tmp_path / "moved.db")
    assert ["after"] == _names(path)


def test_what_cannot_be_begun_anew_waits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Something else in the file's place is left alone: the ledger is in trouble, and no row is lost by it."""
    path = tmp_path / "ledger.db"

    async def scenario() -> None:
        ledger = SqlLedger(path)
        await _written(ledger, "before")
        _delete_all(path)
        _noise(path)
        await ledger.open(_exchange("after"))
        with pytest.raises(LedgerBusy, match="is not a ledger"):
            await ledger.flush()
        with pytest.raises(LedgerBusy, match="is not a ledger"):
            await ledger.open(_exchange("later"))
        assert "is not a ledger" in str(ledger.trouble)
        path.unlink()
        await asyncio.to_thread(ledger._writer.stop)
        assert ledger.trouble is None
        ledger._database.close()

    asyncio.run(scenario())
    assert ["after", "later"] == _names(path)
    assert 1 == len(caplog.records)


def test_several_that_write_one_file_begin_one_anew(tmp_path: Path) -> None:
    """However their groups fall, no row that was opened after the file went is missing from the new one."""
    path = tmp_path / "ledger.db"

    async def scenario() -> None:
        ledgers = [SqlLedger(path) for _ in range(4)]
        for number in range(20):
            path.unlink()
            await asyncio.gather(*(_written(each, f"{number}-{at}") for at, each in enumerate(ledgers)))
        for each in ledgers:
            await each.aclose()

    asyncio.run(scenario())
    assert [f"19-{at}" for at in range(4)] == _names(path)


# --- a place that is not ours to write ----------------------------------------------------------------------------

#: Who we are while a right is tested: root has them all.
_NOBODY = 65_534


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    """Take everybody's right to write a folder; root becomes another user for as long."""
    above = [parent for parent in folder.parents if parent.owner() == folder.owner() and parent != Path("/")]
    before = {each: stat.S_IMODE(each.stat().st_mode) for each in above}
    for each in above if os.geteuid() == 0 else ():
        each.chmod(before[each] | 0o055)
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        folder.chmod(0o755)
        for each, mode in before.items():
            each.chmod(mode)


def _ledger_in(folder: Path) -> Path:
    path = folder / "ledger.db"
    ledger = SqlLedger(path)
    asyncio.run(ledger.open(_exchange("kept")))
    ledger._stop()
    return path


def _read(path: Path) -> list[str]:
    with open_ledger(path, must_exist=True) as ledger:
        return [exchange.exchange_id for exchange in ledger.exchanges()]


def test_a_ledger_is_read_where_nothing_may_be_written(tmp_path: Path) -> None:
    """A copy in somebody else's folder: it is read, and nothing is made beside it."""
    path = _ledger_in(tmp_path / "theirs")
    with _read_only(path.parent):
        assert ["kept"] == _read(path)
        assert [path] == list(path.parent.iterdir())


def test_a_ledger_that_somebody_else_writes_is_read(tmp_path: Path) -> None:
    """What is only in the log of a gateway that runs counts, too, and what is only in its journal."""
    path = _ledger_in(tmp_path / "theirs")
    writer = SqlLedger(path)
    asyncio.run(_written(writer, "logged"))
    asyncio.run(writer.open(_exchange("new")))
    with _read_only(path.parent):
        assert ["kept", "logged", "new"] == _read(path)
    writer._stop()


def test_a_log_without_its_index_cannot_be_read_there(tmp_path: Path) -> None:
    """Without it rows would be missing, and nothing would say so: the ledger is refused in one sentence."""
    path = _ledger_in(tmp_path / "theirs")
    writer = SqlLedger(path)
    asyncio.run(_written(writer, "new"))
    copy = tmp_path / "copy" / path.name
    copy.parent.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    writer._stop()
    with _read_only(copy.parent), pytest.raises(LedgerError, match="cannot be opened"):
        _read(copy)


def test_a_ledger_that_is_to_be_written_has_to_be_writable(tmp_path: Path) -> None:
    """A gateway does not begin with a ledger that it cannot keep."""
    path = _ledger_in(tmp_path / "theirs")
    with _read_only(path.parent), pytest.raises(LedgerError, match=r"ledger\.db"):
        SqlLedger(path)
