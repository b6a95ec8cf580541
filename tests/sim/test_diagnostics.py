"""Cache diagnostics: the first tier that changed, and what could have been read."""

from __future__ import annotations

from typing import Any

import pytest

from scrimp.sim.diagnostics import BETA
from scrimp.sim.machine import Answer, Simulator
from scrimp.sim.models import day_ms
from scrimp.sim.rules import Rules

NOW = day_ms("2026-11-22")
HEADERS = {"x-api-key": "sk-a", "anthropic-version": "2023-06-01"}
BASE: dict[str, Any] = {
    "model": "claude-opus-5-5",
    "max_tokens": 500,
    "system": "careful " * 1_000,
    "tools": [{"name": "Bash", "input_schema": {"type": "object"}}],
    "messages": [{"role": "user", "content": "hello"}, {"role": "user", "content": "again"}],
    "cache_control": {"type": "ephemeral"},
    "diagnostics": {"previous_message_id": None},
}


def _ask(simulator: Simulator, at_ms: int = NOW, headers: dict[str, str] = HEADERS, **fields: Any) -> Answer:
    return simulator.handle({**BASE, **fields}, headers, at_ms)


def _naming(answer: Answer) -> dict[str, Any]:
    return {"previous_message_id": answer.body["id"]}


def test_who_does_not_ask_is_not_told() -> None:
    """The field is absent; whoever asks for the first time gets null."""
    assert "diagnostics" not in _ask(Simulator(), diagnostics=None).body
    first = _ask(Simulator())
    assert ("diagnostics" in first.body, None) == (True, first.body["diagnostics"])


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"model": "claude-opus-5"}, "model_changed"),
        ({"speed": "fast"}, "model_changed"),
        ({"tools": [], "system": "x"}, "tools_changed"),
        ({"system": "x " * 900}, "system_changed"),
        ({"messages": [{"role": "user", "content": "edited"}, *BASE["messages"][1:]]}, "messages_changed"),
        ({"messages": BASE["messages"][:1]}, "messages_changed"),
    ],
)
def test_the_first_change_is_named(fields: dict[str, Any], kind: str) -> None:
    """With the tokens that would have been read, had nothing changed."""
    simulator = Simulator()
    first = _ask(simulator)
    cached = first.body["usage"]["cache_creation_input_tokens"]
    second = _ask(simulator, NOW + 30_000, diagnostics=_naming(first), **fields)
    missed = cached - second.body["usage"]["cache_read_input_tokens"]
    assert {"type": kind, "cache_missed_input_tokens": missed} == second.body["diagnostics"]["cache_miss_reason"]


def test_what_is_appended_is_no_change() -> None:
    """A longer conversation, other marks, another limit: null, whether or not the entry still lives."""
    for after_ms in (30_000, 900_000):
        simulator = Simulator()
        first = _ask(simulator)
        longer = [*BASE["messages"], {"role": "user", "content": "more"}]
        fields: dict[str, Any] = {"messages": longer, "cache_control": None, "max_tokens": 9}
        second = _ask(simulator, NOW + after_ms, diagnostics=_naming(first), **fields)
        assert second.body["diagnostics"] is None


def test_a_stream_says_it_at_its_start() -> None:
    """message_start carries the reason."""
    simulator = Simulator()
    answer = _ask(simulator, stream=True, diagnostics={"previous_message_id": "msg_nope"})
    reason = {"cache_miss_reason": {"type": "previous_message_not_found"}}
    assert reason == answer.events[0].data["message"]["diagnostics"] == answer.body["diagnostics"]


def test_another_workspace_and_who_did_not_take_part_are_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is what was forgotten."""
    monkeypatch.setattr("scrimp.sim.diagnostics.FINGERPRINTS_MAX", 1)
    simulator = Simulator()
    mine, silent = _ask(simulator), _ask(simulator, diagnostics=None)
    theirs = _ask(simulator, headers={**HEADERS, "x-api-key": "sk-b"}, diagnostics=_naming(mine))
    later = [_ask(simulator, diagnostics=_naming(each)) for each in (silent, mine)]
    kinds = [each.body["diagnostics"]["cache_miss_reason"]["type"] for each in (theirs, *later)]
    assert ["previous_message_not_found"] * 3 == kinds


def test_the_beta_is_asked_for_only_by_switch() -> None:
    """Older pages want the header, newer guidance does not."""
    strict = Simulator(Rules(diagnostics_need_beta=True))
    assert "diagnostics" not in _ask(strict).body
    assert "diagnostics" in _ask(strict, headers={**HEADERS, "anthropic-beta": BETA}).body
