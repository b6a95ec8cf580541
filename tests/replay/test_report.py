"""The report: groups add up, every grouping has its key, and the cost of recorded sessions is exact."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage, UsageLine, total
from scrimp.replay.rates import Rates
from scrimp.replay.report import BYS, CLASSES, By, day_at, fold
from scrimp.replay.traces.discover import Reading
from scrimp.upstream.pricefeed import load_book

BOOK = load_book()
DAY_MS = 86_400_000
NOON_MS = 1_795_608_000_000  # 2026-11-25 12:00 UTC

#: USD per million tokens: uncached input, cache read, 5-minute write, 1-hour write, output (API docs, pricing).
RATES_BY_HAND = {
    "claude-opus-4-5-20251101": ("5", "0.50", "6.25", "10", "25"),
    "claude-opus-4-6": ("5", "0.50", "6.25", "10", "25"),
    "claude-sonnet-4-20250514": ("3", "0.30", "3.75", "6", "15"),
    "claude-sonnet-4-5-20250929": ("3", "0.30", "3.75", "6", "15"),
}

COUNTS = st.integers(0, 300_000)
MODELS = st.sampled_from(["claude-opus-4-6", "claude-haiku-5-5", "unknown-model", None])
NAMES = st.sampled_from([None, "a", "b"])


@st.composite
def _exchanges(draw: st.DrawFn) -> list[Exchange]:
    """Draw exchanges in the order of opening: priced, unpriced, stored costs, without usage."""
    exchanges = []
    for number in range(draw(st.integers(0, 12))):
        usage = draw(
            st.none() | st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.just(0), st.integers(0, 2))
        )
        model = draw(MODELS)
        exchanges.append(
            Exchange(
                exchange_id=str(number),
                opened_at_ms=NOON_MS + number * draw(st.integers(0, DAY_MS)),
                source=draw(st.sampled_from(["gateway", "test"])),
                closed_at_ms=draw(st.none() | st.just(NOON_MS)),
                http_status=draw(st.sampled_from([None, 200, 429])),
                session_id=draw(NAMES),
                project=draw(NAMES),
                tenant=draw(NAMES),
                task_type=draw(NAMES),
                agent_id=draw(NAMES),
                served_model=model,
                usage=usage,
                usage_lines=() if usage is None else (UsageLine(usage, model),),
                cost_nano_usd=draw(st.none() | st.integers(0, 10**12)),
                output_partial=draw(st.booleans()),
                usage_complete=draw(st.booleans()),
            )
        )
    return sorted(exchanges, key=lambda each: each.opened_at_ms)


def _exchange(**more: object) -> Exchange:
    fields: dict[str, object] = {"exchange_id": "e", "opened_at_ms": NOON_MS, "source": "test"}
    return Exchange(**(fields | more))  # type: ignore[arg-type]


@given(_exchanges(), st.sampled_from(BYS))
def test_groups_add_up_to_the_total(exchanges: list[Exchange], by: By) -> None:
    """Every count, every token class and the cost, exactly; shares make one where there is any cost."""
    report = fold(exchanges, Rates(BOOK), by)
    groups = report.groups
    assert len(exchanges) == report.total.exchanges == sum(group.exchanges for group in groups)
    assert report.total.usage == total(group.usage for group in groups)
    assert report.total.usage == total(each.usage for each in exchanges if each.usage is not None)
    assert (report.total.cost_nano_usd or 0) == sum(group.cost_nano_usd or 0 for group in groups)
    assert report.total.unpriced_exchanges == sum(group.unpriced_exchanges for group in groups)
    assert sum(each.output_partial for each in exchanges) == report.total.partial_output_exchanges
    incomplete = [each for each in exchanges if each.usage is not None and not each.usage_complete]
    assert len(incomplete) == report.total.incomplete_exchanges == sum(group.incomplete_exchanges for group in groups)
    assert pytest.approx(1.0 if report.total.cost_nano_usd else 0.0) == sum(group.share for group in groups)
    assert len(groups) == len({group.key for group in groups})


@given(_exchanges())
def test_costs_are_those_of_the_book_or_of_the_record(exchanges: list[Exchange]) -> None:
    """A stored cost wins; an unknown one is counted and adds nothing."""
    report = fold(exchanges, Rates(BOOK))
    costs = [
        BOOK.cost_nano_usd(each.usage_lines, each.opened_at_ms) if each.cost_nano_usd is None else each.cost_nano_usd
        for each in exchanges
    ]
    known = [cost for cost in costs if cost is not None]
    assert (sum(known) if known else None, len(costs) - len(known)) == (
        report.total.cost_nano_usd,
        report.total.unpriced_exchanges,
    )
    assert sum(each.usage is None for each in exchanges) == report.unmetered_exchanges


@given(_exchanges())
def test_the_dearest_come_first(exchanges: list[Exchange]) -> None:
    """Groups are ordered by cost, then by key."""
    groups = fold(exchanges, Rates(BOOK), "session").groups
    assert groups == sorted(groups, key=lambda group: (-(group.cost_nano_usd or 0), group.key))


@pytest.mark.parametrize(
    ("by", "fields", "key"),
    [
        ("task", {"task_tag": "nightly", "task_type": "fix bug"}, "nightly"),
        ("task", {"task_type": "fix bug"}, "fix bug"),
        ("task", {}, "no task type"),
        ("model", {"served_model": "s", "requested_model": "r"}, "s"),
        ("model", {"requested_model": "r"}, "r"),
        ("model", {}, "no model"),
        ("session", {"session_id": "s"}, "s"),
        ("session", {}, "no session"),
        ("agent", {}, "main"),
        ("agent", {"agent_type": "planner"}, "planner"),
        ("agent", {"agent_id": "x", "agent_type": "Explore"}, "main > Explore"),
        ("agent", {"agent_id": "x"}, "main > agent"),
        ("project", {"project": "/shop"}, "/shop"),
        ("project", {}, "no project"),
        ("day", {}, "2026-11-25"),
        ("tenant", {"tenant": "acme"}, "acme"),
        ("tenant", {}, "no tenant"),
    ],
)
def test_each_grouping_has_its_key(by: By, fields: dict[str, object], key: str) -> None:
    """What is unknown has a name of its own; an owner's tag wins over an inferred type."""
    assert [key] == [group.key for group in fold([_exchange(**fields)], Rates(BOOK), by).groups]


def test_agents_are_named_by_their_way_down() -> None:
    """An agent of an agent stands below it."""
    exchanges = [
        _exchange(agent_id="x", agent_type="planner"),
        _exchange(agent_id="y", agent_type="Explore", parent_agent_id="x"),
        _exchange(agent_id="z", agent_type="Explore", parent_agent_id="gone"),
    ]
    keys = {group.key for group in fold(exchanges, Rates(BOOK), "agent").groups}
    assert {"main > planner", "main > planner > Explore", "main > Explore"} == keys


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (0, 0, False)),
        ({"usage_complete": False}, (0, 1, True)),
        ({"output_partial": True}, (1, 0, True)),
        ({"usage_complete": False, "served_model": "gpt-9"}, (0, 1, False)),
        ({"usage_complete": False, "usage": None}, (0, 0, False)),
    ],
)
def test_a_cost_that_misses_something_is_a_lower_bound(
    fields: dict[str, object], expected: tuple[int, int, bool]
) -> None:
    """What broke off or was recorded in part costs more than is stated; an unknown cost is no bound."""
    exchange = _exchange(**({"usage": Usage(1), "served_model": "claude-opus-4-6"} | fields))
    report = fold([exchange], Rates(BOOK))
    for group in (report.total, *report.groups):
        assert expected == (group.partial_output_exchanges, group.incomplete_exchanges, group.is_lower_bound)


@pytest.mark.parametrize(
    ("fields", "counts", "is_lower_bound"),
    [
        ({"http_status": 404}, (1, 0, 0), False),
        ({"http_status": 529, "closed_at_ms": None}, (1, 0, 0), False),
        ({"http_status": 200, "error_type": "upstream_cut"}, (0, 1, 0), True),
        ({"error_type": "client_gone"}, (0, 1, 0), True),
        ({"closed_at_ms": None}, (0, 0, 1), True),
        ({"closed_at_ms": None, "source": "otel"}, (0, 1, 0), True),
        ({"usage": Usage(1)}, (0, 1, 0), True),
        ({"usage": Usage(1), "http_status": 500}, (0, 1, 0), True),
        ({"usage": Usage(1), "usage_complete": True}, (0, 0, 0), True),
        ({"usage": Usage(1), "usage_complete": True, "served_model": "claude-opus-4-6"}, (0, 0, 0), False),
    ],
)
def test_refused_broken_and_open_are_told_apart(
    fields: dict[str, object], counts: tuple[int, int, int], is_lower_bound: bool
) -> None:
    """Beside a whole exchange in the same group; only what the API refused is surely not billed."""
    common: dict[str, object] = {
        "source": "gateway",
        "closed_at_ms": NOON_MS,
        "usage_complete": False,
        "session_id": "s",
    }
    whole = _exchange(usage=Usage(1), served_model="claude-opus-4-6", session_id="s")
    report = fold([whole, _exchange(**(common | fields))], Rates(BOOK))
    for group in (report.total, *report.groups):
        assert counts == (group.refused_exchanges, group.broken_exchanges, group.open_exchanges)
        assert is_lower_bound is group.is_lower_bound
    for dearest in (report.dearest_session, report.dearest_task):
        assert dearest is not None
        assert is_lower_bound is dearest.is_lower_bound


@given(_exchanges())
def test_every_exchange_without_a_whole_usage_is_one_of_three(exchanges: list[Exchange]) -> None:
    """Refused, broken or open, and never two of them; the parts of the bill add up to it."""
    report = fold(exchanges, Rates(BOOK), "day")
    total_ = report.total
    lacking = [each for each in exchanges if each.usage is None or not each.usage_complete]
    assert len(lacking) == total_.refused_exchanges + total_.broken_exchanges + total_.open_exchanges
    parts = sum(report.class_cost_nano_usd.values()) + report.web_search_nano_usd
    assert abs(parts - report.billed_nano_usd) <= len(CLASSES)
    for name in ("refused_exchanges", "broken_exchanges", "open_exchanges"):
        assert getattr(total_, name) == sum(getattr(group, name) for group in report.groups)


def test_unknown_models_are_named() -> None:
    """With how many requests each is missing from the cost."""
    lines = (UsageLine(Usage(1), "gpt-9"),)
    report = fold([_exchange(usage=Usage(1), usage_lines=lines)] * 2, Rates(BOOK))
    assert ({"gpt-9": 2}, None) == (report.unpriced_models, report.total.cost_nano_usd)


def test_web_searches_are_billed_and_not_cached_away() -> None:
    """The fee is in the cost and in both baselines."""
    usage = Usage(web_search_requests=3)
    report = fold([_exchange(usage=usage, served_model="claude-opus-4-6")], Rates(BOOK))
    fee = 3 * BOOK.web_search_pico_usd // 1_000
    assert {fee} == {
        report.total.cost_nano_usd,
        report.web_search_nano_usd,
        report.billed_nano_usd,
        report.uncached_nano_usd,
        report.automatic_nano_usd,
    }


def test_nothing_is_a_report_too() -> None:
    """No exchanges: no groups, no cost, no dates."""
    report = fold([], Rates(BOOK))
    assert (0, None, [], None, None) == (
        report.total.exchanges,
        report.total.cost_nano_usd,
        report.groups,
        report.first_at_ms,
        report.dearest_task,
    )


@pytest.mark.parametrize(("at_ms", "day"), [(0, "1970-01-01"), (DAY_MS - 1, "1970-01-01"), (NOON_MS, "2026-11-25")])
def test_days_are_utc(at_ms: int, day: str) -> None:
    """A day begins at midnight UTC."""
    assert day == day_at(at_ms)


# --- recorded sessions ---


@pytest.mark.data
def test_the_cost_of_recorded_sessions_is_exact(data: Path, record_property: Callable[[str, object], None]) -> None:
    """The bill equals an independent one from the request table and rates typed by hand, to the nano-USD."""
    sums = [Fraction(0)] * len(CLASSES)
    with gzip.open(data / "cc_requests" / "requests.csv.gz", "rt", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["dup"] == "0"]
    cost = 0
    for row in rows:
        write_1h = int(row["w1"] or 0)
        tokens = (int(row["inp"]), int(row["cr"]), int(row["cw"]) - write_1h, write_1h, int(row["out"]))
        parts = [
            Fraction(rate) * 1_000 * count for rate, count in zip(RATES_BY_HAND[row["model"]], tokens, strict=True)
        ]
        sums = [whole + part for whole, part in zip(sums, parts, strict=True)]
        cost += int(sum(parts) + Fraction(1, 2))
    report = fold(Reading([str(data / "claude_code_sessions")]).finish().exchanges, Rates(BOOK))
    assert (len(rows), cost, 0) == (
        report.total.exchanges,
        report.total.cost_nano_usd,
        report.total.unpriced_exchanges,
    )
    assert [int(each + Fraction(1, 2)) for each in sums] == list(report.class_cost_nano_usd.values())
    ratio = report.uncached_nano_usd / cost
    record_property("measured", f"recorded sessions: {cost / 1e9:.2f} USD, uncached {ratio:.2f} times as much")
    assert 0 == report.total.broken_exchanges == report.total.refused_exchanges == report.total.open_exchanges
    # Facts on data: the same traffic uncached would cost 5.6 to 6.9 times as much.
    assert 5.6 <= ratio <= 6.9
