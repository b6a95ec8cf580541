"""`scrimp report`: where the money goes, from recorded sessions or from the ledger."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from scrimp.money import NANO_PER_USD, dollars

if TYPE_CHECKING:
    from scrimp.replay.report import By, Group, Report
    from scrimp.replay.traces.discover import Recording

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
#: Problems told to a person; `--json` has them all.
PROBLEMS_SHOWN = 10
KEY_WIDTH = 60

_CLASS_WORDS = {
    "cache_read_input_tokens": "reading the cache",
    "cache_write_5m_input_tokens": "writing it for 5 minutes",
    "cache_write_1h_input_tokens": "writing it for an hour",
    "uncached_input_tokens": "input outside the cache",
    "output_tokens": "output",
}
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
    from scrimp.errors import UsageError

    if db is not None and paths:
        raise UsageError("Recorded files and a ledger cannot be read together.", "Give either PATH or --db.")
    if db is not None:
        recording, report = _of_ledger(db, by, since, until)
    else:
        recording, report = _of_files(paths, by, since, until)
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(as_object(report, recording, top)))
    else:
        click.echo(as_text(report, recording, top or ROWS))


def _of_ledger(db: str, by: By, since_ms: int | None, until_ms: int | None) -> tuple[Recording, Report]:
    from scrimp.replay.rates import Rates
    from scrimp.replay.report import fold
    from scrimp.replay.traces.discover import Recording
    from scrimp.store.ledger import open_ledger
    from scrimp.upstream.pricefeed import load_current_book

    with open_ledger(db, must_exist=True) as ledger:
        report = fold(ledger.exchanges(since_ms, until_ms), Rates(load_current_book()), by)
    return Recording([], [], [], 1), report


def _of_files(paths: Sequence[str], by: By, since_ms: int | None, until_ms: int | None) -> tuple[Recording, Report]:
    from pathlib import Path

    from scrimp.replay.traces.discover import Reading, default_paths
    from scrimp.replay.traces.workers import processors

    reading = Reading(paths or default_paths(os.environ, str(Path.home())), processors())

    from scrimp.replay.rates import Rates
    from scrimp.replay.report import fold
    from scrimp.upstream.pricefeed import load_current_book

    rates = Rates(load_current_book())
    recording = reading.finish(_progress)
    if since_ms is not None or until_ms is not None:
        first, end = since_ms or 0, sys.maxsize if until_ms is None else until_ms
        recording.exchanges = [each for each in recording.exchanges if first <= each.opened_at_ms < end]
        recording.compactions = [each for each in recording.compactions if first <= each.at_ms < end]
    return recording, fold(recording.exchanges, rates, by)


def _progress(files: list[str]) -> Iterator[str]:
    """Yield the files, with a progress bar on a terminal if there are many."""
    if len(files) < FILES_WORTH_A_BAR or not sys.stderr.isatty():
        yield from files
        return
    with click.progressbar(files, label="Reading", file=sys.stderr) as bar:
        yield from bar


# --- one JSON object ---


def _usd(nano_usd: int | None) -> float | None:
    return None if nano_usd is None else nano_usd / NANO_PER_USD


def _group_object(group: Group) -> dict[str, Any]:
    return {
        "key": group.key,
        "exchanges": group.exchanges,
        "cost_usd": _usd(group.cost_nano_usd),
        "share": group.share,
        "usage": group.usage,
        "cost_nano_usd": group.cost_nano_usd,
        "unpriced_exchanges": group.unpriced_exchanges,
        "partial_output_exchanges": group.partial_output_exchanges,
    }


def as_object(report: Report, recording: Recording, top: int | None = None) -> dict[str, Any]:
    """Return what `--json` prints; the first six keys and the groups' first five are a promise (docs/reference)."""
    total = report.total
    return {
        "exchanges": total.exchanges,
        "sessions": report.sessions,
        "cost_usd": _usd(total.cost_nano_usd),
        "usage": total.usage,
        "unpriced_exchanges": total.unpriced_exchanges,
        "groups": [_group_object(group) for group in report.groups[:top]],
        "by": report.by,
        "cost_nano_usd": total.cost_nano_usd,
        "cost_basis": "list price",
        "class_cost_usd": {name: _usd(cost) for name, cost in report.class_cost_nano_usd.items()},
        "counterfactuals": {
            "basis": "estimated from recorded sizes, for the exchanges with a known price",
            "uncached_usd": _usd(report.uncached_nano_usd),
            "automatic_caching_usd": _usd(report.automatic_nano_usd),
        },
        "partial_output_exchanges": total.partial_output_exchanges,
        "unmetered_exchanges": report.unmetered_exchanges,
        "unpriced_models": report.unpriced_models,
        "first_at_ms": report.first_at_ms,
        "last_at_ms": report.last_at_ms,
        "compactions": len(recording.compactions),
        "files": recording.files,
        "problems": [str(problem) for problem in recording.problems],
    }


# --- for a person ---


def _percent(part: int, whole: int | None) -> str:
    return f"{part / whole:.0%}" if whole else "0%"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _short(key: str) -> str:
    return key if len(key) <= KEY_WIDTH else f"…{key[1 - KEY_WIDTH :]}"


def _headline(report: Report) -> Iterator[str]:
    from scrimp.replay.report import day_at

    total = report.total
    where = f" in {_count(report.sessions, 'session')}" if report.sessions else ""
    days = ""
    if report.first_at_ms is not None and report.last_at_ms is not None:
        days = f" ({day_at(report.first_at_ms)} to {day_at(report.last_at_ms)})"
    yield f"{_count(total.exchanges, 'request')}{where} cost {dollars(total.cost_nano_usd)} at list price{days}."
    costs = report.class_cost_nano_usd
    billed = sum(costs.values())
    if billed:
        parts = [f"{words} {_percent(costs[name], billed)}" for name, words in _CLASS_WORDS.items() if costs[name]]
        yield f"Of that: {', '.join(parts)}."
    for what, dearest in (("kind of task", report.dearest_task), ("session", report.dearest_session)):
        if dearest and total.cost_nano_usd:
            key, cost = dearest
            yield f"Dearest {what}: {key}, {dollars(cost)} ({_percent(cost, total.cost_nano_usd)})."


def _table(report: Report, top: int) -> str:
    from tabulate import tabulate

    rows = [
        (
            _short(group.key),
            f"{group.exchanges:,}",
            f"{'≥ ' if group.partial_output_exchanges else ''}{dollars(group.cost_nano_usd)}",
            f"{group.share:.1%}",
            f"{group.usage.uncached_input_tokens:,}",
            f"{group.usage.cache_read_input_tokens:,}",
            f"{group.usage.cache_write_5m_input_tokens:,}",
            f"{group.usage.cache_write_1h_input_tokens:,}",
            f"{group.usage.output_tokens:,}",
        )
        for group in report.groups[:top]
    ]
    heads = (GROUPINGS[report.by], "requests", "cost", "share", "uncached", "read", "write 5m", "write 1h", "output")
    table: str = tabulate(rows, heads, colalign=("left", *["right"] * 8), disable_numparse=True)
    left = len(report.groups) - len(rows)
    return f"{table}\n… and {left:,} more; show them with --top." if left > 0 else table


def _counterfactuals(report: Report) -> Iterator[str]:
    billed = sum(report.class_cost_nano_usd.values())
    if not billed:
        return
    yield "The same requests, estimated from their recorded sizes:"
    for words, cost in (
        ("without any cache", report.uncached_nano_usd),
        ("with one-line automatic caching", report.automatic_nano_usd),
    ):
        yield f"  {words}: {dollars(cost)}, {cost / billed:.2f} times as much."


def _warnings(report: Report, recording: Recording) -> Iterator[str]:
    total = report.total
    if total.partial_output_exchanges:
        yield (
            f"{_count(total.partial_output_exchanges, 'request')} came from client versions that recorded only the "
            "beginning of the output count; their true cost is higher (≥)."
        )
    if report.unpriced_models:
        names = ", ".join(f"{name} ({count:,})" for name, count in sorted(report.unpriced_models.items()))
        yield f"No price is known for {names}; they are left out of every cost. Try `scrimp prices update`."
    if report.unmetered_exchanges:
        yield f"{_count(report.unmetered_exchanges, 'request')} left no usage: refused, cut off or not finished."
    for problem in recording.problems[:PROBLEMS_SHOWN]:
        yield str(problem)
    more = len(recording.problems) - PROBLEMS_SHOWN
    if more > 0:
        yield f"{_count(more, 'more problem')}; --json lists all."


def as_text(report: Report, recording: Recording, top: int) -> str:
    """Return the report as a person reads it: the sum first, what to mind last."""
    parts = ["\n".join(_headline(report))]
    if report.groups:
        parts.append(_table(report, top))
    parts.append("\n".join(_counterfactuals(report)))
    parts.append("\n".join(f"Note: {warning}" for warning in _warnings(report, recording)))
    parts.append("With a subscription you do not pay by the token: read these sums as the list-price equivalent.")
    return "\n\n".join(part for part in parts if part)
