"""Everything that only SQLite knows: opening a file safely, its pragmas, its catalogue, and its errors in sentences.

`postgres` is the other file like this one; the rest of the store speaks to either, through `database.Database`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from heapq import merge
from importlib.resources import files
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from urllib.parse import quote

from scrimp.errors import ConfigError, LedgerError
from scrimp.store.database import BUSY_TIMEOUT_MS, LedgerBusy, Notes, is_ledger
from scrimp.store.journal import Journal, noted, take_over
from scrimp.store.migrations import HEAD
from scrimp.store.rows import COLUMNS, Row
from scrimp.store.statements import SQLITE

#: How often the file is prepared anew when another process does the same at the same time.
PRAGMA_ATTEMPTS_COUNT = 20

#: How large the write-ahead file may stay after a checkpoint, in bytes.
JOURNAL_LIMIT_BYTES = 64 * 1024 * 1024

#: How a SQLite file begins.
MAGIC = b"SQLite format 3\0"

#: The smallest page of a SQLite file, in bytes.
SMALLEST_PAGE_BYTES = 512

#: Writers in other processes go on while we read; a commit survives the death of this process, and power loss may
#: cost the last of them but never the file (SQLite docs, pragma synchronous: NORMAL in WAL mode).
PRAGMAS = ("journal_mode = WAL", "synchronous = NORMAL", f"journal_size_limit = {JOURNAL_LIMIT_BYTES}")

#: In what order rows are read: by opening time, and by name.
_OPENED_AT = COLUMNS.index("opened_at_ms")
_order = itemgetter(_OPENED_AT, 0)

#: What SQLite's error codes mean -> (the error to raise, what happened, what to do next).
_MEANINGS: dict[int, tuple[type[LedgerError], str, str]] = {
    sqlite3.SQLITE_BUSY: (
        LedgerBusy,
        "is locked by another process",
        "Wait for it or end it; what is not written yet is tried again.",
    ),
    sqlite3.SQLITE_FULL: (
        LedgerBusy,
        "cannot grow because its disk is full",
        "Free some space; what is not written yet is tried again.",
    ),
    sqlite3.SQLITE_IOERR: (
        LedgerBusy,
        "cannot be read or written by its disk",
        "Check the disk; what is not written yet is tried again.",
    ),
    sqlite3.SQLITE_READONLY: (LedgerBusy, "may not be written", "Make the file and its folder yours to write."),
    sqlite3.SQLITE_CANTOPEN: (LedgerBusy, "cannot be opened", "Check that it is a file, and yours to read and write."),
    sqlite3.SQLITE_CORRUPT: (LedgerError, "is damaged", "Move it aside (scrimp begins a new one) or restore a copy."),
    sqlite3.SQLITE_NOTADB: (LedgerError, "is not a ledger", "Name another file with --db, or move this one aside."),
}
#: What SQLite says where it cannot make its files beside the ledger.
_NO_ROOM_BESIDE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
_UNFORESEEN = (LedgerError, "refused a statement", "Report this as a fault of Scrimp.")


@contextmanager
def in_sentences(path: Path) -> Iterator[None]:
    """Turn what SQLite raises within into a `LedgerError` about the ledger at `path`."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR
        kind, what, then = _MEANINGS.get(code & 0xFF, _UNFORESEEN)
        raise kind(f"The ledger {path} {what} ({error}).", then) from error


def path_of(url: str | os.PathLike[str]) -> Path:
    """Return the file that a bare path or an `sqlite:///` URL names; another kind of URL raises `ConfigError`."""
    text = os.fspath(url)
    scheme, colon, rest = text.partition("://")
    if not colon:
        name = text
    elif scheme.partition("+")[0] != "sqlite":
        raise ConfigError(
            f"Scrimp cannot keep a ledger in {scheme!r}.", "Name a file, sqlite:///PATH or postgresql://HOST/NAME."
        )
    else:
        name = rest.removeprefix("/")
    if not name or name == ":memory:":
        raise ConfigError(f"{text!r} names no file.", "Name the ledger's file, or sqlite:///PATH.")
    return Path(name).expanduser()


def _make_folders(path: Path) -> None:
    """Make the folders of a file (mode 0700) that are not there yet; what is there stays as it is."""
    for folder in reversed(path.parents):
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)


def _make_private(path: Path) -> None:
    """Make the file (mode 0600) and its folders where they are not there yet."""
    _make_folders(path)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _refuse_torn(path: Path) -> None:
    """Refuse a file that ends within a page: SQLite would read zeros there, and delete the log of an empty one.

    It writes whole pages only, at the size that the file's header says (SQLite docs, file format, 1.3.2).
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(18)
    if not MAGIC.startswith(head[: len(MAGIC)]):
        raise _broken(path, sqlite3.SQLITE_NOTADB, "its first bytes are not SQLite's")
    logged = _is_filled(_log_of(path))  # asked first: whoever begins the file now writes it before its log
    size = path.stat().st_size
    if size % max(SMALLEST_PAGE_BYTES, int.from_bytes(head[16:], "big")):
        raise _broken(path, sqlite3.SQLITE_CORRUPT, "it ends within a page")
    if size == 0 and logged:
        raise _broken(path, sqlite3.SQLITE_CORRUPT, "it is empty, but not the -wal file beside it")


def _broken(path: Path, code: int, why: str) -> LedgerError:
    kind, what, then = _MEANINGS[code]
    return kind(f"The ledger {path} {what} ({why}).", then)


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _is_filled(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _connect(path: Path | str, busy_timeout_ms: int) -> sqlite3.Connection:
    """Open a file by its path, or by one of SQLite's own URIs."""
    return sqlite3.connect(
        path,
        timeout=busy_timeout_ms / 1000,
        isolation_level=None,
        check_same_thread=False,
        uri=isinstance(path, str),
    )


def _is_writable(path: Path) -> bool:
    """Return whether SQLite could write its files beside the ledger, which it does to read a ledger in WAL mode."""
    as_we_are = os.access in os.supports_effective_ids
    return all(os.access(each, os.W_OK, effective_ids=as_we_are) for each in (path.parent, path))


def _place_of(path: Path) -> str:
    """Return SQLite's own URI of a file."""
    return f"file:{quote(os.fsencode(path.absolute()))}"


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open the ledger's file for reading, also where nothing may be written.

    There SQLite needs its two files beside the ledger, which are there while a gateway of somebody else runs. Without
    them the file is whole by itself, unless a log was left behind (SQLite docs, WAL mode, read-only databases).
    """
    if _is_writable(path):
        connection = _connect(path, BUSY_TIMEOUT_MS)
        connection.execute("PRAGMA query_only = ON")
        return connection
    place = f"{_place_of(path)}?mode=ro"
    connection = _connect(place, BUSY_TIMEOUT_MS)
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF not in _NO_ROOM_BESIDE or _is_filled(_log_of(path)):
            raise
        return _connect(f"{place}&immutable=1", BUSY_TIMEOUT_MS)
    return connection


def _set_pragmas(connection: sqlite3.Connection) -> None:
    """Of processes that turn on the write-ahead log together SQLite refuses all but one at once, so wait here."""
    for attempt in range(PRAGMA_ATTEMPTS_COUNT):
        try:
            for pragma in PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or attempt + 1 == PRAGMA_ATTEMPTS_COUNT:
                raise
            connection.execute("BEGIN IMMEDIATE")  # waits for whoever holds the file
            connection.execute("ROLLBACK")
        else:
            return


@contextmanager
def _made(path: Path) -> Iterator[None]:
    """Turn what the system refuses within into a `LedgerError`."""
    try:
        yield
    except OSError as error:
        raise LedgerError(
            f"The ledger {path} cannot be made ({error.strerror}).", "Name another place with --db, or mend this one."
        ) from error


def connect(path: Path, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> sqlite3.Connection:
    """Open the ledger's file for writing, made first where there is none; the connection commits by word only."""
    with _made(path):
        _make_private(path)
        _refuse_torn(path)
    with in_sentences(path):
        connection = _connect(path, busy_timeout_ms)
        try:
            version_of(connection, path)  # somebody else's database is refused before a pragma changes it
            _set_pragmas(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def _identity(path: Path) -> tuple[int, int]:
    """Return which file a path names."""
    found = os.stat(path)  # noqa: PTH116 - asked for at each commit, and a third faster than by the path's own method
    return found.st_dev, found.st_ino


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other gateways from doing the same in this folder at the same time."""
    with _made(path):
        _make_folders(path)
        folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a connection of its own for reading one consistent state, whatever is written meanwhile."""
    with in_sentences(path):
        connection = connect_to_read(path)
        try:
            yield connection
        finally:
            connection.close()


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what is written within, as the only writer; anything raised takes all of it back."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _tables(connection: sqlite3.Connection) -> set[str]:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {name for (name,) in found}


def version_of(connection: sqlite3.Connection, path: Path) -> str | None:
    """Return the ledger's revision, "" where it has none yet, None where the file is empty.

    Somebody else's database raises `LedgerError`.
    """
    tables = _tables(connection)
    if not tables:
        return None
    stamp = None
    if "alembic_version" in tables:
        stamp = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if stamp and not stamp[0]:
        raise _broken(path, sqlite3.SQLITE_CORRUPT, "its revision is gone")
    version = str(stamp[0]) if stamp else ""
    if not is_ledger(tables, version):
        raise LedgerError(f"{path} is a database, but no ledger.", "Name another file with --db.")
    return version


def create_tables(connection: sqlite3.Connection) -> None:
    """Write `schema.sql` into an empty file and stamp it as the newest revision, unless another process just did."""
    script = files("scrimp.store").joinpath("schema.sql").read_text(encoding="utf-8")
    with transaction(connection):
        if _tables(connection):
            return
        for statement in script.split(";"):
            connection.execute(statement)
        connection.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (HEAD,))


class SqliteDatabase:
    """A ledger in a file of its own; see `database.Database`."""

    dialect = "sqlite"
    hold_statement = "BEGIN IMMEDIATE"

    def __init__(self, url: str | os.PathLike[str], busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> None:
        self.path = path_of(url)
        self._busy_timeout_ms = busy_timeout_ms
        self.connection: sqlite3.Connection
        self._journal = Journal(self.path)
        self.notes: Notes = self._journal
        #: Which file it is that `connection` writes, whatever its path names by now.
        self._file: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self.path)

    def exists(self) -> bool:
        """Return whether the file is there."""
        return self.path.exists()

    def connect(self, *, to_read: bool = False) -> None:
        """Open the file, made first where there is none; one that is only read may be in a place that is not ours."""
        if to_read and not _is_writable(self.path):
            with in_sentences(self.path):
                self.connection = connect_to_read(self.path)
        else:
            self.connection = connect(self.path, self._busy_timeout_ms)
        self._file = _identity(self.path)

    def is_gone(self) -> bool:
        """Return whether the path names another file by now, or none."""
        try:
            return _identity(self.path) != self._file
        except OSError as error:
            return error.errno in {errno.ENOENT, errno.ENOTDIR}

    def begin_anew(self) -> None:
        """Let go of a file that is gone and open what its path names now, made first where that is nothing.

        Its log stays behind under a name that a new file would take for its own. So what is in it goes to the file,
        wherever that is now, and it is removed; of several processes the first does that for all.
        """
        with _alone(self.path):
            if not self.path.exists():
                with suppress(sqlite3.Error):
                    self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                for suffix in ("-wal", "-shm"):
                    self.path.with_name(f"{self.path.name}{suffix}").unlink(missing_ok=True)
            before = self.connection
            self.connect()
            before.close()
            self._journal.begin_anew()

    def version(self) -> str | None:
        """Return the file's revision; see `version_of`."""
        with in_sentences(self.path):
            return version_of(self.connection, self.path)

    def create_tables(self) -> None:
        """Make the tables in an empty file; see `create_tables`."""
        with in_sentences(self.path):
            create_tables(self.connection)

    def commit(self, rows: Sequence[Row]) -> None:
        """Write one group in one transaction, each run of opens or closes as one statement."""
        with in_sentences(self.path), transaction(self.connection):
            for state, run in groupby(rows, itemgetter(-1)):
                self.connection.executemany(SQLITE.write[state], run)

    def take_over(self) -> None:
        """Write what processes that are gone have left beside the file."""
        take_over(self.path, self.commit)

    def rows(self, since_ms: int, until_ms: int) -> Iterator[Row]:
        """Yield the rows of a span from a connection that only reads, and those that stand beside the file."""
        beside = [row for row in noted(self.path) if since_ms <= row[_OPENED_AT] < until_ms]
        with reading(self.path) as connection:
            connection.execute("BEGIN")  # one moment, after the one at which we looked beside
            waiting = [row for row in beside if not connection.execute(SQLITE.has, row[:1]).fetchone()]
            rows = connection.execute(SQLITE.rows_between, (since_ms, until_ms))
            yield from merge(rows, sorted(waiting, key=_order), key=_order) if waiting else rows

    def delete_closed(self, before_ms: int, limit_rows: int) -> int:
        """Delete a few rows that were closed before a moment; the file keeps their room for new ones."""
        with in_sentences(self.path), transaction(self.connection):
            return self.connection.execute(SQLITE.delete_closed, (before_ms, before_ms, limit_rows)).rowcount

    def migration_connection(self) -> sqlite3.Connection:
        """Return another connection to the file."""
        return connect(self.path)

    def close(self) -> None:
        """Close the file."""
        self._journal.close()
        self.connection.close()
