"""Group commit: rows are written in order, waiters are told the truth, and trouble costs nobody a row."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.errors import LedgerError
from scrimp.store.database import LedgerBusy
from scrimp.store.rows import Row
from scrimp.store.writer import GROUP_LIMIT_EXCHANGES, Entry, GroupWriter


class Disk:
    """Where groups go: it can be held, be busy, and refuse a row for good."""

    def __init__(self) -> None:
        self.groups: list[list[Row]] = []
        self.busy = False
        self.poison: Row | None = None
        self.asked = threading.Event()
        self.written = threading.Event()
        self.free = threading.Event()
        self.free.set()

    def commit(self, rows: Sequence[Row]) -> None:
        """Keep a group, or raise as told."""
        self.asked.set()
        self.free.wait()
        if self.busy:
            raise LedgerBusy("The disk is full.")
        if self.poison in set(rows):
            raise LedgerError("The row is poison.")
        self.groups.append(list(rows))
        self.written.set()

    @property
    def rows(self) -> list[Row]:
        """Every row that was written, in order."""
        return [row for rows in self.groups for row in rows]


def _waiting(row: Row | None) -> Entry:
    return Entry(row, waiter=asyncio.get_running_loop().create_future())


async def _outcome(entry: Entry) -> str:
    assert entry.waiter is not None
    try:
        await entry.waiter
    except LedgerError as error:
        return error.message
    return "written"


async def _error(entry: Entry) -> LedgerError:
    assert entry.waiter is not None
    with pytest.raises(LedgerError) as caught:
        await entry.waiter
    return caught.value


@given(st.integers(0, 2_500))
def test_everything_put_is_written_once_in_order(count: int) -> None:
    """Whatever is queued before the stop is written by it, in its order, however many groups that takes."""
    disk = Disk()
    writer = GroupWriter(disk.commit)
    for number in range(count):
        writer.put(Entry((number,)))
    writer.stop()
    assert [(number,) for number in range(count)] == disk.rows


def test_what_gathers_while_a_group_is_written_is_one_group() -> None:
    """While the disk is busy with one row, the next hundred become one transaction."""

    async def scenario() -> list[int]:
        disk = Disk()
        writer = GroupWriter(disk.commit)
        disk.free.clear()
        first = _waiting(("first",))
        writer.put(first)
        await asyncio.to_thread(disk.asked.wait)
        rest = [_waiting((number,)) for number in range(100)]
        for entry in rest:
            writer.put(entry)
        disk.free.set()
        assert {"written"} == {await _outcome(entry) for entry in (first, *rest)}
        writer.stop()
        return [len(rows) for rows in disk.groups]

    assert [1, 100] == asyncio.run(scenario())


def test_trouble_tells_the_waiters_and_keeps_the_rows() -> None:
    """A busy disk fails who waits, keeps every row, and writes them all, in order, once it can."""

    async def scenario() -> None:
        disk = Disk()
        writer = GroupWriter(disk.commit)
        disk.busy = True
        writer.put(Entry(("a",)))
        waiting = _waiting(("b",))
        writer.put(waiting)
        assert "The disk is full." == await _outcome(waiting)
        assert "The disk is full." == str(writer.trouble)
        disk.busy = False
        mark = _waiting(None)
        writer.put(mark)
        assert ("written", None) == (await _outcome(mark), writer.trouble)
        assert [("a",), ("b",)] == disk.rows
        writer.stop()
        assert [("a",), ("b",)] == disk.rows

    asyncio.run(scenario())


def test_trouble_heals_without_anybody_waiting() -> None:
    """Rows of a busy time are tried again by themselves."""

    async def scenario() -> None:
        disk = Disk()
        writer = GroupWriter(disk.commit)
        disk.busy = True
        waiting = _waiting(("a",))
        writer.put(waiting)
        await _outcome(waiting)
        disk.busy = False
        assert await asyncio.to_thread(disk.written.wait, 60)
        writer.stop()
        assert ([("a",)], None) == (disk.rows, writer.trouble)

    asyncio.run(scenario())


def test_a_row_that_can_never_be_written_costs_only_itself() -> None:
    """One poisoned row fails its own waiter; the rest of its group is written."""

    async def scenario() -> None:
        disk = Disk()
        disk.poison = ("b",)
        writer = GroupWriter(disk.commit)
        entries = [_waiting((name,)) for name in "abc"]
        disk.free.clear()
        for entry in entries:
            writer.put(entry)
        disk.free.set()
        assert ["written", "The row is poison.", "written"] == [await _outcome(entry) for entry in entries]
        assert ("The row is poison.", None) == (str(writer.take_rejected()), writer.trouble)
        assert [("a",), ("c",)] == disk.rows
        writer.stop()

    asyncio.run(scenario())


def test_an_unforeseen_error_does_not_end_the_thread() -> None:
    """A fault of our own in the thread reaches the waiter as a LedgerError, and the next row is written."""

    async def scenario() -> None:
        disk = Disk()
        writer = GroupWriter(disk.commit)
        unhashable = _waiting([["a list"]])
        writer.put(unhashable)
        assert "The ledger's writer failed" in await _outcome(unhashable)
        good = _waiting(("good",))
        writer.put(good)
        assert "written" == await _outcome(good)
        with pytest.raises(LedgerError, match="writer failed"):
            writer.stop()

    asyncio.run(scenario())


def test_a_full_queue_refuses_more_and_says_why() -> None:
    """At the limit a row is refused in a sentence with the limit; what was accepted is still written."""
    disk = Disk()
    disk.free.clear()
    writer = GroupWriter(disk.commit, queue_limit_exchanges=3)
    for number in range(3):
        writer.put(Entry((number,)))
    with pytest.raises(LedgerError, match="3 exchanges wait to be written to the ledger, which is the limit"):
        writer.put(Entry((3,)))
    disk.free.set()
    writer.stop()
    assert [(0,), (1,), (2,)] == disk.rows


def test_a_stop_in_trouble_says_how_much_is_lost() -> None:
    """Stopping tries once more; what still cannot be written is counted in the error."""
    disk = Disk()
    disk.busy = True
    writer = GroupWriter(disk.commit)
    writer.put(Entry(("a",)))
    writer.put(Entry(("b",)))
    with pytest.raises(LedgerError, match=r"^2 exchanges could not be written to the ledger\. The disk is full\.$"):
        writer.stop()


def test_nothing_is_taken_after_the_stop() -> None:
    """A row after the stop is refused instead of waiting for ever."""
    writer = GroupWriter(Disk().commit)
    writer.stop()
    with pytest.raises(LedgerError, match="closed already"):
        writer.put(Entry(("late",)))


def test_a_waiter_that_left_does_not_matter() -> None:
    """A cancelled waiter's row is written, and the others are told."""

    async def scenario() -> None:
        disk = Disk()
        disk.free.clear()
        writer = GroupWriter(disk.commit)
        left, stayed = _waiting(("left",)), _waiting(("stayed",))
        writer.put(left)
        writer.put(stayed)
        assert left.waiter is not None
        left.waiter.cancel()
        disk.free.set()
        assert "written" == await _outcome(stayed)
        writer.stop()
        assert {("left",), ("stayed",)} == set(disk.rows)

    asyncio.run(scenario())


def test_a_loop_that_is_gone_does_not_matter() -> None:
    """A waiter whose event loop was closed does not disturb the writer."""
    disk = Disk()
    disk.free.clear()
    writer = GroupWriter(disk.commit)

    async def leave() -> None:
        writer.put(_waiting(("gone",)))

    asyncio.run(leave())
    disk.free.set()
    writer.put(Entry(("next",)))
    writer.stop()
    assert [("gone",), ("next",)] == disk.rows


def test_an_error_is_raised_anew_for_each_who_waited() -> None:
    """Two waiters get the same words but not the same object, which would keep both of their frames alive."""

    async def scenario() -> None:
        disk = Disk()
        disk.busy = True
        disk.free.clear()
        writer = GroupWriter(disk.commit)
        entries = [_waiting(("a",)), _waiting(("b",))]
        for entry in entries:
            writer.put(entry)
        disk.free.set()
        errors = [await _error(entry) for entry in entries]
        assert (["The disk is full."] * 2, 2) == ([str(error) for error in errors], len(set(map(id, errors))))
        disk.busy = False
        writer.stop()

    asyncio.run(scenario())


class Housework:
    """A chore that is due again at once, and says when it was done."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.count = 0

    def __call__(self) -> int:
        """Do it."""
        self.count += 1
        self.done.set()
        return 1


def test_the_chore_is_done_while_nothing_is_written() -> None:
    """A writer with a chore sees to it from the start, again and again, and ends all the same."""
    chore, disk = Housework(), Disk()
    writer = GroupWriter(disk.commit, chore=chore)
    for _ in range(3):
        assert chore.done.wait(60)
        chore.done.clear()
    writer.put(Entry(("a",)))
    writer.stop()
    assert ([("a",)], None) == (disk.rows, writer.trouble)


def test_the_chore_waits_for_trouble_to_end() -> None:
    """A ledger that cannot be written is not asked for anything else meanwhile."""

    async def scenario() -> None:
        chore, disk = Housework(), Disk()
        disk.busy = True
        writer = GroupWriter(disk.commit, chore=chore)
        waiting = _waiting(("a",))
        writer.put(waiting)
        assert "The disk is full." == await _outcome(waiting)
        count = chore.count
        again = _waiting(("b",))
        writer.put(again)
        assert ("The disk is full.", count) == (await _outcome(again), chore.count)
        disk.busy = False
        mark = _waiting(None)
        writer.put(mark)
        assert "written" == await _outcome(mark)
        writer.stop()

    asyncio.run(scenario())


class Shelf:
    """Notes in memory, in two parts as they are on disk; `refuses` makes it a place that cannot be written."""

    def __init__(self) -> None:
        self.now: list[Row] = []
        self.before: list[Row] = []
        self.refuses = False

    def add(self, row: Row) -> bool:
        """Keep a row, or refuse."""
        if not self.refuses:
            self.now.append(row)
        return not self.refuses

    def turn(self) -> None:
        """Begin a new part, if the other is free."""
        if not self.before:
            self.now, self.before = self.before, self.now

    def clear(self) -> None:
        """Forget the other part."""
        self.before = []


def test_a_row_is_kept_until_it_is_committed() -> None:
    """However groups fail and heal, each row is on disk or kept at every moment, and in the end all is on disk."""
    disk, shelf = Disk(), Shelf()
    writer = GroupWriter(disk.commit, notes=shelf, queue_limit_exchanges=10_000)

    def is_safe(row: Row) -> bool:
        return row in [*shelf.now, *shelf.before] or row in disk.rows  # in this order: rows go one way

    for number in range(3 * GROUP_LIMIT_EXCHANGES):
        disk.busy = 1_000 <= number < 1_200
        assert writer.put_noted((number,))
        assert all(is_safe((each,)) for each in range(max(0, number - 3), number + 1))
    disk.busy = False
    writer.stop()
    assert {(number,) for number in range(3 * GROUP_LIMIT_EXCHANGES)} == {*disk.rows}
    assert [] == [row for row in shelf.before if row not in disk.rows]


def test_nothing_is_kept_for_longer_than_it_is_needed() -> None:
    """Once all is written and the writer has stopped, nothing is kept any more."""
    disk, shelf = Disk(), Shelf()
    writer = GroupWriter(disk.commit, notes=shelf)
    assert writer.put_noted(("a",))
    writer.put(Entry(("b",)))
    writer.stop()
    assert ([("a",), ("b",)], [], []) == (disk.rows, shelf.now, shelf.before)


def test_trouble_keeps_what_is_kept() -> None:
    """A group that could not be written stays kept, whatever came after it, also beyond the end of the writer."""

    async def scenario() -> None:
        disk, shelf = Disk(), Shelf()
        disk.busy = True
        writer = GroupWriter(disk.commit, notes=shelf)
        assert writer.put_noted(("a",))
        mark = _waiting(None)
        writer.put(mark)
        assert "The disk is full." == await _outcome(mark)
        assert writer.put_noted(("b",))
        with pytest.raises(LedgerError):
            writer.stop()
        assert {("a",), ("b",)} == {*shelf.now, *shelf.before}

    asyncio.run(scenario())


def test_what_cannot_be_kept_is_not_queued() -> None:
    """The caller then waits for its commit."""
    disk, shelf = Disk(), Shelf()
    shelf.refuses = True
    writer = GroupWriter(disk.commit, notes=shelf)
    assert not writer.put_noted(("a",))
    writer.stop()
    assert [] == disk.rows
    with pytest.raises(LedgerError):
        writer.put_noted(("b",))
