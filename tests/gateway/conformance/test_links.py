"""Items of connections: each holds for ours, and each is failed by what it is there to find."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scrimp.gateway.conformance.links import ITEMS
from tests.gateway.conformance.faults import one_by_one, sound, starts, staying
from tests.gateway.conformance.shape import proofs

if TYPE_CHECKING:
    from tests.gateway.conformance.faults import Fault

FAULTS: dict[str, tuple[Fault | dict[str, object], set[str]]] = {
    "none": (sound, set()),
    "the client's leaving ignored": (staying, {"leave-waiting", "leave-streaming"}),
    "one request at a time": (one_by_one, {"parallel"}),
    "each connection closed": (
        starts(lambda status, pairs: (status, [*pairs, (b"connection", b"close")])),
        {"keep-alive", "keep-alive-upstream"},
    ),
    "an outage called a bad request": (
        starts(lambda status, pairs: (400 if status == 502 else status, pairs)),
        {"upstream-down"},
    ),
    "a connection a request": ({}, {"leave-waiting", "keep-alive-upstream"}),
}
#: Faults by which something never comes that the recorder waits for.
HOLDING = set(FAULTS) - {"none", "an outage called a bad request"}


test_each_fault_fails_just_its_items, test_each_item_can_fail = proofs(ITEMS, FAULTS, HOLDING)
test_each_fault_fails_just_its_items = pytest.mark.slow(test_each_fault_fails_just_its_items)


def test_the_item_that_takes_the_recorder_down_is_the_last() -> None:
    """What came after it would have no upstream."""
    assert "upstream-down" == ITEMS[-1].name
