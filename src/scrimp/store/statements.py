"""The statements of everyday work, as plain text, once for each database.

They are written from the list of columns, and a test holds them to what SQLAlchemy makes of the schema, so that a
ledger is opened without the 0.2 s of CPU that importing SQLAlchemy costs. The databases differ in three places only:
how a value is marked, how text is ordered by its bytes, and how rows that another deletes are left to it.
"""

from __future__ import annotations

from dataclasses import dataclass

from scrimp.store.rows import CLOSED, COLUMNS, FIXED_COLUMNS, OPEN


@dataclass(frozen=True, slots=True)
class Statements:
    """What one database is told.

    * `write` takes a row, by the row's state. Opening one exchange twice is opening it once. Closing is also right
      where the open row was never written; a closed row stays as it is.
    * `has` takes a name; gives a row where there is an exchange of that name.
    * `rows_between` takes two times in milliseconds, the second excluded; gives rows in the order of opening.
    * `delete_closed` takes one time in milliseconds twice, and a number of rows. An exchange ends after it began, so
      that the index of the opening times finds them all.
    """

    write: dict[str, str]
    has: str
    rows_between: str
    delete_closed: str


def _written(value: str, *, by_bytes: str = "", skip_locked: str = "") -> Statements:
    names = ", ".join(COLUMNS)
    insert = f"INSERT INTO exchanges ({names}) VALUES ({', '.join([value] * len(COLUMNS))})"  # noqa: S608 - our own names
    changes = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in FIXED_COLUMNS)
    return Statements(
        write={
            OPEN: f"{insert} ON CONFLICT (exchange_id) DO NOTHING",
            CLOSED: f"{insert} ON CONFLICT (exchange_id) DO UPDATE SET {changes} WHERE exchanges.state = 'open'",
        },
        has=f"SELECT 1 FROM exchanges WHERE exchange_id = {value}",  # noqa: S608 - our own names
        rows_between=(
            f"SELECT {names} FROM exchanges WHERE opened_at_ms >= {value} AND opened_at_ms < {value} "  # noqa: S608 - as above
            f"ORDER BY opened_at_ms, exchange_id{by_bytes}"
        ),
        delete_closed=(
            "DELETE FROM exchanges WHERE exchange_id IN (SELECT exchange_id FROM exchanges WHERE state = 'closed' "  # noqa: S608 - as above
            f"AND opened_at_ms < {value} AND coalesce(closed_at_ms, opened_at_ms) < {value} "
            f"ORDER BY opened_at_ms LIMIT {value}{skip_locked})"
        ),
    )


SQLITE = _written("?")
POSTGRESQL = _written("%s", by_bytes=' COLLATE "C"', skip_locked=" FOR UPDATE SKIP LOCKED")
