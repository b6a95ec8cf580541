"""Savings: alone less cost over all exchanges, whatever we sent ourselves counted in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.exchange import CLIENT, ORIGINS, Exchange
from scrimp.replay.savings import Own, Savings

AMOUNTS = st.none() | st.integers(0, 10**12)


def row(origin: str, cost: int | None, alone: int | None, **more: object) -> Exchange:
    """Return an exchange of a ledger."""
    fields = {"exchange_id": "x", "opened_at_ms": 0, "source": "gateway", "origin": origin, **more}
    return Exchange(**fields, cost_nano_usd=cost, baseline_cost_nano_usd=alone)  # type: ignore[arg-type]


def summed(*exchanges: Exchange) -> Savings:
    """Return the savings of some exchanges."""
    savings = Savings()
    for exchange in exchanges:
        savings.add(exchange)
    return savings


@given(st.lists(st.tuples(AMOUNTS, AMOUNTS)), st.lists(st.tuples(st.sampled_from(ORIGINS[1:]), st.integers(0, 10**12))))
def test_saved_is_alone_less_cost_over_all(
    requests: list[tuple[int | None, int | None]], own: list[tuple[str, int]]
) -> None:
    """Of the client's what states both counts; of ours all that was spent counts, against nothing."""
    exchanges = [row(CLIENT, *each) for each in requests] + [row(origin, cost, 0) for origin, cost in own]
    known = [(cost, alone) for cost, alone in requests if cost is not None and alone is not None]
    known += [(cost, 0) for _, cost in own]
    expected = sum(alone - cost for cost, alone in known) if known else None
    savings = summed(*exchanges)
    assert expected == savings.saved_nano_usd
    assert sum(cost for _, cost in own) == sum(each.cost_nano_usd for each in savings.own.values())
    assert len(own) == sum(each.exchanges for each in savings.own.values())


def test_pings_are_told_apart_from_what_the_client_sent() -> None:
    """Two pings of 3 and 4 beside a request that would have cost 20 instead of 5: 8 saved, 7 spent for it."""
    savings = summed(row(CLIENT, 5, 20), row("ping", 3, 0), row("ping", 4, None))
    assert (8, {"ping": Own(2, 7)}) == (savings.saved_nano_usd, savings.own)


def test_nothing_stated_is_nothing_known() -> None:
    """Unknown is None, never 0."""
    assert (None, None) == (summed().saved_nano_usd, summed(row(CLIENT, 5, None)).saved_nano_usd)


@pytest.mark.parametrize(
    ("more", "is_bound"),
    [
        ({"cost_upper_nano_usd": 9}, True),
        ({"cost_upper_nano_usd": None}, True),
        ({"cost_upper_nano_usd": 0}, False),
        ({"cost_upper_nano_usd": 9, "origin": CLIENT}, False),
    ],
)
def test_a_ping_that_may_have_been_billed_makes_it_an_upper_bound(more: dict[str, object], is_bound: bool) -> None:
    """One that the API refused, or never saw, does not."""
    origin = str(more.get("origin", "ping"))
    rest = {name: value for name, value in more.items() if name != "origin"}
    assert is_bound == summed(row(origin, None, None, usage_complete=False, **rest)).is_upper_bound
