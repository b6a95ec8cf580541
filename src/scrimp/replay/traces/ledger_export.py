"""Our own export: JSON lines, a header row `{"scrimp_export": 1}` and then one `Exchange` a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.surrogates import UNREADABLE
from scrimp.core.wire.usage import TOKENS_MAX
from scrimp.replay.traces.lines import Complaints, numbered_lines
from scrimp.replay.traces.trace import Problem, Source, Trace, is_countable, is_dated, printable

KIND = "export"
VERSION = 1

_WRONG = "this line is JSON but no exchange"
_UNCOUNTABLE = f"a count of this exchange is none from 0 to {TOKENS_MAX:,} tokens"
_COSTLY = "this exchange states a cost below zero or above a million dollars"
_NO_TIME = "this exchange was opened on no day of the calendar"

#: No exchange costs more than this: a million dollars, in nano-USD. A larger cost is a corrupt one.
COST_NANO_USD_MAX = 10**15


class _Header(msgspec.Struct):
    """The first row: the version of the format."""

    scrimp_export: int


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Exchange)


def write(exchanges: Iterable[Exchange]) -> Iterator[bytes]:
    """Yield the lines of an export, the header first, each with its line break."""
    yield _encode(_Header(VERSION)) + b"\n"
    for exchange in exchanges:
        yield _line(exchange) + b"\n"


def _line(exchange: Exchange) -> bytes:
    """Encode an exchange; a name with half a character in it, which UTF-8 cannot write, is written as it is shown."""
    try:
        return _encode(exchange)
    except UnicodeEncodeError:
        return _encode(_shown(msgspec.to_builtins(exchange)))


def _shown(value: Any) -> Any:
    """Return a value with every string in it as it may be shown."""
    match value:
        case str():
            return printable(value)
        case dict():
            return {name: _shown(each) for name, each in value.items()}
        case list() | tuple():
            return [_shown(each) for each in value]
    return value


def _version(line: bytes) -> int | None:
    """Return the format version that a header row states; None if the line is no header."""
    try:
        return msgspec.json.decode(line, type=_Header).scrimp_export
    except UNREADABLE:
        return None


def sniff(head: bytes) -> bool:
    """Whether the first line is the header of an export."""
    return _version(head.split(b"\n", 1)[0]) is not None


def read(source: Source) -> Trace:
    """Read an export back; a newer format than ours is not guessed at."""
    header, _, body = source.data.partition(b"\n")
    version = _version(header)
    if version != VERSION:
        problem = Problem(source.path, f"this is an export of format {version}", "read it with a newer scrimp", line=1)
        return Trace(source.path, KIND, problems=[problem])
    complaints = Complaints(source.path)
    exchanges = []
    for number, exchange in numbered_lines(b"\n" + body, _decoder, complaints, lambda _kind: _WRONG):
        what = _wrong_with(exchange)
        if what is None:
            exchanges.append(exchange)
        else:
            complaints.add(what, number)
    return Trace(source.path, KIND, exchanges, problems=complaints.problems())


def _wrong_with(exchange: Exchange) -> str | None:
    """Say why an exchange cannot be reported on; None if it can."""
    if not is_dated(exchange.opened_at_ms):
        return _NO_TIME
    usages = [line.usage for line in exchange.usage_lines]
    if exchange.usage is not None:
        usages.append(exchange.usage)
    if not all(map(is_countable, usages)):
        return _UNCOUNTABLE
    costs = (exchange.cost_nano_usd or 0, exchange.cost_upper_nano_usd or 0, exchange.break_cost_nano_usd or 0)
    return None if all(0 <= cost <= COST_NANO_USD_MAX for cost in costs) else _COSTLY
