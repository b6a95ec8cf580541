"""What earlier answers left in a request: whose thinking it was, and which breakpoints the API set itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scrimp.core.belief.answers import heard
from scrimp.core.belief.cache import CacheRules, predict
from scrimp.core.belief.events import FirstToken, RequestArrived
from scrimp.core.belief.prefix import NOTHING_HEARD, Prompt, kept_blocks, read_prompt
from scrimp.core.belief.session import Belief, step, tails_of
from scrimp.core.wire.request import Request, parse

OPUS, SONNET = "claude-opus-5-5", "claude-sonnet-5-5"
SEARCH: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}
MARK: dict[str, Any] = {"cache_control": {"type": "ephemeral"}}
PROMPT: dict[str, Any] = {"role": "user", "content": [{"type": "text", "text": "find it"}]}
THOUGHT: dict[str, Any] = {
    "role": "assistant",
    "content": [{"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "text", "text": "a"}],
}
FOUND = {
    "role": "assistant",
    "content": [
        {"type": "server_tool_use", "id": "u", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "u", "content": []},
        {"type": "text", "text": "found"},
    ],
}
NEXT: dict[str, Any] = {"role": "user", "content": "go on"}
BLOCK_TOKENS = 600


def _request(*messages: dict[str, Any], model: str = OPUS, **fields: Any) -> Request:
    return parse(json.dumps({"model": model, "max_tokens": 9, "messages": list(messages), **fields}).encode())


def _read(belief: Belief, request: Request) -> Prompt:
    known = heard(belief, request)
    return read_prompt(request, [BLOCK_TOKENS] * len(kept_blocks(request, known)), heard=known)


def _sent(belief: Belief, request: Request, at_ms: int, begun_at_ms: int | None = None) -> Belief:
    prompt, name = _read(belief, request), f"x{at_ms}"
    split = predict(belief.caches.get(prompt.cache, {}), prompt, at_ms, belief.rules)
    belief = step(belief, RequestArrived(name, "s", prompt, split, at_ms, tails_of(request)))
    return step(belief, FirstToken(name, at_ms if begun_at_ms is None else begun_at_ms))


def _kinds(belief: Belief, request: Request) -> list[str]:
    return [block.kind for block in kept_blocks(request, heard(belief, request))]


def test_thinking_of_another_model_is_left_out() -> None:
    """At the first change of model and at any later one; each model keeps its own."""
    belief = _sent(Belief(), _request(PROMPT), 0)
    assert ["text", "thinking", "text", "text"] == _kinds(belief, _request(PROMPT, THOUGHT, NEXT))
    other = _request(PROMPT, THOUGHT, NEXT, model=SONNET)
    assert ["text", "text", "text"] == _kinds(belief, other)
    belief = _sent(belief, other, 10)
    back = [PROMPT, THOUGHT, NEXT, THOUGHT, NEXT]
    assert ["text", "thinking", "text", "text", "text", "text"] == _kinds(belief, _request(*back))
    assert ["text", "text", "text", "thinking", "text", "text"] == _kinds(belief, _request(*back, model=SONNET))


@pytest.mark.parametrize(
    ("belief", "model"),
    [
        (Belief(), SONNET),
        (_sent(Belief(), _request(PROMPT, model="claude-haiku-4-5"), 0), "claude-haiku-4-5-20251001"),
        (_sent(Belief(rules=CacheRules(foreign_thinking_dropped=False)), _request(PROMPT), 0), SONNET),
        (_sent(Belief(), _request(NEXT), 0), SONNET),
    ],
    ids=["never seen", "its dated name", "switched off", "another conversation"],
)
def test_what_may_be_its_own_is_kept(belief: Belief, model: str) -> None:
    """Whoever wrote it, as long as nobody knows that it was another."""
    assert "thinking" in _kinds(belief, _request(PROMPT, THOUGHT, model=model))


def test_the_api_marks_results_of_its_own_tools() -> None:
    """A later request reads up to the last one that was read on from, for five minutes after that answer began."""
    asked: dict[str, Any] = {"tools": [SEARCH], **MARK}
    belief = _sent(Belief(), _request(PROMPT, **asked), 0, begun_at_ms=1_000)
    later = _read(belief, _request(PROMPT, FOUND, NEXT, **asked))
    assert [(3, 1_000)] == [(mark.index, mark.at_ms) for mark in later.own_marks]
    entries = belief.caches[later.cache]
    for at_ms, read in ((300_999, 4 * BLOCK_TOKENS), (301_000, 0)):
        assert read == predict(entries, later, at_ms, belief.rules).usage.cache_read_input_tokens
    belief = _sent(belief, _request(PROMPT, FOUND, NEXT, **asked), 2_000)
    assert later.digests[3] in belief.caches[later.cache]


@pytest.mark.parametrize(
    ("first", "then", "rules"),
    [
        ({"tools": [SEARCH]}, {"tools": [SEARCH], **MARK}, CacheRules()),
        ({"tools": [SEARCH], **MARK}, {"tools": [SEARCH], **MARK}, CacheRules(server_tool_marks=False)),
        ({"tools": [SEARCH], **MARK}, {"tools": [SEARCH], **MARK, "model": SONNET}, CacheRules()),
        ({"tools": [SEARCH], **MARK}, {"tools": [SEARCH], **MARK, "system": "another"}, CacheRules()),
        ({"tools": [SEARCH], **MARK}, {"tools": [SEARCH], **MARK, "tool_choice": {"type": "none"}}, CacheRules()),
    ],
    ids=["not marked", "switched off", "another model", "another system", "another tool_choice"],
)
def test_a_mark_is_worth_something_only_before_the_same_prefix(
    first: dict[str, Any], then: dict[str, Any], rules: CacheRules
) -> None:
    """And only in the cache that the answer met, of a request that asked for caching."""
    belief = _sent(Belief(rules=rules), _request(PROMPT, **first), 0)
    assert () == _read(belief, _request(PROMPT, FOUND, NEXT, **then)).own_marks


def test_a_result_that_ends_its_answer_has_no_mark() -> None:
    """The API marks one before it reads on, which it did not."""
    asked: dict[str, Any] = {"tools": [SEARCH], **MARK}
    belief = _sent(Belief(), _request(PROMPT, **asked), 0)
    paused = {**FOUND, "content": FOUND["content"][:2]}
    assert () == _read(belief, _request(PROMPT, paused, NEXT, **asked)).own_marks


def test_nothing_is_looked_for_where_there_is_nothing() -> None:
    """One model, and no tools of the API's own."""
    belief = _sent(Belief(), _request(PROMPT), 0)
    assert NOTHING_HEARD is heard(belief, _request(PROMPT, THOUGHT, NEXT, tools=[{"name": "a", "input_schema": {}}]))
