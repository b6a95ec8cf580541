"""`scrimp report`: where the money goes, from recorded sessions or from the ledger."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from scrimp.cli.bars import watched
from scrimp.money import in_usd

if TYPE_CHECKING:
    from scrimp.cli.report_text import Look
    from scrimp.replay.gather import Material
    from scrimp.replay.report import By, Group, Report
    from scrimp.replay.savings import Savings
    from scrimp.replay.traces.discover import Recording
    from scrimp.store.ledger import SqlLedger

#: `--by` -> heading of the key's column. The keys are those of `scrimp.replay.report.By`, which is slow to import here.
GROUPINGS = {
    "task": "kind of task",
    "model": "model",
    "session": "session",
    "agent": "agent",
    "project": "project",
    "day": "day (UTC)",
    "tenant": "tenant",
}
#: Rows of the table when --top is not given.
ROWS = 20
#: Reading fewer files than this shows no progress bar.
FILES_WORTH_A_BAR = 50
_MS_PER_DAY = 86_400_000


class Moment(click.ParamType[int]):
    """A day or a time in UTC as milliseconds since the epoch; `end` makes a day stand for its end."""

    name = "time"

    def __init__(self, *, end: bool = False) -> None:
        self._end = end

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read ISO 8601; a time without a zone is UTC."""
        from datetime import UTC, date, datetime

        try:
            if len(value) == len("2026-01-31"):
                ordinal = date.fromisoformat(value).toordinal() - date(1970, 1, 1).toordinal()
                return (ordinal + self._end) * _MS_PER_DAY
            moment = datetime.fromisoformat(value)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return round(moment.timestamp() * 1000)
        except ValueError:
            self.fail(f"{value!r} is no day or time such as 2026-01-31 or 2026-01-31T12:00.", param, ctx)


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]...")
@click.option("--db", help="Read this ledger instead: a file, or sqlite:///PATH.")
@click.option("--by", type=click.Choice(list(GROUPINGS)), default="task", show_default=True, help="What to group by.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--since", type=Moment(), help="Only what was sent from this day or time on (UTC).")
@click.option("--until", type=Moment(end=True), help="Only what was sent up to this day or before this time (UTC).")
@click.option("--top", type=click.IntRange(min=1), help=f"Only the dearest groups (table: {ROWS} unless given).")
def command(
    paths: tuple[str, ...],
    db: str | None,
    by: By,
    *,
    as_json: bool,
    since: int | None,
    until: int | None,
    top: int | None,
) -> None:
    """Show where the money goes.

    PATH is a file or folder of Claude Code sessions (.jsonl, .jsonl.gz), an export of scrimp, or OpenTelemetry GenAI
    spans. Without PATH and --db, your own ~/.claude/projects is read. Costs are list prices.
    """
    check_source(paths, db)
    check_span(since, until)
    if db is not None:
        recording, report = _of_ledger(db, by, since, until)
    else:
        recording, report = _of_files(paths, by, since, until)
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(as_object(report, recording, top)))
    else:
        from scrimp.cli.report_text import as_text

        nothing = _nothing(db, is_cut=since is not None or until is not None)
        click.echo(as_text(report, recording, _look(by, top or ROWS, nothing)))


def check_source(paths: Sequence[str], db: str | None) -> None:
    """Refuse to read recorded files and a ledger together."""
    from scrimp.errors import UsageError

    if db is not None and paths:
        raise UsageError("Recorded files and a ledger cannot be read together.", "Give either PATH or --db.")


def check_span(since_ms: int | None, until_ms: int | None) -> None:
    """Refuse a span of time that holds no moment."""
    from scrimp.errors import UsageError

    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise UsageError("--since is not before --until, so there is no time between them.", "Swap them.")


@contextmanager
def ledger_to_read(place: str) -> Iterator[SqlLedger]:
    """Open a ledger that must be there; one that cannot be read is a file given wrongly, as any other would be."""
    from scrimp.errors import ConfigError, LedgerError
    from scrimp.store.ledger import open_ledger

    try:
        with open_ledger(place, must_exist=True) as ledger:
            yield ledger
    except LedgerError as error:
        raise ConfigError(error.message, error.hint) from error


def _nothing(db: str | None, *, is_cut: bool) -> str:
    """Return what to say where no request is found, and what to do next."""
    if is_cut:
        return "No request was sent in the time of --since and --until. Give a longer time."
    if db is None:
        return "No request is recorded here yet. Ask the client something first, or give another PATH."

    from shlex import quote

    from scrimp.store.ledger import describe

    name = describe(db)
    return f"The ledger {name} holds no request yet. Send some through it: scrimp run --db {quote(name)} -- CLIENT."


def _look(by: By, top: int, nothing: str) -> Look:
    """Return how standard output shows a report."""
    from shutil import get_terminal_size

    from scrimp.cli.report_text import Look, signs_for
    from scrimp.upstream.pricefeed import describe_book

    width = get_terminal_size().columns if sys.stdout.isatty() else None
    return Look(GROUPINGS[by], top, describe_book(), nothing, width, signs_for(sys.stdout.encoding))


def _of_ledger(db: str, by: By, since_ms: int | None, until_ms: int | None) -> tuple[Recording, Report]:
    from scrimp.replay.rates import Rates
    from scrimp.replay.report import fold
    from scrimp.replay.traces.discover import Recording
    from scrimp.upstream.pricefeed import load_current_book

    with ledger_to_read(db) as ledger:
        report = fold(ledger.exchanges(since_ms, until_ms), Rates(load_current_book()), by)
    return Recording([], [], [], 1), report


def _of_files(paths: Sequence[str], by: By, since_ms: int | None, until_ms: int | None) -> tuple[Recording, Report]:
    from scrimp.replay.traces.discover import Reading
    from scrimp.replay.traces.workers import processors

    reading = Reading(paths or own_sessions(), processors())

    from scrimp.replay.rates import Rates
    from scrimp.replay.report import fold
    from scrimp.upstream.pricefeed import load_current_book

    rates = Rates(load_current_book())
    recording = reading.finish(progress)
    if since_ms is not None or until_ms is not None:
        first, end = since_ms or 0, sys.maxsize if until_ms is None else until_ms
        recording.exchanges = [each for each in recording.exchanges if first <= each.opened_at_ms < end]
        recording.compactions = [each for each in recording.compactions if first <= each.at_ms < end]
    return recording, fold(recording.exchanges, rates, by)


def to_replay(paths: Sequence[str], db: str | None) -> Material:
    """Return what a command replays: a ledger, what lies under some paths, or else the user's own sessions."""
    check_source(paths, db)
    if db is None:
        from scrimp.replay.gather import gather
        from scrimp.replay.traces.workers import processors

        return gather(paths or own_sessions(), processors(), progress)

    from scrimp.replay.branching import steps_of
    from scrimp.replay.gather import Material

    with ledger_to_read(db) as ledger:
        exchanges = list(ledger.exchanges())
    return Material(steps_of(exchanges, {}), exchanges, {}, [], 1)


def own_sessions() -> list[str]:
    """Return the folders of the user's own sessions that are there."""
    from pathlib import Path

    from scrimp.errors import TraceFormatError
    from scrimp.replay.traces.discover import default_paths

    places = default_paths(os.environ, str(Path.home()))
    found = [place for place in places if Path(place).is_dir()]
    if not found:
        raise TraceFormatError(
            f"Claude Code has kept no sessions in {', '.join(places) or 'any folder'}.",
            "Run it once, or give a PATH or --db.",
        )
    return found


def progress(files: list[str]) -> Iterator[str]:
    """Yield the files, with a progress bar on a terminal if there are many."""
    return watched(files, len(files), "Reading", FILES_WORTH_A_BAR)


# --- one JSON object ---


def _unicode(key: str) -> str:
    """Return a key as UTF-8 can write it: a file's name may hold bytes that are no text."""
    return key.encode("utf-8", "backslashreplace").decode()


def _marks(group: Group) -> dict[str, Any]:
    """Return what a group's cost may leave out."""
    return {
        "cost_is_lower_bound": group.is_lower_bound,
        "partial_output_exchanges": group.partial_output_exchanges,
        "incomplete_exchanges": group.incomplete_exchanges,
        "refused_exchanges": group.refused_exchanges,
        "broken_exchanges": group.broken_exchanges,
        "open_exchanges": group.open_exchanges,
    }


def _group_object(group: Group) -> dict[str, Any]:
    return {
        "key": _unicode(group.key),
        "exchanges": group.exchanges,
        "cost_usd": in_usd(group.cost_nano_usd),
        "cost_upper_usd": in_usd(group.cost_upper_nano_usd),
        "share": group.share,
        "usage": group.usage,
        "cost_nano_usd": group.cost_nano_usd,
        "cost_upper_nano_usd": group.cost_upper_nano_usd,
        "unpriced_exchanges": group.unpriced_exchanges,
        **_marks(group),
    }


def _savings(savings: Savings) -> dict[str, Any]:
    return {
        "basis": "what the ledger states for each exchange that it would have cost alone; nothing for our own",
        "alone_usd": in_usd(savings.alone_nano_usd),
        "cost_usd": in_usd(savings.cost_nano_usd),
        "saved_usd": in_usd(savings.saved_nano_usd),
        "saved_is_upper_bound": savings.is_upper_bound,
        "own": {
            origin: {"exchanges": own.exchanges, "cost_usd": in_usd(own.cost_nano_usd)}
            for origin, own in savings.own.items()
        },
    }


def as_object(report: Report, recording: Recording, top: int | None = None) -> dict[str, Any]:
    """Return what `--json` prints; the first six keys and the groups' first five are a promise (docs/reference)."""
    from scrimp.upstream.pricefeed import describe_book

    total = report.total
    return {
        "exchanges": total.exchanges,
        "sessions": report.sessions,
        "cost_usd": in_usd(total.cost_nano_usd),
        "cost_upper_usd": in_usd(total.cost_upper_nano_usd),
        "usage": total.usage,
        "unpriced_exchanges": total.unpriced_exchanges,
        "groups": [_group_object(group) for group in report.groups[:top]],
        "by": report.by,
        "cost_nano_usd": total.cost_nano_usd,
        "cost_upper_nano_usd": total.cost_upper_nano_usd,
        **_marks(total),
        "cost_basis": describe_book(),
        "class_cost_usd": {
            **{name: in_usd(cost) for name, cost in report.class_cost_nano_usd.items()},
            "web_search_requests": in_usd(report.web_search_nano_usd),
        },
        "counterfactuals": {
            "basis": "estimated from recorded sizes, for the exchanges with a known price",
            "billed_usd": in_usd(report.billed_nano_usd),
            "uncached_usd": in_usd(report.uncached_nano_usd),
            "automatic_caching_usd": in_usd(report.automatic_nano_usd),
        },
        "savings": _savings(report.savings),
        "unmetered_exchanges": report.unmetered_exchanges,
        "unpriced_models": report.unpriced_models,
        "first_at_ms": report.first_at_ms,
        "last_at_ms": report.last_at_ms,
        "compactions": len(recording.compactions),
        "files": recording.files,
        "problems": [str(problem) for problem in recording.problems],
    }
