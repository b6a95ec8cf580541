"""What alembic runs: the revisions, on the connection that `upgrade` lends it."""

from __future__ import annotations

from alembic import context

from scrimp.store.schema import metadata

#: SQLite cannot alter most of a table, so alembic makes it anew there (batch mode).
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
