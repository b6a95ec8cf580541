"""An audit as a person reads it: the sum, a table with the money first, each row's dearest case and its fix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from scrimp.money import dollars

if TYPE_CHECKING:
    from scrimp.replay.audit import Audit, Finding, Group
    from scrimp.replay.traces.trace import Problem

_MS_PER_MINUTE = 60_000
#: From here on a pause is told in hours, in minutes.
_HOURS_FROM_MINUTES = 120


def as_text(found: Audit, problems: Sequence[Problem], top: int, basis: str) -> str:
    """Return the whole text."""
    shown = found.groups[:top]
    more = len(found.groups) - len(shown)
    parts = (
        _headline(found, basis),
        _table(shown),
        "\n\n".join("\n".join(_details(number, group)) for number, group in enumerate(shown, 1)),
        f"... and {more:,} more; show them with --top." if more else "",
        "\n".join(_notes(found, problems)),
    )
    return "\n\n".join(filter(None, parts))


def _headline(found: Audit, basis: str) -> str:
    from scrimp.cli.report_text import count

    made = f"{count(found.exchanges, 'request')} in {count(found.sessions, 'session')}"
    if not found.exchanges:
        return "No request is recorded here yet. Ask the client something first, or give another PATH."
    if not found.groups:
        return f"{made}: no break of the cache and no pitfall. Their input cost {dollars(found.input_nano_usd)}."
    share = f", {found.cost_nano_usd / found.input_nano_usd:.1%} of their input" if found.input_nano_usd else ""
    input_cost = dollars(found.input_nano_usd)
    return f"{made}: cache breaks and pitfalls cost {dollars(found.cost_nano_usd)}{share} ({input_cost} at {basis})."


def _table(groups: Sequence[Group]) -> str:
    from tabulate import tabulate

    from scrimp.replay.traces.trace import printable

    if not groups:
        return ""
    rows = [
        [number, _money(group), *(f"{each:,}" for each in (group.count, group.sessions, group.tokens)), *words]
        for number, group in enumerate(groups, 1)
        for words in [(group.kind, printable(group.cause))]
    ]
    heads = ["", "cost", "times", "sessions", "tokens", "what", "cause"]
    align = ("right", "right", "right", "right", "right", "left", "left")
    table: str = tabulate(rows, heads, colalign=align, disable_numparse=True)
    return table


def _money(group: Group) -> str:
    return "unknown" if group.dearest.cost_nano_usd is None else dollars(group.cost_nano_usd)


def _details(number: int, group: Group) -> Iterator[str]:
    from scrimp.replay.advice import advice_for
    from scrimp.replay.traces.trace import printable

    yield f"{number}. {_sentence(printable(advice_for(group.cause).meaning))}"
    if group.hold_nano_usd:
        yield f"   Holding through these pauses, known beforehand, would have cost {dollars(group.hold_nano_usd)}."
    yield f"   Dearest: {_place(group.dearest)}."
    yield f"   Fix: {group.dearest.fix}"


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _place(finding: Finding) -> str:
    from scrimp.replay.traces.trace import printable

    parts = [dollars(finding.cost_nano_usd), f"session {printable(finding.session_id)}"]
    parts.append(f"request {printable(finding.exchange_id)}")
    if finding.block:
        at = "" if finding.byte is None else f" at byte {finding.byte:,}"
        parts.append(f"{printable(finding.block)}{at}")
    if finding.gap_ms is not None:
        parts.append(f"after {_pause(finding.gap_ms)}")
    return ", ".join(parts)


def _pause(gap_ms: int) -> str:
    minutes = gap_ms // _MS_PER_MINUTE
    return f"{minutes} minutes" if minutes < _HOURS_FROM_MINUTES else f"{minutes // 60} hours"


def _notes(found: Audit, problems: Sequence[Problem]) -> Iterator[str]:
    from scrimp.cli.report_text import PROBLEMS_SHOWN, count

    unpriced = sum(finding.cost_nano_usd is None for finding in found.findings)
    if unpriced:
        yield f"Note: the cost of {count(unpriced, 'finding')} is unknown, since the model has no price."
    for problem in problems[:PROBLEMS_SHOWN]:
        yield f"Note: {problem}"
    if len(problems) > PROBLEMS_SHOWN:
        yield f"Note: {count(len(problems) - PROBLEMS_SHOWN, 'more problem')}; --json lists all."
