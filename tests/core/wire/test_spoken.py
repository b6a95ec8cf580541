"""What an answer says, as numbers: the same however it was cut into events, and no text is left of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire.labels import LABEL_CHARS_MAX
from scrimp.core.wire.spoken import END_CHARACTERS, TOOLS_MAX, Listener, Spoken, asks
from scrimp.core.wire.sse import SseEvent

_TEXT = st.text(st.sampled_from("ab?\n "), max_size=40)


def event(name: str, **fields: Any) -> SseEvent:
    """Return an event of a stream."""
    return SseEvent(name.encode(), msgspec.json.encode({"type": name, **fields}))


def text_of(*parts: str) -> list[SseEvent]:
    """Return the events of a block of text that comes in parts."""
    deltas = [event("content_block_delta", index=0, delta={"type": "text_delta", "text": part}) for part in parts]
    return [event("content_block_start", index=0, content_block={"type": "text", "text": ""}), *deltas]


def use_of(name: str) -> SseEvent:
    """Return the event by which a use of a tool begins."""
    return event("content_block_start", index=1, content_block={"type": "tool_use", "id": "t", "name": name})


def heard(*events: SseEvent) -> Spoken:
    """Return what a listener hears."""
    listener = Listener()
    for each in events:
        listener.hear(each)
    return listener.spoken()


def whole(content: Any) -> Spoken:
    """Return what a listener hears of a whole answer."""
    listener = Listener()
    listener.hear_content(msgspec.Raw(msgspec.json.encode(content)))
    return listener.spoken()


@given(st.lists(_TEXT, max_size=6))
def test_text_is_measured_without_the_white_space_around_it(parts: list[str]) -> None:
    """In parts or whole: as long as the text stripped, and asking where its end does."""
    text = "".join(parts).strip()
    expected = Spoken(len(text), asks(text))
    assert expected == heard(*text_of(*parts))
    assert expected == whole([{"type": "text", "text": part} for part in parts])


@pytest.mark.parametrize(
    ("text", "is_asked"),
    [
        ("", False),
        ("Shall I?", True),
        ("Shall I?" + "\n" * END_CHARACTERS, True),
        ("Shall I?" + "x" * (END_CHARACTERS - 1), True),
        ("Shall I?" + "x" * END_CHARACTERS, False),
    ],
)
def test_a_question_stands_near_the_end(text: str, is_asked: bool) -> None:
    """Not among the last characters it is none that waits for an answer."""
    assert is_asked == asks(text) == heard(*text_of(text)).asks


def test_a_client_s_tools_are_named() -> None:
    """Those that the API runs itself are not waited for; thinking says nothing."""
    thinking = event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "text?"})
    search = event("content_block_start", index=2, content_block={"type": "server_tool_use", "name": "web_search"})
    found = heard(thinking, *text_of("Done."), use_of("Bash"), search, use_of("Edit"), use_of("Bash"))
    assert Spoken(5, asks=False, tools=frozenset({"Bash", "Edit"})) == found
    blocks = [{"type": "thinking", "thinking": "?"}, {"type": "tool_use", "name": "Bash", "input": {"type": "text"}}]
    assert Spoken(tools=frozenset({"Bash"})) == whole(blocks)


def test_names_are_bounded() -> None:
    """In number and in length."""
    found = heard(*[use_of(f"{number}" + "x" * 2 * LABEL_CHARS_MAX) for number in range(2 * TOOLS_MAX)])
    assert TOOLS_MAX == len(found.tools)
    assert LABEL_CHARS_MAX == max(map(len, found.tools))


@given(st.binary(max_size=60))
def test_what_cannot_be_read_says_nothing(data: bytes) -> None:
    """Whatever comes: nothing is raised."""
    for name in (b"content_block_start", b"content_block_delta", b"other"):
        assert Spoken() == heard(SseEvent(name, b'"text"' + data))
    listener = Listener()
    listener.hear_content(msgspec.Raw(b"{" + data))
    assert Spoken() == listener.spoken()
