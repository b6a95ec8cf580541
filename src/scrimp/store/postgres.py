"""Everything that only PostgreSQL knows: dialling the server, its catalogue, its error codes, and dialling again.

Only a `postgresql://` URL imports this file, and it imports psycopg (the extra `postgres`). `sqlite` is the other file
like this one.

A connection that turns out to be dead is dialled anew once within the same commit, so that a server that was restarted
while nothing happened is not noticed. Where that fails too the rows stay with the writer, which tries again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

import psycopg
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.numeric import Int8Dumper

from scrimp.errors import ConfigError, LedgerError
from scrimp.store.database import BUSY_TIMEOUT_MS, LedgerBusy, NoNotes, Notes, is_ledger
from scrimp.store.migrations import HEAD
from scrimp.store.rows import Row
from scrimp.store.statements import POSTGRESQL
from scrimp.store.urls import PostgresUrl, read_postgres_url

_Result = TypeVar("_Result")
_Connection = Connection[tuple[Any, ...]]

#: What we ask of libpq where the URL does not say otherwise, above all to give a silent server up within seconds.
DEFAULTS = {
    "application_name": "scrimp",
    "client_encoding": "UTF8",
    "connect_timeout": "5",
    "keepalives_idle": "30",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}

#: How many rows one round trip brings while reading.
FETCH_ROWS = 2_000

#: The lock that whoever makes or upgrades a ledger holds in its database: "scrimp" in ASCII, as a number.
LOCK_KEY = int.from_bytes(b"scrimp", "big")

_Meaning = tuple[type[LedgerError], str, str]
_UNREACHABLE: _Meaning = (
    LedgerBusy,
    "cannot be reached",
    "Check the server, the name and the password; what is not written yet is tried again.",
)
_LOCKED: _Meaning = (
    LedgerBusy,
    "is locked by another process",
    "Wait for it or end it; what is not written yet is tried again.",
)
_DISK: _Meaning = (
    LedgerBusy,
    "cannot be read or written by its disk",
    "Check the server's disk; what is not written yet is tried again.",
)
_FORBIDDEN: _Meaning = (
    LedgerBusy,
    "may not be written",
    "Let this user create and write tables in its schema, on the server that takes writes.",
)
_DAMAGED: _Meaning = (LedgerError, "is damaged", "Restore a copy of it.")
_UNFORESEEN: _Meaning = (LedgerError, "refused a statement", "Report this as a fault of Scrimp.")

#: What SQLSTATE codes, or the classes that begin them, mean (PostgreSQL docs, appendix A).
_MEANINGS: dict[str, _Meaning] = {
    "08": _UNREACHABLE,
    "28": _UNREACHABLE,
    "57P": _UNREACHABLE,
    "53": (LedgerBusy, "is out of room", "Give the server more of it; what is not written yet is tried again."),
    "53100": (
        LedgerBusy,
        "cannot grow because its disk is full",
        "Free some space; what is not written yet is tried again.",
    ),
    "55P03": _LOCKED,
    "57014": _LOCKED,
    "40": _LOCKED,
    "58": _DISK,
    "25006": _FORBIDDEN,
    "42501": _FORBIDDEN,
    "XX001": _DAMAGED,
    "XX002": _DAMAGED,
}

#: After these a fresh connection may find another server, or the same one restarted.
_DIAL_AGAIN = ("08", "57P", "25006")


def _meaning(error: psycopg.Error) -> _Meaning:
    """Return what an error means; one without a code never reached a server."""
    code = error.sqlstate
    if code is None:
        return _UNREACHABLE if isinstance(error, psycopg.OperationalError) else _UNFORESEEN
    return next((_MEANINGS[code[:length]] for length in (5, 3, 2) if code[:length] in _MEANINGS), _UNFORESEEN)


def _settings(url: PostgresUrl) -> dict[str, Any]:
    """Return what libpq is told. One error of its parser could hold a piece of a password, so none is shown."""
    try:
        return DEFAULTS | conninfo_to_dict(url.conninfo)
    except psycopg.ProgrammingError:
        raise ConfigError(
            f"The ledger's URL {url.name} holds a parameter that PostgreSQL does not know.",
            "Its documentation of connection strings lists them; percent-encode & and % in a value.",
        ) from None


def _tables(connection: _Connection) -> set[str]:
    found = connection.execute("SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = current_schema()")
    return {name for (name,) in found}


class PostgresDatabase:
    """A ledger in PostgreSQL, which several gateways may share; see `database.Database`."""

    dialect = "postgresql+psycopg"
    hold_statement = f"SELECT pg_advisory_xact_lock({LOCK_KEY})"

    def __init__(self, url: str | os.PathLike[str], busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> None:
        self._url = read_postgres_url(url)
        self._settings = _settings(self._url)
        self._busy_timeout_ms = busy_timeout_ms
        self.notes: Notes = NoNotes()
        self._connection: _Connection | None = None

    @property
    def name(self) -> str:
        """The URL without its password."""
        return self._url.name

    @contextmanager
    def _in_sentences(self) -> Iterator[None]:
        """Turn what psycopg raises within into a `LedgerError` about this ledger."""
        try:
            yield
        except psycopg.Error as error:
            kind, what, then = _meaning(error)
            raise kind(f"The ledger {self.name} {what} ({self._url.scrubbed(str(error))}).", then) from None

    def migration_connection(self) -> _Connection:
        """Return another connection to the server."""
        connection = psycopg.connect(**self._settings)
        connection.adapters.register_dumper(int, Int8Dumper)  # one type for all numbers: one prepared statement
        return connection

    def _dial(self) -> _Connection:
        """Connect for writing; every transaction is begun by word."""
        connection = self.migration_connection()
        try:
            self._refuse_narrow(connection)
            connection.autocommit = True
        except BaseException:
            connection.close()
            raise
        return connection

    def _refuse_narrow(self, connection: _Connection) -> None:
        """Refuse a database that cannot hold every character: rows would be refused one by one later."""
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise LedgerError(
                f"The ledger {self.name} is a database in {encoding}, which cannot hold every name.",
                "Make one for it: createdb --encoding UTF8 --template template0 NAME",
            )

    def connect(self, *, to_read: bool = False) -> None:  # noqa: ARG002 - a server needs no files of ours for it
        """Connect to the server."""
        with self._in_sentences():
            self._connection = self._dial()

    def is_gone(self) -> bool:
        """Return False: a server that is gone says so itself."""
        return False

    def begin_anew(self) -> None:
        """Connect to the server again."""
        self.close()
        self.connect()

    def _lost(self, connection: _Connection, error: psycopg.Error) -> bool:
        return connection.closed or (error.sqlstate or "").startswith(_DIAL_AGAIN)

    def _transact(self, work: Callable[[_Connection], _Result]) -> _Result:
        """Do some work on the writer's connection, once more on a fresh one where the old one was dead."""
        with self._in_sentences():
            if self._connection is not None:
                try:
                    return work(self._connection)
                except psycopg.Error as error:
                    if not self._lost(self._connection, error):
                        raise
                self.close()
            self._connection = self._dial()
            return work(self._connection)

    def _version(self, connection: _Connection) -> str | None:
        tables = _tables(connection)
        if not tables:
            return None
        stamp = None
        if "alembic_version" in tables:
            stamp = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        version = str(stamp[0]) if stamp else ""
        if not is_ledger(tables, version):
            raise LedgerError(
                f"{self.name} is a database, but no ledger.",
                "Give the ledger a database of its own, or a schema (?options=-csearch_path%3DNAME).",
            )
        return version

    def version(self) -> str | None:
        """Return the revision of the ledger in the user's schema; see `Database.version`."""
        return self._transact(self._version)

    def exists(self) -> bool:
        """Return whether the database holds a ledger."""
        with self._in_sentences(), self.migration_connection() as connection:
            return self._version(connection) is not None

    def create_tables(self) -> None:
        """Write `schema.sql` into an empty schema and stamp it, unless another gateway just did."""
        script = files("scrimp.store").joinpath("schema.sql").read_text(encoding="utf-8")

        def create(connection: _Connection) -> None:
            with connection.transaction():
                connection.execute(sql.SQL(self.hold_statement))
                if not _tables(connection):
                    connection.execute(sql.SQL(script))
                    connection.execute("INSERT INTO alembic_version (version_num) VALUES (%s)", (HEAD,))

        self._transact(create)

    def _begin(self, connection: _Connection) -> None:
        """Bound every wait for others in this transaction, also where a pool lends the session to somebody else."""
        connection.execute("SELECT set_config('lock_timeout', %s, true)", (f"{max(1, self._busy_timeout_ms)}ms",))

    def commit(self, rows: Sequence[Row]) -> None:
        """Write one group in one transaction and one round trip."""

        def write(connection: _Connection) -> None:
            with connection.pipeline(), connection.transaction(), connection.cursor() as cursor:
                self._begin(connection)
                for state, run in groupby(rows, itemgetter(-1)):
                    cursor.executemany(POSTGRESQL.write[state], list(run))

        self._transact(write)

    def take_over(self) -> None:
        """Have nothing to do: nothing is kept beside a server."""

    def rows(self, since_ms: int, until_ms: int) -> Iterator[Row]:
        """Yield the rows of a span from a cursor on the server, which sees one moment."""
        with self._in_sentences(), self.migration_connection() as connection:
            connection.read_only = True
            with connection.cursor(name="scrimp_rows") as cursor:
                cursor.itersize = FETCH_ROWS
                cursor.execute(POSTGRESQL.rows_between, (since_ms, until_ms))
                yield from cursor

    def delete_closed(self, before_ms: int, limit_rows: int) -> int:
        """Delete a few rows that were closed before a moment, except those that another gateway is deleting."""

        def delete(connection: _Connection) -> int:
            with connection.transaction():
                self._begin(connection)
                return connection.execute(POSTGRESQL.delete_closed, (before_ms, before_ms, limit_rows)).rowcount

        return self._transact(delete)

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
