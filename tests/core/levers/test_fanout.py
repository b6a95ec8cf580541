"""Properties of the fan-out warm-up: who waits, for whom, and until when."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.cache import Split, predict
from scrimp.core.belief.events import FirstToken, RequestArrived, RequestFailed
from scrimp.core.belief.prefix import Prompt, read_prompt
from scrimp.core.belief.session import Belief, step
from scrimp.core.levers.fanout import KNOWN_FROM, Wait, landed, patience_ms, under_way, wait_for
from scrimp.core.wire.request import parse

NANO_USD = {"read": 200, "written": 5_000, "plain": 4_000}


def sibling(tokens: int, number: int = 0) -> Prompt:
    """Return the prompt of one of several agents: a marked system prompt of `tokens` tokens and a task of its own."""
    system = [{"type": "text", "text": "shared", "cache_control": {"type": "ephemeral"}}]
    messages = [{"role": "user", "content": f"task {number}"}]
    body = {"model": "claude-opus-5-5", "system": system, "messages": messages}
    return read_prompt(parse(json.dumps(body).encode()), [tokens, 20])


def cost(split: Split) -> int:
    """Price the input of a split at Opus 5.5's rates of November 2026."""
    usage = split.usage
    return (
        usage.cache_read_input_tokens * NANO_USD["read"]
        + usage.cache_write_input_tokens * NANO_USD["written"]
        + usage.uncached_input_tokens * NANO_USD["plain"]
    )


def sent(belief: Belief, prompt: Prompt, name: str, at_ms: int) -> Belief:
    """Record that a prompt was sent."""
    split = predict(belief.caches.get(prompt.cache, {}), prompt, at_ms, belief.rules)
    return step(belief, RequestArrived(name, "s", prompt, split, at_ms))


def asked(belief: Belief, prompt: Prompt, now_ms: int) -> Wait | None:
    """Ask whom a prompt should wait for."""
    then = landed(belief, prompt.cache)
    splits = [predict(each.caches.get(prompt.cache, {}), prompt, now_ms, each.rules) for each in (belief, then)]
    return wait_for(prompt, splits[1], belief, now_ms, cost(splits[0]) - cost(splits[1]))


def test_the_second_of_two_waits_for_the_first_s_first_token() -> None:
    """A sibling of a request that is writing 50,000 shared tokens waits for it, as long as first tokens take."""
    belief = sent(Belief(), sibling(50_000), "first", 1_000)
    wait = asked(belief, sibling(50_000, 1), 1_010)
    assert wait is not None
    assert ("first", 1_000 + patience_ms(belief, belief.flights["first"])) == (wait.flight, wait.until_ms)
    assert cost(Split(0, (), predict({}, sibling(50_000), 0, belief.rules).usage)) > wait.saves_nano_usd > 0


def test_nobody_waits_for_a_small_prefix() -> None:
    """A prefix whose reading saves less than a second of waiting is worth is not waited for."""
    assert asked(sent(Belief(), sibling(1_000), "first", 0), sibling(1_000, 1), 10) is None


def test_nobody_waits_once_it_can_be_read() -> None:
    """After the first token the prefix is read at once."""
    belief = step(sent(Belief(), sibling(50_000), "first", 0), FirstToken("first", 900))
    assert asked(belief, sibling(50_000, 1), 1_000) is None


def test_nobody_waits_for_what_failed() -> None:
    """A request that failed writes nothing, so there is nothing to wait for."""
    belief = step(sent(Belief(), sibling(50_000), "first", 0), RequestFailed("first", 900))
    assert asked(belief, sibling(50_000, 1), 1_000) is None


def test_nobody_waits_for_one_that_is_overdue() -> None:
    """A first token that is later than nearly all others is not waited for any longer."""
    belief = sent(Belief(), sibling(50_000), "first", 0)
    assert asked(belief, sibling(50_000, 1), patience_ms(belief, belief.flights["first"])) is None


@given(st.lists(st.integers(1, 60_000), min_size=KNOWN_FROM, max_size=64))
def test_patience_is_what_was_seen(times: list[int]) -> None:
    """Once enough first tokens were seen, a wait is as long as one of them, and at least as long as 9 in 10."""
    belief = Belief()
    for number, time_ms in enumerate(times):
        belief = step(sent(belief, sibling(9_000), f"x{number}", 0), FirstToken(f"x{number}", time_ms))
    belief = sent(belief, sibling(9_000), "last", 0)
    patience = patience_ms(belief, belief.flights["last"])
    assert patience in times
    assert sum(time_ms <= patience for time_ms in times) >= 0.9 * len(times)


@given(st.integers(0, 60_000), st.integers(0, 10**6))
def test_a_wait_is_never_longer_than_patience(tokens: int, pause_ms: int) -> None:
    """Whatever is asked when, a wait ends after now and within the first token's patience."""
    belief = sent(Belief(), sibling(tokens), "first", 0)
    wait = asked(belief, sibling(tokens, 1), pause_ms)
    if wait is not None:
        assert pause_ms < wait.until_ms <= patience_ms(belief, belief.flights["first"])


@given(st.lists(st.sampled_from(["first token", "failed", "pending"]), max_size=6))
def test_what_is_under_way_lands(ends: list[str]) -> None:
    """Exactly the prefixes without a first token are under way; once they land nothing is, and nothing else changed."""
    belief = Belief()
    for number, end in enumerate(ends):
        belief = sent(belief, sibling(5_000 + number), f"x{number}", 0)
        if end != "pending":
            event = FirstToken(f"x{number}", 1) if end == "first token" else RequestFailed(f"x{number}", 1)
            belief = step(belief, event)
    cache = sibling(1).cache
    entries = belief.caches.get(cache, {})
    assert {digest for digest, entry in entries.items() if entry.flights} == under_way(belief, cache)
    then = landed(belief, cache)
    assert set() == under_way(then, cache)
    assert entries.keys() == then.caches[cache].keys()
    assert all(entries[digest].expires_at_ms == entry.expires_at_ms for digest, entry in then.caches[cache].items())
