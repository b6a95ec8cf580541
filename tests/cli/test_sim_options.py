"""What `scrimp sim` is told becomes values of the simulator, and what cannot be is one sentence."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.cli.sim_options import STEPS_MAX, fault_rows, faults_of, keys_of, rule_rows, rules_of
from scrimp.errors import UsageError
from scrimp.sim.faults import SERVED, Fault, Faults
from scrimp.sim.rules import SWITCHES, Rules


def _drawn(kinds: str | None, share: float, script: str | None, seed: int, count: int) -> list[Fault | None]:
    source = faults_of(kinds, share, script, seed)
    assert source is not None
    return [source.next() for _ in range(count)]


def test_rules_are_read_in_their_own_types() -> None:
    """Numbers, switches, words, and names with commas between them."""
    given = ["lookback_positions=7", "threads=true", "image_salt = count", "refuse_zero_tokens=claude-a, claude-b"]
    models = frozenset({"claude-a", "claude-b"})
    expected = Rules(lookback_positions=7, threads=True, image_salt="count", refuse_zero_tokens=models)
    assert expected == rules_of(given, {})


def test_a_rule_wins_over_its_shorthand() -> None:
    """What was not given decides nothing."""
    assert Rules() == rules_of([], {"tier": None, "threads": None})
    assert Rules(tier="scale", threads=True) == rules_of(["tier=scale"], {"tier": "build", "threads": True})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("lookback=7", "There is no rule 'lookback'. Did you mean lookback_positions?"),
        ("zzz=7", "There is no rule 'zzz'. See `scrimp sim --help`."),
        ("threads", "--rule threads is no pair. Write it like --rule lookback_positions=7."),
        ("=7", "--rule =7 is no pair."),
        ("threads=perhaps", "A rule cannot be that: expected `bool`"),
        ("tier=evaluation", "A rule cannot be that: invalid enum value 'evaluation'"),
        ("eviction_permille=1001", "A rule cannot be that: expected `int` <= 1000"),
        ("requests_per_minute=0", "A rule cannot be that: expected `int` >= 1"),
    ],
)
def test_a_rule_that_cannot_be_is_named(given: str, said: str) -> None:
    """In one sentence, with what to do next."""
    with pytest.raises(UsageError) as refused:
        rules_of([given], {})
    assert str(refused.value).startswith(said)


def test_a_script_is_the_fault_of_each_request_in_turn() -> None:
    """Repeated, with a place in the answer, and none after its end."""
    expected = [None, None, Fault("overloaded"), Fault("cut", 900_000), Fault("cut", 900_000), None]
    assert expected == _drawn(None, 1, "ok*2, overloaded, cut@90*2", 0, 6)


@pytest.mark.parametrize(
    "script", ["cut@101", "cut@x", "cut*x", "ok*-1", "cuts", "duplicate", "", "ok,,cut", f"ok*{STEPS_MAX},ok"]
)
def test_a_script_that_cannot_be_is_refused(script: str) -> None:
    """Places are per cents, counts are bounded, and a duplicate is the doing of a client."""
    with pytest.raises(UsageError):
        _drawn(None, 1, script or ",", 0, 1)


def test_kinds_are_drawn_by_the_seed() -> None:
    """Those that are named, all of them, or a swarm's half; as many as the share says."""
    assert {"cut", "end"} == {fault.kind for fault in _drawn("cut, end", 1, None, 3, 60) if fault}
    assert set(SERVED) == {fault.kind for fault in _drawn("all", 1, None, 3, 600) if fault}
    assert [None] * 50 == _drawn("all", 0, None, 3, 50)
    swarms = [{fault.kind for fault in _drawn("swarm", 1, None, seed, 300) if fault} for seed in (3, 3, 4)]
    assert swarms[0] == swarms[1] != swarms[2]
    assert isinstance(faults_of("swarm", 1, None, 3), Faults)


def test_faults_are_drawn_or_written_down() -> None:
    """Neither is none at all, both are refused."""
    assert faults_of(None, 0.5, None, 1) is None
    with pytest.raises(UsageError, match="exclude each other"):
        faults_of("cut", 0.5, "ok", 1)
    with pytest.raises(UsageError, match="Did you mean overloaded"):
        faults_of("overload", 0.5, None, 1)


def test_keys_belong_to_workspaces() -> None:
    """None named is any key; a key in two workspaces is refused."""
    assert keys_of([]) is None
    assert {"k1": "blue", "k2": "blue", "k3": "red"} == keys_of(["blue=k1, k2", "red=k3"])
    with pytest.raises(UsageError, match="share a key"):
        keys_of(["blue=k1", "red=k1"])
    with pytest.raises(UsageError, match="is no pair"):
        keys_of(["blue"])


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever stands on a command line."""
    readers: list[Callable[[], object]] = [
        lambda: rules_of([text], {}),
        lambda: faults_of(text, 1, None, 0),
        lambda: faults_of(None, 1, text, 0),
        lambda: keys_of([text]),
    ]
    for read in readers:
        with suppress(UsageError):
            read()


def test_the_help_has_every_fault_and_every_rule() -> None:
    """With what it may be and what it is unless told otherwise."""
    assert list(SERVED) == [name for name, _ in fault_rows()]
    rules = dict(rule_rows())
    assert list(SWITCHES) == list(rules)
    assert rules["tier"].endswith(": start, build, scale  [default: start]")
    for field in msgspec.structs.fields(Rules):
        assert SWITCHES[field.name] in rules[field.name]
