"""What holding saves on real sessions: learned on one half of them, reported on the other, beside the optimum.

The prior is fitted on half of the sessions of one project and on the other projects, and the other half is replayed by
an account that knows nothing else; then the halves change places. The shipped prior is fitted on all of them, so it is
not used here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from bench.policies import TARGETS, crossed

from scrimp.replay.branching import steps_of
from scrimp.replay.compare import Task, compared, replayed
from scrimp.replay.gather import Material, gather
from scrimp.replay.policies import POLICIES
from scrimp.upstream.pricefeed import load_book

BOOK = load_book()
ALL = tuple(POLICIES)

Record = Callable[[str, object], None]

pytestmark = pytest.mark.data


@cache
def _gathered(folder: Path) -> Material:
    return gather([str(folder)])


@pytest.fixture
def material(data: Path) -> Material:
    """Return the recorded sessions."""
    return _gathered(data / "claude_code_sessions")


def _listed(ratios: dict[str, float]) -> str:
    return ", ".join(f"{name} {ratio:.3f}" for name, ratio in ratios.items())


@pytest.mark.parametrize("model", list(TARGETS))
def test_holding_comes_close_to_the_optimum_on_sessions_it_has_not_seen(
    material: Material, model: str, record_property: Record
) -> None:
    """At every price of a read, and it is cheaper than any fixed policy."""
    comparison = crossed(material, model)
    regrets = {name: policy.regret or 0 for name, policy in comparison.policies.items()}
    record_property("measured", f"cost / optimum, {model}: {_listed(regrets)}")
    _, limit = TARGETS[model]
    assert regrets["scrimp-safe"] <= limit
    assert "scrimp-safe" == min(regrets, key=regrets.__getitem__)
    assert min(regrets.values()) >= 1


@pytest.mark.parametrize("model", [None, *TARGETS])
def test_the_optimum_is_below_every_policy_on_every_session(material: Material, model: str | None) -> None:
    """Each session replayed alone; the guard is checked each time."""
    exchanges = material.exchanges
    for session in dict.fromkeys(exchange.session_id for exchange in exchanges):
        own = [exchange for exchange in exchanges if exchange.session_id == session]
        for name, steps in steps_of(own, material.links).items():
            outcome = replayed(Task(name, steps, ALL, BOOK, model))
            assert outcome.optimum_pico_usd <= min(outcome.costs.values()), session
            assert 0 == outcome.over_guard_pico_usd, session


@pytest.mark.parametrize("model", list(TARGETS))
def test_chats_cost_no_more_than_under_automatic_caching(data: Path, model: str, record_property: Record) -> None:
    """Mooncake's traffic has no tools, so nothing is pinged and nothing is written for an hour."""
    accounts = _gathered(data / "mooncake").accounts
    comparison = compared([replayed(Task(name, steps, ALL, BOOK, model)) for name, steps in accounts.items()], ALL)
    costs = {name: policy.input_pico_usd for name, policy in comparison.policies.items()}
    beside = {name: cost / costs["automatic"] for name, cost in costs.items()}
    record_property("measured", f"Mooncake / automatic caching, {model}: {_listed(beside)}")
    assert costs["scrimp-safe"] <= costs["automatic"]
    assert costs["1h"] > costs["automatic"]
