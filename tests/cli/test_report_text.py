"""Shares that add up, signs that can be written, and a table that fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scrimp.cli.report_text import (
    ASCII_SIGNS,
    KEY_WIDTH,
    UNICODE_SIGNS,
    Look,
    Signs,
    as_text,
    count,
    percents,
    signs_for,
)
from scrimp.core.belief.exchange import PING, Exchange
from scrimp.core.wire.usage import Usage
from scrimp.replay.rates import Rates
from scrimp.replay.report import Report, fold
from scrimp.replay.traces.discover import Recording
from scrimp.upstream.pricefeed import load_book

BOOK = load_book()
NOTHING_READ = Recording([], [], [], 1)


def _report(*projects: str) -> Report:
    """Return a report by project with one priced request for each name."""
    exchanges = [
        Exchange(
            exchange_id=str(number),
            opened_at_ms=number,
            source="test",
            project=project,
            usage=Usage(100_000 + number),
            served_model="claude-opus-4-6",
        )
        for number, project in enumerate(projects)
    ]
    return fold(exchanges, Rates(BOOK), "project")


def _shown(report: Report, width: int | None = None, signs: Signs = UNICODE_SIGNS, top: int = 20) -> str:
    return as_text(report, NOTHING_READ, Look("project", top, "list price", "Nothing.", width, signs))


@given(st.lists(st.integers(0, 10**15), max_size=8))
def test_shares_add_up_to_a_hundred(parts: list[int]) -> None:
    """Each is the true share, rounded up or down; what is there at all is never 0%."""
    shares = percents(parts)
    numbers = [0 if share == "<1%" else int(share.removesuffix("%")) for share in shares]
    assert (100 if sum(parts) else 0) == sum(numbers)
    assert [share == "0%" for share in shares] == [not part or not sum(parts) for part in parts]
    assert all(abs(number - part * 100 / sum(parts)) < 1 for number, part in zip(numbers, parts, strict=True) if part)


@pytest.mark.parametrize(
    ("encoding", "signs"),
    [
        ("utf-8", UNICODE_SIGNS),
        ("latin-1", ASCII_SIGNS),
        ("cp1252", ASCII_SIGNS),
        (None, ASCII_SIGNS),
        ("no such one", ASCII_SIGNS),
    ],
)
def test_signs_are_those_that_can_be_written(encoding: str | None, signs: Signs) -> None:
    """Anything unknown gets ASCII."""
    assert signs == signs_for(encoding)


@pytest.mark.parametrize(("number", "said"), [(0, "0 requests"), (1, "1 request"), (1_234, "1,234 requests")])
def test_counting_in_words(number: int, said: str) -> None:
    """One is singular, thousands have a comma."""
    assert said == count(number, "request")


def _table(text: str) -> list[str]:
    """Return the lines of the table: heads, ruler, rows."""
    return next(part for part in text.split("\n\n") if "\n---" in part).splitlines()


@given(st.integers(48, 300), st.text("abc/", min_size=1, max_size=100))
def test_no_line_of_the_table_is_wider_than_the_terminal(width: int, project: str) -> None:
    """Keys are shortened at their beginning, columns go in their order, the cost stays."""
    lines = [line for line in _table(_shown(_report(project), width)) if not line.startswith("(")]
    assert width >= max(map(len, lines))
    assert "cost" in lines[0]
    assert project[-5:] in lines[2]


def test_without_a_terminal_the_table_is_whole() -> None:
    """A file or a pipe has no width; only keys have a limit."""
    lines = _table(_shown(_report("x" * 100)))
    assert "output" in lines[0]
    assert f"…{'x' * (KEY_WIDTH - 1)} " in lines[2]
    assert 3 == len(lines)


def test_what_does_not_fit_is_named() -> None:
    """So that nobody takes the table for all there is."""
    assert (
        "(Left out to fit this terminal: uncached, write 5m, write 1h. A wider one or --json has all.)"
        == (_table(_shown(_report("x" * 30), 80))[-1])
    )


def test_control_characters_do_not_reach_a_terminal() -> None:
    """They come from recordings, and a terminal would obey them."""
    assert "/x\\x1b[2J" in _shown(_report("/x\x1b[2J"))


def test_ascii_is_all_that_ascii_signs_need() -> None:
    """In every place: marks of rows, notes, and what was cut."""
    report = _report("a" * 100, "b")
    partial = fold(
        [Exchange(exchange_id="p", opened_at_ms=0, source="t", usage=Usage(9), served_model="claude-opus-4-6",
                  output_partial=True)],
        Rates(BOOK),
    )  # fmt: skip
    for each in (report, partial):
        assert _shown(each, signs=ASCII_SIGNS, top=1).isascii()
    assert ">= $0.000045" in _shown(partial, signs=ASCII_SIGNS)


def test_nothing_at_all_is_one_sentence() -> None:
    """No table of nothing, no sums of nothing."""
    assert "Nothing." == _shown(_report())


def test_a_whole_bill_has_no_hedges() -> None:
    """Where everything is known, no word says "at least"."""
    text = _shown(_report("a", "b"))
    assert "2 requests cost $1.000005 at list price (1970-01-01 to 1970-01-01).\nOf that: input" in text
    assert all(word not in text for word in ("at least", "≥", "known"))


def _kept(cost: int, alone: int, *pings: int, **more: int | None) -> str:
    """Return the report of a request and the pings of a ledger, at these costs in nano-USD."""
    request = Exchange(exchange_id="a", opened_at_ms=0, source="gateway", cost_nano_usd=cost,
                       baseline_cost_nano_usd=alone, usage=Usage(1), served_model="claude-opus-4-6")  # fmt: skip
    sent = [
        replace(request, exchange_id=f"p{number}", origin=PING, cost_nano_usd=each, baseline_cost_nano_usd=0, **more)
        for number, each in enumerate(pings)
    ]
    return _shown(fold([request, *sent], Rates(BOOK)))


@pytest.mark.parametrize(
    ("amounts", "saved", "spent"),
    [
        ((10**9, 3 * 10**9, 10**8, 10**8), "$3.000000, Scrimp saved $1.800000", "$0.200000 for 2 pings"),
        ((10**9, 10**9, 10**8), "$1.000000, Scrimp cost $0.100000 more", "$0.100000 for 1 ping"),
    ],
)
def test_what_we_spent_ourselves_stands_beside_what_was_saved(amounts: tuple[int, ...], saved: str, spent: str) -> None:
    """Saved is what is left after the pings; it may be less than nothing."""
    assert f"left alone, {saved}.\nCounted in is what it spent itself: {spent}.\n" in _kept(*amounts)


def test_where_nothing_was_spent_nothing_is_owned_up_to() -> None:
    """Marks and lifetimes alone save, too."""
    text = _kept(10**9, 3 * 10**9)
    assert "Scrimp saved $2.000000.\n\n" in text
    assert "spent itself" not in text


def test_where_nothing_was_done_nothing_is_said_of_savings() -> None:
    """A gateway that observes saves nothing; other recordings do not know."""
    for text in (_kept(5, 5), _shown(_report("a"))):
        assert "Scrimp" not in text


def test_a_ping_of_unknown_price_bounds_the_savings() -> None:
    """It may have been billed: no more than that was saved, no less than that was spent."""
    open_ping = {"cost_upper_nano_usd": 9, "usage_complete": False}
    assert "Scrimp saved at most $1.000000." in _kept(0, 10**9 + 1, 1, **open_ping)
    assert "Scrimp cost at least $1.000000 more." in _kept(10**9, 1, 1, **open_ping)


def test_a_bill_that_leaves_something_out_says_so_everywhere() -> None:
    """Sum, shares, dearest, rows and estimates: a request without a price is missing from each."""
    priced = Exchange(exchange_id="a", opened_at_ms=0, source="t", session_id="s", usage=Usage(10**5),
                      served_model="claude-opus-4-6")  # fmt: skip
    unpriced = Exchange(exchange_id="b", opened_at_ms=0, source="t", session_id="s", usage=Usage(1), served_model="x")
    text = _shown(fold([priced, unpriced], Rates(BOOK), "session"))
    for part in (
        "cost at least $0.500000 at",
        "Of what is known: input outside the cache 100%",
        "Dearest session: s, at least $0.500000 (100% of what is known).",
        "≥ $0.500000",
        "without any cache: at least $0.500000, 1.00 times as much.",
    ):
        assert part in text
