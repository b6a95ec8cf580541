"""Group commit: a thread that writes what is queued, one transaction per group, off the event loop.

::

    put --> queue --> [take a group] --ok--> acknowledge its waiters
               ^            |
               '--- busy ---'   waiters are told, rows stay queued and are tried again

The writer never loses a row that it accepted while the ledger may still take it; it refuses new rows once
`QUEUE_LIMIT_EXCHANGES` wait. While it is in trouble nobody waits for it: a stuck disk delays one group, not every
request.

Between groups, and while it has nothing to do, the thread sees to its chore (retention), a little at a time.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from scrimp.errors import LedgerError
from scrimp.store.database import LedgerBusy, NoNotes, Notes
from scrimp.store.rows import Row

#: How many exchanges may wait to be written; each takes about 1 KiB of memory.
QUEUE_LIMIT_EXCHANGES = 10_000

#: How many exchanges one transaction writes at most, so that other processes get their turn.
GROUP_LIMIT_EXCHANGES = 1_000

#: How long a row that nobody waits for may stay queued so that others join it, in milliseconds.
GATHER_MS = 50

#: How long after a failure the same rows are tried again, in milliseconds.
RETRY_MS = 1_000

#: Writes rows in their order and in one transaction; raises `LedgerBusy` if it may work later, else `LedgerError`.
Commit = Callable[[Sequence[Row]], None]

#: Does a little of something that can wait; returns after how many milliseconds it wants to be asked again.
Chore = Callable[[], int]


@dataclass(slots=True)
class Entry:
    """One thing to write, with whoever waits for it; without a row it only marks a place in the queue."""

    row: Row | None
    waiter: asyncio.Future[None] | None = None


def again(error: LedgerError) -> LedgerError:
    """Return the same error to be raised once more: an error raised twice keeps the frames of both alive."""
    return type(error)(error.message, error.hint)


def _tell(waiters: Sequence[asyncio.Future[None]], error: LedgerError | None) -> None:
    """Settle the waiters of one event loop, in that loop."""
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(again(error))


def _acknowledge(entries: Sequence[Entry], error: LedgerError | None) -> None:
    """Wake every event loop that waits for these entries once; a loop that is gone waits no longer."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for entry in entries:
        if entry.waiter is not None:
            by_loop.setdefault(entry.waiter.get_loop(), []).append(entry.waiter)
    for loop, waiters in by_loop.items():
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_tell, waiters, error)


def _as_ledger_error(error: Exception) -> LedgerError:
    if isinstance(error, LedgerError):
        return error
    return LedgerError(f"The ledger's writer failed ({error!r}).", "Report this as a fault of Scrimp.")


class GroupWriter:
    """Owns the queue and the thread; `commit` and `chore` are only ever called by that thread."""

    def __init__(
        self,
        commit: Commit,
        *,
        notes: Notes | None = None,
        queue_limit_exchanges: int = QUEUE_LIMIT_EXCHANGES,
        chore: Chore | None = None,
    ) -> None:
        self._commit = commit
        self._notes = notes or NoNotes()
        self._chore = chore
        self._idle_ms = None if chore is None else 0
        self._limit = queue_limit_exchanges
        self._entries: deque[Entry] = deque()
        self._ready = threading.Condition()
        self._urgent = self._holds_all = False
        self._looks_by_itself = False
        self._stopping = False
        self._rejected: LedgerError | None = None
        self._thread: threading.Thread | None = None
        #: Why what is queued cannot be written now; None as long as all is well.
        self.trouble: LedgerError | None = None
        if chore is not None:
            self._start()

    def put(self, entry: Entry) -> None:
        """Queue one entry from any thread; raises `LedgerError` when the queue is full or the writer was stopped."""
        with self._ready:
            self._check_open(entry)
            self._append(entry)

    def put_noted(self, row: Row) -> bool:
        """Queue one row, if it is kept for sure already; return whether it is. Raises as `put` does."""
        entry = Entry(row)
        with self._ready:
            self._check_open(entry)
            if kept := self._notes.add(row):
                self._append(entry)
        return kept

    def _check_open(self, entry: Entry) -> None:
        if self._stopping:
            raise LedgerError("The ledger is closed already.", "Report this as a fault of Scrimp.")
        if entry.row is not None and len(self._entries) >= self._limit:
            raise self._full()

    def _append(self, entry: Entry) -> None:
        self._entries.append(entry)
        if entry.waiter is not None:
            self._urgent = True
        self._start()
        if self._is_due() or not self._looks_by_itself:
            self._ready.notify()

    def _full(self) -> LedgerError:
        why = self.trouble.message if self.trouble else "It is slower than the traffic."
        return LedgerError(f"{self._limit} exchanges wait to be written to the ledger, which is the limit.", why)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="scrimp-ledger", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            group, last = self._take()
            written = self._write(group)
            if written and self._holds_all:
                self._notes.clear()
            if last and not (written and self._entries):
                return
            if self._chore is not None and self.trouble is None:
                self._idle_ms = self._chore()

    def _take(self) -> tuple[list[Entry], bool]:
        """Wait for a group worth a transaction; it stays at the head of the queue until it is settled.

        The group is empty where it is time for the chore.
        """
        with self._ready:
            self._holds_all = False
            if not self._gather() and not self._entries:
                idle_s = None if self._idle_ms is None else self._idle_ms / 1000
                if not self._ready.wait_for(lambda: self._entries or self._stopping, timeout=idle_s):
                    return [], False
                self._gather()
            group = list(islice(self._entries, GROUP_LIMIT_EXCHANGES))
            self._urgent = len(group) < len(self._entries)
            self._holds_all = not self._urgent
            if self._holds_all:
                self._notes.turn()
            return group, self._stopping

    def _gather(self) -> bool:
        """Wait a little for rows to come; only one that somebody waits for is worth waking the thread."""
        gather_ms = RETRY_MS if self.trouble else GATHER_MS
        self._looks_by_itself = True
        due = self._ready.wait_for(self._is_due, timeout=gather_ms / 1000)
        self._looks_by_itself = False
        return due

    def _is_due(self) -> bool:
        full = len(self._entries) >= GROUP_LIMIT_EXCHANGES and self.trouble is None
        return self._urgent or self._stopping or full

    def _write(self, group: Sequence[Entry]) -> bool:
        """Write a group and settle it; False if it has to be tried again."""
        rows = [entry.row for entry in group if entry.row is not None]
        try:
            if rows:
                self._commit(rows)
        except LedgerBusy as error:
            self._keep(error)
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread has to live and somebody to be told
            if len(group) > 1:
                return all(self._write([entry]) for entry in group)
            self._settle(group, _as_ledger_error(error))
        else:
            self._settle(group, None)
        return True

    def _settle(self, group: Sequence[Entry], error: LedgerError | None) -> None:
        """Take a group off the queue for good: it is written, or it never can be."""
        with self._ready:
            for _ in group:
                self._entries.popleft()
            self.trouble = None
            self._rejected = error or self._rejected
        _acknowledge(group, error)

    def _keep(self, error: LedgerError) -> None:
        """Leave the queue's rows where they are and tell everybody who waits for them."""
        with self._ready:
            waiting = [Entry(None, waiter=entry.waiter) for entry in self._entries]
            self._entries = deque(Entry(entry.row) for entry in self._entries if entry.row is not None)
            self._urgent = False
            self.trouble = error
        _acknowledge(waiting, error)

    def take_rejected(self) -> LedgerError | None:
        """Return, once, the last error of a row that no later attempt can write."""
        rejected, self._rejected = self._rejected, None
        return rejected

    def stop(self) -> None:
        """Write what is queued and end the thread; raises `LedgerError` if something could not be written."""
        with self._ready:
            self._stopping = True
            self._ready.notify()
        if self._thread is not None:
            self._thread.join()
        left, self._entries = len(self._entries), deque()
        if left:
            why = self.trouble.message if self.trouble else ""
            raise LedgerError(f"{left} exchanges could not be written to the ledger.", why)
        if rejected := self.take_rejected():
            raise rejected
