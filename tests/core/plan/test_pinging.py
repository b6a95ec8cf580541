"""Which requests can be repeated with no output, and what is changed in them for it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.prefix import MARKS_MAX, Mark
from scrimp.core.plan.pinging import PING_EDITS, can_upgrade, may_ping, thinking_of, upgrade_edits, upgraded_marks
from scrimp.core.plan.planning import Plan
from scrimp.core.wire.request import Request, parse
from scrimp.core.wire.splice import splice
from scrimp.sim.checks import check_message
from scrimp.sim.errors import ApiError
from scrimp.sim.models import find
from tests.core.plan.plans import MARK, body_of, read

FIELDS: dict[str, list[Any]] = {
    "thinking": [{"type": "adaptive"}, {"type": "enabled", "budget_tokens": 1_024}, {"type": "disabled"}],
    "tool_choice": [{"type": "auto"}, {"type": "any"}, {"type": "tool", "name": "Read"}, {"type": "none"}],
    "output_config": [{"effort": "low"}, {"format": {"type": "json_schema", "schema": {"type": "object"}}}],
    "stream": [True, False],
    "compaction": [{"type": "auto"}],
}


def said(model: str, **fields: Any) -> dict[str, Any]:
    """Return a request for a model, with these fields."""
    return {**body_of(["system", "hello"], {1}, tools=True), "model": model, "max_tokens": 5_000, **fields}


def ping_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return a request as a ping."""
    made: dict[str, Any] = json.loads(splice(json.dumps(body).encode(), PING_EDITS))
    return made


@pytest.mark.parametrize(
    ("thinking", "expected"),
    [
        ({}, "adaptive"),
        ({"type": "adaptive"}, "adaptive"),
        ({"type": "disabled"}, "disabled"),
        ({"type": "enabled", "budget_tokens": 1_024}, "enabled 1024"),
    ],
)
def test_a_thinking_mode_is_told_by_what_the_cache_tells_it_by(thinking: dict[str, Any], expected: str) -> None:
    """Its type, the model's habit where none is said, and its budget."""
    fields = {"thinking": thinking} if thinking else {}
    request = parse(json.dumps(said("claude-opus-5-5", **fields)).encode())
    assert expected == thinking_of(request)


@given(st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in FIELDS.items()}))
def test_what_may_be_pinged_is_taken_by_the_api(fields: dict[str, Any]) -> None:
    """Whatever goes together: the simulator refuses the ping exactly where we would send none."""
    name = "claude-sonnet-4-6"
    model, body = find(name), said(name, **fields)
    assert model is not None
    refused = False
    try:
        check_message(ping_of(body), model, "2023-06-01")
    except ApiError:
        refused = True
    assert refused != may_ping(parse(json.dumps(body).encode()))


def test_a_ping_differs_in_two_fields() -> None:
    """`max_tokens` is 0 and `stream` is gone; all that the cache is keyed by stays."""
    body = said("claude-opus-5-5", stream=True, metadata={"user_id": "u"})
    expected = {key: value for key, value in body.items() if key != "stream"} | {"max_tokens": 0}
    made = ping_of(body)
    assert expected == made
    before, after = (parse(json.dumps(each).encode()) for each in (body, made))
    assert (before.blocks, before.settings) == (after.blocks, after.settings)
    assert expected == ping_of(made)


@pytest.mark.parametrize("field", ["thread", "fallbacks", "mcp_servers"])
def test_what_may_do_more_than_read_is_not_pinged(field: str) -> None:
    """Another model, a server of tools, a prompt that stands elsewhere."""
    body = said("claude-opus-5-5", **{field: [{"type": "url", "model": "m"}] if field != "thread" else {"id": "t"}})
    assert not may_ping(parse(json.dumps(body).encode()))


# --- the upgrade ---


def planned(texts: int, marks: tuple[int, ...], body: dict[str, Any] | None = None) -> tuple[Request, Plan]:
    """Return a plan for a request of so many texts with marks of five minutes on some."""
    request, prompt = read(body or body_of([f"text {i}" for i in range(texts)], set()))
    prompt = msgspec.structs.replace(prompt, marks=tuple(Mark(index, "5m") for index in marks))
    return request, Plan("safe", prompt, None, 0, 0, "")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("marks", "is_free"),
    [((0, 3), True), ((0, 4), False), ((), False), ((0, 1, 2, 3), False), ((1,), True)],
)
def test_an_upgrade_needs_a_place_behind_what_is_cached(marks: tuple[int, ...], is_free: bool) -> None:
    """A last block with no mark, and a mark to spare."""
    assert is_free == can_upgrade(*planned(5, marks))
    assert MARKS_MAX == 4


def test_marks_that_the_api_places_are_left_alone() -> None:
    """Its own mark is on the last block."""
    assert not can_upgrade(*planned(5, (0,), body_of([f"text {i}" for i in range(5)], set(), automatic="5m")))


def test_an_upgrade_asks_for_an_hour_everywhere() -> None:
    """None of five minutes stands in front of one of an hour, which the API would refuse."""
    body = body_of([f"text {i}" for i in range(5)], {0, 3})
    _, plan = planned(5, (0, 3), body)
    assert (Mark(0, "1h"), Mark(3, "1h"), Mark(4, "1h")) == upgraded_marks(plan.prompt, 4)
    made = json.loads(splice(json.dumps(body).encode(), (*PING_EDITS, *upgrade_edits(plan.prompt))))
    blocks = [*made["system"], *made["messages"][0]["content"]]
    hour = {"cache_control": MARK["cache_control"] | {"ttl": "1h"}}["cache_control"]
    assert [hour, None, None, hour, hour] == [block.get("cache_control") for block in blocks]
