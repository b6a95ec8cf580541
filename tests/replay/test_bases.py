"""The length of tools and system, from what threads found warm."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage
from scrimp.replay.bases import Bases, model_of, thread_of


def first(session: str, read: int, written: int = 30_000, at_ms: int = 0, **more: Any) -> Exchange:
    """Return the first exchange of a session."""
    return Exchange(
        exchange_id=f"{session}-{at_ms}",
        opened_at_ms=at_ms,
        source="claude-code",
        session_id=session,
        served_model=more.pop("model", "claude-opus-4-6"),
        client=more.pop("client", "claude-code/2.1.7"),
        usage=Usage(cache_read_input_tokens=read, cache_write_5m_input_tokens=written),
        **more,
    )


def test_a_thread_that_found_something_warm_has_that_base() -> None:
    """Its first read is its base, whatever later requests read."""
    early, late = first("a", 9_000), first("a", 25_000, at_ms=1)

    assert (9_000, 9_000) == (Bases([early, late]).of(early), Bases([early, late]).of(late))


def test_a_cold_thread_is_like_the_others_of_its_build() -> None:
    """The median of the same model and client counts."""
    cold = first("z", 0)
    others = [first("a", 9_000), first("b", 7_000), first("c", 8_000), first("d", 1, client="claude-code/2.1.9")]

    assert 8_000 == Bases([*others, cold]).of(cold)


def test_where_no_build_is_the_same_the_nearest_in_time_counts() -> None:
    """Tools change from build to build, and builds with time."""
    cold = first("z", 0, at_ms=1_000, client="claude-code/2.1.8")
    others = [first("a", 9_000), first("b", 7_000, at_ms=900)]

    assert 7_000 == Bases([*others, cold]).of(cold)


def test_agents_are_not_like_main_threads() -> None:
    """Subagents have tools of their own."""
    cold = first("z", 0)

    assert 0 == Bases([first("a", 9_000, agent_id="a1"), cold]).of(cold)


def test_a_resumed_conversation_says_nothing_of_the_base() -> None:
    """A first request that reads nearly all of its prompt goes on with an older conversation."""
    resumed = first("a", 95_000, 1_000)

    assert (False, 0) == (Bases([resumed]).is_own(resumed), Bases([resumed]).of(resumed))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50_000), st.integers(0, 50_000)), min_size=1))
def test_a_base_is_some_first_read_or_nothing(found: list[tuple[str, int, int]]) -> None:
    """No base is made up."""
    exchanges = [first(session, read, written, at_ms) for at_ms, (session, read, written) in enumerate(found)]
    bases = Bases(exchanges)

    assert {bases.of(exchange) for exchange in exchanges} <= {0, *(read for _, read, _ in found)}


def test_names() -> None:
    """Threads are agents of sessions; the model that answered counts before the one that was asked for."""
    exchange = first("a", 0, agent_id="a1", requested_model="opus")

    assert (("a", "a1"), "claude-opus-4-6") == (thread_of(exchange), model_of(exchange))
