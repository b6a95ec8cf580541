"""Properties of where two requests part. What it says of real kinds of breaks is held in tests/simulation."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.divergence import cause_of, compare
from scrimp.core.wire.request import parse

words = st.text("abc 019:-_/é\n", max_size=40)
texts = st.lists(words, min_size=1, max_size=4)


def body(system: list[str], messages: list[str], **more: Any) -> bytes:
    """Return a request with these texts, every message the user's."""
    request: dict[str, Any] = {
        "model": "claude-opus-5-5",
        "system": [{"type": "text", "text": text} for text in system],
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}]} for text in messages],
    }
    return json.dumps(request | more).encode()


@given(texts, texts, texts)
def test_going_on_is_no_divergence(system: list[str], messages: list[str], more: list[str]) -> None:
    """A request parts neither from itself nor from one that it goes on from, nor from one that it takes back."""
    before, after = parse(body(system, messages)), parse(body(system, messages + more))
    assert compare(before, before) is None
    assert compare(before, after) is None
    assert compare(after, before) is None


@given(texts, texts, words, words)
def test_the_byte_is_where_the_texts_part(system: list[str], messages: list[str], old: str, new: str) -> None:
    """The offset is the length in UTF-8 of what both versions of the changed block have in common."""
    found = compare(parse(body([*system, old], messages)), parse(body([*system, new], messages)))
    if old == new:
        assert found is None
        return
    assert found is not None
    common = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    assert (f"system.{len(system)}", len(old[:common].encode())) == (found.path, found.byte)
    assert "system_changed" == found.reason


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("Today's date: 2026-11-24.", "Today's date: 2026-11-25.", "date"),
        ("It is 09:41 now", "It is 10:02 now", "date"),
        ("It is Monday today", "It is Friday today", "date"),
        ("request 41 of this run", "request 42 of this run", "counter"),
        ("user 3f0c9a1e-7b2d-4c55-9a10-5d1f2e3c4b5a", "user 7a0c9a1e-7b2d-4c55-9a10-5d1f2e3c4b5a", "id"),
        ("Recent commits:\n1a2b3c4 Fix it\n", "Recent commits:\n9f8e7d6 Test it\n", "git_status"),
        ("Status:\n M src/a.py\n", "Status:\n M src/b.py\n", "git_status"),
        ("Be brief.", "Be thorough.", "system_edited"),
    ],
)
def test_what_changes_of_itself_is_told_by_its_words(old: str, new: str, cause: str) -> None:
    """Dates, counters, ids and the state of a repository are named; anything else is an edit."""
    found = compare(parse(body([old], ["go"])), parse(body([new], ["go"])))
    assert found is not None
    assert cause == found.cause


def test_the_first_tier_that_changed_is_named() -> None:
    """Tools come before system, and system before messages."""
    tool = {"name": "t", "description": "d", "input_schema": {"type": "object"}}
    before = parse(body(["a"], ["b"], tools=[tool]))
    after = parse(body(["x"], ["y"], tools=[{**tool, "description": "e"}]))
    found = compare(before, after)
    assert found is not None
    assert ("tools_changed", "tools.0") == (found.reason, found.path)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("Current time: 12:01:33", "date"),
        ("Session 3f0c9a1e-7b2d-4c55-9a10-5d1f2e3c4b5a", "id"),
        ("On branch main", "git_status"),
        ("Request 17 of many", "counter"),
        ("You serve Bob", "system_edited"),
    ],
)
def test_a_line_alone_tells_what_makes_it_change(line: str, cause: str) -> None:
    """The words that tell two lines apart tell one line, too."""
    assert cause == cause_of(line)
