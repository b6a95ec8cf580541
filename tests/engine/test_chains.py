"""Remembered chains are the chains."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.events import RequestArrived
from scrimp.core.belief.prefix import chain_of, kept_blocks
from scrimp.core.belief.session import Belief, step, tails_of, trails
from scrimp.core.plan.planning import Policy, plan
from scrimp.core.wire.request import Request, parse
from scrimp.engine.chains import SAME_NAME_MAX, Chains, Grown
from scrimp.engine.readings import Readings
from scrimp.engine.weights import Weights
from scrimp.sim.clients import scripted_agent
from scrimp.sim.machine import Simulator
from scrimp.upstream.pricefeed import load_book
from tests.simulation.planned import with_a_clock

#: Shared on purpose: what was remembered for one conversation must not be wrong for another.
SHARED = Chains()
NOW_MS = 1_790_000_000_000


def request(texts: Sequence[str], system: str, effort: str) -> Request:
    """Return a request whose messages are tool runs, texts and whatever stands between."""
    blocks = {
        "u": {"type": "tool_use", "id": "t", "name": "a", "input": {}},
        "r": {"type": "tool_result", "tool_use_id": "t", "content": "b"},
    }
    contents = [[blocks.get(text, {"type": "text", "text": text})] for text in texts]
    messages = [{"role": "user", "content": content} for content in contents]
    body = {"model": "claude-opus-5-5", "messages": messages, "output_config": {"effort": effort}}
    return parse(json.dumps(body | ({"system": system} if system else {})).encode())


@given(
    st.lists(st.sampled_from(["a", "b", "u", "r"]), max_size=9),
    st.sampled_from(["", "one", "two"]),
    st.sampled_from(["low", "high"]),
)
def test_remembering_changes_no_chain(texts: list[str], system: str, effort: str) -> None:
    """Whatever conversations came before, of other branches, systems or settings: the same as worked out anew."""
    asked = request(texts, system, effort)
    blocks = kept_blocks(asked)
    assert chain_of(asked, blocks) == SHARED.chain(asked, blocks) == SHARED.chain(asked, blocks)
    (whole, alone), (known_whole, known_alone) = trails(asked), SHARED.trails(asked)
    assert (list(whole), alone) == (list(known_whole), known_alone)


def played(seed: int) -> list[dict[str, Any]]:
    """Return the requests of a scripted client that states the time in front of its system prompt."""
    simulator, conversation, heard = Simulator(), with_a_clock(scripted_agent(seed)), None
    bodies: list[dict[str, Any]] = []
    while True:
        try:
            ask = conversation.send(heard)  # type: ignore[arg-type]
        except StopIteration:
            return bodies
        bodies.append(ask.request)
        heard = simulator.handle(ask.request, ask.headers, NOW_MS).body


@pytest.mark.parametrize("policy", [Policy(), Policy(mode="safe"), Policy(mode="safe", order=True)])
def test_remembering_changes_no_plan(policy: Policy) -> None:
    """Conversations of all kinds, planned with what is remembered and without: the same plans."""
    chains, weights, readings, prices = Chains(), Weights(), Readings(), load_book()
    belief, moved = Belief(), 0
    for seed in range(12):
        for number, body in enumerate(played(seed)):
            asked, now_ms = parse(json.dumps(body).encode(), readings), NOW_MS + number
            found = chains.trails(asked)
            known = plan(asked, belief, policy, prices, now_ms, weights.count, found, chains=chains.chain)
            assert plan(asked, belief, policy, prices, now_ms) == known
            arrived = RequestArrived(
                f"{seed}.{number}", str(seed), known.prompt, known.split, now_ms, tails_of(asked, found), known.kinds
            )
            belief = step(belief, arrived)
            moved += known.moved is not None
    assert (moved > 0) is policy.order


def counted(known: list[int] | None, common: int, links: Sequence[Any]) -> list[int]:
    """Work out the sums of all beginnings of a chain, of what is known and the rest."""
    sums = (known or [])[:common]
    for link in links[common:]:
        sums = [*sums, (sums[-1] if sums else 0) + link]
    return sums


@given(st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 2), max_size=6)), max_size=30), st.integers(0, 12))
def test_only_the_rest_is_worked_out(asked: list[tuple[int, list[int]]], limit: int) -> None:
    """Any chains under any names: right each time, from a beginning that is as long as any that is remembered."""
    grown = Grown[list[int]](limit)
    for name, links in asked:
        shared: list[int] = []

        def work(
            known: list[int] | None, common: int, links: list[int] = links, shared: list[int] = shared
        ) -> list[int]:
            shared.append(common)
            return counted(known, common, links)

        assert counted(None, 0, links) == grown.grown(name, links, work)
        was_kept = name in grown._known
        grown.grown(name, links, work)
        assert shared[1] == was_kept * len(links)
        assert was_kept or limit < SAME_NAME_MAX * 6
        kept = [each for chains in grown._known.values() for each in chains]
        assert sum(len(each.links) for each in kept) == grown._size <= limit
        assert max(map(len, grown._known.values()), default=0) <= SAME_NAME_MAX


def test_links_take_the_room_that_they_say() -> None:
    """What is too large is not remembered, and what was remembered has to make room for it."""
    grown = Grown[int](10, sum)
    assert [0, 1, 0] == [grown.grown("a", [link], lambda _, common: common) for link in (10, 10, 11)]
    assert {} == grown._known


@given(st.lists(st.integers(0, 1), max_size=200), st.lists(st.integers(0, 1), max_size=200), st.integers(0, 200))
def test_what_is_common_is_found_link_by_link(one: list[int], two: list[int], shared: int) -> None:
    """However many links are compared at once, the number is that of the equal ones that two chains begin with."""
    two = one[:shared] + two
    expected = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    grown = Grown[int]()
    grown.grown("a", one, lambda _, common: common)
    assert expected == grown.grown("a", two, lambda _, common: common)


def test_many_short_conversations_take_no_more_room_than_a_few_long_ones() -> None:
    """A chain takes room besides its places, so that of many conversations of one message few are remembered."""
    chains = Chains()
    chains._trails._limit = 100
    for number in range(100):
        chains.trails(request([f"t{number}"], "", "low"))
    assert 0 < len(chains._trails._known) < 20


def test_a_long_schema_is_not_remembered_with_each_conversation() -> None:
    """What the output has to look like is a part of the cache's key, and stands there as a digest."""
    schema = {"type": "object", "description": "A form. " * 1_000}
    body = {"model": "claude-opus-5-5", "messages": [{"role": "user", "content": "Go."}]}
    chains, sizes = Chains(), list[int]()
    for fields in ({}, {"output_config": {"format": {"type": "json_schema", "schema": schema}}}):
        asked = parse(json.dumps(body | fields).encode())
        chains.chain(asked, kept_blocks(asked))
        sizes.append(len(repr(list(chains._chains._known)[-1])))
    assert 2 == len(chains._chains._known)
    assert max(sizes) < 200
