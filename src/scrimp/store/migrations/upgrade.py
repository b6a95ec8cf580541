"""Bring a ledger of an older Scrimp to `HEAD` in one transaction. Importing this costs what alembic costs."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from scrimp.errors import LedgerError
from scrimp.store import sqlite


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def revisions() -> list[str]:
    """Return every revision that this Scrimp knows, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def engine_for(path: Path) -> Engine:
    """Return an engine whose transactions hold the ledger alone from their start, tables and all."""
    engine = create_engine("sqlite://", creator=lambda: sqlite.connect(path), poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def upgrade(path: Path, version: str) -> None:
    """Run every revision after `version` ("" for none yet).

    A revision that we do not know was written by a newer Scrimp and raises `LedgerError`.
    """
    if version and version not in revisions():
        raise LedgerError(
            f"The ledger {path} was written by a newer Scrimp (its revision {version}).", "Upgrade scrimp."
        )
    config = _config()
    try:
        with engine_for(path).begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except SQLAlchemyError as error:
        why = error.orig if isinstance(error, DBAPIError) else error
        raise LedgerError(
            f"The ledger {path} could not be upgraded ({why}).", "It is as it was; mend that and start again."
        ) from error
