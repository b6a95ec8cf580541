"""The board: what each worker wrote last, whole or not at all."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.gateway.board import SLOT_BYTES, Board

WORKERS = 3


@pytest.fixture
def board() -> Iterator[Board]:
    """Return a board in a file of its own."""
    with tempfile.TemporaryFile() as file:
        yield Board(file.fileno(), WORKERS)


def test_nothing_is_shown_at_first(board: Board) -> None:
    """Each slot is empty, also one between two that are not."""
    assert [b""] * WORKERS == board.read_all()
    board.write(2, b"c")
    board.write(0, b"a")
    assert [b"a", b"", b"c"] == board.read_all()


@given(st.lists(st.tuples(st.integers(0, WORKERS - 1), st.binary(max_size=300)), max_size=30))
def test_each_slot_shows_what_was_written_last(writes: list[tuple[int, bytes]]) -> None:
    """Longer and shorter ones after each other; no slot touches another, and another process sees the same."""
    with tempfile.TemporaryFile() as file:
        ours, theirs = Board(file.fileno(), WORKERS), Board(os.dup(file.fileno()), WORKERS)
        for number, data in writes:
            ours.write(number, data)
        last = dict(writes)
        assert [last.get(number, b"") for number in range(WORKERS)] == theirs.read_all()
        os.close(theirs._descriptor)


def test_what_does_not_fit_is_not_shown(board: Board) -> None:
    """The neighbour's slot begins there; what stood there stays."""
    board.write(1, b"neighbour")
    board.write(0, b"before")
    board.write(0, b"x" * SLOT_BYTES)
    assert [b"before", b"neighbour", b""] == board.read_all()


def test_a_torn_slot_shows_what_was_there_before(board: Board) -> None:
    """A worker that was killed while it wrote leaves bytes that do not fit their checksum."""
    board.write(0, b"before")
    assert b"before" == board.read(0)
    os.pwrite(board._descriptor, b"torn", 8)
    assert b"before" == board.read(0)


def test_readers_never_see_half_a_write(board: Board) -> None:
    """While one writes without a pause, whatever another reads was written as it stands."""
    written = [bytes([letter]) * 50_000 for letter in b"abc"]
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            for data in written:
                board.write(0, data)

    writer = threading.Thread(target=write)
    writer.start()
    found = {board.read(0) for _ in range(300)}
    done.set()
    writer.join()
    assert set() == found - {b"", *written}
