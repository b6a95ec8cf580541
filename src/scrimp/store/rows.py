"""An `Exchange` as one row of the ledger, and back: pure, and exact in both directions.

Usage is spread over integer columns, NULL where it is not known. The billing lines are kept as JSON only where the
columns do not already say them: one plain line (the usual case) is derived from the usage, the served model and the
three columns that select its rate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import attrgetter, itemgetter
from typing import Any

import msgspec

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage, UsageLine
from scrimp.errors import LedgerError

#: What a database driver takes and gives: the values in the order of `COLUMNS`.
Row = Sequence[Any]

_FIELDS = tuple(field for field in msgspec.structs.fields(Exchange) if field.name not in {"usage", "usage_lines"})
PLAIN_COLUMNS = tuple(field.name for field in _FIELDS)
USAGE_COLUMNS = Usage.__struct_fields__
RATE_COLUMNS = ("service_tier", "speed", "inference_geo")

#: Every column of the table, in the order of a row.
COLUMNS = (*PLAIN_COLUMNS, *USAGE_COLUMNS, *RATE_COLUMNS, "usage_lines", "state")

OPEN = "open"
CLOSED = "closed"

#: Columns that are never changed by a close: the row's name and its place in time.
FIXED_COLUMNS = frozenset({"exchange_id", "opened_at_ms"})

_FLAGS = tuple(field.name for field in _FIELDS if field.type is bool)
_plain_values = attrgetter(*PLAIN_COLUMNS)
_usage_values = attrgetter(*USAGE_COLUMNS)
_rates = attrgetter(*RATE_COLUMNS)
_NO_USAGE = (None,) * len(USAGE_COLUMNS)
_NO_RATES = (None,) * len(RATE_COLUMNS)
_USAGE_AT = slice(len(PLAIN_COLUMNS), len(PLAIN_COLUMNS) + len(USAGE_COLUMNS))
_RATES_AT = slice(_USAGE_AT.stop, _USAGE_AT.stop + len(RATE_COLUMNS))
_LINES_AT = _RATES_AT.stop
_TEXT_COLUMNS = frozenset(field.name for field in _FIELDS if field.type in {str, str | None}).union(
    RATE_COLUMNS, ("usage_lines", "state")
)
_texts = itemgetter(*(i for i, name in enumerate(COLUMNS) if name in _TEXT_COLUMNS))
_counts = itemgetter(*(i for i, name in enumerate(COLUMNS) if name not in _TEXT_COLUMNS))
_lines_decoder = msgspec.json.Decoder(tuple[UsageLine, ...])

#: Both databases hold signed integers of 64 bits.
_INTEGER_LIMIT = 2**63

#: Characters that no database column of text can hold: NUL (PostgreSQL) and lone surrogates (both).
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def _plain_lines(usage: Usage | None, model: str | None, rates: Sequence[str | None]) -> tuple[UsageLine, ...]:
    """Return the billing lines that the columns alone say: none without usage, else one."""
    if usage is None:
        return ()
    tier, speed, geo = rates
    return (UsageLine(usage, model, service_tier=tier, speed=speed, inference_geo=geo),)


def _are_plain(values: Row) -> bool:
    """Whether every value is storable as it is, as nearly all are; False where only a closer look can say."""
    text = "".join(filter(None, _texts(values)))
    counts = [*filter(None, _counts(values)), 0]
    return min(counts) >= -_INTEGER_LIMIT and max(counts) < _INTEGER_LIMIT and text.isascii() and "\0" not in text


def _storable(value: Any) -> Any:
    """Return `value` as a database can hold it; a count beyond 64 bits raises `OverflowError`."""
    if isinstance(value, str):
        return value if value.isascii() and "\0" not in value else _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, int) and not -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
        raise OverflowError
    return value


def to_row(exchange: Exchange, state: str) -> Row:
    """Return the row of an exchange that is `OPEN` or `CLOSED`.

    The usage of an open exchange is by definition not complete, so its row says so. Characters that a database
    cannot hold become U+FFFD. A count beyond 64 bits raises `LedgerError`.
    """
    if state == OPEN and exchange.usage_complete:
        exchange = msgspec.structs.replace(exchange, usage_complete=False)
    lines = exchange.usage_lines
    rates = _rates(lines[0]) if lines else _NO_RATES
    usage = _NO_USAGE if exchange.usage is None else _usage_values(exchange.usage)
    plain = lines == _plain_lines(exchange.usage, exchange.served_model, rates)
    try:
        kept = None if plain else msgspec.json.encode(lines).decode()
        values = (*_plain_values(exchange), *usage, *rates, kept, state)
        return values if _are_plain(values) else tuple(map(_storable, values))
    except OverflowError:
        raise LedgerError(
            f"Exchange {exchange.exchange_id!r} holds a number of more than 64 bits, which no ledger can keep.",
            "The response that it was read from is broken.",
        ) from None


def from_row(row: Row) -> Exchange:
    """Return the exchange that a row in the order of `COLUMNS` says; a row that says none raises `ValueError`."""
    values = dict(zip(PLAIN_COLUMNS, row, strict=False))
    for name in _FLAGS:
        values[name] = bool(values[name])
    counts = row[_USAGE_AT]
    usage = None if None in counts else Usage(*counts)
    kept = row[_LINES_AT]
    lines = _plain_lines(usage, values["served_model"], row[_RATES_AT]) if kept is None else _lines_decoder.decode(kept)
    return Exchange(**values, usage=usage, usage_lines=lines)


def later(kept: Row | None, row: Row) -> Row:
    """Return what a row becomes: only a close changes it, only once, and never its opening time."""
    if kept is None:
        return row
    if kept[-1] == CLOSED or row[-1] == OPEN:
        return kept
    return tuple(old if name in FIXED_COLUMNS else new for name, old, new in zip(COLUMNS, kept, row, strict=True))


def folded(rows: Sequence[Row]) -> list[Row]:
    """Return one row of each exchange, as writing all of them in their order would leave it."""
    found: dict[str, Row] = {}
    for row in rows:
        found[row[0]] = later(found.get(row[0]), row)
    return list(found.values())
