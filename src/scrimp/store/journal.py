"""Open rows beside a SQLite ledger: on disk before they are in it.

A request may be sent once its open row outlives this process. A transaction for each is a dear way to see to that, half
of what recording costs. So the row is appended to a file beside the ledger, and the writer's thread commits it with its
next group, mostly together with others, and often as one row with its close.

::

    add --> [segment] --turn: a group takes all that is queued--> [the other segment] takes the next rows
               |
               '--clear: that group is committed--> empty again

A file whose process is gone, which its lock tells, is taken over by whoever opens the ledger next. Until then readers
find its rows there. As with the ledger itself, the death of the process loses nothing; of power, the last moments.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from glob import escape
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from scrimp.errors import LedgerError
from scrimp.store.rows import COLUMNS, OPEN, Row, folded

_read = msgspec.json.Decoder(dict[str, Any]).decode
#: What a file is called before its lock is held: nobody takes it for one that was left behind.
_UNFINISHED = "~"


def _files(ledger: Path) -> list[Path]:
    """Return the journal's files of every process, living or gone."""
    found = ledger.parent.glob(f"{escape(ledger.name)}-open-*")
    return sorted(path for path in found if not path.name.endswith(_UNFINISHED))


def _rows_in(data: bytes) -> Iterator[Row]:
    """Yield the rows of a file; a last one that was not written whole was never promised."""
    for line in data.split(b"\n"):
        with suppress(msgspec.DecodeError):
            found = _read(line)
            if found.get("state") == OPEN and isinstance(found.get("opened_at_ms"), int):
                yield tuple(found.get(name) for name in COLUMNS)


def noted(ledger: Path) -> list[Row]:
    """Return the rows that stand beside a ledger; some may be in it already."""
    rows: list[Row] = []
    for path in _files(ledger):
        with suppress(OSError):
            rows += _rows_in(path.read_bytes())
    return folded(rows)


def take_over(ledger: Path, commit: Callable[[Sequence[Row]], None]) -> None:
    """Commit what processes that are gone have left beside a ledger; what cannot be committed now stays there."""
    for path in _files(ledger):
        with suppress(OSError, LedgerError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if rows := list(_rows_in(file.read())):
                commit(rows)
            path.unlink()


class _Segment:
    """One file, held by this process."""

    def __init__(self, ledger: Path) -> None:
        name = f"{ledger.name}-open-{os.getpid()}"
        unfinished = ledger.with_name(f"{name}{_UNFINISHED}")
        self._file = os.open(unfinished, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._path = _linked(unfinished, ledger.with_name(name))
        except OSError:
            os.close(self._file)
            raise
        self.is_empty = True

    def append(self, data: bytes) -> bool:
        """Append data; return whether all of it was."""
        self.is_empty = False
        return os.write(self._file, data) == len(data)

    def clear(self) -> None:
        """Forget everything."""
        os.ftruncate(self._file, 0)
        self.is_empty = True

    def is_gone(self) -> bool:
        """Return whether the file was deleted."""
        return os.fstat(self._file).st_nlink == 0

    def close(self) -> None:
        """Let go; what is not committed stays for whoever comes next."""
        if self.is_empty:
            self._path.unlink(missing_ok=True)
        os.close(self._file)


def _linked(unfinished: Path, stem: Path) -> Path:
    """Give a file the first of its names that is free: a process of the same number may have left others behind."""
    for number in count():
        path = stem.with_name(f"{stem.name}-{number}")
        with suppress(FileExistsError):
            os.link(unfinished, path)
            unfinished.unlink()
            return path
    raise AssertionError("numbers have no end")


class Journal:
    """The open rows of one process beside its ledger: `Notes` that outlive it. The first row makes the files."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger
        self._segments: tuple[_Segment, _Segment] | None = None
        self._is_refused = False

    def add(self, row: Row) -> bool:
        """Keep a row; return whether it is kept for sure. See `database.Notes`."""
        said = {name: value for name, value in zip(COLUMNS, row, strict=True) if value is not None}
        try:
            # The line break goes first: it ends a line that could not be written whole.
            return not self._is_refused and self._opened()[0].append(b"\n" + msgspec.json.encode(said))
        except OSError:
            return False

    def _opened(self) -> tuple[_Segment, _Segment]:
        if self._segments is None:
            try:
                self._segments = _Segment(self._ledger), _Segment(self._ledger)
            except OSError:
                self._is_refused = True  # a place without locks or links: the ledger itself is asked instead
                raise
        return self._segments

    def turn(self) -> None:
        """Send the next rows to the other segment, if that is empty."""
        if self._segments is not None and self._segments[1].is_empty:
            self._segments = self._segments[::-1]

    def clear(self) -> None:
        """Forget the rows that came before the last turn: they are committed."""
        if self._segments is not None and not self._segments[1].is_empty:
            with suppress(OSError):
                self._segments[1].clear()

    def begin_anew(self) -> None:
        """Make other files, if these are gone: with the ledger's, or with their folder."""
        if any(segment.is_gone() for segment in self._segments or ()):
            self.close()
        self._is_refused = False

    def close(self) -> None:
        """Let go of the files; a journal that is used again makes others."""
        for segment in self._segments or ():
            segment.close()
        self._segments = None
