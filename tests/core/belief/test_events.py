"""Events are values: equal when they say the same, and fixed once made."""

from __future__ import annotations

import pytest

from scrimp.core.belief.events import FirstToken, UsageSeen
from scrimp.core.wire.usage import Usage


def test_events_are_values() -> None:
    """A ledger, a replay and a test can compare them."""
    assert FirstToken("x", 1) == FirstToken("x", 1)
    assert FirstToken("x", 1) != FirstToken("x", 2)
    assert UsageSeen("x", Usage(1), 2) != UsageSeen("x", Usage(2), 2)


def test_events_do_not_change() -> None:
    """What happened cannot be edited."""
    with pytest.raises(AttributeError):
        FirstToken("x", 1).at_ms = 2  # type: ignore[misc]
