"""Sessions are recognised and beliefs are a fold over events."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief import session as session_module
from scrimp.core.belief.cache import predict
from scrimp.core.belief.events import Event, FirstToken, RequestArrived, RequestFailed, UsageSeen
from scrimp.core.belief.prefix import Prompt, read_prompt
from scrimp.core.belief.session import Belief, session_of, step, tails_of
from scrimp.core.wire.request import Request, parse
from scrimp.core.wire.usage import Usage

SYSTEM = "you are an agent"
CACHE = "claude-opus-5-5|standard"


def request(*texts: str, system: str = SYSTEM, **fields: str) -> Request:
    """Return a request of user texts under one system prompt, marked at its end."""
    messages = [{"role": "user", "content": text} for text in texts]
    body = {"model": "claude-opus-5-5", "system": system, "messages": messages, "cache_control": {"type": "ephemeral"}}
    return parse(json.dumps({**body, **fields}).encode())


def prompt(asked: Request) -> Prompt:
    """Return its chain, at 600 tokens a block."""
    return read_prompt(asked, [600] * len(asked.blocks))


def arrive(belief: Belief, asked: Request, exchange_id: str, session_id: str, at_ms: int = 0) -> Belief:
    """Fold the sending of a request."""
    chained = prompt(asked)
    split = predict(belief.caches.get(chained.cache, {}), chained, at_ms, belief.rules)
    return step(belief, RequestArrived(exchange_id, session_id, chained, split, at_ms, tails_of(asked)))


def test_a_stated_session_is_taken() -> None:
    """What the client says is stronger than what we see."""
    assert "s" == session_of(Belief(), request("a"), "s", "fresh")


def test_an_extended_prompt_continues_its_session() -> None:
    """The longest known prefix that reaches into the messages names the session."""
    belief = arrive(arrive(Belief(), request("a"), "x1", "one"), request("b"), "x2", "two")

    assert "one" == session_of(belief, request("a", "next"), None, "fresh")
    assert "two" == session_of(belief, request("b", "next", "more"), None, "fresh")
    assert "one" == session_of(belief, request("a"), None, "fresh")


def test_a_shared_system_prompt_is_not_a_session() -> None:
    """Two agents with one system prompt are two sessions."""
    belief = arrive(Belief(), request("a"), "x1", "one")

    assert "fresh" == session_of(belief, request("other"), None, "fresh")


def test_equal_messages_are_told_apart_by_their_system_prompt() -> None:
    """Two agents read one document; each goes on in its own session, and a moving clock in the system is no other."""
    belief = arrive(
        arrive(Belief(), request("doc", system="sum up"), "x1", "one"), request("doc", system="ask"), "x2", "two"
    )

    assert "one" == session_of(belief, request("doc", "more", system="sum up"), None, "fresh")
    assert "two" == session_of(belief, request("doc", "more", system="ask"), None, "fresh")
    assert "two" == session_of(belief, request("doc", "more", system="ask, it is 10:31"), None, "fresh")


def test_equal_opening_words_are_not_one_conversation() -> None:
    """Two products whose users both say "Start" are told apart by their system prompts until one of them goes on."""
    belief = arrive(Belief(), request("Start", system="a shop"), "x1", "one")

    assert "fresh" == session_of(belief, request("Start", system="a bank"), None, "fresh")
    assert "one" == session_of(belief, request("Start", system="a shop"), None, "fresh")


def test_a_session_survives_a_change_of_model() -> None:
    """Model and settings are not what a conversation is told by."""
    belief = arrive(Belief(), request("a"), "x1", "one")

    assert "one" == session_of(belief, request("a", "b", model="claude-haiku-4-5", speed="fast"), None, "fresh")


def test_an_exchange_from_arrival_to_usage() -> None:
    """Its writes land at the first token, its usage is added to its session, and its flight ends."""
    belief = arrive(Belief(), request("a"), "x1", "s", 5)
    assert 0 == predict(belief.caches[CACHE], prompt(request("a", "b")), 6, belief.rules).usage.cache_read_input_tokens

    belief = step(belief, FirstToken("x1", 7))
    assert (
        1200 == predict(belief.caches[CACHE], prompt(request("a", "b")), 8, belief.rules).usage.cache_read_input_tokens
    )

    belief = step(belief, UsageSeen("x1", Usage(output_tokens=3), 9))
    assert Usage(output_tokens=3) == belief.sessions["s"].usage
    assert {} == belief.flights


def test_bills_teach_how_long_prompts_are() -> None:
    """Where the API counts more than we estimated, later estimates grow, for that model alone."""
    belief = Belief()
    for index in range(9):
        belief = arrive(belief, request(f"{index}"), f"x{index}", "s", index)
        belief = step(belief, UsageSeen(f"x{index}", Usage(uncached_input_tokens=1800), index))

    assert belief.calibration.ratio("claude-opus-5-5") > 1.2
    assert belief.calibration.ratio("claude-haiku-5-5") == 1.0


def test_a_failure_takes_its_writes_back() -> None:
    """After an error nothing can be read that it would have written."""
    belief = step(arrive(Belief(), request("a"), "x1", "s"), RequestFailed("x1", 1))

    assert {} == belief.caches[CACHE]
    assert {} == belief.flights


@given(st.lists(st.sampled_from(["first", "usage", "failed"]), max_size=6))
def test_events_of_unknown_exchanges_change_nothing(kinds: list[str]) -> None:
    """A late or doubled event is harmless."""
    events: dict[str, Event] = {
        "first": FirstToken("?", 1),
        "usage": UsageSeen("?", Usage(1), 1),
        "failed": RequestFailed("?", 1),
    }
    belief = arrive(Belief(), request("a"), "x1", "s")
    for kind in kinds:
        assert belief == step(belief, events[kind])


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently used session is forgotten first."""
    monkeypatch.setattr(session_module, "SESSIONS_MAX", 3)
    monkeypatch.setattr(session_module, "FLIGHTS_MAX", 2)
    monkeypatch.setattr(session_module, "TAILS_MAX", 5)
    monkeypatch.setattr(session_module, "CACHES_MAX", 1)
    belief = Belief()
    for name in ("a", "b", "c", "a", "d"):
        belief = arrive(belief, request(name), f"x{name}", name)

    assert ["c", "a", "d"] == list(belief.sessions)
    assert 5 == len(belief.tails)
    assert 2 == len(belief.flights)
    belief = arrive(belief, request("e", model="claude-haiku-5-5"), "xe", "e")
    assert ["claude-haiku-5-5|standard"] == list(belief.caches)
    assert {} == step(belief, RequestFailed("xd", 1)).caches[CACHE]
