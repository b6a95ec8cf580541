"""Where rows go: into the ledger once it is open, and until then into a queue, so that no request waits for it.

A database that does not answer takes seconds to say so, so it is opened by a thread of its own. Where that fails the
rows are kept, and another try is made with the first row that comes `RETRY_MS` later, and on closing.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from scrimp.clock import Clock
from scrimp.engine.faults import own_up
from scrimp.errors import LedgerError, ScrimpError
from scrimp.store.ledger import Ledger

_log = logging.getLogger("scrimp.sdk")

#: How long after a ledger could not be opened the next try is made, in milliseconds.
RETRY_MS = 30_000
#: How many rows may wait for that; each takes about 1 KiB of memory.
WAITING_MAX = 10_000

#: Opens a ledger; what it leaves on the stack is closed with the shelf.
LedgerOpener = Callable[[ExitStack], Ledger]
Put = Callable[[Ledger], None]


class Shelf:
    """A ledger of its owner's, or one that is opened when the first row comes.

    Its lock is one that a thread may take twice: a garbage collection in the middle of its work may bring a row.
    """

    def __init__(self, ledger: Ledger | LedgerOpener, clock: Clock) -> None:
        self._opener: LedgerOpener | None = ledger if callable(ledger) else None
        self._ledger: Ledger | None = None if callable(ledger) else ledger
        self._clock = clock
        self._lock = threading.RLock()
        self._stack = ExitStack()
        self._waiting: deque[Put] = deque()
        self._opening: threading.Thread | None = None
        self._next_try_ms: int | None = None

    def put(self, put: Put) -> None:
        """Write a row, or keep it until the ledger is open; what fails is logged, and its row is lost."""
        with self._lock, _losing_a_row():
            if self._ledger is not None:
                put(self._ledger)
                return
            if len(self._waiting) >= WAITING_MAX:
                raise LedgerError("Too many exchanges wait for a ledger that cannot be opened.")
            self._waiting.append(put)
            self._try_to_open(self._clock.now_ms())

    def _try_to_open(self, now_ms: int) -> None:
        if self._opening is None and (self._next_try_ms is None or now_ms >= self._next_try_ms):
            self._next_try_ms = now_ms + RETRY_MS
            opening = threading.Thread(target=self._open_beside, name="scrimp-ledger")
            opening.start()
            self._opening = opening

    def close(self) -> None:
        """Write what waits and let go of a ledger that was opened here; the next row opens it again.

        Raises `ScrimpError` if it cannot be opened or written.
        """
        if (opening := self._opening) is not None:
            opening.join()
        if self._opener is None:
            return
        if self._waiting:
            self._open(self._opener)
        with self._lock:
            self._ledger, self._next_try_ms = None, None
            held, self._stack = self._stack, ExitStack()
        held.close()

    def _open_beside(self) -> None:
        try:
            if self._opener is not None:
                self._open(self._opener)
        except ScrimpError as error:
            _log.warning("%s The requests go on; their exchanges wait to be recorded.", error)
        except Exception as error:  # noqa: BLE001 - it is nobody's request
            own_up("the ledger could not be opened; exchanges wait to be recorded", error)
        finally:
            with self._lock:
                self._opening = None

    def _open(self, opener: LedgerOpener) -> None:
        """Open the ledger and write what waits, in its order."""
        ledger = opener(self._stack)
        with self._lock:
            while self._waiting:
                with _losing_a_row():
                    self._waiting.popleft()(ledger)
            self._ledger = ledger


@contextmanager
def _losing_a_row() -> Iterator[None]:
    try:
        yield
    except ScrimpError as error:
        _log.warning("%s The request goes on; its exchange is not recorded.", error)
    except Exception as error:  # noqa: BLE001 - the caller has its answer, and is to keep it
        own_up("an exchange could not be written to the ledger", error)
