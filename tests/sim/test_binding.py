"""Preserved thinking: whose blocks may be sent back, and what an edit before them does."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from scrimp.sim.binding import CONTROLS, binds, prefixes, without
from scrimp.sim.machine import Answer, Simulator
from scrimp.sim.models import day_ms, find
from scrimp.sim.render import render
from scrimp.sim.rules import Rules

NOW = day_ms("2026-11-22")
HEADERS = {"x-api-key": "sk-a", "anthropic-version": "2023-06-01"}
TOOL = {"name": "Bash", "input_schema": {"type": "object"}}
DROP = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}


def _conversation(model: str = "claude-opus-5-5", simulator: Simulator | None = None) -> dict[str, Any]:
    """Return a request that sends back an answer with thinking."""
    asked = [{"role": "user", "content": "early"}, {"role": "user", "content": "SCENARIO:think2 look"}]
    request = {"model": model, "max_tokens": 900, "system": "be brief", "tools": [TOOL], "messages": asked}
    request["thinking"] = {"type": "adaptive"}
    answer = (simulator or Simulator()).handle(request, HEADERS, NOW)
    use = answer.body["content"][-1]
    result = {"type": "tool_result", "tool_use_id": use["id"], "content": "done"}
    more = [{"role": "assistant", "content": answer.body["content"]}, {"role": "user", "content": [result]}]
    assert "thinking" == answer.body["content"][0]["type"]
    return {**request, "messages": [*asked, *more]}


def _ask(request: dict[str, Any], rules: Rules | None = None, betas: str = "") -> Answer:
    return Simulator(rules).handle(request, {**HEADERS, "anthropic-beta": betas}, NOW)


def _new_system(request: dict[str, Any]) -> None:
    request["system"] = "be long"


def _new_tools(request: dict[str, Any]) -> None:
    request["tools"] = [{**TOOL, "description": "runs"}]


def _new_message(request: dict[str, Any]) -> None:
    request["messages"][0]["content"] = "edited"


def _fewer_messages(request: dict[str, Any]) -> None:
    del request["messages"][0]


EDITS = [_new_system, _new_tools, _new_message, _fewer_messages]


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_before_thinking_is_refused(edit: Callable[[dict[str, Any]], None]) -> None:
    """In the documented words, with the path of the block in the request as it was sent."""
    request = _conversation()
    assert 200 == _ask(request).status
    edit(request)
    answer = _ask(request)
    path = f"messages.{len(request['messages']) - 2}.content.0"
    start = f"{path}: Invalid `signature` in `thinking` block. The block is bound to a different conversation."
    assert 400 == answer.status
    assert answer.body["error"]["message"].startswith(start)


@pytest.mark.parametrize("edit", EDITS)
def test_by_wish_the_block_is_dropped(edit: Callable[[dict[str, Any]], None]) -> None:
    """The answer says which, and its prompt is that of a request without it."""
    request = _conversation()
    edit(request)
    at = len(request["messages"]) - 2
    bare = copy.deepcopy(request)
    del bare["messages"][at]["content"][0]
    answer = _ask({**request, "thinking": DROP}, betas=CONTROLS)
    assert 200 == answer.status, answer.body
    path = f"messages.{at}.content.0"
    expected = {"type": "thinking_dropped", "path": path, "reason": "prefix_binding_mismatch"}
    assert [expected] == answer.body["input_transformations"]
    assert _ask(bare).body["usage"]["input_tokens"] == answer.body["usage"]["input_tokens"]


def test_what_is_no_edit() -> None:
    """Marks, a string instead of one text block, more messages after it, and another effort or limit."""
    request = _conversation()
    request["system"] = [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]
    request["messages"] += [{"role": "user", "content": "and"}]
    request["output_config"], request["max_tokens"] = {"effort": "low"}, 1_000
    answer = _ask(request)
    assert 200 == answer.status, answer.body
    assert "input_transformations" not in answer.body


@pytest.mark.parametrize(
    ("model", "account", "expected"),
    [
        ("claude-fable-5-2", "old", True),
        ("claude-fable-5-2", "exempt", False),
        ("claude-fable-5-1", "old", False),
        ("claude-fable-5-1", "new", True),
        ("claude-opus-5-5", "old", False),
        ("claude-haiku-5-5", "new", True),
        ("claude-opus-5", "new", False),
    ],
)
def test_whose_thinking_is_bound(model: str, account: Any, expected: bool) -> None:
    """By model, and on most of them only for new accounts; elsewhere an edit goes through."""
    found, rules = find(model), Rules(account=account)
    assert found is not None
    assert expected is binds(found, rules)
    request = _conversation(model)
    _new_system(request)
    assert (400 if expected else 200) == _ask(request, rules).status


def test_controls_need_their_beta() -> None:
    """The field is refused without the header, and a wish that does not exist with it."""
    request = _conversation()
    assert 400 == _ask({**request, "thinking": DROP}).status
    wrong = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "maybe"}}
    assert 400 == _ask({**request, "thinking": wrong}, betas=CONTROLS).status
    plain = {"type": "adaptive", "block_binding": {}}
    assert 200 == _ask({**request, "thinking": plain}, betas=CONTROLS).status


def test_thinking_of_another_model() -> None:
    """It is dropped and reported where the switch says so, and else stays, whatever was edited."""
    request = {**_conversation(), "model": "claude-sonnet-5-5"}
    kept, dropped = (_ask(request, Rules(foreign_thinking=each)) for each in ("kept", "dropped"))
    assert "input_transformations" not in kept.body
    assert ["model_binding_mismatch"] == [each["reason"] for each in dropped.body["input_transformations"]]
    assert dropped.body["usage"]["input_tokens"] < kept.body["usage"]["input_tokens"]


def test_recorded_thinking_is_bound_to_nothing() -> None:
    """A signature that is not ours may stand anywhere."""
    request = _conversation()
    request["messages"][2]["content"][0]["signature"] = "EqQBCgYI"
    _new_system(request)
    assert 200 == _ask(request).status


def test_thinking_right_after_goes_too() -> None:
    """A dropped block takes the consecutive thinking of its turn with it."""
    request = _conversation()
    content = request["messages"][2]["content"]
    content.insert(1, {"type": "thinking", "thinking": "more", "signature": "EqQBCgYI"})
    _new_system(request)
    answer = _ask({**request, "thinking": DROP}, betas=CONTROLS)
    paths = [each["path"] for each in answer.body["input_transformations"]]
    assert ["messages.2.content.0", "messages.2.content.1"] == paths


def test_prefixes_leave_thinking_out() -> None:
    """The digest after a thinking block is the one before it; `without` takes out what is named and no more."""
    request, model = _conversation(), find("claude-opus-5-5")
    assert model is not None
    before = dict(prefixes(render(request, model, Rules())))
    assert before["messages.2.content.0"] == before["messages.2.content.1"]
    assert before["messages.2.content.1"] != before["messages.2.content.2"]
    bare = without(request, [{"path": "messages.2.content.0"}])
    assert request["messages"][2]["content"][1:] == bare["messages"][2]["content"]
    assert request["messages"][:2] == bare["messages"][:2]
