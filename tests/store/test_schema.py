"""One schema: the table, the text of a fresh ledger, the migrations and the fields of an exchange agree."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import get_type_hints

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from msgspec.structs import replace
from sqlalchemy import BigInteger, Boolean, Text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage
from scrimp.errors import LedgerError
from scrimp.store.ledger import database_of, open_ledger
from scrimp.store.migrations import HEAD
from scrimp.store.migrations.upgrade import engine_for, revisions, upgrade
from scrimp.store.rows import COLUMNS
from scrimp.store.schema import exchanges, fresh_statements, metadata
from tests.store.databases import NewPlace, Place

BREAK_COLUMNS = [column for column in COLUMNS if column.startswith("break_")]


def _begun_by_alembic(place: Place) -> None:
    """Make a ledger from before the first revision: alembic was here, and did nothing yet."""
    place.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")


def _made(place: Place) -> Place:
    with open_ledger(place.url):
        return place


def _differences(place: Place) -> list[object]:
    with engine_for(database_of(place.url)).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))


def _versions(place: Place) -> list[str]:
    return [version for (version,) in place.execute("SELECT version_num FROM alembic_version")]


def test_the_columns_are_those_of_a_row() -> None:
    """Table and row mapping name the same columns in the same order, so every field of an exchange has its column."""
    assert COLUMNS == tuple(column.name for column in exchanges.c)


def test_the_columns_have_the_types_of_the_fields() -> None:
    """Integers, texts and flags; NULL is allowed exactly where the field may be None, and for unknown usage."""
    kinds = {str: Text, int: BigInteger, bool: Boolean, str | None: Text, int | None: BigInteger}
    hints = {name: kind for name, kind in get_type_hints(Exchange).items() if not name.startswith("usage")}
    expected = {name: (kinds[kind], kind in {str | None, int | None}) for name, kind in hints.items()}
    expected |= dict.fromkeys(Usage.__struct_fields__, (BigInteger, True))
    expected["usage_complete"] = (Boolean, False)
    assert expected == {name: (type(exchanges.c[name].type), exchanges.c[name].nullable) for name in expected}


def test_the_text_of_a_fresh_ledger_is_not_stale(root: Path) -> None:
    """schema.sql is what the schema says; the module writes it anew when run."""
    script = files("scrimp.store").joinpath("schema.sql").read_text(encoding="utf-8")
    written = subprocess.run(
        [sys.executable, "-m", "scrimp.store.schema"], capture_output=True, text=True, check=True, cwd=root
    )
    assert script == written.stdout


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()], ids=["sqlite", "postgresql"])  # type: ignore[no-untyped-call]
def test_both_databases_are_made_by_the_same_text(dialect: Dialect) -> None:
    """Nothing in the schema is particular to one database: what SQLAlchemy compiles for either is schema.sql."""
    assert files("scrimp.store").joinpath("schema.sql").read_text(encoding="utf-8") == fresh_statements(dialect)


def test_a_fresh_ledger_is_the_schema(place: Place) -> None:
    """Alembic finds no difference between a new ledger and the schema, and it is stamped as the newest."""
    assert ([], [HEAD]) == (_differences(_made(place)), _versions(place))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_upgrading_from_nothing_gives_the_schema(new_place: NewPlace, kind: str) -> None:
    """All revisions in a row end at the schema, to the letter of every table, constraint and index."""
    old, fresh = new_place(kind), _made(new_place(kind))
    _begun_by_alembic(old)
    assert ([], [HEAD]) == (_differences(_made(old)), _versions(old))
    assert _made(fresh).objects().keys() == old.objects().keys()
    if kind == "postgresql":
        assert fresh.objects() == old.objects()


def test_an_older_ledger_keeps_its_rows_and_learns_their_upper_bounds(place: Place) -> None:
    """From 0001: a complete exchange can have cost no more than it did, of a broken one no upper bound is known."""
    whole = Exchange(exchange_id="a", opened_at_ms=1, source="gateway", closed_at_ms=2, cost_nano_usd=7)
    kept = [whole, replace(whole, exchange_id="b", opened_at_ms=2, usage_complete=False)]
    with open_ledger(place.url) as ledger:
        for exchange in kept:
            ledger.close(exchange)
    for column in ("cost_upper_nano_usd", *BREAK_COLUMNS):
        place.execute(f"ALTER TABLE exchanges DROP COLUMN {column}")
    place.execute("UPDATE alembic_version SET version_num = '0001' RETURNING 1")
    with open_ledger(place.url) as ledger:
        assert [replace(kept[0], cost_upper_nano_usd=7), kept[1]] == list(ledger.exchanges())
    assert ([], [HEAD]) == (_differences(place), _versions(place))


def test_many_may_upgrade_a_ledger_at_the_same_moment(place: Place) -> None:
    """Of four gateways that find the same old ledger one upgrades it and the others wait for it."""
    _begun_by_alembic(place)
    together = threading.Barrier(4)

    def begin() -> None:
        together.wait()
        upgrade(database_of(place.url), "")

    with ThreadPoolExecutor(4) as pool:
        for started in [pool.submit(begin) for _ in range(4)]:
            started.result()
    assert ([], [HEAD]) == (_differences(place), _versions(place))


def test_the_comparison_sees_a_difference(place: Place) -> None:
    """The comparison that the tests above rely on is not blind: a missing index and an extra column show."""
    _made(place)
    place.execute("DROP INDEX ix_exchanges_opened_at_ms")
    place.execute("ALTER TABLE exchanges ADD COLUMN extra TEXT")
    assert {"add_index", "remove_column"} == {difference[0] for difference in _differences(place)}  # type: ignore[index]


def test_the_newest_revision_is_the_one_we_name() -> None:
    """HEAD, which a start compares without importing alembic, is alembic's own head."""
    assert HEAD == revisions()[0]


def test_a_newer_ledger_is_refused(place: Place) -> None:
    """A revision that we do not know asks for an upgrade of scrimp and leaves the ledger alone."""
    _made(place)
    place.execute("UPDATE alembic_version SET version_num = '9999' RETURNING 1")
    with pytest.raises(LedgerError, match=r"written by a newer Scrimp \(its revision 9999\)\. Upgrade scrimp\."):
        open_ledger(place.url)
    assert ["9999"] == _versions(place)


def test_a_failed_upgrade_changes_nothing(place: Place) -> None:
    """An upgrade is one transaction: where it cannot end, the ledger is as it was, tables and stamp."""
    _begun_by_alembic(place)
    place.execute("CREATE TABLE other (name TEXT)")
    place.execute("CREATE INDEX ix_exchanges_task_type ON other (name)")
    before = place.objects()
    with pytest.raises(LedgerError, match="could not be upgraded") as caught:
        open_ledger(place.url)
    assert (before, [], False) == (place.objects(), _versions(place), "\n" in str(caught.value))
