"""Recorded files of any kind through their readers, the merge, a report and our own export."""

from __future__ import annotations

import gzip
from functools import cache

from scrimp.core.belief.exchange import Exchange
from scrimp.replay import report
from scrimp.replay.rates import Rates
from scrimp.replay.traces import claude_code, ledger_export, otel
from scrimp.replay.traces.discover import Reader, merge, reader_of
from scrimp.replay.traces.files import unpack
from scrimp.replay.traces.trace import Source, Trace, is_countable, is_dated, printable
from tests.fuzz.inputs import TEXT_BYTES_MAX, Input
from tests.fuzz.request_target import prices

_READERS: tuple[Reader, ...] = (claude_code, ledger_export, otel)
_PATHS = ("project/session.jsonl", "project/s/subagents/agent-a1.jsonl", "\udcff.jsonl.gz", "spans.json")
#: From this way on, a reader gets the text whether it looks like its own or not.
_FORCED = 128
_PACKED_BYTES_MAX = 8 * TEXT_BYTES_MAX


@cache
def _rates() -> Rates:
    return Rates(prices())


def check_traces(given: Input) -> None:
    """Read one file as its kind, and as another kind; whatever is read can be reported and exported."""
    data = _unpacked(given.text, given.ways[0])
    reader = _READERS[given.ways[1] % len(_READERS)] if given.ways[1] >= _FORCED else reader_of(data)
    if reader is None:
        return
    source = Source(_PATHS[given.ways[2] % len(_PATHS)], data, b'{"agentType":"Explore"}')
    trace = reader.read(source)
    assert trace == reader.read(source)
    _check_trace(trace)


def _unpacked(text: bytes, way: int) -> bytes:
    """Return the text as it is, or packed and unpacked: whole, cut short, or taken for packed bytes as it stands."""
    packed = (None, None, gzip.compress(text), gzip.compress(text)[:-5], b"\x1f\x8b\x08\0" + text, text)[way % 6]
    if packed is None:
        return text
    data, what = unpack(packed, _PACKED_BYTES_MAX)
    assert len(data) <= _PACKED_BYTES_MAX + 1
    assert what is None or what == printable(what)
    return data


def _check_trace(trace: Trace) -> None:
    for problem in trace.problems:
        assert str(problem).isprintable() or problem.path in str(problem)
        assert problem.count >= 1
    for exchange in trace.exchanges:
        _check_exchange(exchange, is_ours=trace.kind == ledger_export.KIND)
    recording = merge([trace, trace])
    by = report.BYS[len(trace.exchanges) % len(report.BYS)]
    told = report.fold(recording.exchanges, _rates(), by)
    assert told.total.exchanges == len(recording.exchanges) <= len(trace.exchanges)
    assert (told.total.cost_nano_usd is None) == (told.total.unpriced_exchanges == told.total.exchanges)
    back = ledger_export.read(Source("export.jsonl", b"".join(ledger_export.write(trace.exchanges))))
    assert [] == back.problems
    if "\udcff" not in trace.path:  # what cannot be written is written as it is shown
        assert trace.exchanges == back.exchanges, "an export cannot be read back"


def _check_exchange(exchange: Exchange, *, is_ours: bool) -> None:
    """Times are in the calendar, counts are counts, and no usage means no lines and no bill."""
    assert is_dated(exchange.opened_at_ms)
    if exchange.usage is None:
        assert is_ours or (exchange.usage_lines == () and not exchange.usage_complete)
        return
    assert all(is_countable(line.usage) for line in exchange.usage_lines)
