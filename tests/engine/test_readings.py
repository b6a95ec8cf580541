"""Remembered readings are the readings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire.request import RequestUnreadable, parse
from scrimp.engine.readings import Readings

BLOCK = st.sampled_from(
    [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "a", "citations": []},
        {"type": "tool_use", "id": "t", "name": "Bash", "input": {"cache_control": {"type": "x"}}},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_reference", "tool_name": "late"}]},
        {"type": "image", "source": {"type": "url", "url": "u"}},
        {"type": "document", "source": {}, "citations": {"enabled": True}},
    ]
)
MESSAGE = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant"]),
        "content": st.lists(BLOCK, max_size=3) | st.sampled_from(["", "b"]),
    },
    optional={"output_config": st.just({"effort": "low"}), "id": st.just("m")},
)
TOOLS = st.none() | st.lists(
    st.sampled_from(
        [
            {"name": "Bash"},
            {"name": "late", "defer_loading": True},
            {"type": "web_search_20250305", "name": "web_search"},
        ]
    ),
    max_size=3,
)
BODIES = st.fixed_dictionaries(
    {"model": st.just("claude-opus-5-5"), "messages": st.lists(MESSAGE, max_size=4)},
    optional={"tools": TOOLS, "system": st.sampled_from(["s", [{"type": "text", "text": "s"}], []])},
)
#: Shared on purpose: what was remembered of one body must not be wrong for another.
SHARED = Readings()


def encoded(body: dict[str, Any]) -> bytes:
    """Return a body as clients send it."""
    return json.dumps(body).encode()


@given(BODIES)
def test_remembering_changes_nothing(body: dict[str, Any]) -> None:
    """The first time and the second, a body is read as if nothing had been read before."""
    raw = encoded(body)
    expected = parse(raw)

    assert expected == parse(raw, SHARED) == parse(raw, SHARED)


@pytest.mark.parametrize(("member", "bad"), [("messages", ["x"]), ("messages", [{"content": 1}, 5]), ("tools", 7)])
def test_what_cannot_be_read_stays_unreadable(member: str, bad: Any) -> None:
    """A body is refused as often as it comes."""
    raw = encoded({"model": "m", "messages": [], member: bad})
    for reader in (None, SHARED, SHARED):
        with pytest.raises(RequestUnreadable):
            parse(raw, reader)


def test_a_known_message_is_not_read_again() -> None:
    """The same bytes at the same place give the same objects; at another place they are another message."""
    readings = Readings()
    raw = encoded({"role": "user", "content": "a"})

    assert readings.message(0, raw) is readings.message(0, bytes(bytearray(raw)))
    assert readings.message(0, raw) != readings.message(1, raw)
    assert readings.tools(b"[]") is readings.tools(b"[]")
    assert readings.system(b'[{"type":"text","text":"s"}]') is readings.system(b'[{"type":"text","text":"s"}]')


def test_memory_is_bounded() -> None:
    """The least recently used part goes first, and a part that would take most of the room is not kept at all."""
    readings = Readings(limit_bytes=22_000)
    parts = [encoded({"role": "user", "content": name * 3_000}) for name in "abcde"]
    first = readings.message(0, parts[0])
    for raw in parts[1:]:
        readings.message(0, parts[0])
        readings.message(0, raw)
    large = encoded({"role": "user", "content": "x" * 6_000})

    assert readings.message(0, parts[0]) is first
    assert readings._size <= 22_000
    assert readings.message(0, parts[1]) is readings.message(0, parts[1])
    assert readings.message(0, large) is not readings.message(0, large)
    assert readings._size == sum(len(raw) + 1_000 + 400 for _, raw in readings._known)
