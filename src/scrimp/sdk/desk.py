"""The engine's recorder and the shelf that its rows go to, for any number of threads.

One lock is held for as long as a request is planned or an answer settled. An answer may end anywhere, even where the
garbage collector drops a stream in the middle of our own work, so ending one never waits for that lock: what has ended
is queued, and whoever holds the lock next settles it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping

import msgspec

from scrimp.core.wire.response import Answer
from scrimp.core.wire.turns import at_once
from scrimp.engine.faults import own_up
from scrimp.engine.outside import Outside
from scrimp.engine.recorder import Opened, Recorder
from scrimp.sdk.shelf import LedgerOpener, Shelf
from scrimp.store.ledger import Ledger


class Ending(msgspec.Struct, frozen=True):
    """How an exchange ended; `is_recorded` is False where a gateway of ours has recorded it already."""

    status: int | None = None
    request_id: str | None = None
    error_type: str | None = None
    was_sent: bool = True
    is_recorded: bool = True


class Desk:
    """Opens, begins and closes exchanges. Nothing here raises but `arrive`; a ledger that fails only loses its rows."""

    def __init__(self, outside: Outside, ledger: Ledger | LedgerOpener) -> None:
        self._recorder = Recorder(outside)
        self._lock = threading.Lock()
        self._shelf = Shelf(ledger, outside.clock)
        self._ended: deque[tuple[Opened, Answer, Ending]] = deque()

    def arrive(self, headers: Mapping[str, str], body: bytes | None) -> Opened:
        """Plan a request; None is a body that is too large to be read."""
        with self._lock:
            opened = self._recorder.arrive(headers, body, body or b"")
        self._settle_ended()
        return opened

    def begin(self, opened: Opened) -> None:
        """Put the open row into the ledger."""
        with self._lock:
            self._shelf.put(lambda ledger: ledger.begin(opened.exchange))
        self._settle_ended()

    def first_token(self, opened: Opened) -> None:
        """Note that the answer began."""
        with self._lock:
            self._recorder.first_token(opened)
        self._settle_ended()

    def close(self, opened: Opened, answer: Answer, ending: Ending) -> None:
        """Settle an exchange that has ended, now or as soon as nobody else is at the desk."""
        self._ended.append((opened, answer, ending))
        self._settle_ended()

    def close_ledger(self) -> None:
        """Write what is queued and let go of the ledger; the next exchange opens it again. Raises `ScrimpError`."""
        self._settle_ended()
        self._shelf.close()

    def _settle_ended(self) -> None:
        while self._ended and self._lock.acquire(blocking=False):
            try:
                self._settle(*self._ended.popleft())
            except IndexError:  # another thread was faster
                return
            finally:
                self._lock.release()

    def _settle(self, opened: Opened, answer: Answer, ending: Ending) -> None:
        try:
            at_once(self._recorder.naming(opened))
            exchange = self._recorder.close(
                opened,
                answer,
                status=ending.status,
                request_id=ending.request_id,
                error_type=ending.error_type,
                was_sent=ending.was_sent,
            )
        except Exception as error:  # noqa: BLE001 - the caller has its answer, and is to keep it
            own_up("an exchange could not be settled and stays open", error)
            return
        if ending.is_recorded:
            self._shelf.put(lambda ledger: ledger.close(exchange))
