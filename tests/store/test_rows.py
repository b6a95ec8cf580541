"""Exchanges survive the way into a row and back, and what a database cannot hold is dealt with by name."""

from __future__ import annotations

from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage, UsageLine
from scrimp.errors import LedgerError
from scrimp.store.rows import CLOSED, COLUMNS, OPEN, RATE_COLUMNS, USAGE_COLUMNS, from_row, to_row

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
COUNTS = st.integers(-(2**63), 2**63 - 1)
USAGES = st.builds(Usage, **dict.fromkeys(USAGE_COLUMNS, st.integers(0, 2**63 - 1)))
LINES = st.builds(
    UsageLine,
    usage=USAGES,
    model=st.none() | TEXTS,
    kind=st.sampled_from(["message", "compaction", "advisor_message"]),
    **dict.fromkeys(RATE_COLUMNS, st.none() | TEXTS),
)
BY_TYPE = {str: TEXTS, int: COUNTS, bool: st.booleans(), str | None: st.none() | TEXTS, int | None: st.none() | COUNTS}
FIELDS = {
    name: BY_TYPE[kind] for name, kind in get_type_hints(Exchange).items() if name not in {"usage", "usage_lines"}
}


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    """Build any exchange; often with the one plain line that its usage says."""
    usage = draw(st.none() | USAGES)
    plain = draw(LINES)
    model = draw(st.none() | TEXTS)
    one = () if usage is None else (msgspec.structs.replace(plain, usage=usage, model=model, kind="message"),)
    lines = draw(st.sampled_from([(), one]) | st.lists(LINES, max_size=3).map(tuple))
    values: dict[str, Any] = {name: draw(values) for name, values in FIELDS.items()} | {"served_model": model}
    return Exchange(**values, usage=usage, usage_lines=lines)


@given(exchanges())
def test_a_closed_exchange_comes_back_as_it_was(exchange: Exchange) -> None:
    """from_row undoes to_row, for every field."""
    assert exchange == from_row(to_row(exchange, CLOSED))


@given(exchanges())
def test_an_open_exchange_is_never_complete(exchange: Exchange) -> None:
    """The final usage of an open row never arrived, whatever its exchange says; all else comes back as it was."""
    assert msgspec.structs.replace(exchange, usage_complete=False) == from_row(to_row(exchange, OPEN))


@given(exchanges())
def test_a_row_has_a_value_for_each_column(exchange: Exchange) -> None:
    """Row and columns go together, and the last column is the state."""
    row = to_row(exchange, CLOSED)
    assert (len(COLUMNS), CLOSED) == (len(row), row[COLUMNS.index("state")])


@given(exchanges())
def test_flags_may_come_back_as_integers(exchange: Exchange) -> None:
    """SQLite gives 0 and 1 for booleans; the exchange has booleans all the same."""
    row = [int(value) if isinstance(value, bool) else value for value in to_row(exchange, CLOSED)]
    assert msgspec.json.encode(exchange) == msgspec.json.encode(from_row(row))


def test_one_plain_line_needs_no_json() -> None:
    """The usual bill stands in the columns alone; a second line needs the JSON."""
    usage = Usage(uncached_input_tokens=1, output_tokens=2)
    line = UsageLine(usage, "model-a", service_tier="standard")
    exchange = Exchange(
        exchange_id="a", opened_at_ms=1, source="gateway", served_model="model-a", usage=usage, usage_lines=(line,)
    )
    named = dict(zip(COLUMNS, to_row(exchange, CLOSED), strict=True))
    assert (1, 2, "standard", None) == tuple(
        named[name] for name in ("uncached_input_tokens", "output_tokens", "service_tier", "usage_lines")
    )
    two = msgspec.structs.replace(exchange, usage_lines=(line, line))
    assert msgspec.json.encode([line, line]).decode() == to_row(two, CLOSED)[COLUMNS.index("usage_lines")]


def test_unknown_usage_is_null_and_no_usage_is_zero() -> None:
    """Unknown is NULL, never 0, and the other way round."""
    unknown = Exchange(exchange_id="a", opened_at_ms=1, source="gateway")
    nothing = msgspec.structs.replace(unknown, usage=Usage())
    first = COLUMNS.index(USAGE_COLUMNS[0])
    assert ([None] * 7, [0] * 7) == (
        list(to_row(unknown, CLOSED)[first : first + 7]),
        list(to_row(nothing, CLOSED)[first : first + 7]),
    )


@pytest.mark.parametrize(("given", "kept"), [("a\0b", "a\ufffdb"), ("a\ud800b", "a\ufffdb"), ("é\0", "é\ufffd")])
def test_characters_that_no_database_holds_are_replaced(given: str, kept: str) -> None:
    """A NUL or a lone surrogate from a broken request costs that character, not the exchange."""
    exchange = Exchange(exchange_id="a", opened_at_ms=1, source="gateway", session_id=given)
    assert kept == from_row(to_row(exchange, CLOSED)).session_id


@pytest.mark.parametrize("count", [2**63, -(2**63) - 1, 10**30])
def test_a_count_beyond_64_bits_is_refused_by_name(count: int) -> None:
    """One broken response raises a sentence that names its exchange; it cannot spoil a group of others."""
    exchange = Exchange(exchange_id="ex-9", opened_at_ms=1, source="gateway", usage=Usage(output_tokens=count))
    with pytest.raises(LedgerError, match="'ex-9' holds a number of more than 64 bits"):
        to_row(exchange, CLOSED)


def test_a_row_that_is_no_exchange_is_refused() -> None:
    """Lines that are not JSON raise an error of their own instead of a wrong bill."""
    row = list(to_row(Exchange(exchange_id="a", opened_at_ms=1, source="gateway"), CLOSED))
    row[COLUMNS.index("usage_lines")] = "[{"
    with pytest.raises(msgspec.DecodeError):
        from_row(row)
