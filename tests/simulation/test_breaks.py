"""Breaks of the cache, injected: cause, block, byte are found, and the cost shown is the difference of two invoices."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest

from scrimp.core.belief.divergence import compare
from scrimp.core.wire.request import parse
from tests.simulation.breaks import CHANGES, MARK, Kind, conversation, exchange
from tests.simulation.claude_shapes import claude_code_turn
from tests.simulation.injection import MINUTE_MS, check, explained, invoice
from tests.simulation.real_turns import NO_SESSIONS, SESSIONS, real_turns

#: Kinds that are injected into real sessions: what a client does to the messages, whatever is in front of them.
IN_MESSAGES = [kind for kind in CHANGES if kind.cause in {"message_edited", "result_cleared", "compaction"}]


@pytest.mark.parametrize("kind", CHANGES, ids=lambda kind: kind.cause)
def test_a_change_is_found_where_it_was_made_and_costs_what_it_costs(kind: Kind) -> None:
    """Cause, block, byte and money of every kind of change, in 24 conversations each."""
    for seed in range(24):
        check(kind, seed, *conversation(seed))


@pytest.mark.parametrize("kind", CHANGES, ids=lambda kind: kind.cause)
def test_a_change_in_requests_of_claude_code(kind: Kind) -> None:
    """The same in requests built as Claude Code builds them: three system blocks, reminders, deferred tools, effort."""
    for seed in range(12):
        check(kind, seed, *claude_code_turn(seed))


@pytest.mark.skipif(not SESSIONS.is_dir(), reason=NO_SESSIONS)
@pytest.mark.parametrize("kind", IN_MESSAGES, ids=lambda kind: kind.cause)
def test_a_change_in_real_sessions(kind: Kind) -> None:
    """A message rewritten, a result cleared, a history compacted, each in the recorded messages of real sessions."""
    turns = list(real_turns())
    assert len(turns) >= 50
    for seed, (before, after) in enumerate(turns):
        check(kind, seed, before, after)


@pytest.mark.skipif(not SESSIONS.is_dir(), reason=NO_SESSIONS)
def test_lifetimes_that_are_over_in_real_sessions() -> None:
    """Six minutes of silence in the middle of each real session."""
    for before, after in real_turns():
        found = explained(before, after, 6 * MINUTE_MS)
        assert found is not None
        unbroken = invoice([(before, 0), (after, MINUTE_MS)])
        assert ("ttl_expired", invoice([(before, 0), (after, 6 * MINUTE_MS)]) - unbroken) == (
            found.cause,
            found.cost_nano_usd,
        )


def later(body: dict[str, Any], blocks: int) -> dict[str, Any]:
    """Return a request that goes on by so many blocks, marked at its end only."""
    after = copy.deepcopy(body)
    for block in after["messages"][-1]["content"]:
        block.pop("cache_control", None)
    after["messages"][-1]["content"] += [{"type": "text", "text": f"Block {number}."} for number in range(blocks)]
    after["messages"][-1]["content"][-1]["cache_control"] = MARK
    return after


def test_a_look_back_that_ends_too_early() -> None:
    """A turn that appends 25 blocks behind the last entry; marking that entry's block too is what it should cost."""
    before, _ = conversation(1)
    after = later(before, 25)
    for block in after["system"]:
        block.pop("cache_control", None)
    found = explained(before, after, MINUTE_MS)
    bridged = copy.deepcopy(after)
    bridged["messages"][-1]["content"][1]["cache_control"] = MARK
    assert found is not None
    assert "look_back" == found.cause
    assert invoice([(before, 0), (after, MINUTE_MS)]) - invoice([(before, 0), (bridged, MINUTE_MS)]) == (
        found.cost_nano_usd
    )


def test_a_lifetime_that_is_over() -> None:
    """The same request six minutes later writes anew what it would have read after one."""
    before, after = conversation(2)
    found = explained(before, after, 6 * MINUTE_MS)
    assert found is not None
    assert "ttl_expired" == found.cause
    assert invoice([(before, 0), (after, 6 * MINUTE_MS)]) - invoice([(before, 0), (after, MINUTE_MS)]) == (
        found.cost_nano_usd
    )


def test_a_prefix_that_is_still_being_written() -> None:
    """A request sent before the first token of the one that writes its prefix writes it a second time."""
    before, after = conversation(3)
    found = explained(before, after, 100, landed_ms=400)
    assert found is not None
    assert "concurrency" == found.cause
    assert invoice([(before, 0), (after, 100)]) - invoice([(before, 0), (after, MINUTE_MS)]) == found.cost_nano_usd


def test_a_prefix_below_the_minimum() -> None:
    """What is shorter than the model's minimum was never cached, whatever was marked."""
    short = {"role": "user", "content": [{"type": "text", "text": "Hi.", "cache_control": MARK}]}
    before = {"model": "claude-opus-5-5", "max_tokens": 100, "messages": [short]}
    found = explained(before, {**before, "messages": [short, *exchange(1, random.Random(0))]}, MINUTE_MS)
    assert found is not None
    assert "below_minimum" == found.cause


def test_marks_that_are_gone() -> None:
    """A request without the mark behind the history reads no more than the system prompt."""
    before, after = conversation(4)
    after["messages"][-1]["content"][-1].pop("cache_control")
    found = explained(before, after, MINUTE_MS)
    assert found is not None
    assert "not_marked" == found.cause


def test_going_on_is_no_break() -> None:
    """A request that only goes on, and one that takes its last turn back, change nothing."""
    for seed in range(20):
        before, after = conversation(seed)
        assert explained(before, after, MINUTE_MS) is None
        assert compare(parse(json.dumps(after).encode()), parse(json.dumps(before).encode())) is None
