"""A replay as text: numbers as in the comparison, notes only where there is something to note."""

from __future__ import annotations

from msgspec.structs import replace

from scrimp.cli.replay_text import as_text
from scrimp.core.wire.usage import Usage
from scrimp.replay.compare import Comparison, PolicySum, Task, compared, replayed
from scrimp.replay.gather import Material
from scrimp.replay.policies import POLICIES
from scrimp.replay.steps import SentPing
from scrimp.replay.traces.trace import Problem
from scrimp.upstream.pricefeed import load_book
from tests.replay.courses import conversation

ALL = tuple(POLICIES)
MATERIAL = Material({}, (), {}, [], 1)


def _comparison() -> Comparison:
    return compared([replayed(Task("a", conversation([400_000, 10_000]), ALL, load_book()))], ALL)


def _text(comparison: Comparison, material: Material = MATERIAL) -> str:
    return as_text(comparison, material, None, "list price")


def test_every_policy_stands_with_its_regret() -> None:
    """To three places, beside automatic caching in percent."""
    comparison = _comparison()
    lines = {line.split()[0]: line for line in _text(comparison).splitlines() if line.strip()}
    for name, policy in comparison.policies.items():
        assert f"{policy.regret:.3f}" in lines[name]
    assert "+0.0%" in lines["automatic"]


def test_single_sessions_may_be_dearer_and_it_is_said() -> None:
    """Only where `scrimp-safe` is shown."""
    comparison = _comparison()
    assert "a session is not" in _text(comparison)
    without = {name: each for name, each in comparison.policies.items() if name != "scrimp-safe"}
    assert "a session is not" not in _text(replace(comparison, policies=without))


def test_what_is_missing_is_said() -> None:
    """Models without a price, and files that could not be read, the first of them by name."""
    problems = [Problem(f"f{number}", "this is torn", "mend it") for number in range(12)]
    text = _text(replace(_comparison(), unpriced=3), Material({}, (), {}, problems, 12))
    assert "3 requests of models without a known price" in text
    assert "f9: this is torn; mend it." in text
    assert "f10" not in text
    assert "2 more problems" in text


def test_pings_that_were_sent_are_told() -> None:
    """They belong to what was recorded, and to no other policy."""
    steps = conversation([400_000])
    sent = [replace(steps[0], pings=(SentPing(1, Usage()), SentPing(2, Usage()))), steps[1]]
    text = _text(_comparison(), Material({"a": sent}, (), {}, [], 1))
    assert "2 pings that Scrimp sent" in text
    assert "Scrimp sent" not in _text(_comparison(), Material({"a": steps}, (), {}, [], 1))


def test_nothing_billed_is_no_error() -> None:
    """No regret, no causes."""
    empty = Comparison(0, 0, 0, 0, 0, {"none": PolicySum(0, None, {}, None)})
    assert "(nothing was billed)" in _text(empty)
