"""Properties of the marks that could be added to a prompt."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.cache import TTL_MS, predict
from scrimp.core.belief.events import FirstToken, RequestArrived
from scrimp.core.belief.prefix import MARKS_MAX, Prompt, read_prompt
from scrimp.core.belief.session import Belief, step
from scrimp.core.belief.sightings import depths, kinds
from scrimp.core.levers.breakpoints import Marking, options, with_lifetime
from scrimp.core.wire.blocks import Ttl
from scrimp.core.wire.prices import RateCard
from scrimp.core.wire.request import parse

CARD = RateCard(4_000_000, 200_000, 5_000_000, 8_000_000, 20_000_000)
MARK = {"cache_control": {"type": "ephemeral"}}
TTLS: tuple[Ttl, ...] = ("5m", "1h")
MINUTE_MS = 60_000


def text(content: str, *, marked: bool = False) -> dict[str, Any]:
    """Return a text block."""
    return {"type": "text", "text": content, **(MARK if marked else {})}


def prompt_of(system: list[dict[str, Any]], blocks: list[dict[str, Any]]) -> tuple[Prompt, bool]:
    """Return a prompt of 1,000 tokens a block, and whether anything in it is marked."""
    body = {"model": "claude-opus-5-5", "system": system, "messages": [{"role": "user", "content": blocks}]}
    request = parse(json.dumps(body).encode())
    return read_prompt(request, [1_000] * len(request.blocks)), request.is_marked


def asked(belief: Belief, prompt: Prompt, now_ms: int, *, marked: bool) -> list[Marking]:
    """Ask for the options of a prompt."""
    return options(prompt, belief, TTLS, CARD, now_ms, kinds(prompt), marked=marked)


def sent(belief: Belief, prompt: Prompt, name: str, at_ms: int) -> Belief:
    """Record that a prompt was sent and answered at once."""
    split = predict(belief.caches.get(prompt.cache, {}), prompt, at_ms, belief.rules)
    arrived = RequestArrived(name, "s", prompt, split, at_ms, kinds=kinds(prompt))
    return step(step(belief, arrived), FirstToken(name, at_ms))


def test_an_unmarked_prompt_is_marked_at_its_end() -> None:
    """Before anything is known a prompt without a mark gets one on its last block, as automatic caching would."""
    prompt, marked = prompt_of([text("stable")], [text("task")])
    assert [1] == [mark.index for mark in asked(Belief(), prompt, 0, marked=marked)[0].marks[-1:]]


def test_a_volatile_tail_is_learnt_and_left_unmarked() -> None:
    """One-shot questions under one system prompt teach that the system is read again and the question is not."""
    belief = Belief()
    for number in range(80):
        prompt, _ = prompt_of([text("stable")], [text(f"question {number}")])
        belief = sent(belief, prompt, f"x{number}", number * MINUTE_MS)
    prompt, marked = prompt_of([text("stable")], [text("another question")])
    found = asked(belief, prompt, 80 * MINUTE_MS, marked=marked)
    assert [0] == [mark.index for mark in found[0].marks]


def test_one_shot_prompts_end_up_with_no_mark_at_all() -> None:
    """Where nothing ever comes back, nothing is marked."""
    belief = Belief()
    for number in range(80):
        prompt, _ = prompt_of([text(f"system {number}")], [text(f"question {number}")])
        belief = sent(belief, prompt, f"x{number}", number * MINUTE_MS)
    prompt, marked = prompt_of([text("another system")], [text("another question")])
    assert [] == asked(belief, prompt, 80 * MINUTE_MS, marked=marked)


def test_an_entry_beyond_the_look_back_is_bridged() -> None:
    """A turn that appends 30 blocks behind the last entry gets a mark on that entry's own block."""
    before, _ = prompt_of([text("s")], [text("0", marked=True)])
    belief = sent(Belief(), before, "a", 0)
    now, marked = prompt_of([text("s")], [text(str(i), marked=i == 30) for i in range(31)])
    found = asked(belief, now, MINUTE_MS, marked=marked)
    bridged = predict(belief.caches[now.cache], now, MINUTE_MS, belief.rules)
    assert 0 == bridged.usage.cache_read_input_tokens
    assert [1, 31] == [mark.index for mark in found[0].marks]


def test_marks_that_will_be_refused_are_left_alone() -> None:
    """Five marks are the client's own error; the API shall say so."""
    prompt, marked = prompt_of([text("s")], [text(str(i), marked=True) for i in range(MARKS_MAX + 1)])
    assert [] == asked(Belief(), prompt, 0, marked=marked)


@st.composite
def marked_prompts(draw: st.DrawFn) -> tuple[Prompt, bool]:
    """Draw prompts of a few blocks with up to the allowed number of marks."""
    flags = draw(st.lists(st.booleans(), min_size=2, max_size=40))
    while sum(flags) > MARKS_MAX:
        flags[flags.index(True)] = False
    blocks = [text(str(i), marked=flag) for i, flag in enumerate(flags)]
    return prompt_of(blocks[:1], blocks[1:])


@given(marked_prompts(), marked_prompts(), st.integers(0, 10 * MINUTE_MS))
def test_every_option_is_one_that_the_api_takes(first: tuple[Prompt, bool], then: tuple[Prompt, bool], at: int) -> None:
    """Options keep the client's marks, add no more than fit, on blocks that may carry one, longer lifetimes first."""
    belief = sent(Belief(), first[0], "a", 0)
    prompt, marked = then
    for option in asked(belief, prompt, at, marked=marked):
        assert {mark.index for mark in prompt.marks} <= {mark.index for mark in option.marks}
        assert len({mark.index for mark in option.marks}) == len(option.marks) <= MARKS_MAX
        assert all(prompt.blocks[mark.index].markable for mark in option.marks)
        lives = [TTL_MS[mark.ttl] for mark in option.marks]
        assert sorted(lives, reverse=True) == lives


@given(marked_prompts())
def test_depths_are_blocks_that_may_be_marked(drawn: tuple[Prompt, bool]) -> None:
    """Depths are in order, markable, and each has a kind; the last block is among them."""
    prompt, _ = drawn
    assert sorted(set(depths(prompt))) == list(depths(prompt))
    assert all(prompt.blocks[i].markable for i in depths(prompt))
    assert {prompt.digests[i] for i in depths(prompt)} == set(kinds(prompt))
    assert len(prompt.blocks) - 1 == depths(prompt)[-1]


@given(marked_prompts(), st.sampled_from(TTLS))
def test_another_lifetime_keeps_the_order_and_the_places(drawn: tuple[Prompt, bool], ttl: Ttl) -> None:
    """Marks of another lifetime stand where the client's stood, none longer than one in front of it."""
    prompt, _ = drawn
    changed = with_lifetime(prompt, ttl)
    lives = [TTL_MS[mark.ttl] for mark in changed]
    assert sorted(lives, reverse=True) == lives
    assert [mark.index for mark in prompt.marks] == [mark.index for mark in changed]
    assert {ttl} >= {mark.ttl for mark in changed}


def test_siblings_find_what_stands_before_their_messages() -> None:
    """What nobody marked is marked at the end of its system prompt, too, whose tokens are written anyway."""
    prompt, marked = prompt_of([{"type": "text", "text": "manual"}], [{"type": "text", "text": "task one"}])
    assert not marked
    (found,) = asked(Belief(), prompt, 0, marked=False)
    assert [0, 1] == [mark.index for mark in found.marks]
    assert 1 == len({mark.ttl for mark in found.marks})
