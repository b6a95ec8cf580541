"""The ledger: where exchanges are opened, closed and read back. `SqlLedger` is durable, `MemoryLedger` a fake.

ledger = open_ledger("ledger.db")
await ledger.open(exchange)        # committed: now the request may be sent
ledger.close(finished)             # queued: committed within 100 ms
await ledger.aclose()

with open_ledger("ledger.db") as ledger:
    for exchange in ledger.exchanges(): ...
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
from collections.abc import Iterator, Sequence
from operator import itemgetter
from types import TracebackType
from typing import Protocol, Self

import msgspec

from scrimp.clock import Clock, SystemClock
from scrimp.config import default_ledger_path
from scrimp.core.belief.exchange import Exchange
from scrimp.errors import ConfigError, LedgerError
from scrimp.store.database import BUSY_TIMEOUT_MS, Database, LedgerBusy
from scrimp.store.migrations import HEAD
from scrimp.store.retention import Retention
from scrimp.store.rows import CLOSED, COLUMNS, OPEN, Row, folded, from_row, later, to_row
from scrimp.store.sqlite import SqliteDatabase, path_of
from scrimp.store.urls import is_postgres, read_postgres_url
from scrimp.store.writer import QUEUE_LIMIT_EXCHANGES, Entry, GroupWriter, again

#: The first and the last moment that a ledger can hold, in milliseconds since the epoch.
FIRST_MS = -(2**63)
LAST_MS = 2**63 - 1

_log = logging.getLogger("scrimp.store")


class Ledger(Protocol):
    """Where exchanges are kept. Every method raises `LedgerError`; the caller decides whether to go on without it."""

    @property
    def trouble(self) -> LedgerError | None:
        """Why what is queued cannot be written now; None as long as all is well."""
        ...

    async def open(self, exchange: Exchange) -> None:
        """Return when the open row outlives this process and is there for readers. Opening again changes nothing.

        In trouble it raises at once, and the row is still written as soon as the ledger can be.
        """
        ...

    def begin(self, exchange: Exchange) -> None:
        """Queue the open row and return at once: `open` for a caller that has no event loop to wait in."""
        ...

    def close(self, exchange: Exchange) -> None:
        """Queue the finished exchange and return at once; its row is final, and `opened_at_ms` stays as opened."""
        ...

    async def flush(self) -> None:
        """Return when everything that was queued before is committed."""
        ...

    async def aclose(self) -> None:
        """Write what is queued and let go of the database; nothing may be opened or closed afterwards."""
        ...

    def exchanges(self, since_ms: int | None = None, until_ms: int | None = None) -> Iterator[Exchange]:
        """Yield committed exchanges opened in [since_ms, until_ms), in that order, without holding them all."""
        ...


def database_of(url: str | os.PathLike[str], busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> Database:
    """Return the database that a path or a URL names, not yet opened; a name that is none raises `ConfigError`."""
    if not is_postgres(url):
        return SqliteDatabase(url, busy_timeout_ms)
    try:
        from scrimp.store.postgres import PostgresDatabase  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise ConfigError(
            "A ledger in PostgreSQL needs psycopg, which is not installed.", "pip install 'scrimp[postgres]'"
        ) from error
    return PostgresDatabase(url, busy_timeout_ms)


class SqlLedger:
    """The ledger in a database. In synchronous code it is a context manager.

    One thread writes it; what is opened in a file is on disk before that (see `journal`).

    With `retention_days` the thread also deletes what was closed longer ago than that.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        *,
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
        queue_limit_exchanges: int = QUEUE_LIMIT_EXCHANGES,
        retention_days: int | None = None,
        to_read: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._database = database_of(url, busy_timeout_ms)
        self._database.connect(to_read=to_read)
        try:
            self._make_ready()
        except BaseException:
            self._database.close()
            raise
        old = self._database.delete_closed
        chore = None if retention_days is None else Retention(old, retention_days, clock or SystemClock())
        self._stale = False
        notes = self._database.notes
        self._writer = GroupWriter(self._commit, notes=notes, queue_limit_exchanges=queue_limit_exchanges, chore=chore)
        atexit.register(self._writer.stop)

    @property
    def name(self) -> str:
        """How reports and errors name this ledger: a path, or a URL without its password."""
        return self._database.name

    def _make_ready(self) -> None:
        """Bring the database to the revision that this Scrimp speaks, whatever it is now."""
        version = self._database.version()
        if version is None:
            self._database.create_tables()
        elif version != HEAD:
            from scrimp.store.migrations.upgrade import upgrade  # noqa: PLC0415 - alembic is slow to import

            upgrade(self._database, version)
        self._database.take_over()

    def _commit(self, rows: Sequence[Row]) -> None:
        """Write a group; where the ledger's file was deleted or replaced meanwhile, begin anew with this group.

        Looking comes after writing, so that no row is only in a file that was gone before it was written.
        """
        try:
            rows = folded(rows)
            if not self._stale:
                self._database.commit(rows)
        except LedgerError:
            if not self._database.is_gone():
                raise
        if self._stale or self._database.is_gone():
            self._begin_anew()
            self._database.commit(rows)

    def _begin_anew(self) -> None:
        """Go on in what the ledger's name means now; whatever keeps us from it, the rows wait."""
        if not self._stale:
            self._stale = True
            _log.error(
                "The ledger %s was deleted or replaced while in use, and what it held went with it. A new one is begun "
                "in its place. To have the old one back, stop Scrimp and restore a copy.",
                self.name,
            )
        try:
            self._database.begin_anew()
            self._make_ready()
        except LedgerError as error:
            raise LedgerBusy(error.message, error.hint) from error
        self._stale = False

    @property
    def trouble(self) -> LedgerError | None:
        """Why what is queued cannot be written now; None as long as all is well."""
        return self._writer.trouble

    async def open(self, exchange: Exchange) -> None:
        """Return when the open row is in the journal, or committed where there is none; see `Ledger.open`."""
        row = to_row(exchange, OPEN)
        trouble, is_kept = self.trouble, self._writer.put_noted(row)
        if trouble and not is_kept:
            self._writer.put(Entry(row))
        if trouble:
            raise again(trouble)
        if not is_kept:
            await self._wait_for(Entry(row))

    def begin(self, exchange: Exchange) -> None:
        """Queue the open row and return at once; see `Ledger.begin`."""
        row = to_row(exchange, OPEN)
        if not self._writer.put_noted(row):
            self._writer.put(Entry(row))

    def close(self, exchange: Exchange) -> None:
        """Queue the finished exchange and return at once; see `Ledger.close`."""
        self._writer.put(Entry(to_row(exchange, CLOSED)))

    async def flush(self) -> None:
        """Return when everything that was queued before is committed."""
        await self._wait_for(Entry(None))
        if rejected := self._writer.take_rejected():
            raise rejected

    async def _wait_for(self, entry: Entry) -> None:
        entry.waiter = asyncio.get_running_loop().create_future()
        self._writer.put(entry)
        await entry.waiter

    async def aclose(self) -> None:
        """Write what is queued and let go of the database; see `Ledger.aclose`."""
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        atexit.unregister(self._writer.stop)
        try:
            self._writer.stop()
        finally:
            self._database.close()

    def exchanges(self, since_ms: int | None = None, until_ms: int | None = None) -> Iterator[Exchange]:
        """Yield committed exchanges in the order of opening, as of one moment; see `Ledger.exchanges`."""
        span = (FIRST_MS if since_ms is None else since_ms, LAST_MS if until_ms is None else until_ms)
        yield from map(self._read, self._database.rows(*span))

    def _read(self, row: Row) -> Exchange:
        try:
            return from_row(row)
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            raise LedgerError(
                f"The ledger {self.name} holds a row that is no exchange ({error}).", "Restore a copy of it."
            ) from error

    def __enter__(self) -> Self:
        """Lend the ledger to synchronous code."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is queued and let go of the database."""
        self._stop()


class MemoryLedger:
    """The ledger's fake: the same promises, in memory. Set `trouble` to make it refuse what a full disk refuses."""

    def __init__(self) -> None:
        self.trouble: LedgerError | None = None
        self._queue: list[Row] = []
        self._rows: dict[str, Row] = {}

    async def open(self, exchange: Exchange) -> None:
        """Keep the open row; see `Ledger.open`."""
        self._queue.append(to_row(exchange, OPEN))
        await self.flush()

    def begin(self, exchange: Exchange) -> None:
        """Keep the open row; see `Ledger.begin`."""
        self._queue.append(to_row(exchange, OPEN))
        self._write()

    def close(self, exchange: Exchange) -> None:
        """Keep the finished exchange; see `Ledger.close`."""
        self._queue.append(to_row(exchange, CLOSED))
        self._write()

    async def flush(self) -> None:
        """Write what is queued; see `Ledger.flush`."""
        self._write()
        if self.trouble:
            raise again(self.trouble)

    async def aclose(self) -> None:
        """Write what is queued; see `Ledger.aclose`."""
        await self.flush()

    def _write(self) -> None:
        if self.trouble is None:
            for row in self._queue:
                self._rows[row[0]] = later(self._rows.get(row[0]), row)
            self._queue.clear()

    def exchanges(self, since_ms: int | None = None, until_ms: int | None = None) -> Iterator[Exchange]:
        """Yield exchanges in the order of opening; see `Ledger.exchanges`."""
        self._write()
        first, end = FIRST_MS if since_ms is None else since_ms, LAST_MS if until_ms is None else until_ms
        for row in sorted(self._rows.values(), key=_opening):
            if first <= row[_OPENED_AT] < end:
                yield from_row(row)


_OPENED_AT = COLUMNS.index("opened_at_ms")
_opening = itemgetter(_OPENED_AT, 0)


def describe(url: str | os.PathLike[str]) -> str:
    """Return how to name a ledger to people: its path, or its URL without the password. Never raises."""
    try:
        return read_postgres_url(url).name if is_postgres(url) else str(path_of(url))
    except ConfigError:
        return "an address that cannot be read"


def exists(url: str | os.PathLike[str]) -> bool:
    """Return whether there is a ledger at a path or a URL, without making one; raises as `open_ledger` does."""
    return database_of(url).exists()


def open_ledger(
    url: str | os.PathLike[str] | None = None,
    *,
    must_exist: bool = False,
    queue_limit_exchanges: int = QUEUE_LIMIT_EXCHANGES,
    retention_days: int | None = None,
) -> SqlLedger:
    """Open the ledger that a path or a URL names, or the user's own one; make it unless it must exist.

    `sqlite:///PATH` is a file as the bare path is, `postgresql://USER@HOST/NAME` a database that gateways may share.
    One that must exist need not be ours to write where it is only read. Raises `ConfigError` for a name that cannot be
    a ledger, `LedgerError` for a ledger that cannot be used.
    """
    place = default_ledger_path(os.environ) if url is None else url
    if must_exist and not exists(place):
        raise ConfigError(
            f"There is no ledger at {describe(place)}.", "Run the gateway first (scrimp up), or name another --db."
        )
    return SqlLedger(
        place, queue_limit_exchanges=queue_limit_exchanges, retention_days=retention_days, to_read=must_exist
    )
