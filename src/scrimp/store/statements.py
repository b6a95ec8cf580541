"""The three statements of everyday work, as plain text: what both SQLite and PostgreSQL understand.

They are written from the list of columns, and a test holds them to what SQLAlchemy makes of the schema, so that a
ledger is opened without the 0.2 s of CPU that importing SQLAlchemy costs.
"""

from __future__ import annotations

from scrimp.store.rows import COLUMNS, FIXED_COLUMNS

_INSERT = f"INSERT INTO exchanges ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - our own names
_CHANGES = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in FIXED_COLUMNS)

#: Takes a row. Opening one exchange twice is opening it once.
OPEN_ROW = f"{_INSERT} ON CONFLICT (exchange_id) DO NOTHING"

#: Takes a row. Also right where the open row was never written; a closed row stays as it is.
CLOSE_ROW = f"{_INSERT} ON CONFLICT (exchange_id) DO UPDATE SET {_CHANGES} WHERE exchanges.state = 'open'"

#: Takes two times in milliseconds, the second of them excluded; gives rows in the order of opening.
ROWS_BETWEEN = (
    f"SELECT {', '.join(COLUMNS)} FROM exchanges "  # noqa: S608 - our own names
    "WHERE opened_at_ms >= ? AND opened_at_ms < ? ORDER BY opened_at_ms, exchange_id"
)
