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


class Database(Protocol):
    """One ledger's database. Every method raises `LedgerError` in one sentence, `LedgerBusy` where it may heal."""

    #: SQLAlchemy's name of it, for the migrations.
    dialect: str

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

    def commit(self, rows: Sequence[Row]) -> None:
        """Write one group of rows in one transaction, in their order."""
        ...

    def commit_at_once(self, rows: Sequence[Row]) -> bool:
        """Write a few rows on a connection of its own, if that needs nobody's patience; never raises.

        False says that they may not be written: somebody else is writing, the ledger is gone or in trouble, or it is
        behind a network. They are committed as a group then, where they may be written a second time.
        """
        ...

    def rows(self, since_ms: int, until_ms: int) -> Iterator[Row]:
        """Yield the rows opened in [since_ms, until_ms), in that order, as of one moment, without holding them all."""
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
