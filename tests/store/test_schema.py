"""One schema: the table, the text of a fresh ledger, the migrations and the fields of an exchange agree."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import get_type_hints

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import BigInteger, Boolean, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage
from scrimp.errors import LedgerError
from scrimp.store import sqlite
from scrimp.store.ledger import SqlLedger
from scrimp.store.migrations import HEAD
from scrimp.store.migrations.upgrade import engine_for, revisions
from scrimp.store.rows import COLUMNS
from scrimp.store.schema import exchanges, fresh_statements, metadata


def _without_tables(path: Path) -> Path:
    """Make a ledger from before the first revision: alembic was here, and did nothing yet."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    connection.close()
    return path


def _differences(path: Path) -> list[object]:
    with engine_for(path).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))


def _objects(path: Path) -> dict[str, str]:
    connection = sqlite3.connect(path)
    found = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    connection.close()
    return {name: " ".join(sql.replace('"', "").split()) for name, sql in found.items() if name != "alembic_version"}


def _version(path: Path) -> str | None:
    with sqlite.reading(path) as connection:
        return sqlite.version_of(connection, path)


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
    assert (fresh_statements(), fresh_statements()) == (script, written.stdout)


def test_the_schema_is_also_postgresql() -> None:
    """Nothing in the table is particular to SQLite: PostgreSQL's own compiler takes it, with the same types."""
    text = str(CreateTable(exchanges).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
    assert fresh_statements().split(";")[0].split() == text.split()


def test_a_fresh_ledger_is_the_schema(tmp_path: Path) -> None:
    """Alembic finds no difference between a new file and the schema, and the file is stamped as the newest."""
    path = tmp_path / "ledger.db"
    SqlLedger(path).__exit__(None, None, None)
    assert ([], HEAD) == (_differences(path), _version(path))


def test_upgrading_from_nothing_gives_the_schema(tmp_path: Path) -> None:
    """All revisions in a row end at the schema, to the letter of every statement."""
    old, fresh = _without_tables(tmp_path / "old.db"), tmp_path / "fresh.db"
    SqlLedger(old).__exit__(None, None, None)
    SqlLedger(fresh).__exit__(None, None, None)
    assert ([], HEAD) == (_differences(old), _version(old))
    assert _objects(fresh).keys() == _objects(old).keys()


def test_the_comparison_sees_a_difference(tmp_path: Path) -> None:
    """The comparison that the tests above rely on is not blind: a missing index and an extra column show."""
    path = tmp_path / "ledger.db"
    SqlLedger(path).__exit__(None, None, None)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP INDEX ix_exchanges_task_tag")
        connection.execute("ALTER TABLE exchanges ADD COLUMN extra TEXT")
    connection.close()
    assert {"add_index", "remove_column"} == {difference[0] for difference in _differences(path)}  # type: ignore[index]


def test_the_newest_revision_is_the_one_we_name() -> None:
    """HEAD, which a start compares without importing alembic, is alembic's own head."""
    assert HEAD == revisions()[0]


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    """A revision that we do not know asks for an upgrade of scrimp and leaves the file alone."""
    path = tmp_path / "ledger.db"
    SqlLedger(path).__exit__(None, None, None)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(LedgerError, match=r"written by a newer Scrimp \(its revision 9999\)\. Upgrade scrimp\."):
        SqlLedger(path)
    assert "9999" == _version(path)


def test_a_failed_upgrade_changes_nothing(tmp_path: Path) -> None:
    """An upgrade is one transaction: where it cannot end, the file is as it was, tables and stamp."""
    path = _without_tables(tmp_path / "old.db")
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (name TEXT)")
        connection.execute("CREATE INDEX ix_exchanges_task_type ON other (name)")
    connection.close()
    before = _objects(path)
    with pytest.raises(LedgerError, match="could not be upgraded"):
        SqlLedger(path)
    assert (before, "") == (_objects(path), _version(path))
