"""The chain of a prompt: equal digests mean an equal prefix, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.prefix import (
    Chain,
    Mark,
    Prompt,
    chain,
    chain_of,
    find_marks,
    front_of,
    kept_blocks,
    read_prompt,
    tool_runs,
)
from scrimp.core.wire.request import Request, parse

MARK = {"type": "ephemeral"}
THINKING = {"type": "thinking", "thinking": "hm", "signature": "s"}


def request(messages: list[dict[str, Any]], model: str = "claude-opus-5-5", **fields: Any) -> Request:
    """Parse a request of these messages."""
    return parse(json.dumps({"model": model, "messages": messages, **fields}).encode())


def prompt(messages: list[dict[str, Any]], **fields: Any) -> Prompt:
    """Return the chain of a request whose blocks count ten tokens each."""
    read = request(messages, **fields)
    return read_prompt(read, [10] * len(kept_blocks(read)))


def user(*texts: str) -> dict[str, Any]:
    """Return a user message of text blocks."""
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


@given(st.lists(st.text(max_size=5), min_size=1, max_size=8), st.lists(st.text(max_size=5), min_size=1, max_size=8))
def test_digests_agree_exactly_as_far_as_the_text_does(one: list[str], two: list[str]) -> None:
    """The chains part at the first block that differs and never meet again."""
    same = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    first, second = prompt([user(*one)]).digests, prompt([user(*two)]).digests

    assert first[:same] == second[:same]
    assert not set(first[same:]) & set(second[same:])


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"tools": [{"name": "B"}]}, 0),
        ({"system": "other"}, 1),
        ({"tool_choice": {"type": "any"}}, 2),
        ({"thinking": {"type": "disabled"}}, 2),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, 3),
        ({"output_config": {"effort": "medium"}}, 3),
        ({"output_config": {"effort": "low"}}, 2),
        ({"max_tokens": 9}, 3),
        ({"metadata": {"user_id": "x"}}, 3),
        ({"cache_control": MARK}, 3),
    ],
)
def test_what_a_change_invalidates(change: dict[str, Any], kept: int) -> None:
    """Tools, system and messages fall in that order (API docs, what invalidates the cache)."""
    base: dict[str, Any] = {"tools": [{"name": "A"}], "system": "s"}
    before, after = prompt([user("hi")], **base).digests, prompt([user("hi")], **{**base, **change}).digests

    assert kept == sum(a == b for a, b in zip(before, after, strict=True))


def test_a_web_tool_or_an_image_falls_on_its_tier() -> None:
    """Web search is rendered into the system tier; an image anywhere touches the messages."""
    search = {"type": "web_search_20260209", "name": "web_search"}
    image = {"type": "image", "source": {"type": "url", "url": "u"}}
    plain = prompt([user("a"), user("b")], system="s").digests
    pictured = prompt([user("a"), {"role": "user", "content": [image]}], system="s").digests

    assert plain[0] == pictured[0]
    assert plain[1] != pictured[1]
    assert (
        prompt([user("a")], tools=[{"name": "A"}, search], system="s").digests[0]
        == prompt([user("a")], tools=[{"name": "A"}]).digests[0]
    )


def test_speeds_share_no_cache() -> None:
    """Fast and standard never share a prefix (API docs, fast mode)."""
    assert prompt([user("a")]).cache != prompt([user("a")], speed="fast").cache
    assert prompt([user("a")]).cache == prompt([user("a")], speed="standard").cache


def test_effort_in_the_messages_replaces_the_setting() -> None:
    """Claude Code changes effort by an empty system message: what stands before it stays cached."""
    change = {"role": "system", "content": [], "output_config": {"effort": "high"}}
    first = {"role": "user", "content": "a", "output_config": {"effort": "medium"}}
    before = prompt([first], output_config={"effort": "medium"}).digests
    after = prompt([first, change, user("b")], output_config={"effort": "high"}).digests

    assert before == after[:1]
    assert after != prompt([first, user("b")], output_config={"effort": "high"}).digests


def test_a_request_can_ask_to_keep_thinking() -> None:
    """Claude Code sends clear_thinking with keep "all" to every model."""
    kept = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    one = {"edits": [{"type": "clear_thinking_20251015", "keep": {"type": "thinking_turns", "value": 1}}]}
    turns = [user("a"), {"role": "assistant", "content": [THINKING, {"type": "text", "text": "x"}]}, user("b")]

    assert 4 == len(kept_blocks(request(turns, "claude-sonnet-4-5", context_management=kept)))
    assert 3 == len(kept_blocks(request(turns, "claude-opus-5-5", context_management=one)))


def test_tool_runs_share_a_position() -> None:
    """A run of tool_use, or of tool_result, is one position; anything else starts a new one."""
    use, result = {"type": "tool_use", "id": "t", "name": "n", "input": {}}, {"type": "tool_result", "content": "r"}
    read = request(
        [
            user("a"),
            {"role": "assistant", "content": [{"type": "text", "text": "x"}, use, use]},
            {"role": "user", "content": [result, result, {"type": "text", "text": "y"}]},
        ]
    )

    assert (1, 2, 3, 3, 4, 4, 5) == tool_runs(read.blocks)


def test_older_models_drop_thinking_of_finished_turns() -> None:
    """A tool loop keeps its thinking; a new user message drops it, and the chain with it."""
    use, result = {"type": "tool_use", "id": "t", "name": "n", "input": {}}, {"type": "tool_result", "content": "r"}
    loop = [user("a"), {"role": "assistant", "content": [THINKING, use]}, {"role": "user", "content": [result]}]
    kinds = [block.kind for block in kept_blocks(request([*loop, user("next")], "claude-sonnet-4-5"))]

    assert "thinking" in [block.kind for block in kept_blocks(request(loop, "claude-sonnet-4-5"))]
    assert "thinking" not in kinds
    assert "thinking" in [block.kind for block in kept_blocks(request([*loop, user("next")], "claude-opus-4-5"))]


def test_the_automatic_mark_goes_to_the_last_markable_block() -> None:
    """Thinking and empty text cannot be marked, so the mark walks back; an explicit mark there wins."""
    read = request(
        [user("a"), {"role": "assistant", "content": [{"type": "text", "text": "b"}, THINKING]}], cache_control=MARK
    )
    both = request(
        [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": MARK}]}], cache_control=MARK
    )

    assert (Mark(1, "5m"),) == find_marks(read, read.blocks)
    assert (Mark(0, "5m"),) == find_marks(both, both.blocks)
    assert () == find_marks(request([], cache_control=MARK), ())


def test_tokens_are_cumulative() -> None:
    """Each position counts all before it; the tail belongs to the total only."""
    read = request([user("a", "b")], system="s")
    chained = read_prompt(read, [5, 7, 11], tail_tokens=3)

    assert ((5, 12, 23), 26) == (chained.tokens, chained.total_tokens)
    assert chain(read, read.blocks) == chained.digests


def test_more_marks_than_allowed_are_none() -> None:
    """The API refuses a fifth breakpoint, so such a request reads and writes nothing."""

    def marked(count: int) -> Request:
        blocks = [{"type": "text", "text": str(index), "cache_control": MARK} for index in range(count)]
        return request([{"role": "user", "content": blocks}])

    assert 4 == len(find_marks(marked(4), marked(4).blocks))
    assert () == find_marks(marked(5), marked(5).blocks)


@given(st.lists(st.sampled_from("aur"), max_size=8), st.booleans(), st.booleans(), st.integers(0, 12))
def test_a_chain_goes_on_from_any_beginning(texts: list[str], has_tools: bool, has_system: bool, upto: int) -> None:
    """With the chain of its first blocks known, the rest of it comes out the same."""
    kinds = {
        "a": {"type": "text", "text": "a"},
        "u": {"type": "tool_use", "id": "t", "name": "a", "input": {}},
        "r": {"type": "tool_result", "tool_use_id": "t", "content": "b"},
    }
    fields: dict[str, Any] = ({"tools": [{"name": "a"}]} if has_tools else {}) | ({"system": "s"} if has_system else {})
    asked = request([{"role": "user", "content": [kinds[text] for text in texts]}], **fields)
    whole = chain_of(asked, asked.blocks)
    assert Chain(chain(asked, asked.blocks), tool_runs(asked.blocks)) == whole
    assert whole == chain_of(asked, asked.blocks, Chain(whole.digests[:upto], whole.runs[:upto]))
    assert has_tools + has_system == front_of(asked.blocks)
