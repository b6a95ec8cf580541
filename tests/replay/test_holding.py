"""`scrimp-safe` on recorded steps: causal, within the API's limits, and accounted for to the token."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from scrimp.core.belief.account import FORGOTTEN_MS, Account, Pings
from scrimp.core.belief.gaps import EDGES_MS
from scrimp.replay.emulator import Decision
from scrimp.replay.policies import held
from scrimp.replay.regret import Course
from scrimp.replay.steps import Step
from tests.replay.courses import CARD, PAUSES_MS, account, conversation, setting, step

#: An account for which an hour has paid for itself many times over.
HOURLY = Account(hour_saved=1e9)


def _decisions(steps: list[Step], before: Account | None = None) -> list[Decision]:
    return list(held(setting(steps, before))[0])


def _marks(decision: Decision) -> tuple[object, ...]:
    return decision.ttl, decision.base_ttl, decision.fronts


@given(st.data())
@settings(max_examples=80)
def test_marks_depend_on_the_past_alone(data: st.DataObject) -> None:
    """Whatever comes later, the marks of a step are the same, and so are the pings for people until then.

    Pings for machines that a recording is cut at are not charged, so those are left out.
    """
    steps = account(lambda low, high: data.draw(st.integers(low, high)))
    cut = data.draw(st.integers(1, len(steps)))
    whole, part = _decisions(steps), _decisions(steps[:cut])
    assert [*map(_marks, part)] == [*map(_marks, whole[:cut])]
    end_ms = steps[cut - 1].at_ms
    people = [at for at in range(cut) if steps[at].waiting not in {"tool", "agent"}]
    sent = [[[at for at in each[step].pings_ms if at < end_ms] for step in people] for each in (whole, part)]
    assert sent[0] == sent[1]


@given(st.data(), st.sampled_from([Account(), HOURLY]))
@settings(max_examples=80)
def test_marks_keep_to_the_limits_of_the_api(data: st.DataObject, before: Account) -> None:
    """Four marks at most, and none of an hour behind one of five minutes."""
    steps = account(lambda low, high: data.draw(st.integers(low, high)))
    each = setting(steps, before)
    for index, decision in enumerate(held(each)[0]):
        ends = each.emulator.ways.ends
        marks = [(steps[index].base_tokens, decision.base_ttl), *((ends[at], ttl) for at, ttl in decision.fronts)]
        placed = sorted([*marks, (ends[index], decision.ttl)], key=lambda mark: mark[0])
        ttls = [ttl for tokens, ttl in placed if ttl is not None and tokens]
        assert len(ttls) <= 4
        assert ttls == sorted(ttls, key=("1h", "5m").index)


@given(st.lists(st.sampled_from(PAUSES_MS), max_size=12), st.sampled_from([Account(), HOURLY]))
def test_the_account_pays_what_the_emulator_bills(pauses_ms: list[int], before: Account) -> None:
    """In a plain conversation the policy's own books are the bill, ping by ping."""
    steps = conversation(pauses_ms)
    each = setting(steps, before)
    decisions, after = held(each)
    course = Course(steps, each.emulator.ways, each.cards, decisions, each.emulator.bill(decisions))
    assert sum(course.costs()) == after.spent_pico_usd


def test_a_tool_is_held_until_it_comes_back() -> None:
    """Pings every 290 s, from the start of the request, and none at or after the return."""
    decision = _decisions(conversation([900_000], waiting="tool"))[0]
    assert (290_000, 580_000, 870_000) == decision.pings_ms


def test_a_recording_cut_at_a_tool_is_not_charged_for_pings() -> None:
    """What a tool would have done after the end of the recording is not known; a person who never came is charged."""
    assert ((), True) == (
        _decisions(conversation([], waiting="tool"))[0].pings_ms,
        bool(_decisions(conversation([]))[0].pings_ms),
    )


def test_another_session_ends_most_pings() -> None:
    """A person who begins another session after seven minutes is pinged for less long."""
    alone = conversation([], waiting="turn_ended")
    other = step(1, 420_000, session_id="other", waiting="tool")
    assert len(_decisions([*alone, other])[0].pings_ms) < len(_decisions(alone)[0].pings_ms)


def test_a_prompt_that_another_thinking_mode_leaves_behind_is_held() -> None:
    """When thinking is switched off for a turn, the prompt with thinking is kept for when it is switched on again."""
    steps = [
        step(0, 0, waiting="turn_ended", total=50_000),
        step(1, 60_000, 0, 10_000, 50_000, cause="thinking"),
        step(2, 500_000, 0, 50_000, 60_000),
    ]
    each = setting(steps)
    decisions = held(each)[0]
    assert (290_000,) == decisions[0].pings_ms
    assert 50_000 == each.emulator.bill(decisions).usages[2].cache_read_input_tokens


def test_only_as_many_are_held_on_to_as_a_gateway_keeps() -> None:
    """Of three modes left behind one after the other, the first one is pinged no more."""
    steps = [step(0, 0, waiting="turn_ended", total=50_000)]
    steps += [step(n, n * 60_000, 0, 1_000, 50_000, cause="thinking", waiting="turn_ended") for n in range(1, 4)]
    pings = [decision.pings_ms for decision in _decisions(steps)]
    assert [False, True, True, True] == [bool(each) for each in pings]


def test_who_comes_back_to_what_was_forgotten_begins_anew() -> None:
    """A prompt aside is given up with its pause, and its return is a request like any other."""
    steps = [
        step(0, 0, waiting="turn_ended", total=50_000),
        step(1, 60_000, 0, 1_000, 50_000, cause="thinking", waiting="turn_ended"),
        step(2, 2 * FORGOTTEN_MS, 1, 50_000, 60_000, waiting="turn_ended"),
        step(3, 2 * FORGOTTEN_MS + 60_000, 0, 50_000, 60_000, cause="thinking", waiting="turn_ended"),
    ]
    decisions, after = held(setting(steps))
    assert decisions[0].pings_ms
    assert not any("/0" in name for name in after.pauses)


@pytest.mark.parametrize(("tokens", "is_held"), [(12, False), (50_000, True)])
def test_what_is_too_short_to_be_cached_is_not_pinged(tokens: int, is_held: bool) -> None:
    """A ping of it would be paid in full, so nothing is promised nor set aside for it."""
    steps = [step(n, n * 600_000, total=tokens, waiting="turn_ended") for n in range(3)]
    decisions, after = held(setting(steps))
    assert is_held == any(decision.pings_ms for decision in decisions)
    assert is_held or all(pause.pings == Pings() for pause in after.pauses.values())


def test_a_prompt_that_died_is_not_held_on_to() -> None:
    """Three hours later nothing of it is cached, and pinging would write it anew."""
    steps = [step(0, 0, waiting="turn_ended"), step(1, 10_800_000, 0, 1_000, 10_000, cause="thinking")]
    promised = _decisions(steps[:1])[0].pings_ms
    assert 0 < len(promised) < 37
    assert () == _decisions(steps)[0].pings_ms[len(promised) :]


def test_an_hour_is_gone_on_with_and_pinged_by_the_hour() -> None:
    """An account for which an hour pays writes it from the start, and holds it with a ping every 59 minutes."""
    decisions = _decisions(conversation([600_000, 7_000_000], waiting="tool"), HOURLY)
    assert [("1h", "1h")] * 3 == [(each.ttl, each.base_ttl) for each in decisions]
    assert (600_000 + 3_540_000,) == decisions[1].pings_ms


def test_a_mark_stands_on_the_border_of_two_lifetimes() -> None:
    """Where the guard allows no more hours, five minutes go on behind the hour, whose end keeps its mark."""
    slack = 300_000 * CARD.uncached_input
    nearly_spent = replace(HOURLY, spent_pico_usd=slack - 50_000 * (CARD.cache_write_1h - CARD.cache_write_5m))
    steps = [step(0, 0, total=50_000), step(1, 1_000, 0, 50_000, 60_000), step(2, 2_000, 1, 60_000, 70_000)]
    decisions = _decisions(steps, nearly_spent)
    assert [("1h", ()), ("5m", ((0, "1h"),)), ("5m", ((0, "1h"),))] == [(each.ttl, each.fronts) for each in decisions]


def test_a_chat_without_tools_is_never_pinged() -> None:
    """Neither is its tail marked for ever, where nobody goes on from it."""
    steps = [
        step(number, number * 1_000_000, session_id=f"s{number}", has_tools=False, total=20_000, waiting="turn_ended")
        for number in range(40)
    ]
    decisions = _decisions(steps)
    assert [()] * 40 == [each.pings_ms for each in decisions]
    assert ("5m", None) == (decisions[0].ttl, decisions[-1].ttl)


def test_pauses_that_nobody_ends_are_forgotten() -> None:
    """After eighty hours a session is given up, and its pings are paid for by then."""
    late = step(1, EDGES_MS[-1] + 10_000_000, session_id="other", waiting="turn_ended")
    after = held(setting([*conversation([]), late]))[1]
    assert ["other/"] == list(after.pauses)
