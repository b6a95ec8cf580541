"""Both databases, as tests need them: a URL, and what another process can do to the ledger behind Scrimp's back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg

from tests.store.server import Server


class Place(Protocol):
    """Where one ledger is."""

    @property
    def url(self) -> str:
        """What `open_ledger` takes."""
        ...

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement as another process; return what it gives."""
        ...

    def held(self) -> AbstractContextManager[None]:
        """Keep everybody else from writing as long as it lasts."""
        ...

    def objects(self) -> dict[str, str]:
        """Return the definition of every table and index by its name, without alembic's own."""
        ...


#: Makes a fresh place of one kind.
NewPlace = Callable[[str], Place]


class SqlitePlace:
    """A file that is not there yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = str(path)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement and commit it."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold SQLite's one write lock."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
        connection.close()

    def objects(self) -> dict[str, str]:
        """Return what SQLite's own catalogue says."""
        found = self.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'alembic_version'")
        return {name: " ".join(sql.replace('"', "").split()) for name, sql in found}


class PostgresPlace:
    """An empty database."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = server.new_database()
        self.database = self.url.rpartition("/")[2]

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement and commit it."""
        return self.server.execute(statement, self.database)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock the table against writers, not against readers."""
        with psycopg.connect(self.url) as connection:
            connection.execute("LOCK TABLE exchanges IN EXCLUSIVE MODE")
            yield

    def objects(self) -> dict[str, str]:
        """Return the columns, constraints and indexes that the server's catalogue lists; the columns have no order."""
        columns = self.execute(
            "SELECT table_name || '.' || column_name, data_type || ' ' || is_nullable "
            "FROM information_schema.columns WHERE table_schema = current_schema() AND table_name != 'alembic_version'"
        )
        constraints = self.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = current_schema()::regnamespace AND conrelid != 'alembic_version'::regclass"
        )
        indexes = self.execute(
            "SELECT indexname, indexdef FROM pg_indexes "
            "WHERE schemaname = current_schema() AND tablename != 'alembic_version'"
        )
        return dict(columns + constraints + indexes)
