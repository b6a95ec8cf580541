"""The plain statements are what SQLAlchemy makes of the schema, in either database's words."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import BindParameter, bindparam, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from scrimp.store.rows import CLOSED, FIXED_COLUMNS, OPEN
from scrimp.store.schema import exchanges
from scrimp.store.statements import POSTGRESQL, SQLITE, Statements

BOTH = pytest.mark.parametrize(
    ("dialect", "statements"),
    [(sqlite.dialect(), SQLITE), (postgresql.dialect(paramstyle="format"), POSTGRESQL)],  # type: ignore[no-untyped-call]
    ids=["sqlite", "postgresql"],
)
TABLE = exchanges.c


def _words(text: str) -> str:
    """Return a statement without what may differ: white space, the table before a column, and the words' case."""
    return " ".join(re.sub(r"(?<!FROM )exchanges\.", "", text).split()).lower()


def _compiled(statement: ClauseElement, dialect: Dialect) -> str:
    text = str(statement.compile(dialect=dialect))
    return _words(re.sub(r"::[A-Z]+", "", text)).replace("limit ? offset ?", "limit ?")


def _insert(dialect: Dialect) -> postgresql.Insert | sqlite.Insert:
    values: dict[str, BindParameter[Any]] = {column.name: bindparam(column.name) for column in TABLE}
    if dialect.name == "postgresql":
        return postgresql.insert(exchanges).values(values)
    return sqlite.insert(exchanges).values(values)


@BOTH
def test_opening_is_an_insert_that_changes_nothing(dialect: Dialect, statements: Statements) -> None:
    """INSERT of every column, and nothing where the row is there."""
    opening = _insert(dialect).on_conflict_do_nothing(index_elements=["exchange_id"])
    assert _compiled(opening, dialect) == _words(statements.write[OPEN])


@BOTH
def test_closing_is_an_insert_or_the_one_change_of_an_open_row(dialect: Dialect, statements: Statements) -> None:
    """INSERT of every column, or an update of all but the row's name and time, where it is still open."""
    insert = _insert(dialect)
    changed = {column.name: insert.excluded[column.name] for column in TABLE if column.name not in FIXED_COLUMNS}
    closing = insert.on_conflict_do_update(
        index_elements=["exchange_id"], set_=changed, where=TABLE.state == bindparam("open", "open")
    )
    assert re.sub(r"= (\?|%s)$", "= 'open'", _compiled(closing, dialect)) == _words(statements.write[CLOSED])


@BOTH
def test_reading_selects_every_column_of_a_span_in_order(dialect: Dialect, statements: Statements) -> None:
    """SELECT of every column in the order of a row; names by their bytes, which is SQLite's own way."""
    opened = TABLE.opened_at_ms
    by_name = TABLE.exchange_id.collate("C") if dialect.name == "postgresql" else TABLE.exchange_id
    reading = (
        select(exchanges).where(opened >= bindparam("since"), opened < bindparam("until")).order_by(opened, by_name)
    )
    assert _compiled(reading, dialect) == _words(statements.rows_between)


@BOTH
def test_deleting_takes_the_oldest_closed_rows_that_nobody_else_deletes(
    dialect: Dialect, statements: Statements
) -> None:
    """DELETE of a few, the oldest first; PostgreSQL leaves alone what another replica is deleting."""
    old = (
        select(TABLE.exchange_id)
        .where(
            TABLE.state == "closed", TABLE.opened_at_ms < 1, func.coalesce(TABLE.closed_at_ms, TABLE.opened_at_ms) < 1
        )
        .order_by(TABLE.opened_at_ms)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    deleting = _compiled(delete(exchanges).where(TABLE.exchange_id.in_(old)), dialect)
    assert re.sub(r"state = (\?|%s)", "state = 'closed'", deleting) == _words(statements.delete_closed)
