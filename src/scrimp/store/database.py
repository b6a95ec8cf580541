"""The seam under the ledger: what one database has to do, and nothing of how.

`SqliteDatabase` and `PostgresDatabase` are of this shape. One thread at a time uses the writer's connection; each
reading has a connection of its own. A group may be committed twice (its first commit may have been answered into a
connection that died), and writes the same rows then: opening again changes nothing, and a closed row is final.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from scrimp.errors import LedgerError
from scrimp.store.rows import Row

#: How long a statement waits for somebody else who is writing, in milliseconds.
BUSY_TIMEOUT_MS = 2_000


class LedgerBusy(LedgerError):
    """The ledger cannot be written now, but may be later: locked by another process, disk full, server away."""


class Notes(Protocol):
    """Where rows are kept while they are queued, until their group is committed, so that they outlive the process."""

    def add(self, row: Row) -> bool:
        """Keep a row, if that needs nobody's patience, and return whether it is kept for sure; never raises."""
        ...

    def turn(self) -> None:
        """Take note that a group is taken which holds every row that is kept; later ones are none of it."""
        ...

    def clear(self) -> None:
        """Forget the rows of that group: it is committed."""
        ...


class NoNotes:
    """Keeps nothing, so that whoever brings a row has to wait for its commit."""

    def add(self, row: Row) -> bool:  # noqa: ARG002 - the protocol's signature
        """Keep nothing."""
        return False

    def turn(self) -> None:
        """Have nothing to do."""

    def clear(self) -> None:
        """Have nothing to do."""


class Database(Protocol):
    """One ledger's database. Every method raises `LedgerError` in one sentence, `LedgerBusy` where it may heal."""

    #: SQLAlchemy's name of it, for the migrations.
    dialect: str

    #: Where rows are kept until they are committed; see `Notes`.
    notes: Notes

    #: The statement by which a transaction of a migration holds the ledger alone.
    hold_statement: str

    @property
    def name(self) -> str:
        """How reports and errors name it: a path, or a URL without its password."""
        ...

    def exists(self) -> bool:
        """Return whether there is a ledger, without making one."""
        ...

    def connect(self, *, to_read: bool = False) -> None:
        """Open the writer's connection; one `to_read` need not be able to write where it may not."""
        ...

    def is_gone(self) -> bool:
        """Return whether what the writer is connected to is no longer what the name says: a file that was deleted."""
        ...

    def begin_anew(self) -> None:
        """Connect to what the name says now; where that fails, what was connected to stays."""
        ...

    def version(self) -> str | None:
        """Return the ledger's revision, "" where it has none yet, None where there are no tables.

        Tables that are somebody else's raise `LedgerError`.
        """
        ...

    def create_tables(self) -> None:
        """Make the tables and stamp them as the newest revision, unless somebody else just did."""
        ...

    def take_over(self) -> None:
        """Write what was kept by processes that are gone; what cannot be written now stays kept."""
        ...

    def commit(self, rows: Sequence[Row]) -> None:
        """Write one group of rows in one transaction, in their order."""
        ...

    def rows(self, since_ms: int, until_ms: int) -> Iterator[Row]:
        """Yield the rows opened in [since_ms, until_ms), in that order, as of one moment, without holding them all.

        Rows that are kept and not yet committed are among them.
        """
        ...

    def delete_closed(self, before_ms: int, limit_rows: int) -> int:
        """Delete at most so many rows that were opened and closed before a moment; return how many there were."""
        ...

    def migration_connection(self) -> Any:
        """Return a connection of the driver's own kind for SQLAlchemy, which closes it."""
        ...

    def close(self) -> None:
        """Let go of the writer's connection."""
        ...


def is_ledger(tables: set[str], version: str) -> bool:
    """Return whether tables are a ledger's: alembic's own is there, and once it is stamped so are the exchanges."""
    return "alembic_version" in tables and (not version or "exchanges" in tables)
