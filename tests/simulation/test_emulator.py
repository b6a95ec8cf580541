"""The cache emulator against the simulator, two models of one API that share no code, over seeded conversations."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence

import msgspec
import pytest

from scrimp.core.belief.answers import heard
from scrimp.core.belief.cache import CacheRules, predict
from scrimp.core.belief.events import Event, FirstToken, RequestArrived
from scrimp.core.belief.prefix import Prompt, kept_blocks, read_prompt
from scrimp.core.belief.session import Belief, session_of, step, tails_of
from scrimp.core.wire.blocks import Block
from scrimp.core.wire.request import parse
from scrimp.core.wire.usage import Usage, meter, read_usage
from scrimp.sim.binding import transformations, without
from scrimp.sim.clients import Played, play, scripted_agent
from scrimp.sim.habits import Traffic
from scrimp.sim.machine import Simulator
from scrimp.sim.models import find
from scrimp.sim.render import Position, render
from scrimp.sim.rules import Rules

SEEDS = 1000
START_MS = 1_790_000_000_000

#: All that agents do, the API's own web searches among it.
TRAFFIC = Traffic(searches=True)

#: The documentation's open questions, each decided both ways in both models.
SWITCHES = [
    (Rules(), CacheRules()),
    (Rules(collapse_tool_runs=False), CacheRules(tool_runs_count_once=False)),
    (Rules(refresh_shorter_entries=False), CacheRules(longer_read_refreshes_shorter=False)),
    (Rules(write_below_hit=True), CacheRules(write_below_hit=True)),
    (Rules(lookback_positions=7), CacheRules(lookback_positions=7)),
    (Rules(foreign_thinking="kept"), CacheRules(foreign_thinking_dropped=False)),
    (Rules(server_tool_breakpoints=False), CacheRules(server_tool_marks=False)),
]


def prompt_of(played: Played, rules: Rules, belief: Belief) -> Prompt:
    """Read the request as the gateway does, with the token counts that the API would state block by block."""
    request = parse(json.dumps(played.ask.request).encode())
    known = heard(belief, request)
    rendered = positions_of(played, rules)
    assert [position.kind for position in rendered] == [kind_of(block) for block in kept_blocks(request, known)]
    return read_prompt(request, [position.tokens for position in rendered], heard=known)


def positions_of(played: Played, rules: Rules) -> Sequence[Position]:
    """Return what the simulator's model sees of a request."""
    request, model = played.ask.request, find(played.ask.request["model"])
    assert model is not None
    prompt = render(request, model, rules)
    dropped = transformations(request, prompt, model, rules, frozenset())
    return render(without(request, dropped), model, rules).positions if dropped else prompt.positions


def kind_of(block: Block) -> str:
    """Return the kind of a block in the simulator's words."""
    return "tool" if block.path.startswith("tools.") else block.kind


def billed(played: Played) -> Usage:
    """Return the input side of what the simulator billed for the prompt itself: its first iteration."""
    said = played.answer.body["usage"]
    usage = read_usage((said.get("iterations") or [said])[0])
    assert usage is not None
    whole = meter(usage, None).usage
    return msgspec.structs.replace(whole, output_tokens=0, thinking_tokens=0, web_search_requests=0)


def timeline(conversation: list[Played]) -> Iterator[tuple[int, Played | None, str]]:
    """Yield arrivals and first tokens in time; what is out at a moment can be read at that moment."""
    moments = []
    for index, played in enumerate(conversation):
        if played.answer.status == 200:
            moments.append((played.started_at_ms, 1, index))
            moments.append((played.started_at_ms + played.answer.first_token_ms, 0, index))
    for at_ms, is_arrival, index in sorted(moments, key=lambda moment: (moment[0], moment[1], moment[2])):
        yield at_ms, conversation[index] if is_arrival else None, f"x{index}"


def mispredicted(seed: int, sim_rules: Rules, rules: CacheRules) -> list[tuple[Usage, Usage]]:
    """Play one conversation and return each pair of predicted and billed input that differs."""
    conversation = play(scripted_agent(seed, traffic=TRAFFIC), Simulator(sim_rules, seed=seed), START_MS)
    belief, wrong = Belief(rules=rules), []
    for at_ms, played, exchange_id in timeline(conversation):
        event: Event = FirstToken(exchange_id, at_ms)
        if played is not None:
            prompt = prompt_of(played, sim_rules, belief)
            split = predict(belief.caches.get(prompt.cache, {}), prompt, at_ms, rules)
            if split.usage != billed(played):
                wrong.append((split.usage, billed(played)))
            tails = tails_of(parse(json.dumps(played.ask.request).encode()))
            event = RequestArrived(exchange_id, "s", prompt, split, at_ms, tails)
        belief = step(belief, event)
    return wrong


@pytest.mark.slow
def test_predicted_split_equals_the_simulators(seed_count: int | None) -> None:
    """Uncached, read, 5-minute and 1-hour writes agree to the token in every request of every conversation."""
    for seed in range(seed_count or SEEDS):
        assert [] == mispredicted(seed, *SWITCHES[0]), f"seed {seed}"


@pytest.mark.parametrize("switch", range(1, len(SWITCHES)))
def test_every_open_question_is_one_switch_in_both(switch: int) -> None:
    """Deciding a question the other way in both models keeps them in agreement."""
    for seed in range(60):
        assert [] == mispredicted(seed, *SWITCHES[switch]), f"seed {seed}"


@pytest.mark.parametrize("rules", [Rules(lookback_positions=2), Rules(server_tool_breakpoints=False)])
def test_the_comparison_can_fail(rules: Rules) -> None:
    """With a question decided differently in both models they disagree somewhere: the agreement is not empty."""
    assert any(mispredicted(seed, rules, CacheRules()) for seed in range(60))


def test_sessions_are_recognised_without_ids() -> None:
    """A conversation that is only ever extended keeps one session, told by its prefix alone."""
    for seed in range(100):
        conversation = play(scripted_agent(seed), Simulator(seed=seed), START_MS)
        main = [played for played in conversation if played.ask.agent_id is None and played.answer.status == 200]
        belief, named = Belief(), set()
        for index, played in enumerate(main):
            prompt, request = prompt_of(played, Rules(), belief), parse(json.dumps(played.ask.request).encode())
            name = session_of(belief, request, None, f"fresh{index}")
            split = predict({}, prompt, played.started_at_ms, belief.rules)
            at_ms = played.started_at_ms
            belief = step(belief, RequestArrived(f"x{index}", name, prompt, split, at_ms, tails_of(request)))
            named.add(name)
        branches = sum(
            len(after.ask.request["messages"]) <= len(before.ask.request["messages"])
            for before, after in itertools.pairwise(main)
        )
        assert len(named) <= 1 + branches
