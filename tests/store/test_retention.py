"""Retention deletes what is too old, in small batches, and only when one is due."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.clock import VirtualClock
from scrimp.errors import LedgerError
from scrimp.store.retention import BATCH_ROWS, DAY_MS, LOOK_MS, PAUSE_MS, Retention

START_MS = 100 * DAY_MS


class Shelf:
    """Where old rows are: as many as it is told, each batch remembered."""

    def __init__(self, old_rows: int) -> None:
        self.left = old_rows
        self.asked: list[tuple[int, int]] = []

    def delete(self, before_ms: int, limit_rows: int) -> int:
        """Delete what there is, up to the limit."""
        self.asked.append((before_ms, limit_rows))
        deleted = min(self.left, limit_rows)
        self.left -= deleted
        return deleted


def test_the_first_batch_is_due_at_once() -> None:
    """A gateway that starts looks at once, for what was closed before the days that are kept."""
    shelf = Shelf(0)
    assert LOOK_MS == Retention(shelf.delete, 7, VirtualClock(START_MS))()
    assert [(START_MS - 7 * DAY_MS, BATCH_ROWS)] == shelf.asked


@given(st.integers(0, 5 * BATCH_ROWS))
def test_full_batches_follow_each_other_with_a_pause(old_rows: int) -> None:
    """After a full batch the next one is due soon; after one that was not full, at the next look."""
    shelf, clock = Shelf(old_rows), VirtualClock(START_MS)
    retention = Retention(shelf.delete, 1, clock)
    for _ in range(old_rows // BATCH_ROWS):
        assert PAUSE_MS == retention()
        clock.advance_ms(PAUSE_MS)
    assert (LOOK_MS, 0) == (retention(), shelf.left)


def test_nothing_is_deleted_before_it_is_due() -> None:
    """Asked again and again by a busy writer it only says how long is left."""
    shelf, clock = Shelf(0), VirtualClock(START_MS)
    retention = Retention(shelf.delete, 1, clock)
    retention()
    clock.advance_ms(LOOK_MS - 1)
    assert (1, 1) == (retention(), len(shelf.asked))
    clock.advance_ms(1)
    assert (LOOK_MS, 2) == (retention(), len(shelf.asked))


def test_a_clock_that_was_set_back_does_not_stop_it() -> None:
    """A due time further away than one look is nonsense, so it looks now."""
    shelf = Shelf(0)
    retention = Retention(shelf.delete, 1, VirtualClock(START_MS))
    retention._due_ms = START_MS + 10 * LOOK_MS
    assert (LOOK_MS, 1) == (retention(), len(shelf.asked))


def test_a_failure_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """A ledger that cannot be written now is no reason to end the writer's thread."""

    def refuse(_before_ms: int, _limit_rows: int) -> int:
        raise LedgerError("The ledger is locked.")

    with caplog.at_level(logging.WARNING):
        assert LOOK_MS == Retention(refuse, 1, VirtualClock(START_MS))()
    assert ["Nothing old was deleted. The ledger is locked."] == caplog.messages
