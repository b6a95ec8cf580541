"""Retention: rows closed longer ago than the user wants to keep them are deleted, a few at a time.

The writer's thread asks after each group and while it has nothing to do, and tells itself from the answer when to ask
again. Open rows stay: what a gateway that died had under way may have been billed, and nothing says when it ended.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from scrimp.clock import Clock
from scrimp.errors import LedgerError

DAY_MS = 86_400_000

#: How many rows one transaction deletes at most, so that no exchange waits for it noticeably.
BATCH_ROWS = 200

#: How long the ledger is left alone between two full batches, in milliseconds.
PAUSE_MS = 200

#: How often it is looked for rows that became too old, in milliseconds.
LOOK_MS = 60_000

_log = logging.getLogger("scrimp.store")

#: Takes a time in milliseconds and a number of rows; deletes at most so many closed before it and returns how many.
Delete = Callable[[int, int], int]


class Retention:
    """Deletes one batch whenever one is due; a failure is logged and tried again at the next look."""

    def __init__(self, delete: Delete, keep_days: int, clock: Clock) -> None:
        self._delete = delete
        self._keep_ms = keep_days * DAY_MS
        self._clock = clock
        self._due_ms = clock.now_ms()

    def __call__(self) -> int:
        """Delete a batch if it is due; return in how many milliseconds the next one is."""
        now_ms = self._clock.now_ms()
        if 0 < self._due_ms - now_ms <= LOOK_MS:
            return self._due_ms - now_ms
        pause_ms = PAUSE_MS if self._batch(now_ms - self._keep_ms) == BATCH_ROWS else LOOK_MS
        self._due_ms = now_ms + pause_ms
        return pause_ms

    def _batch(self, before_ms: int) -> int:
        try:
            return self._delete(before_ms, BATCH_ROWS)
        except LedgerError as error:
            _log.warning("Nothing old was deleted. %s", error)
            return 0
