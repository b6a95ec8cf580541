"""Rows of Claude Code files: what is decoded, and what is left alone."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from scrimp.replay.traces.claude_rows import (
    Block,
    Message,
    agent_type_of,
    has_tool_result,
    input_of,
    row_decoder,
    text_of,
)

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=4)


def _message(content: object) -> Message:
    return msgspec.json.decode(msgspec.json.encode({"content": content}), type=Message)


@given(TEXTS)
def test_text_is_the_text_blocks_joined(texts: list[str]) -> None:
    """A string is itself; of blocks, only those of text count."""
    blocks = [{"type": "text", "text": text} for text in texts]
    assert "\n".join(texts) == text_of(_message([*blocks, {"type": "image", "text": "no"}]))
    assert ["".join(texts)] == [text_of(_message("".join(texts)))]


def test_text_that_cannot_be_decoded_is_left_out() -> None:
    """A number instead of a text costs only its own block."""
    raw = b'{"content":[{"type":"text","text":7},{"type":"text","text":"ok"}]}'
    assert "ok" == text_of(msgspec.json.decode(raw, type=Message))


def test_tool_results_are_seen_in_lists_only() -> None:
    """A prompt that speaks of tool results is still a prompt."""
    assert [True, False, False] == [
        has_tool_result(_message(content))
        for content in ([{"type": "tool_result"}], "tool_result", [{"type": "text", "text": '"tool_result"'}])
    ]


def test_a_tool_input_of_other_types_says_nothing() -> None:
    """An input that is a list, or holds numbers where names belong, is no input."""
    good = input_of(Block(input=msgspec.Raw(b'{"subagent_type":"Explore","prompt":"look"}')))
    bad = [input_of(Block(input=msgspec.Raw(raw))) for raw in (b"[]", b'{"prompt":1}', b"")]
    assert ("Explore", "look") == (good.subagent_type, good.prompt)
    assert [None] * 3 == [each.prompt for each in bad]


def test_the_sidecar_may_be_missing_or_broken() -> None:
    """The agent type is known only where it is stated."""
    cases = [b'{"agentType":"Explore"}', b"{}", b"nonsense", b'{"agentType":3}', b"", None]
    assert ["Explore", None, None, None, None, None] == [agent_type_of(case) for case in cases]


def test_a_row_of_any_other_kind_decodes_too() -> None:
    """Fields we do not know are skipped, whatever they hold."""
    row = row_decoder.decode(b'{"type":"mode","weird":{"a":[1e400]},"message":null}')
    assert ("mode", None) == (row.type, row.message)
