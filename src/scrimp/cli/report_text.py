"""A report as a person reads it: the sum first, then the table, what to mind last.

Whatever was recorded by somebody else (keys, models, paths) is shown with its control characters spelled out. The
table fits a terminal; where there is none it is as wide as it gets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from scrimp.money import dollars

if TYPE_CHECKING:
    from scrimp.replay.report import Dearest, Group, Report
    from scrimp.replay.savings import Savings
    from scrimp.replay.traces.discover import Recording

#: Problems told to a person; `--json` has them all.
PROBLEMS_SHOWN = 10
#: How long a key may be, and how short it may become before a column goes instead.
KEY_WIDTH, KEY_WIDTH_MIN = 60, 24
#: How short a key becomes where even that does not help.
KEY_WIDTH_LEAST = 8
#: What a terminal is too narrow for goes in this order.
DISPENSABLE = ("write 5m", "write 1h", "uncached", "read", "output", "share", "requests")
_GAP = 2

_CLASS_WORDS = {
    "cache_read_input_tokens": "reading the cache",
    "cache_write_5m_input_tokens": "writing it for 5 minutes",
    "cache_write_1h_input_tokens": "writing it for an hour",
    "uncached_input_tokens": "input outside the cache",
    "output_tokens": "output",
}

#: count of `Group` -> what it says of so many requests, and whether they may be missing from the bill.
_MISSING = {
    "partial_output_exchanges": (
        "came from client versions that recorded only the beginning of the output count; "
        "their true cost is higher ({sign})"
    ),
    "broken_exchanges": (
        "ended without a final count (client gone, answer cut off, gateway stopped, or never recorded); "
        "what they lack may be billed ({sign})"
    ),
    "open_exchanges": "did not end: still under way, or the gateway died; they may be billed ({sign})",
    "refused_exchanges": "got an error instead of an answer (HTTP status 400 or more); those are not billed",
}


class Signs(NamedTuple):
    """The two signs that are no ASCII."""

    at_least: str
    cut: str


UNICODE_SIGNS = Signs("≥", "…")
ASCII_SIGNS = Signs(">=", "...")


class Look(NamedTuple):
    """How a report is shown.

    * `key` heads the column of the keys, `basis` ends "cost $1 at ...", `nothing` is said where nothing was sent.
    * `width` is that of the terminal in characters, None where there is none.
    """

    key: str
    top: int
    basis: str
    nothing: str
    width: int | None = None
    signs: Signs = UNICODE_SIGNS


def signs_for(encoding: str | None) -> Signs:
    """Return the signs that an encoding can write."""
    try:
        "".join(UNICODE_SIGNS).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII_SIGNS
    return UNICODE_SIGNS


def as_text(report: Report, recording: Recording, look: Look) -> str:
    """Return the whole text."""
    notes = "\n".join(f"Note: {warning}" for warning in _warnings(report, recording, look.signs))
    if not report.total.exchanges:
        return "\n\n".join(filter(None, (look.nothing, notes)))
    parts = (
        "\n".join(_headline(report, look)),
        _table(report, look),
        "\n".join(_counterfactuals(report)),
        "\n".join(_savings(report.savings)),
        notes,
        "With a subscription you do not pay by the token: read these sums as the list-price equivalent.",
    )
    return "\n\n".join(filter(None, parts))


# --- words ---


def count(number: int, one: str, many: str = "") -> str:
    """Return how many there are of something, in words."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def percents(parts: Sequence[int]) -> list[str]:
    """Return each part's share of their sum, rounded so that the shares add up to a hundred; a trace is "<1%"."""
    whole = sum(parts)
    if not whole:
        return ["0%"] * len(parts)
    shares = [part * 100 // whole for part in parts]
    by_rest = sorted(range(len(parts)), key=lambda index: -(parts[index] * 100 % whole))
    for index in by_rest[: 100 - sum(shares)]:
        shares[index] += 1
    return ["<1%" if part and not share else f"{share}%" for part, share in zip(parts, shares, strict=True)]


def _bound(is_lower_bound: bool) -> str:
    return "at least " if is_lower_bound else ""


def _amount(group: Group) -> str:
    """Return what a group cost, as one sum or as the interval that holds it."""
    least, most = group.cost_nano_usd, group.cost_upper_nano_usd
    if group.is_lower_bound and least is not None and most is not None:
        return f"between {dollars(least)} and {dollars(most)}"
    return f"{_bound(group.is_lower_bound)}{dollars(least)}"


# --- parts ---


def _headline(report: Report, look: Look) -> Iterator[str]:
    from scrimp.replay.report import day_at

    total = report.total
    where = f" in {count(report.sessions, 'session')}" if report.sessions else ""
    made = f"{count(total.exchanges, 'request')}{where}"
    days = ""
    if report.first_at_ms is not None and report.last_at_ms is not None:
        days = f" ({day_at(report.first_at_ms)} to {day_at(report.last_at_ms)})"
    if total.cost_nano_usd is not None:
        yield f"{made} cost {_amount(total)} at {look.basis}{days}."
        yield from _shares(report)
    elif total.exchanges == total.refused_exchanges:
        yield f"{made} cost nothing: the API refused every one{days}."
    elif total.cost_upper_nano_usd is not None:
        most = dollars(total.cost_upper_nano_usd)
        yield f"{made} cost at most {most} at {look.basis}{days}; how much is unknown."
    else:
        yield f"What {made} cost is unknown{days}."


def _shares(report: Report) -> Iterator[str]:
    total = report.total
    costs = {words: report.class_cost_nano_usd[name] for name, words in _CLASS_WORDS.items()}
    costs = {words: cost for words, cost in (costs | {"web search fees": report.web_search_nano_usd}).items() if cost}
    known = " of what is known" if total.is_lower_bound else ""
    if costs:
        parts = [f"{words} {share}" for words, share in zip(costs, percents(list(costs.values())), strict=True)]
        yield f"Of {'what is known' if known else 'that'}: {', '.join(parts)}."
    for what, dearest in (("kind of task", report.dearest_task), ("session", report.dearest_session)):
        if dearest is not None and total.cost_nano_usd:
            yield f"Dearest {what}: {_dearest(dearest, total.cost_nano_usd, known)}."


def _dearest(dearest: Dearest, whole_nano_usd: int, known: str) -> str:
    from scrimp.replay.traces.trace import printable

    share = percents([dearest.cost_nano_usd, whole_nano_usd - dearest.cost_nano_usd])[0]
    amount = f"{_bound(dearest.is_lower_bound)}{dollars(dearest.cost_nano_usd)}"
    return f"{printable(dearest.key)}, {amount} ({share}{known})"


def _counterfactuals(report: Report) -> Iterator[str]:
    billed = report.billed_nano_usd
    if not billed:
        return
    bound = _bound(report.total.is_lower_bound)
    which = "The requests whose cost is known" if bound else "The same requests"
    yield f"{which}, estimated from their recorded sizes:"
    for words, cost in (
        ("without any cache", report.uncached_nano_usd),
        ("with one-line automatic caching", report.automatic_nano_usd),
    ):
        yield f"  {words}: {bound}{dollars(cost)}, {cost / billed:.2f} times as much."


def _savings(savings: Savings) -> Iterator[str]:
    """Say what was saved and what we spent ourselves, where there is any of it."""
    saved, alone = savings.saved_nano_usd, savings.alone_nano_usd
    if saved is None or not (saved or savings.own):
        return
    most, least = ("at most ", "at least ") if savings.is_upper_bound else ("", "")
    what = f"saved {most}{dollars(saved)}" if saved >= 0 else f"cost {least}{dollars(-saved)} more"
    yield f"Beside the same requests left alone, {dollars(alone)}, Scrimp {what}."
    own = [f"{dollars(own.cost_nano_usd)} for {count(own.exchanges, name)}" for name, own in savings.own.items()]
    if own:
        yield f"Counted in is what it spent itself: {', '.join(own)}."


def _warnings(report: Report, recording: Recording, signs: Signs) -> Iterator[str]:
    for field, what in _MISSING.items():
        number = getattr(report.total, field)
        if number:
            yield f"{count(number, 'request')} {what.format(sign=signs.at_least)}."
    if report.unpriced_models:
        yield _unpriced(report.unpriced_models, signs)
    for problem in recording.problems[:PROBLEMS_SHOWN]:
        yield str(problem)
    more = len(recording.problems) - PROBLEMS_SHOWN
    if more > 0:
        yield f"{count(more, 'more problem')}; --json lists all."


def _unpriced(models: dict[str, int], signs: Signs) -> str:
    from scrimp.replay.traces.trace import printable
    from scrimp.upstream.pricefeed import user_price_file

    names = ", ".join(f"{printable(name)} ({number:,})" for name, number in sorted(models.items()))
    known = any("claude" in name for name in models)
    then = f"{'Try `scrimp prices update`, or add' if known else 'Add'} them to {user_price_file()}."
    return f"No price is known for {names}; they are left out of every cost ({signs.at_least}). {then}"


# --- the table ---


def _cells(group: Group, signs: Signs) -> list[str]:
    usage = group.usage
    return [
        f"{group.exchanges:,}",
        _cost(group, signs),
        f"{group.share:.1%}",
        f"{usage.uncached_input_tokens:,}",
        f"{usage.cache_read_input_tokens:,}",
        f"{usage.cache_write_5m_input_tokens:,}",
        f"{usage.cache_write_1h_input_tokens:,}",
        f"{usage.output_tokens:,}",
    ]


def _cost(group: Group, signs: Signs) -> str:
    if group.exchanges == group.refused_exchanges:
        return "refused"
    least = dollars(group.cost_nano_usd)
    if not group.is_lower_bound:
        return least
    most = group.cost_upper_nano_usd
    return f"{signs.at_least} {least}" if most is None else f"{least} to {dollars(most)}"


_HEADS = ("requests", "cost", "share", "uncached", "read", "write 5m", "write 1h", "output")


def _table(report: Report, look: Look) -> str:
    from tabulate import MIN_PADDING, tabulate

    from scrimp.replay.traces.trace import printable

    shown = report.groups[: look.top]
    keys = [printable(group.key) for group in shown]
    cells = [_cells(group, look.signs) for group in shown]
    padded = [head + " " * MIN_PADDING for head in (look.key, *_HEADS)]
    widths = [max(map(len, column)) for column in zip(padded[1:], *cells, strict=True)]
    longest = max(map(len, [padded[0], *keys]))
    kept, room = _fitting(widths, min(longest, KEY_WIDTH), look.width)
    rows = [
        [_short(key, room, look.signs.cut), *(row[index] for index in kept)]
        for key, row in zip(keys, cells, strict=True)
    ]
    heads = [look.key, *(_HEADS[index] for index in kept)]
    lines: list[str] = [tabulate(rows, heads, colalign=("left", *["right"] * len(kept)), disable_numparse=True)]
    left = len(report.groups) - len(rows)
    if left > 0:
        lines.append(f"{look.signs.cut} and {left:,} more; show them with --top.")
    dropped = [head for index, head in enumerate(_HEADS) if index not in kept]
    if dropped:
        lines.append(f"(Left out to fit this terminal: {', '.join(dropped)}. A wider one or --json has all.)")
    return "\n".join(lines)


def _fitting(widths: Sequence[int], key_width: int, width: int | None) -> tuple[list[int], int]:
    """Return which columns fit beside the key, and how long the key may be; the cost always stays."""
    kept = list(range(len(widths)))
    if width is None:
        return kept, key_width
    dispensable = iter(DISPENSABLE)
    while (room := width - sum(widths[index] + _GAP for index in kept)) < min(key_width, KEY_WIDTH_MIN):
        head = next(dispensable, None)
        if head is None:
            break
        kept.remove(_HEADS.index(head))
    return kept, min(key_width, max(room, KEY_WIDTH_LEAST))


def _short(key: str, width: int, cut: str) -> str:
    """Return a key's end, which tells paths and ids apart best."""
    return key if len(key) <= width else f"{cut}{key[-max(width - len(cut), 1) :]}"
