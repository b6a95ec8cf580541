"""Bring a ledger of an older Scrimp to `HEAD` in one transaction. Importing this costs what alembic costs."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from scrimp.errors import LedgerError
from scrimp.store.database import Database


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def revisions() -> list[str]:
    """Return every revision that this Scrimp knows, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def engine_for(database: Database) -> Engine:
    """Return an engine whose transactions hold the ledger alone from their start, tables and all."""
    url = f"{database.dialect}://"
    engine = create_engine(url, creator=database.migration_connection, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(database.hold_statement)

    return engine


def upgrade(database: Database, version: str) -> None:
    """Run every revision after `version` ("" for none yet), unless another process just did.

    A revision that we do not know was written by a newer Scrimp and raises `LedgerError`.
    """
    if version and version not in revisions():
        raise LedgerError(
            f"The ledger {database.name} was written by a newer Scrimp (its revision {version}).", "Upgrade scrimp."
        )
    config = _config()
    try:
        with engine_for(database).begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except SQLAlchemyError as error:
        why = error.orig if isinstance(error, DBAPIError) else error
        raise LedgerError(
            f"The ledger {database.name} could not be upgraded ({' '.join(str(why).split())}).",
            "It is as it was; mend that and start again.",
        ) from error
