"""Remembered weights are the weights."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.prefix import kept_blocks
from scrimp.core.wire.blocks import Block
from scrimp.core.wire.request import TURN_BYTES, parse
from scrimp.core.wire.tokens import Calibration, count_blocks, observe
from scrimp.engine import weights
from scrimp.engine.weights import Weights

MODELS = st.sampled_from(["claude-opus-5-5", "claude-opus-4-5", "claude-haiku-4-5", "odd"])
#: Shared on purpose: what was remembered for one block must not be wrong for another.
SHARED = Weights()


def blocks(texts: list[str], *, as_list: bool, marked: bool) -> tuple[Block, ...]:
    """Return a request's blocks: tools, and texts as strings or as marked lists."""
    block = {"type": "text", "cache_control": {"type": "ephemeral"}} if marked else {"type": "text"}
    contents = [[{**block, "text": text}] if as_list else text for text in texts]
    messages = [{"role": "user", "content": content} for content in contents]
    tools = [{"name": "Bash", "description": "x" * 50}, {"type": "bash_20250124", "name": "bash"}]
    body = {"model": "claude-opus-5-5", "messages": messages, "tools": tools}
    return kept_blocks(parse(json.dumps(body).encode()))


@given(MODELS, st.lists(st.text(max_size=30), max_size=5), st.booleans(), st.booleans(), st.integers(1, 3000))
def test_remembering_changes_no_count(model: str, texts: list[str], as_list: bool, marked: bool, seen: int) -> None:
    """In any form, for any model, after any learning: the same as counting anew, the first time and the second."""
    asked = blocks(texts, as_list=as_list, marked=marked)
    calibration = observe(Calibration(), model, 1000, seen)
    expected = count_blocks(model, asked, calibration)

    assert expected == SHARED.count(model, asked, calibration) == SHARED.count(model, asked, calibration)


def test_a_tool_is_not_what_looks_like_one() -> None:
    """The same JSON weighs one thing as a tool's definition, and another as content."""
    block = {"type": "bash_20250124", "name": "bash", "description": "x" * 400}
    body = {"model": "claude-opus-5-5", "messages": [], "system": [block, {}], "tools": [block, {}]}
    asked = kept_blocks(parse(json.dumps(body).encode()))

    assert count_blocks("claude-opus-5-5", asked) == Weights().count("claude-opus-5-5", asked, Calibration())


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently used block is forgotten, which only costs time."""
    monkeypatch.setattr(weights, "BLOCKS_MAX", 3)
    counting = Weights()
    for text in ("a", "b", "c", "d"):
        counting.count("claude-opus-5-5", blocks([text], as_list=False, marked=False), Calibration())

    assert 3 == len(counting._known)


def test_blocks_are_weighed_in_turns() -> None:
    """Ahead of counting every block is weighed, at most a turn's bytes of them between two breaks."""
    large = "x" * (TURN_BYTES // 2)
    asked = blocks([large, large, large, "y", "z"], as_list=False, marked=False)
    counting = Weights()
    known = [len(counting._known) for _ in counting.weighing("claude-opus-5-5", asked)]

    assert sorted(known) == known
    assert len({block.digest for block in asked}) == known[-1] == len(counting._known)
    assert len(known) >= 3


def test_the_text_that_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversations are recognised by their blocks, which hold their text: it is bytes that are limited."""
    monkeypatch.setattr(weights, "READ_BYTES_MAX", 10_000)
    counting = Weights()
    for number in range(20):
        asked = blocks([f"{number} {turn} " * 20 for turn in range(10)], as_list=False, marked=False)
        counting.count("claude-opus-5-5", asked, Calibration())
    kept = [each for known in counting._conversations._known.values() for each in known]

    assert 0 < sum(block.size for each in kept for block in each.links) <= 10_000
