"""Blocks: what may be marked, what text they hold, what their digest covers."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire import blocks
from scrimp.core.wire.blocks import Block, block_head, block_text, content_blocks, digest_of, unmarked


def block(value: dict[str, Any]) -> Block:
    """Return the only block of a user message."""
    raw = msgspec.Raw(json.dumps([value]).encode())
    (read,) = content_blocks("messages", "messages.0.content", "user", raw)
    return read


@pytest.mark.parametrize(
    ("value", "markable"),
    [
        ({"type": "text", "text": "a"}, True),
        ({"type": "text", "text": ""}, False),
        ({"type": "thinking", "thinking": "a", "signature": ""}, False),
        ({"type": "redacted_thinking", "data": ""}, False),
        ({"type": "tool_result", "content": ""}, True),
    ],
)
def test_what_may_be_marked(value: dict[str, Any], markable: bool) -> None:
    """Thinking and empty text may not carry cache_control (API docs), however a client writes them."""
    assert markable == block(value).markable
    turned = dict(reversed((value | {"cache_control": {"type": "ephemeral"}}).items()))
    for written in (value, turned):
        (read,) = content_blocks("messages", "m", "user", msgspec.Raw(b"[%b]" % msgspec.json.encode(written)))
        assert markable == read.markable


@pytest.mark.parametrize("value", [{"type": "text", "text": 5}, {"type": "text"}, {"type": "image"}])
def test_no_text_is_empty(value: dict[str, Any]) -> None:
    """A block without readable text has none."""
    assert "" == block_text(block(value))


def test_fields_of_odd_types_are_an_unknown_kind() -> None:
    """A block we cannot read is carried whole, as a kind of its own."""
    assert "unknown" == block_head(msgspec.Raw(b'{"type": 5}')).type


def test_marks_go_and_the_rest_stays() -> None:
    """First, last or null: only the mark is cut out."""
    for text in (
        b'{"cache_control": {"a": 1}, "b": 2}',
        b'{"b": 2, "cache_control":null}',
        b'{"b": 2,"cache_control":{}}',
    ):
        assert b'{"b": 2}' == unmarked(text)


def test_the_role_is_part_of_the_digest() -> None:
    """The same words of another speaker are another prompt."""
    assert digest_of("user", b"a") != digest_of("assistant", b"a")


@given(
    st.lists(
        st.sampled_from(
            [
                *(b'"cache_control"', b'"cache_control"', b":", b" : ", b'{"type":"ephemeral"}', b"null", b"{", b"}"),
                *(b",", b" ", b"\n", b'"a":1', b'"text":"x"', b"["),
            ]
        ),
        max_size=30,
    ).map(b"".join)
)
def test_marks_are_taken_out_as_their_pattern_says(content: bytes) -> None:
    """Looking only where a mark may be takes out what one pattern over the whole text would."""
    assert blocks._MARK.sub(b"", content) == unmarked(content)
