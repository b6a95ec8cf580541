"""The desk: any number of threads, endings that come at the worst moment, and ledgers that fail."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from scrimp.clock import VirtualClock
from scrimp.core.belief.exchange import Exchange
from scrimp.core.plan.planning import Policy
from scrimp.core.wire.response import Answer, ResponseMeter
from scrimp.engine.outside import Outside
from scrimp.errors import LedgerError
from scrimp.sdk.desk import Desk, Ending
from scrimp.store.ledger import MemoryLedger, open_ledger
from scrimp.upstream.pricefeed import load_book

pytestmark = pytest.mark.xdist_group("sdk")

HEADERS = {"authorization": "Bearer sk-ant-fake"}
BODY = json.dumps(
    {"model": "claude-opus-5-5", "max_tokens": 5, "messages": [{"role": "user", "content": "word " * 5_000}]}
).encode()
ENDED = Ending(200, "req_1")


def heard() -> Answer:
    """Return a whole answer."""
    meter = ResponseMeter("application/json", None)
    usage = {"input_tokens": 9, "output_tokens": 3}
    meter.feed(json.dumps({"type": "message", "id": "msg_1", "model": "claude-opus-5-5", "usage": usage}).encode())
    return meter.answer()


class WhenAsked(VirtualClock):
    """A clock that does something each time it is asked: what a garbage collection may do anywhere."""

    def __init__(self) -> None:
        super().__init__(1_790_000_000_000)
        self.then: Any = None

    def now_ms(self) -> int:
        """Do it, and return the time."""
        if self.then is not None:
            self.then()
        return super().now_ms()


def desk(ledger: MemoryLedger, clock: VirtualClock | None = None) -> Desk:
    """Return a desk in safe mode over a ledger."""
    outside = Outside(
        prices=load_book(), clock=clock or VirtualClock(1_790_000_000_000), policy=Policy(mode="safe"), source="sdk"
    )
    return Desk(outside, ledger)


def test_an_exchange_comes_and_goes() -> None:
    """Planned, begun, answered, closed: one row, open first and then final."""
    ledger = MemoryLedger()
    at = desk(ledger)
    opened = at.arrive(HEADERS, BODY)
    assert b"cache_control" in (opened.body or b"")
    assert [] == list(ledger.exchanges())
    at.begin(opened)
    (row,) = ledger.exchanges()
    assert ("sdk", None) == (row.source, row.closed_at_ms)
    at.first_token(opened)
    at.close(opened, heard(), ENDED)
    (row,) = ledger.exchanges()
    assert (200, "req_1", "msg_1", True) == (row.http_status, row.request_id, row.message_id, row.usage_complete)
    assert row.task_type is not None


def test_what_is_too_large_is_unplanned() -> None:
    """It is known by its headers."""
    opened = desk(MemoryLedger()).arrive({**HEADERS, "scrimp-task": "nightly"}, None)
    assert (False, "nightly", None) == (opened.exchange.planned, opened.exchange.task_tag, opened.body)


def test_what_another_gateway_recorded_is_not_written() -> None:
    """It is settled, and that is all."""
    ledger = MemoryLedger()
    at = desk(ledger)
    at.close(at.arrive(HEADERS, BODY), Answer(), Ending(is_recorded=False))
    assert [] == list(ledger.exchanges())


@pytest.mark.parametrize("moment", ["arrive", "first_token", "close"])
def test_an_ending_in_the_middle_of_our_own_work_waits_for_its_turn(moment: str) -> None:
    """A stream that is dropped while this very thread is at the desk neither blocks nor comes between."""
    ledger, clock = MemoryLedger(), WhenAsked()
    at = desk(ledger, clock)
    dropped, other = at.arrive(HEADERS, BODY), at.arrive(HEADERS, BODY)

    def drop() -> None:
        clock.then = None
        at.close(dropped, Answer(), Ending(200, error_type="client_gone"))
        assert [] == list(ledger.exchanges())

    clock.then = drop
    work = {
        "arrive": lambda: at.arrive(HEADERS, BODY),
        "first_token": lambda: at.first_token(other),
        "close": lambda: at.close(other, heard(), ENDED),
    }
    worker = threading.Thread(target=work[moment], daemon=True)
    worker.start()
    worker.join(30)
    assert not worker.is_alive()
    assert "client_gone" in {row.error_type for row in ledger.exchanges()}
    assert clock.then is None


def test_threads_lose_nothing() -> None:
    """Eight threads, fifty exchanges each, begun and closed across each other."""
    ledger = MemoryLedger()
    at, start = desk(ledger), threading.Barrier(8)

    def work() -> None:
        start.wait()
        for _ in range(50):
            opened = at.arrive(HEADERS, b'{"model":"claude-opus-5-5","max_tokens":1,"messages":[]}')
            at.begin(opened)
            at.close(opened, heard(), ENDED)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = list(ledger.exchanges())
    assert (400, True) == (len(rows), all(row.closed_at_ms for row in rows))


class Failing(MemoryLedger):
    """A ledger that fails as it is told to."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def begin(self, exchange: Exchange) -> None:  # noqa: ARG002 - the ledger's own shape
        """Fail."""
        raise self._error

    def close(self, exchange: Exchange) -> None:  # noqa: ARG002 - as above
        """Fail."""
        raise self._error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LedgerError("The disk is full.", "Make room."), "The disk is full. Make room. The request goes on"),
        (ValueError("a secret"), "an exchange could not be written to the ledger (ValueError in"),
    ],
)
def test_a_ledger_that_fails_is_logged(error: Exception, said: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is raised, and what a fault of ours says of itself is not quoted."""
    at = desk(Failing(error))
    opened = at.arrive(HEADERS, BODY)
    at.begin(opened)
    at.close(opened, heard(), ENDED)
    assert 2 == caplog.text.count(said)
    assert "a secret" not in caplog.text


def test_an_exchange_that_cannot_be_settled_is_owned_up_to(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is raised, and its row stays open."""
    ledger, clock = MemoryLedger(), WhenAsked()
    at = desk(ledger, clock)
    opened = at.arrive(HEADERS, BODY)
    at.begin(opened)

    def fail() -> None:
        raise OSError("no clock")

    clock.then = fail
    at.close(opened, heard(), ENDED)
    (row,) = ledger.exchanges()
    assert row.closed_at_ms is None
    assert "an exchange could not be settled and stays open (OSError in fail" in caplog.text


def test_closing_lets_go_of_the_ledger_and_the_next_exchange_opens_it(tmp_path: Path) -> None:
    """Each opening is closed once."""
    opened_count, closed_count = 0, 0

    @contextmanager
    def place() -> Iterator[Any]:
        nonlocal opened_count, closed_count
        with open_ledger(tmp_path / "ledger.db") as ledger:
            opened_count += 1
            yield ledger
        closed_count += 1

    def opener(stack: ExitStack) -> Any:
        return stack.enter_context(place())

    at = Desk(Outside(prices=load_book(), clock=VirtualClock(1_790_000_000_000)), opener)
    at.close_ledger()
    for count in (1, 2):
        opened = at.arrive(HEADERS, BODY)
        at.begin(opened)
        at.close(opened, heard(), ENDED)
        at.close_ledger()
        assert (count, count) == (opened_count, closed_count)
    with open_ledger(tmp_path / "ledger.db") as ledger:
        assert 2 == len(list(ledger.exchanges()))
