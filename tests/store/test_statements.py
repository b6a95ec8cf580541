"""The plain statements are what SQLAlchemy makes of the schema."""

from __future__ import annotations

from sqlalchemy import bindparam, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement

from scrimp.store.rows import FIXED_COLUMNS
from scrimp.store.schema import exchanges
from scrimp.store.statements import CLOSE_ROW, OPEN_ROW, ROWS_BETWEEN


def _words(text: str) -> str:
    """Return a statement without what may differ: white space, the table before a column, and the words' case."""
    return " ".join(text.replace("exchanges.", "").split()).lower()


def _compiled(statement: ClauseElement) -> str:
    return _words(str(statement.compile(dialect=sqlite.dialect())))


def test_opening_is_an_insert_that_changes_nothing() -> None:
    """INSERT of every column, and nothing where the row is there."""
    insert = sqlite.insert(exchanges).values({column.name: bindparam(column.name) for column in exchanges.c})
    assert _compiled(insert.on_conflict_do_nothing(index_elements=["exchange_id"])) == _words(OPEN_ROW)


def test_closing_is_an_insert_or_the_one_change_of_an_open_row() -> None:
    """INSERT of every column, or an update of all but the row's name and time, where it is still open."""
    insert = sqlite.insert(exchanges).values({column.name: bindparam(column.name) for column in exchanges.c})
    changed = {column.name: insert.excluded[column.name] for column in exchanges.c if column.name not in FIXED_COLUMNS}
    closing = insert.on_conflict_do_update(
        index_elements=["exchange_id"], set_=changed, where=exchanges.c.state == bindparam("open", "open")
    )
    assert _compiled(closing).replace("= ?", "= 'open'") == _words(CLOSE_ROW)


def test_reading_selects_every_column_of_a_span_in_order() -> None:
    """SELECT of every column in the order of a row."""
    opened = exchanges.c.opened_at_ms
    reading = (
        select(exchanges)
        .where(opened >= bindparam("since"), opened < bindparam("until"))
        .order_by(opened, exchanges.c.exchange_id)
    )
    assert _compiled(reading) == _words(ROWS_BETWEEN)
