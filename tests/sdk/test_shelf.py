"""The shelf: rows go to a ledger that is slow to open, or cannot be opened, without anybody waiting for it."""

from __future__ import annotations

import gc
import threading
from contextlib import ExitStack

import pytest

from scrimp.clock import VirtualClock
from scrimp.core.belief.exchange import Exchange
from scrimp.errors import LedgerError
from scrimp.sdk import shelf as room
from scrimp.sdk.shelf import RETRY_MS, Put, Shelf
from scrimp.store.ledger import Ledger, MemoryLedger

#: Nothing here takes as long; a test that would hang fails instead.
PATIENCE_SECONDS = 30


def row(number: int) -> Put:
    """Return what puts a row into a ledger."""
    return lambda ledger: ledger.begin(Exchange(exchange_id=f"ex_{number}", opened_at_ms=number, source="sdk"))


class Opener:
    """Opens a ledger once it may; counts how often it was asked, and fails as long as it is told to."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.error: Exception | None = None
        self.count = 0

    def __call__(self, _stack: ExitStack) -> Ledger:
        """Open it."""
        self.count += 1
        assert self.may_go_on.wait(PATIENCE_SECONDS)
        if self.error is not None:
            raise self.error
        return self.ledger

    @property
    def rows(self) -> list[str]:
        """Return the ids that the ledger holds."""
        return [each.exchange_id for each in self.ledger.exchanges()]


def settled() -> None:
    """Let each thread that opens a ledger come to its end."""
    for thread in threading.enumerate():
        if thread.name == "scrimp-ledger":
            thread.join(PATIENCE_SECONDS)


def test_a_ledger_of_its_owner_s_is_written_at_once_and_stays_open() -> None:
    """Closing lets go of nothing."""
    ledger = MemoryLedger()
    shelf = Shelf(ledger, VirtualClock())
    for number in (1, 2):
        shelf.put(row(number))
        assert number == len(list(ledger.exchanges()))
        shelf.close()


def test_nobody_waits_for_a_ledger_that_is_slow_to_open() -> None:
    """Rows are taken while it opens, and are in it, in their order, once it is open."""
    opener = Opener()
    opener.may_go_on.clear()
    shelf = Shelf(opener, VirtualClock())
    for number in range(5):
        shelf.put(row(number))
    assert [] == opener.rows
    opener.may_go_on.set()
    settled()
    assert [f"ex_{number}" for number in range(5)] == opener.rows
    shelf.put(row(5))
    assert (6, 1) == (len(opener.rows), opener.count)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LedgerError("It is gone.", "Mend it."), "It is gone. Mend it. The requests go on"),
        (ValueError("a secret"), "the ledger could not be opened; exchanges wait to be recorded (ValueError in"),
    ],
)
def test_a_ledger_that_cannot_be_opened_is_tried_again_later(
    error: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not with every row: once each `RETRY_MS`, which is told each time; nothing is lost meanwhile."""
    opener, clock = Opener(), VirtualClock()
    opener.error = error
    shelf = Shelf(opener, clock)
    for number in range(4):
        shelf.put(row(number))
        settled()
        clock.advance_ms(RETRY_MS // 2)
    assert (2, 2) == (opener.count, caplog.text.count(said))
    assert "a secret" not in caplog.text
    opener.error = None
    shelf.put(row(4))
    settled()
    assert (3, 5) == (opener.count, len(opener.rows))


def test_closing_makes_a_last_try() -> None:
    """It says why what waits cannot be written, and writes it where it can."""
    opener = Opener()
    opener.error = LedgerError("It is gone.")
    shelf = Shelf(opener, VirtualClock())
    shelf.put(row(1))
    with pytest.raises(LedgerError, match="It is gone"):
        shelf.close()
    opener.error = None
    shelf.close()
    assert ["ex_1"] == opener.rows
    count = opener.count
    shelf.close()
    assert count == opener.count


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Beyond that rows are lost, and the log says so."""
    monkeypatch.setattr(room, "WAITING_MAX", 3)
    opener = Opener()
    opener.error = LedgerError("It is gone.")
    shelf = Shelf(opener, VirtualClock())
    for number in range(5):
        shelf.put(row(number))
    settled()
    opener.error = None
    shelf.close()
    assert (3, 2) == (len(opener.rows), caplog.text.count("its exchange is not recorded"))


def test_a_row_that_comes_while_others_are_written_is_written_too() -> None:
    """A garbage collection may bring one in the very thread that writes."""
    opener = Opener()
    opener.may_go_on.clear()
    shelf = Shelf(opener, VirtualClock())

    class Dropped:
        """Something whose end is a row."""

        def __del__(self) -> None:
            shelf.put(row(2))

    held = [Dropped()]

    def put(ledger: Ledger) -> None:
        held.clear()
        gc.collect()
        row(1)(ledger)

    shelf.put(put)
    opener.may_go_on.set()
    settled()
    assert ["ex_1", "ex_2"] == opener.rows


def test_a_row_that_cannot_be_written_holds_no_other_back(caplog: pytest.LogCaptureFixture) -> None:
    """It is lost, and the log says so."""
    opener = Opener()
    opener.may_go_on.clear()
    shelf = Shelf(opener, VirtualClock())

    def fail(_: Ledger) -> None:
        raise LedgerError("The disk is full.")

    for put in (row(1), fail, row(2)):
        shelf.put(put)
    opener.may_go_on.set()
    settled()
    shelf.put(fail)
    assert ["ex_1", "ex_2"] == opener.rows
    assert 2 == caplog.text.count("The disk is full. The request goes on")
