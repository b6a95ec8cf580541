"""Marks that `splice` sets are billed as marks written by hand, and a string that became a list still hits."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.prefix import Mark, Prompt, read_prompt
from scrimp.core.wire.blocks import CacheControl
from scrimp.core.wire.request import parse
from scrimp.core.wire.splice import Edit, InsertBlock, Place, RemoveBlock, SetMark, SetTop, place_of, splice
from scrimp.core.wire.tokens import count_blocks
from scrimp.sim.machine import Simulator
from scrimp.sim.models import day_ms

NOW = day_ms("2026-11-22")
HEADERS = {"x-api-key": "sk-a", "anthropic-version": "2023-06-01"}
USE = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"b": 1, "a": [2]}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "done " * 400}]}
REQUEST: dict[str, Any] = {
    "model": "claude-opus-5-5",
    "max_tokens": 100,
    "tools": [{"name": "Bash", "description": "run " * 600, "input_schema": {"type": "object"}}],
    "system": "be careful " * 500,
    "messages": [
        {"role": "user", "content": "look " * 700},
        {"role": "assistant", "content": [{"type": "text", "text": "yes"}, USE]},
        {"role": "user", "content": [RESULT]},
    ],
}
#: Where a mark may stand, in cache order.
PLACES: tuple[Place, ...] = (
    ("tools", 0),
    ("system", 0),
    ("messages", 0, 0),
    ("messages", 1, 0),
    ("messages", 1, 1),
    ("messages", 2, 0),
)
STRINGS: tuple[Place, ...] = (("system", 0), ("messages", 0, 0))
FIVE, HOUR = CacheControl(), CacheControl(ttl="1h")


def by_hand(marks: dict[Place, CacheControl]) -> bytes:
    """Return the request with marks, as a client would send it: what is marked is a list."""
    request = copy.deepcopy(REQUEST)
    for at, mark in marks.items():
        owner: Any = request if len(at) == 2 else request["messages"][int(at[1])]
        key = str(at[0]) if len(at) == 2 else "content"
        if isinstance(owner[key], str):
            owner[key] = [{"type": "text", "text": owner[key]}]
        owner[key][at[-1]]["cache_control"] = {"type": "ephemeral", "ttl": mark.ttl}
    return json.dumps(request).encode()


def billed(*bodies: bytes) -> list[Any]:
    """Return the usage of each body, sent one after the other to a fresh simulator."""
    simulator = Simulator()
    answers = [simulator.handle(body, HEADERS, NOW + 60_000 * at) for at, body in enumerate(bodies)]
    assert [200] * len(bodies) == [answer.status for answer in answers]
    return [answer.body["usage"] for answer in answers]


def chained(body: bytes) -> Prompt:
    """Return the prompt as the core sees it."""
    request = parse(body)
    return read_prompt(request, count_blocks(request.model, request.blocks))


@given(st.sets(st.sampled_from(PLACES), min_size=1, max_size=4), st.integers(0, 4), st.sampled_from([None, 1]))
def test_spliced_marks_are_billed_as_written_ones(chosen: set[Place], hours: int, indent: int | None) -> None:
    """The first request writes and the second reads the same tokens, whoever set the marks, in either order."""
    ordered = sorted(chosen, key=PLACES.index)
    marks = {at: HOUR if number < hours else FIVE for number, at in enumerate(ordered)}
    plain = json.dumps(REQUEST, indent=indent).encode()
    spliced = splice(plain, [SetMark(at, mark) for at, mark in marks.items()])
    assert billed(by_hand(marks), by_hand(marks)) == billed(spliced, spliced)
    assert billed(by_hand(marks), spliced) == billed(spliced, by_hand(marks))
    assert chained(by_hand(marks)).marks == chained(spliced).marks


@pytest.mark.parametrize("at", STRINGS)
def test_a_string_that_became_a_list_is_the_same_prefix(at: Place) -> None:
    """Simulator and core agree: what was written under a list is read under the string, and the other way round."""
    plain = json.dumps({**REQUEST, "cache_control": {"type": "ephemeral"}}).encode()
    spliced = splice(plain, [SetMark(at, FIVE)])
    for first, second in ((plain, spliced), (spliced, plain)):
        written, read = billed(first, second)
        assert written["cache_creation_input_tokens"] == read["cache_read_input_tokens"] > 0
        assert 0 == read["cache_creation_input_tokens"]
    assert chained(plain).digests == chained(spliced).digests


def test_the_automatic_mark_and_the_ping() -> None:
    """A top-level mark and `max_tokens` 0 are set as by hand: the ping writes what the request then reads."""
    plain = json.dumps(REQUEST).encode()
    automatic = splice(plain, [SetTop("cache_control", b'{"type":"ephemeral"}')])
    written, read = billed(splice(automatic, [SetTop("max_tokens", b"0")]), automatic)
    assert written["cache_creation_input_tokens"] == read["cache_read_input_tokens"] > 0
    assert (0, Mark(len(PLACES) - 1, "5m")) == (written["output_tokens"], chained(automatic).marks[-1])


def test_removed_marks_bill_as_none() -> None:
    """Every mark taken off again, found by its block's path: nothing is written."""
    marked = by_hand(dict.fromkeys(PLACES[:4], FIVE))
    edits: list[Edit] = [SetMark(place_of(block.path), None) for block in parse(marked).blocks]
    assert billed(json.dumps(REQUEST).encode()) == billed(splice(marked, edits))


def test_a_volatile_line_moved_to_the_tail_is_read_past() -> None:
    """Taken out of the front and put in at the end, it no longer costs the prefix."""

    def sent(line: str) -> bytes:
        date = {"type": "text", "text": line}
        system = [date, {"type": "text", "text": REQUEST["system"], "cache_control": {"type": "ephemeral"}}]
        return json.dumps({**REQUEST, "system": system}).encode()

    def moved(line: str) -> bytes:
        raw = json.dumps({"type": "text", "text": line}).encode()
        return splice(sent(line), [RemoveBlock(("system", 0)), InsertBlock(("messages", 2, 1), raw)])

    assert 0 == billed(sent("Monday"), sent("Tuesday"))[1]["cache_read_input_tokens"]
    written, read = billed(moved("Monday"), moved("Tuesday"))
    assert written["cache_creation_input_tokens"] == read["cache_read_input_tokens"] > 0
