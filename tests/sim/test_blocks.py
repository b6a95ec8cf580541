"""Content as blocks: what is rendered alike compares alike."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.sim.blocks import as_blocks, as_object, canonical, nested, request_blocks, walk

MARK = {"type": "ephemeral", "ttl": "1h"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("hello", [{"type": "text", "text": "hello"}]),
        ("", []),
        (None, []),
        (7, []),
        ([{"type": "text", "text": "a"}, "stray"], [{"type": "text", "text": "a"}]),
    ],
)
def test_content_is_a_list_of_blocks(content: Any, expected: list[Any]) -> None:
    """A string is one text block; nothing, and what is no content, is no block."""
    assert expected == as_blocks(content)


def test_a_value_that_is_no_object_is_an_empty_one() -> None:
    """Foreign JSON can hold anything anywhere."""
    assert [{"a": 1}, {}, {}] == [as_object({"a": 1}), as_object(None), as_object([1])]


def test_marks_nulls_and_string_content_do_not_count() -> None:
    """A tool_result renders alike with and without marks, as text and as one text block."""
    plain = {"type": "tool_result", "tool_use_id": "t", "content": "ok"}
    inner = [{"type": "text", "text": "ok", "cache_control": MARK, "citations": None}]
    marked = {"content": inner, "cache_control": MARK, "tool_use_id": "t", "type": "tool_result"}
    assert canonical(plain) == canonical(marked)


def test_a_tools_input_keeps_its_order_and_its_fields() -> None:
    """The model wrote the input: its key order counts, and a field that happens to be called cache_control stays."""

    def use(**fields: Any) -> str:
        return canonical({"type": "tool_use", "id": "t", "name": "n", "input": fields})

    assert use(a=1, b=2) == use(a=1, b=2)
    assert use(a=1, b=2) != use(b=2, a=1)
    assert use(a=1) != use(a=1, cache_control=MARK)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed(inner) for key, inner in reversed(list(value.items()))}
    return [_reversed(inner) for inner in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text(max_size=8), values, max_size=5))
def test_key_order_does_not_count_elsewhere(block: dict[str, Any]) -> None:
    """Any block that is not a tool use compares alike in every order of its keys."""
    assert canonical({**block, "type": "text"}) == canonical(_reversed({**block, "type": "text"}))


def test_walking_finds_every_block() -> None:
    """Blocks inside a tool_result are found after it, and messages that are no objects are passed over."""
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image"}, {"type": "text", "text": "x"}]}
    assert [{"type": "image"}, {"type": "text", "text": "x"}] == nested(result)
    assert ["tool_result", "image", "text"] == [block["type"] for block in walk([result])]
    request = {"messages": [{"role": "user", "content": [result]}, "stray"]}
    assert ["tool_result", "image", "text"] == [block["type"] for block in request_blocks(request)]
