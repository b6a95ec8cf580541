"""`scrimp export`: the ledger as JSON lines, which `scrimp report` reads again anywhere."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from scrimp.cli.report import Moment, check_span, ledger_to_read
from scrimp.errors import UsageError

if TYPE_CHECKING:
    from scrimp.core.belief.exchange import Exchange

STDOUT = "-"


@click.command()
@click.argument("file", default=STDOUT, type=click.Path(), metavar="[FILE]")
@click.option("--db", help="The ledger: a path or a URL.  [default: the gateway's own]")
@click.option("--since", type=Moment(), help="Only what was sent from this day or time on (UTC).")
@click.option("--until", type=Moment(end=True), help="Only what was sent up to this day or before this time (UTC).")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def command(file: str, db: str | None, since: int | None, until: int | None, *, force: bool) -> None:
    """Write the ledger's exchanges to FILE as JSON lines; without FILE, or as -, to standard output.

    They are counts, names and times, never a prompt. `scrimp report FILE` reads them.
    """
    from scrimp.config import load_settings
    from scrimp.replay.traces.ledger_export import write
    from scrimp.store.ledger import describe

    check_span(since, until)
    place = load_settings({"db": db}, os.environ).db
    with ledger_to_read(place) as ledger:
        exchanges = ledger.exchanges(since, until)
        if file == STDOUT:
            sys.stdout.buffer.writelines(write(_watched(exchanges, shown=not sys.stdout.isatty())))
            sys.stdout.buffer.flush()
            return
        if Path(file).resolve() == Path(describe(place)).resolve():
            raise UsageError(f"{file} is the ledger itself.", "Name another file.")
        with _written(Path(file), force=force) as target:
            target.writelines(write(_watched(exchanges, shown=True)))


def _watched(exchanges: Iterable[Exchange], *, shown: bool) -> Iterator[Exchange]:
    """Yield the exchanges, with their count on standard error where that is a terminal."""
    if not shown or not sys.stderr.isatty():
        yield from exchanges
        return
    with click.progressbar(exchanges, label="Exporting", file=sys.stderr, show_pos=True) as bar:
        yield from bar


@contextmanager
def _written(path: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """Open a file that takes its name when all of it is written, readable by its owner as the ledger is.

    What is no file of its own, a pipe or a device, is written to as it is; its reader may go, which `main` deals with.
    """
    if path.is_file() and not force:
        raise UsageError(f"{path} is already there.", "Name another file, or overwrite it with --force.")
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as pipe:
                yield pipe
            return
        with _replacing(path.resolve()) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror}.", "Name a file that can be written.") from error


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield file
            file.flush()
            Path(file.name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(file.name).unlink()
            raise
