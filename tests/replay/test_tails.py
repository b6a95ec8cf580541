"""Ends of chats' prompts: counted once each, as read again in time or not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scrimp.core.belief.account import Account, Tally
from scrimp.replay.emulator import Ways
from scrimp.replay.steps import Step
from scrimp.replay.tails import Tails
from tests.replay.courses import CARD, account, conversation


def _counted(steps: list[Step]) -> Account:
    tails, belief = Tails(steps, Ways(steps)), Account()
    for index, each in enumerate(steps):
        belief = tails.seen(belief, index, each)
    return belief


@pytest.mark.parametrize(
    ("pauses_ms", "tails"),
    [
        ([299_999], {"turn 1": Tally(50_000, 50_000)}),
        ([300_000], {"turn 1": Tally(0, 50_000)}),
        ([1_000, 1_000], {"turn 1": Tally(50_000, 50_000), "turn 2": Tally(1_000, 1_000)}),
        ([], {}),
    ],
)
def test_a_tail_is_read_in_time_or_not(pauses_ms: list[int], tails: dict[str, Tally]) -> None:
    """By the five minutes of a mark; a tail that is still waiting is not counted yet."""
    assert tails == _counted(conversation(pauses_ms)).tails


@given(st.data())
def test_no_tail_is_counted_twice(data: st.DataObject) -> None:
    """However prompts branch, no more tokens are counted than were sent, nor more read than counted."""
    steps = account(lambda low, high: data.draw(st.integers(low, high)))
    tallies = _counted(steps).tails.values()
    assert sum(tally.foreseen for tally in tallies) <= sum(step.total_tokens for step in steps)
    assert all(tally.returns <= tally.foreseen for tally in tallies)


def test_what_the_guard_cannot_risk_is_marked() -> None:
    """Leaving a tail plain could cost what automatic caching does not, so an account in debt marks as that would."""
    steps = conversation([])
    tails = Tails(steps, Ways(steps))
    unread = replace(Account(), tails={"turn 1": Tally(0, 10**7)}, automatic_pico_usd=10**15)
    belief = tails.seen(unread, 0, steps[0])
    assert not tails.marks(belief, 0, 50_000, CARD)
    assert tails.marks(replace(belief, spent_pico_usd=10**16), 0, 50_000, CARD)
