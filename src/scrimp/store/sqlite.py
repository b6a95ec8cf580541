"""Everything that only SQLite knows: opening a file safely, its pragmas, its catalogue, and its errors in sentences.

PostgreSQL gets a file like this one; the rest of the store speaks to either.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path

from scrimp.errors import ConfigError, LedgerError
from scrimp.store.migrations import HEAD

#: How long a statement waits for another process that is writing, in milliseconds.
BUSY_TIMEOUT_MS = 2_000

#: How often the file is prepared anew when another process does the same at the same time.
PRAGMA_ATTEMPTS_COUNT = 20

#: How large the write-ahead file may stay after a checkpoint, in bytes.
JOURNAL_LIMIT_BYTES = 64 * 1024 * 1024

#: Writers in other processes go on while we read; a commit survives the death of this process, and power loss may
#: cost the last of them but never the file (SQLite docs, pragma synchronous: NORMAL in WAL mode).
PRAGMAS = ("journal_mode = WAL", "synchronous = NORMAL", f"journal_size_limit = {JOURNAL_LIMIT_BYTES}")


class LedgerBusy(LedgerError):
    """The ledger cannot be written now, but may be later: locked by another process, or its disk is full."""


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
        raise ConfigError(f"Scrimp cannot keep a ledger in {scheme!r}.", "Name a file, or sqlite:///PATH.")
    else:
        name = rest.removeprefix("/")
    if not name or name == ":memory:":
        raise ConfigError(f"{text!r} names no file.", "Name the ledger's file, or sqlite:///PATH.")
    return Path(name).expanduser()


def _make_private(path: Path) -> None:
    """Make the file (mode 0600) and the folders (mode 0700) that are not there yet; what is there stays as it is."""
    for folder in reversed(path.parents):
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _connect(path: Path, busy_timeout_ms: int) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=busy_timeout_ms / 1000, isolation_level=None, check_same_thread=False)


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


def connect(path: Path, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> sqlite3.Connection:
    """Open the ledger's file for writing, made first where there is none; the connection commits by word only."""
    try:
        _make_private(path)
    except OSError as error:
        raise LedgerError(
            f"The ledger {path} cannot be made ({error.strerror}).", "Name another place with --db, or mend this one."
        ) from error
    with in_sentences(path):
        connection = _connect(path, busy_timeout_ms)
        try:
            version_of(connection, path)  # somebody else's database is refused before a pragma changes it
            _set_pragmas(connection)
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a connection of its own for reading one consistent state, whatever is written meanwhile."""
    with in_sentences(path):
        connection = _connect(path, BUSY_TIMEOUT_MS)
        try:
            connection.execute("PRAGMA query_only = ON")
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
    if "alembic_version" not in tables:
        raise LedgerError(f"{path} is a database, but no ledger.", "Name another file with --db.")
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else ""


def create_tables(connection: sqlite3.Connection) -> None:
    """Write `schema.sql` into an empty file and stamp it as the newest revision, unless another process just did."""
    script = files("scrimp.store").joinpath("schema.sql").read_text(encoding="utf-8")
    with transaction(connection):
        if _tables(connection):
            return
        for statement in script.split(";"):
            connection.execute(statement)
        connection.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (HEAD,))
