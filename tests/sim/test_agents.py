"""The model's side: scripts chosen from the prompt, the same for the same seed."""

from __future__ import annotations

from typing import Any

import pytest

from scrimp.sim import agents, models, tokens
from scrimp.sim.agents import Reply, Scene, scene_of
from scrimp.sim.models import Model

BASH = {
    "name": "Bash",
    "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
}
READ = {
    "name": "Read",
    "input_schema": {
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "limit": {"type": "integer"},
            "mode": {"enum": ["text", "raw"]},
            "deep": {"type": "boolean"},
            "parts": {"type": "array"},
            "hint": {"type": "string"},
        },
        "required": ["path", "limit", "mode", "deep", "parts"],
    },
}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def _model(name: str = "claude-opus-5-5") -> Model:
    model = models.find(name)
    assert model is not None
    return model


def _request(text: str, **fields: Any) -> dict[str, Any]:
    return {"max_tokens": 16_000, "tools": [READ, BASH], "messages": [{"role": "user", "content": text}], **fields}


def _reply(request: dict[str, Any], model: str = "claude-opus-5-5", seed: int = 1) -> Reply:
    return agents.reply(request, _model(model), seed)


def _turns(request: dict[str, Any]) -> list[Reply]:
    """Let a client run every tool until the model stops asking for one."""
    replies: list[Reply] = []
    messages = list(request["messages"])
    while not replies or replies[-1].stop_reason == "tool_use":
        replies.append(_reply({**request, "messages": messages}))
        uses = [block for block in replies[-1].content if block["type"] == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": use["id"], "content": "ok"} for use in uses]
        reminder = {"type": "text", "text": "a reminder of the client"}
        messages += [
            {"role": "assistant", "content": replies[-1].content},
            {"role": "user", "content": [*results, reminder]},
        ]
    return replies


def _kinds(reply: Reply) -> list[str]:
    return [block["type"] for block in reply.content]


@pytest.mark.parametrize(
    ("script", "turns"),
    [("loop3", 3), ("loop", 3), ("long30", 30), ("think2", 2), ("para4", 1), ("big9", 1), ("hello", 0)],
)
def test_a_script_uses_tools_for_its_turns_then_ends(script: str, turns: int) -> None:
    """Reminders that the client adds to tool results do not disturb it."""
    replies = _turns(_request(f"please SCENARIO:{script} now"))
    assert ["tool_use"] * turns + ["end_turn"] == [reply.stop_reason for reply in replies]
    assert "text" == _kinds(replies[-1])[-1]


def test_the_shell_gets_a_harmless_command() -> None:
    """Bash is used where it is offered, with a command and a description."""
    uses = [reply.content[-1] for reply in _turns(_request("SCENARIO:loop2"))[:-1]]
    assert ["Bash", "Bash"] == [use["name"] for use in uses]
    assert ["echo step-1", "echo step-2"] == [use["input"]["command"] for use in uses]
    assert {"command", "description"} == set(uses[0]["input"])


def test_another_tool_gets_its_required_input() -> None:
    """Without a shell the first tool is used, every required field filled by its type; deferred tools are not."""
    deferred = {**BASH, "defer_loading": True}
    use = _reply(_request("SCENARIO:loop1", tools=[deferred, SEARCH, READ])).content[-1]
    assert "Read" == use["name"]
    assert {"path": "step-1", "limit": 1, "mode": "text", "deep": False, "parts": []} == use["input"]


@pytest.mark.parametrize(
    "schema",
    [
        None,
        5,
        {"required": 5},
        {"required": [["x"], "y"], "properties": 5},
        {"required": ["y"], "properties": {"y": {"enum": []}}},
    ],
)
def test_a_strange_schema_is_survived(schema: Any) -> None:
    """Whatever a client calls a schema, the tool is used with what can be made of it."""
    use = _reply(_request("SCENARIO:loop1", tools=[{"name": "Odd", "input_schema": schema}])).content[-1]
    assert use["input"] in ({}, {"y": "step-1"})


def test_parallel_uses_have_ids_of_their_own() -> None:
    """Four uses in one turn."""
    reply = _reply(_request("SCENARIO:para4"))
    uses = [block for block in reply.content if block["type"] == "tool_use"]
    assert 4 == len({use["id"] for use in uses}) == len({use["input"]["command"] for use in uses})


def test_without_tools_a_script_is_text() -> None:
    """Side requests of a client offer no tools."""
    for script in ("loop3", "para4", "big", "search2", "think"):
        reply = _reply(_request(f"SCENARIO:{script}", tools=[], thinking={"type": "disabled"}))
        assert (["text"], "end_turn") == (_kinds(reply), reply.stop_reason)


def test_thinking_is_counted_shown_or_not() -> None:
    """With display omitted the text is empty and the count stays; with thinking disabled there is no block."""
    shown = _reply(_request("SCENARIO:think1", thinking={"type": "adaptive"}))
    hidden = _reply(_request("SCENARIO:think1", thinking={"type": "adaptive", "display": "omitted"}))
    assert ["thinking", "text", "tool_use"] == _kinds(shown) == _kinds(hidden)
    assert shown.content[0]["thinking"] != hidden.content[0]["thinking"] == ""
    assert shown.thinking_tokens == hidden.thinking_tokens > 0
    assert shown.output_tokens == sum(tokens.block_tokens(block, _model()) for block in shown.content)
    off = _reply(_request("SCENARIO:think1", thinking={"type": "disabled"}))
    assert (["text", "tool_use"], 0) == (_kinds(off), off.thinking_tokens)
    assert ["text", "tool_use"] == _kinds(_reply(_request("SCENARIO:think1"), "claude-opus-4-8"))


def test_searches_are_counted() -> None:
    """Each search is a server tool use and its result, before the text; once a turn is over, none."""
    reply = _reply(_request("SCENARIO:search2", tools=[SEARCH]))
    assert ["server_tool_use", "web_search_tool_result"] * 2 + ["text"] == _kinds(reply)
    assert (2, "end_turn") == (reply.web_search_requests, reply.stop_reason)


def test_an_answer_of_just_max_tokens_is_whole() -> None:
    """It is cut only if it is longer."""
    whole = _reply(_request("SCENARIO:loop3"))
    assert whole == _reply(_request("SCENARIO:loop3", max_tokens=whole.output_tokens))
    assert "max_tokens" == _reply(_request("SCENARIO:loop3", max_tokens=whole.output_tokens - 1)).stop_reason


@pytest.mark.parametrize("limit", [1, 2, 5, 10])
def test_an_answer_stops_at_max_tokens(limit: int) -> None:
    """It is cut to text that fits, and says so."""
    reply = _reply(_request("SCENARIO:loop3", max_tokens=limit))
    assert "max_tokens" == reply.stop_reason
    assert 0 < reply.output_tokens <= limit
    assert reply.output_tokens == sum(tokens.block_tokens(block, _model()) for block in reply.content)


def test_the_last_scenario_counts() -> None:
    """A later prompt with a script replaces the one before; one without goes on with it."""
    asked = {"role": "user", "content": "SCENARIO:loop2"}
    answer = {"role": "assistant", "content": "ok"}
    later = {"role": "user", "content": [{"type": "text", "text": "first SCENARIO:para3 then SCENARIO:loop9"}]}
    assert Scene("loop", 9, 1) == scene_of({"messages": [asked, answer, later, answer]})
    assert Scene("loop", 2, 2) == scene_of({"messages": [asked, answer, {"role": "user", "content": "and?"}, answer]})
    assert "text" == scene_of({"messages": [{"role": "system", "content": "SCENARIO:loop9"}]}).script


def test_the_same_seed_and_prompt_give_the_same_answer() -> None:
    """Marks are not part of what the model sees; another seed is another answer."""
    request = _request("SCENARIO:think2")
    assert _reply(request) == _reply(_request("SCENARIO:think2"))
    assert _reply(request).content != _reply(request, seed=2).content
    marked = [{"type": "text", "text": "SCENARIO:think2", "cache_control": {"type": "ephemeral"}}]
    assert _reply(request) == _reply({**request, "messages": [{"role": "user", "content": marked}]})
