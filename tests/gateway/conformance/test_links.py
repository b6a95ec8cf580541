"""Items of connections: each holds for ours, and each is failed by what it is there to find."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scrimp.gateway.conformance.links import ITEMS
from tests.gateway.conformance.conftest import PATIENCE_SECONDS, SHORT_PATIENCE_SECONDS
from tests.gateway.conformance.faults import one_by_one, sound, starts, staying

if TYPE_CHECKING:
    from tests.gateway.conformance.conftest import Examine
    from tests.gateway.conformance.faults import Fault

FAULTS: dict[str, tuple[Fault | dict[str, object], set[str], float]] = {
    "none": (sound, set(), PATIENCE_SECONDS),
    "the client's leaving ignored": (staying, {"leave-waiting", "leave-streaming"}, SHORT_PATIENCE_SECONDS),
    "one request at a time": (one_by_one, {"parallel"}, SHORT_PATIENCE_SECONDS),
    "each connection closed": (
        starts(lambda status, pairs: (status, [*pairs, (b"connection", b"close")])),
        {"keep-alive", "keep-alive-upstream"},
        SHORT_PATIENCE_SECONDS,
    ),
    "an outage called a bad request": (
        starts(lambda status, pairs: (400 if status == 502 else status, pairs)),
        {"upstream-down"},
        PATIENCE_SECONDS,
    ),
    "a connection a request": ({}, {"leave-waiting", "keep-alive-upstream"}, SHORT_PATIENCE_SECONDS),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_fails_just_its_items(name: str, examine: Examine) -> None:
    """And a gateway without one fails none."""
    fault, expected, patience_s = FAULTS[name]
    assert expected == set(examine(fault, ITEMS, patience_s).failed())


def test_each_item_can_fail() -> None:
    """An item that no fault fails would prove nothing."""
    assert {item.name for item in ITEMS} == set().union(*(expected for _, expected, _ in FAULTS.values()))


def test_the_item_that_takes_the_recorder_down_is_the_last() -> None:
    """What came after it would have no upstream."""
    assert "upstream-down" == ITEMS[-1].name
