"""Breakpoints: explicit and automatic, and the API's words for what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from scrimp.sim import models
from scrimp.sim.errors import ApiError
from scrimp.sim.marks import Mark, breakpoints
from scrimp.sim.render import render
from scrimp.sim.rules import Rules

SHORT, LONG = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}


def _text(words: str, control: Any = None) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "text", "text": words}
    return block if control is None else {**block, "cache_control": control}


def _tool(control: Any = None) -> dict[str, Any]:
    return {"name": "Bash", "input_schema": {"type": "object"}, "cache_control": control}


def _request(*content: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(content)}], **fields}


def _marks(request: dict[str, Any]) -> tuple[Mark, ...]:
    model = models.find("claude-opus-5-5")
    assert model is not None
    return breakpoints(request, render(request, model, Rules()), Rules())


def _refusal(request: dict[str, Any]) -> str:
    with pytest.raises(ApiError) as caught:
        _marks(request)
    assert 400 == caught.value.status
    return caught.value.message


def test_explicit_marks_stand_where_they_are_written() -> None:
    """One a position in cache order, with the default lifetime of five minutes."""
    request = _request(_text("a"), _text("b", SHORT), tools=[_tool(LONG)], system=[_text("s", LONG)])
    assert (Mark(0, "1h"), Mark(1, "1h"), Mark(3, "5m")) == _marks(request)


def test_marks_inside_one_block_act_as_one() -> None:
    """A mark in a tool_result's content is a mark on the tool_result; null is no mark."""
    result = {"type": "tool_result", "tool_use_id": "t", "content": [_text("a", SHORT), _text("b", SHORT)]}
    assert (Mark(0, "5m"),) == _marks(_request(result, {"type": "text", "text": "x", "cache_control": None}))


@pytest.mark.parametrize(
    ("content", "control", "expected"),
    [
        ([_text("a"), _text("b")], SHORT, (Mark(1, "5m"),)),
        ([_text("a"), _text("b")], LONG, (Mark(1, "1h"),)),
        ([_text("a"), _text("b", SHORT)], SHORT, (Mark(1, "5m"),)),
        ([_text("a", LONG), _text("b")], SHORT, (Mark(0, "1h"), Mark(1, "5m"))),
        ([_text("a"), {"type": "thinking", "thinking": "t", "signature": "s"}], SHORT, (Mark(0, "5m"),)),
        ([{"type": "redacted_thinking", "data": "d"}], SHORT, ()),
    ],
)
def test_the_automatic_mark_is_the_last_block_that_can_carry_one(
    content: list[Any], control: Any, expected: tuple[Mark, ...]
) -> None:
    """It walks back over thinking, agrees with a mark of its own lifetime, and can find nothing."""
    assert expected == _marks(_request(*content, cache_control=control))


def test_four_marks_are_allowed_and_five_are_not() -> None:
    """Explicit ones, nested ones and the automatic one all count."""
    four = [_text("x", SHORT) for _ in range(4)]
    assert 4 == len(_marks(_request(*four)))
    wording = "A maximum of 4 blocks with cache_control may be provided. Found 5."
    assert wording == _refusal(_request(*four, _text("x", SHORT)))
    assert wording == _refusal(_request(*four, _text("x"), cache_control=SHORT))
    result = {"type": "tool_result", "tool_use_id": "t", "content": four, "cache_control": SHORT}
    assert wording == _refusal(_request(result))


def test_an_hour_may_not_follow_five_minutes() -> None:
    """The order is that of the cache, not of the JSON; the automatic mark is the last."""
    tail = (
        ": a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note that blocks are "
        "processed in the following order: `tools`, `system`, `messages`."
    )
    late = _request(_text("a", LONG), system=[_text("s", SHORT)])
    assert f"messages.0.content.0.cache_control.ttl{tail}" == _refusal(late)
    tools = _request(_text("a"), tools=[_tool(SHORT)], system=[_text("s", LONG)])
    assert f"system.0.cache_control.ttl{tail}" == _refusal(tools)
    automatic = _request(_text("a", SHORT), _text("b"), cache_control=LONG)
    assert f"messages.0.content.1.cache_control.ttl{tail}" == _refusal(automatic)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            _request(_text("a", {"type": "ephemeral", "ttl": "2h"})),
            "messages.0.content.0.cache_control.ttl: Input should be '5m' or '1h'",
        ),
        (
            _request(_text("a", {"type": "forever"})),
            "messages.0.content.0.cache_control.type: Input should be 'ephemeral'",
        ),
        (_request(_text("a", "yes")), "messages.0.content.0.cache_control.type: Input should be 'ephemeral'"),
        (_request(_text("a"), cache_control={"ttl": "1h"}), "cache_control.type: Input should be 'ephemeral'"),
        (_request(_text("", SHORT)), "messages.0.content.0.text: cache_control cannot be set for empty text blocks"),
        (
            _request({"type": "thinking", "thinking": "t", "cache_control": SHORT}),
            "messages.0.content.0.thinking.cache_control: Extra inputs are not permitted",
        ),
        (
            _request(_text("a"), tools=[{**_tool(SHORT), "defer_loading": True}]),
            "tools.0.cache_control: tools with defer_loading cannot use prompt caching",
        ),
        (
            _request(_text("a", LONG), cache_control=SHORT),
            (
                "cache_control.ttl: the top-level ttl='5m' contradicts the cache_control on `messages.0.content.0`, "
                "the last block of the request."
            ),
        ),
    ],
)
def test_what_cannot_be_marked_is_refused(request_: dict[str, Any], message: str) -> None:
    """Unknown lifetimes, thinking, empty text, deferred tools, and an automatic mark that contradicts."""
    assert message == _refusal(request_)
