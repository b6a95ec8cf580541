"""Our own export: what is written is what is read back."""

from __future__ import annotations

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import TOKENS_MAX, Usage, UsageLine
from scrimp.replay.traces.ledger_export import read, sniff, write
from scrimp.replay.traces.trace import Source

COUNTS = st.integers(0, TOKENS_MAX)
NAMES = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
USAGES = st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
LINES = st.lists(st.builds(UsageLine, USAGES, NAMES, service_tier=NAMES, speed=NAMES), max_size=3).map(tuple)
EXCHANGES = st.builds(
    Exchange,
    exchange_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    opened_at_ms=st.integers(0, 2**42),
    source=st.sampled_from(["gateway", "claude-code"]),
    session_id=NAMES,
    task_tag=NAMES,
    usage=st.none() | USAGES,
    usage_lines=LINES,
    output_partial=st.booleans(),
    cost_nano_usd=st.none() | COUNTS,
)


@given(st.lists(EXCHANGES, max_size=5))
def test_an_export_is_read_back_as_it_was(exchanges: list[Exchange]) -> None:
    """Every field of every exchange survives, in order."""
    data = b"".join(write(exchanges))
    trace = read(Source("f", data))
    assert (exchanges, [], True) == (trace.exchanges, trace.problems, sniff(data))


def test_half_a_character_is_written_as_it_is_shown() -> None:
    """A name that UTF-8 cannot write is spelled out, wherever it stands; the export is whole."""
    lines = (UsageLine(Usage(1), "m\ud800"),)
    odd = Exchange(exchange_id="a", opened_at_ms=1, source="gateway", session_id="\udcff", usage_lines=lines)
    found = read(Source("x", b"".join(write([odd]))))
    assert [] == found.problems
    assert ["\\udcff", "m\\ud800"] == [found.exchanges[0].session_id, found.exchanges[0].usage_lines[0].model]


def test_the_header_is_the_promised_row() -> None:
    """The first line says the format, and nothing else does."""
    assert {"scrimp_export": 1} == json.loads(next(iter(write([]))))
    assert [False] * 3 == [sniff(data) for data in (b'{"scrimp_export":"x"}', b"{}\n", b"")]


def test_a_newer_format_is_not_guessed_at() -> None:
    """It is told what to do instead."""
    trace = read(Source("f", b'{"scrimp_export":2}\n{"anything":1}\n'))
    assert ([], ["f line 1: this is an export of format 2; read it with a newer scrimp."]) == (
        trace.exchanges,
        list(map(str, trace.problems)),
    )


def test_bad_lines_cost_only_themselves() -> None:
    """A torn line, another object, counts and costs that cannot be, and a time that is none are told."""
    good = Exchange(exchange_id="a", opened_at_ms=1, source="gateway", usage=Usage(1))
    minus = msgspec.structs.replace(good, usage=Usage(-1))
    huge = msgspec.structs.replace(good, usage=Usage(10**18))
    dear = msgspec.structs.replace(good, cost_nano_usd=10**18)
    refund = msgspec.structs.replace(good, cost_nano_usd=-1)
    hidden = msgspec.structs.replace(good, usage_lines=(UsageLine(Usage(2), "m"), UsageLine(Usage(-1), "m")))
    late = msgspec.structs.replace(good, opened_at_ms=2**62)
    lines = [*write([good, minus, good, hidden, late, huge, dear, refund]), b'{"exchange_id":1}\n', b'{"exchange_id":']
    trace = read(Source("f", b"".join(lines)))
    assert [good, good] == trace.exchanges
    assert {(3, 3), (6, 1), (8, 2), (10, 1), (11, 1)} == {(problem.line, problem.count) for problem in trace.problems}
