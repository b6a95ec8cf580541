"""How a ledger of an older Scrimp becomes one of this Scrimp: alembic's revisions, run by `upgrade`.

A fresh ledger is made from the schema and stamped `HEAD`; alembic is only imported where a ledger says anything else.
Each revision is one file in `versions`, never edited once released. A test runs them all from nothing and compares
the outcome with the schema.
"""

from __future__ import annotations

#: The newest revision, which this Scrimp reads and writes.
HEAD = "0004"
