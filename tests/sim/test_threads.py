"""Message threads: what a turn may leave out, and every way in which it cannot go on."""

from __future__ import annotations

from typing import Any

import pytest

from scrimp.sim import threads
from scrimp.sim.machine import Answer, Simulator
from scrimp.sim.models import day_ms
from scrimp.sim.rules import Rules

NOW = day_ms("2026-11-22")
HEADERS = {"x-api-key": "sk-a", "anthropic-version": "2023-06-01", "anthropic-beta": threads.BETA}
MARK = {"type": "ephemeral"}
BASE: dict[str, Any] = {
    "model": "claude-opus-5-5",
    "max_tokens": 500,
    "system": [{"type": "text", "text": "careful " * 1_000, "cache_control": MARK}],
    "tools": [{"name": "Bash", "input_schema": {"type": "object"}}],
    "messages": [{"role": "user", "content": "hello"}],
}


def _simulator(**switches: Any) -> Simulator:
    return Simulator(Rules(threads=True, **switches))


def _create(simulator: Simulator, **fields: Any) -> Answer:
    return simulator.handle({**BASE, "thread": {"type": "create"}, **fields}, HEADERS, NOW)


def _turn(name: str, **fields: Any) -> dict[str, Any]:
    bare = {"model": BASE["model"], "max_tokens": 500, "messages": [{"role": "user", "content": "go on"}]}
    return {**bare, "thread": {"type": "continue", "previous_message_id": name}, **fields}


def _continue(simulator: Simulator, name: str, at_ms: int, **fields: Any) -> Answer:
    return simulator.handle(_turn(name, **fields), HEADERS, at_ms)


def _code(answer: Answer) -> tuple[int, Any]:
    return answer.status, answer.body["error"].get("details", {}).get("error_code")


def _after(answer: Answer) -> int:
    return NOW + answer.duration_ms


def test_a_turn_is_the_whole_conversation() -> None:
    """Its prompt is as long as the one that sends everything, and the create request's marks count again."""
    simulator = _simulator()
    first = _create(simulator)
    second = _continue(simulator, first.body["id"], _after(first))
    assert 200 == second.status, second.body
    said = {"role": "assistant", "content": first.body["content"]}
    whole = {**BASE, "messages": [*BASE["messages"], said, {"role": "user", "content": "go on"}]}
    expected = simulator.handle(whole, HEADERS, NOW + 60_000).body["usage"]
    assert first.body["usage"]["cache_creation_input_tokens"] == second.body["usage"]["cache_read_input_tokens"] > 0
    assert expected["input_tokens"] == second.body["usage"]["input_tokens"]
    third = _continue(simulator, second.body["id"], _after(second) + 60_000)
    assert 200 == third.status


def test_threads_are_refused_unless_they_are_on() -> None:
    """As unsupported, so that clients go on without."""
    assert (400, "thread_unsupported_request") == _code(_create(Simulator()))


def test_threads_need_their_beta() -> None:
    """A plain refusal without the header."""
    request = {**BASE, "thread": {"type": "create"}}
    plain = {name: value for name, value in HEADERS.items() if name != "anthropic-beta"}
    answer = _simulator().handle(request, plain, NOW)
    assert (400, None) == _code(answer)
    assert threads.BETA in answer.body["error"]["message"]


@pytest.mark.parametrize("thread", [{"type": "fork"}, {}, "create", 7])
def test_a_thread_is_created_or_continued(thread: Any) -> None:
    """Anything else is refused."""
    assert 400 == _create(_simulator(), thread=thread).status


def test_a_thread_lives_five_minutes_after_its_answer() -> None:
    """To the millisecond; then it is not found."""
    simulator = _simulator()
    one, other = _create(simulator), _create(simulator)
    assert 200 == _continue(simulator, one.body["id"], _after(one) + 299_999).status
    late = _continue(simulator, other.body["id"], _after(other) + 300_000)
    assert (404, "thread_not_found") == _code(late)


@pytest.mark.parametrize("name", ["msg_nope", None, 7])
def test_an_unknown_thread_is_not_found(name: Any) -> None:
    """Whatever stands for its name."""
    assert (404, "thread_not_found") == _code(_continue(_simulator(), name, NOW))


def test_a_thread_belongs_to_its_workspace() -> None:
    """Another key does not find it; and nobody finds an answer that is not out yet."""
    simulator = _simulator()
    first = _create(simulator)
    other = simulator.handle(_turn(first.body["id"]), {**HEADERS, "x-api-key": "sk-b"}, _after(first))
    assert (404, "thread_not_found") == _code(other)
    assert (404, "thread_not_found") == _code(_continue(simulator, first.body["id"], NOW))


def test_an_answer_is_continued_once() -> None:
    """While the turn is under way it is in flight, afterwards it has been continued."""
    simulator = _simulator()
    first = _create(simulator)
    second = _continue(simulator, first.body["id"], _after(first))
    end_ms = _after(first) + second.duration_ms
    assert (400, "thread_continue_in_flight") == _code(_continue(simulator, first.body["id"], end_ms - 1))
    assert (400, "thread_already_continued") == _code(_continue(simulator, first.body["id"], end_ms))
    assert 200 == _continue(simulator, second.body["id"], end_ms).status


def test_a_refused_turn_continues_nothing() -> None:
    """The thread can be continued by a better one."""
    simulator = _simulator()
    first = _create(simulator)
    assert 400 == _continue(simulator, first.body["id"], _after(first), max_tokens=-1).status
    assert 200 == _continue(simulator, first.body["id"], _after(first)).status


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"system": "other"}, "system"),
        ({"tools": []}, "tools"),
        ({"model": "claude-opus-5"}, "model"),
        ({"output_config": {"effort": "low"}}, "output_config"),
        ({"thinking": {"type": "adaptive"}, "system": "x"}, "system, thinking"),
    ],
)
def test_what_a_turn_changes_is_named(fields: dict[str, Any], named: str) -> None:
    """Each field that has to stay the same."""
    simulator = _simulator()
    first = _create(simulator)
    answer = _continue(simulator, first.body["id"], _after(first), **fields)
    assert (400, "thread_fingerprint_mismatch") == _code(answer)
    assert answer.body["error"]["message"].endswith(f"differing field(s): {named}")


def test_what_a_turn_repeats_is_no_change() -> None:
    """The same system and tools, marked or not."""
    simulator = _simulator()
    first = _create(simulator)
    same = {"system": [{"type": "text", "text": BASE["system"][0]["text"]}], "tools": BASE["tools"]}
    assert 200 == _continue(simulator, first.body["id"], _after(first), **same).status


@pytest.mark.parametrize("name", ["context_management", "fallbacks", "compaction"])
def test_what_threads_do_not_go_with_is_named(name: str) -> None:
    """So that clients go on without a thread."""
    answer = _create(_simulator(), **{name: {"edits": []}})
    assert (400, "thread_unsupported_request") == _code(answer)
    assert [name] == answer.body["error"]["details"]["unsupported"]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest answer is forgotten first."""
    monkeypatch.setattr("scrimp.sim.threads.THREADS_MAX", 2)
    simulator = _simulator()
    names = [_create(simulator).body["id"] for _ in range(3)]
    assert [404, 200] == [_continue(simulator, name, NOW + 60_000).status for name in (names[0], names[2])]
