"""What every table of faults proves: each fault is found by its own items and no others, and each item finds one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from scrimp.gateway.conformance.item import Item
from tests.gateway.conformance.conftest import PATIENCE_SECONDS, SHORT_PATIENCE_SECONDS

if TYPE_CHECKING:
    from tests.gateway.conformance.conftest import Examine
    from tests.gateway.conformance.faults import Fault

#: fault -> (our gateway with it, or a bare proxy's options; the items that fail then)
Faults = Mapping[str, "tuple[Fault | dict[str, object], set[str]]"]


def proofs(
    items: Sequence[Item], faults: Faults, holding: Collection[str] = ()
) -> tuple[Callable[..., None], Callable[[], None]]:
    """Return both proofs of a table as tests; `holding` are the faults by which something never comes."""

    @pytest.mark.parametrize("name", faults)
    def each_fault_fails_just_its_items(name: str, examine: Examine) -> None:
        """And a gateway without one fails none."""
        fault, expected = faults[name]
        patience_s: Any = SHORT_PATIENCE_SECONDS if name in holding else PATIENCE_SECONDS
        assert expected == set(examine(fault, items, patience_s).failed())

    def each_item_can_fail() -> None:
        """Let no item be one that no fault fails: it would prove nothing."""
        assert {item.name for item in items} == set().union(*(expected for _, expected in faults.values()))

    return each_fault_fails_just_its_items, each_item_can_fail
