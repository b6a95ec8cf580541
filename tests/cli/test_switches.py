"""The switches of Claude Code: what is set, what is advised, what a run may set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.cli.switches import NOT_MEASURED, SWITCHES, Switch, seen, settable

ROOT = Path(__file__).resolve().parents[2]
NAMES = [switch.name for switch in SWITCHES]
ENVIRONMENTS: Any = st.dictionaries(
    st.sampled_from([*NAMES, "ANTHROPIC_API_KEY", "HOME"]), st.sampled_from(["", "0", "1", "5m", "1h", "false"])
)


@given(ENVIRONMENTS, st.booleans())
def test_each_switch_has_one_state(environ: dict[str, str], has_claude: bool) -> None:
    """In the table's order; what is set shows its value, and a value that does harm is advised against."""
    found = list(seen(environ, has_claude=has_claude))
    assert list(SWITCHES) == [each.switch for each in found]
    for switch, state, value in found:
        assert environ.get(switch.name) == value
        does_harm = switch.harm and value == switch.value
        assert (value is not None and not does_harm) == (state == "set")
        assert not does_harm or state == "advised"


@given(ENVIRONMENTS)
def test_nothing_is_advised_where_there_is_nobody_to_follow(environ: dict[str, str]) -> None:
    """Without Claude Code only what is set, and does harm, is worth a word."""
    advised = [each.switch for each in seen(environ, has_claude=False) if each.state == "advised"]
    assert [] == [switch for switch in advised if not switch.harm]


@given(ENVIRONMENTS)
def test_a_run_never_overrules_its_user(environ: dict[str, str]) -> None:
    """It sets what is safe and not there, whatever the value that is there."""
    for switch in settable(environ):
        assert (True, False) == (switch.is_safe, switch.name in environ)


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
def test_the_billing_line_is_left_to_subscriptions(name: str) -> None:
    """It is only switched off where a key is known to pay."""
    line = SWITCHES[0]
    assert "CLAUDE_CODE_ATTRIBUTION_HEADER" == line.name
    assert (True, False, False) == (
        line in settable({name: "sk-fake"}),
        line in settable({name: ""}),
        line in settable({}),
    )


@pytest.mark.parametrize("switch", SWITCHES, ids=NAMES)
def test_each_says_what_it_saves_and_how_it_is_set(switch: Switch) -> None:
    """A figure names where it comes from; no run sets what may cost something."""
    assert all((switch.why, switch.saves, switch.line))
    has_figure = any(character.isdigit() for character in switch.saves.replace("5m", ""))
    assert not has_figure or "measured" in switch.saves or "recorded" in switch.saves or "not ours" in switch.saves
    assert not (switch.harm and switch.is_safe)
    assert switch.name in switch.line


def test_what_nobody_measured_is_called_that() -> None:
    """Rather than guessed."""
    assert "CLAUDE_CODE_SUBAGENT_PROMPT_CACHE_TTL" in [each.name for each in SWITCHES if each.saves == NOT_MEASURED]


def test_what_an_hour_saves_is_what_was_measured() -> None:
    """The figures are those of the last `make bench`."""
    measured = json.loads((ROOT / "bench" / "results" / "policies.json").read_text())["figures"]["over_optimum"]
    shares = [f"{1 - over['1h'] / over['5m']:.0%}" for over in measured.values()]
    (hour,) = (each for each in SWITCHES if each.name == "CLAUDE_CODE_PROMPT_CACHE_TTL")
    assert f"{' / '.join(shares)} of the input side" in hour.saves
