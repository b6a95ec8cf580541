"""The switches."""

from __future__ import annotations

import msgspec
import pytest

from scrimp.sim.rules import SWITCHES, Rules


def test_the_defaults_are_the_documented_rules() -> None:
    """Where the documentation gives a number, the default is that number."""
    rules = Rules()
    assert (20, 4, True) == (rules.lookback_positions, rules.max_breakpoints, rules.collapse_tool_runs)


def test_each_switch_is_explained() -> None:
    """Every field of the rules, in its order, and nothing that is none."""
    assert list(Rules.__struct_fields__) == list(SWITCHES)


def test_rules_do_not_change_under_a_running_simulator() -> None:
    """They are frozen, and a switch takes only its own values."""
    with pytest.raises(AttributeError):
        Rules().lookback_positions = 5  # type: ignore[misc]
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"speed_scope": "sometimes"}, Rules)
