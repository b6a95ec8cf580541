"""Regret by cause: it adds up, and each loss carries the right name."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrimp.core.plan.optimum import Bound, Visit, lossless
from scrimp.core.wire.blocks import Ttl
from scrimp.core.wire.usage import Usage
from scrimp.replay.emulator import Decision, Emulator
from scrimp.replay.policies import POLICIES
from scrimp.replay.regret import CAUSES, Cause, Course, causes_of, input_pico_usd
from scrimp.replay.steps import Step
from tests.replay.courses import CARD, account, conversation, setting, step

READ, SHORT, LONG, PLAIN = CARD.cache_read, CARD.cache_write_5m, CARD.cache_write_1h, CARD.uncached_input


def _bound(steps: Sequence[Step]) -> Bound:
    visits = [Visit(s.at_ms, s.total_tokens, s.parent, s.shared_tokens, s.given_tokens) for s in steps]
    return lossless(visits, [CARD] * len(steps))


def _course(steps: Sequence[Step], decisions: Sequence[Decision]) -> Course:
    emulator = Emulator(steps)
    return Course(steps, emulator.ways, [CARD] * len(steps), decisions, emulator.bill(decisions))


def _causes(steps: Sequence[Step], ttl: Ttl | None, **first: tuple[int, ...]) -> dict[Cause, int]:
    decisions = [Decision(ttl, None, (), first.get("pings_ms", ())), *[Decision(ttl, None)] * (len(steps) - 1)]
    return causes_of(_course(steps, decisions), _bound(steps))


@given(st.data(), st.sampled_from(list(POLICIES)))
@settings(max_examples=100)
def test_causes_add_up_to_the_regret(data: st.DataObject, name: str) -> None:
    """To the pico-dollar, for every policy on every account."""
    steps = account(lambda low, high: data.draw(st.integers(low, high)))
    course = _course(steps, POLICIES[name](setting(steps)))
    causes = causes_of(course, _bound(steps))
    assert sum(course.costs()) - _bound(steps).cost_pico_usd == sum(causes.values())
    assert set(causes) <= set(CAUSES)


@pytest.mark.parametrize(
    ("steps", "ttl", "cause", "amount"),
    [
        (conversation([400_000]), "5m", "expired", 50_000 * (SHORT - READ)),
        (conversation([10_000]), None, "no_mark", 50_000 * (PLAIN - READ)),
        (conversation([10_000]), "1h", "hour_unused", 51_000 * (LONG - SHORT)),
        (conversation([400_000]), "1h", "hour_used", 50_000 * (LONG - SHORT)),
        (conversation([10_000]), "5m", "never_read", 1_000 * (SHORT - PLAIN)),
        ([step(0, 0, first_token_at_ms=5_000), step(1, 1_000, 0, 10_000)], "5m", "in_flight", 10_000 * (SHORT - READ)),
        ([step(0, 0), step(1, 1_000, 0, 10_000, blocks=25)], "5m", "look_back", 10_000 * (SHORT - READ)),
        ([step(0, 0, total=100), step(1, 1_000, 0, 100, 100)], "5m", "too_short", 100 * (PLAIN - READ)),
        ([step(0, 0), step(1, 1_000, 0, 9_000)], "5m", "no_mark", 9_000 * (SHORT - READ)),
    ],
)
def test_each_loss_has_its_cause(steps: list[Step], ttl: Ttl | None, cause: Cause, amount: int) -> None:
    """By hand, one loss at a time."""
    assert amount == _causes(steps, ttl)[cause]


def test_pings_are_kept_or_wasted() -> None:
    """A ping in front of a read that it made possible is kept; one that nobody came after, or too late, is wasted."""
    price = 50_000 * READ
    assert price == _causes(conversation([500_000]), "5m", pings_ms=(290_000,))["pings_kept"]
    assert price == _causes(conversation([900_000]), "5m", pings_ms=(290_000,))["pings_wasted"]
    assert price == _causes(conversation([]), "5m", pings_ms=(290_000,))["pings_wasted"]


def test_knowing_the_future_has_a_price_too() -> None:
    """Where even the optimum must ping or write again, the regret does not count it."""
    assert -50_000 * READ == _causes(conversation([400_000]), "5m")["unavoidable"]


def test_the_input_side_leaves_out_the_answer() -> None:
    """The four classes of input at their rates, nothing else."""
    assert PLAIN + 10 * READ + 100 * SHORT + 1_000 * LONG == input_pico_usd(Usage(1, 10, 100, 1_000, 9_999), CARD)


def test_a_courses_costs_count_pings_to_the_step_they_hold() -> None:
    """The first of two steps pays for its ping."""
    course = _course(conversation([500_000]), [Decision("5m", None, (), (290_000,)), Decision("5m", None)])
    assert [50_000 * (SHORT + READ), 50_000 * READ + 1_000 * SHORT] == course.costs()
