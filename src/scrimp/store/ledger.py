"""The ledger: where exchanges are opened, closed and read back. `SqlLedger` keeps a file, `MemoryLedger` nothing.

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
import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from types import TracebackType
from typing import Protocol, Self

import msgspec

from scrimp.config import default_ledger_path
from scrimp.core.belief.exchange import Exchange
from scrimp.errors import ConfigError, LedgerError
from scrimp.store import sqlite
from scrimp.store.migrations import HEAD
from scrimp.store.rows import CLOSED, COLUMNS, FIXED_COLUMNS, OPEN, Row, from_row, to_row
from scrimp.store.statements import CLOSE_ROW, OPEN_ROW, ROWS_BETWEEN
from scrimp.store.writer import QUEUE_LIMIT_EXCHANGES, Entry, GroupWriter, again

#: The first and the last moment that a ledger can hold, in milliseconds since the epoch.
FIRST_MS = -(2**63)
LAST_MS = 2**63 - 1


_STATEMENTS = {OPEN: OPEN_ROW, CLOSED: CLOSE_ROW}


class Ledger(Protocol):
    """Where exchanges are kept. Every method raises `LedgerError`; the caller decides whether to go on without it."""

    @property
    def trouble(self) -> LedgerError | None:
        """Why what is queued cannot be written now; None as long as all is well."""
        ...

    async def open(self, exchange: Exchange) -> None:
        """Return when the open row is committed. Opening an exchange again changes nothing.

        In trouble it raises at once, and the row is still written as soon as the ledger can be.
        """
        ...

    def close(self, exchange: Exchange) -> None:
        """Queue the finished exchange and return at once; its row is final, and `opened_at_ms` stays as opened."""
        ...

    async def flush(self) -> None:
        """Return when everything that was queued before is committed."""
        ...

    async def aclose(self) -> None:
        """Write what is queued and let go of the file; nothing may be opened or closed afterwards."""
        ...

    def exchanges(self, since_ms: int | None = None, until_ms: int | None = None) -> Iterator[Exchange]:
        """Yield committed exchanges opened in [since_ms, until_ms), in that order, without holding them all."""
        ...


class SqlLedger:
    """The ledger in a database, written by one thread. In synchronous code it is a context manager."""

    def __init__(
        self,
        url: str | os.PathLike[str],
        *,
        busy_timeout_ms: int = sqlite.BUSY_TIMEOUT_MS,
        queue_limit_exchanges: int = QUEUE_LIMIT_EXCHANGES,
    ) -> None:
        self.path = sqlite.path_of(url)
        self._connection = sqlite.connect(self.path, busy_timeout_ms)
        try:
            self._make_ready()
        except BaseException:
            self._connection.close()
            raise
        self._writer = GroupWriter(self._commit, queue_limit_exchanges=queue_limit_exchanges)
        atexit.register(self._writer.stop)

    def _make_ready(self) -> None:
        """Bring the file to the revision that this Scrimp speaks, whatever it is now."""
        with sqlite.in_sentences(self.path):
            version = sqlite.version_of(self._connection, self.path)
            if version is None:
                sqlite.create_tables(self._connection)
            elif version != HEAD:
                from scrimp.store.migrations.upgrade import upgrade  # noqa: PLC0415 - alembic is slow to import

                upgrade(self.path, version)

    @property
    def trouble(self) -> LedgerError | None:
        """Why what is queued cannot be written now; None as long as all is well."""
        return self._writer.trouble

    async def open(self, exchange: Exchange) -> None:
        """Return when the open row is committed; see `Ledger.open`."""
        row = to_row(exchange, OPEN)
        if trouble := self.trouble:
            self._writer.put(Entry(row))
            raise again(trouble)
        await self._wait_for(Entry(row))

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
        """Write what is queued and let go of the file; see `Ledger.aclose`."""
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        atexit.unregister(self._writer.stop)
        try:
            self._writer.stop()
        finally:
            self._connection.close()

    def _commit(self, rows: Sequence[Row]) -> None:
        """Write one group in one transaction, each run of opens or closes as one statement."""
        with sqlite.in_sentences(self.path), sqlite.transaction(self._connection):
            for state, run in groupby(rows, itemgetter(-1)):
                self._connection.executemany(_STATEMENTS[state], run)

    def exchanges(self, since_ms: int | None = None, until_ms: int | None = None) -> Iterator[Exchange]:
        """Yield committed exchanges in the order of opening, as of one moment; see `Ledger.exchanges`."""
        span = (FIRST_MS if since_ms is None else since_ms, LAST_MS if until_ms is None else until_ms)
        with sqlite.reading(self.path) as connection:
            for row in connection.execute(ROWS_BETWEEN, span):
                yield self._read(row)

    def _read(self, row: Row) -> Exchange:
        try:
            return from_row(row)
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            raise LedgerError(
                f"The ledger {self.path} holds a row that is no exchange ({error}).", "Restore a copy of it."
            ) from error

    def __enter__(self) -> Self:
        """Lend the ledger to synchronous code."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is queued and let go of the file."""
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
                self._rows[row[0]] = _later(self._rows.get(row[0]), row)
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


def _later(kept: Row | None, row: Row) -> Row:
    """Return what a row becomes: only a close changes it, only once, and never its opening time."""
    if kept is None:
        return row
    if kept[-1] == CLOSED or row[-1] == OPEN:
        return kept
    return tuple(old if name in FIXED_COLUMNS else new for name, old, new in zip(COLUMNS, kept, row, strict=True))


def open_ledger(
    url: str | os.PathLike[str] | None = None,
    *,
    must_exist: bool = False,
    queue_limit_exchanges: int = QUEUE_LIMIT_EXCHANGES,
) -> SqlLedger:
    """Open the ledger that a path or an `sqlite:///` URL names, or the user's own one; make it unless it must exist.

    Raises `ConfigError` for a name that cannot be a ledger, `LedgerError` for a file that cannot be used.
    """
    path = sqlite.path_of(default_ledger_path(os.environ) if url is None else url)
    if must_exist and not path.exists():
        raise ConfigError(f"There is no ledger at {path}.", "Run the gateway first (scrimp up), or name another --db.")
    return SqlLedger(path, queue_limit_exchanges=queue_limit_exchanges)
