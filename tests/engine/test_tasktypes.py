"""Requests of one template are one type; names hold no prompt text."""

from __future__ import annotations

import json

import pytest

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.request import Request, parse
from scrimp.engine import tasktypes
from scrimp.engine.tasktypes import OTHER, TaskTypes

TRIAGE = (
    "You are a support triage assistant of the Zebrafinch company. Read the customer's message and assign exactly one "
    "category: billing, outage, account or other. Answer with the category alone. Never invent a category. "
)
SUMMARY = (
    "You summarise meeting transcripts for busy managers. Write five bullet points, each of at most twelve words, then "
    "list the decisions with their owners. Keep names as they are. Leave out small talk and greetings. "
)


def request(system: str, user: str = "hello", tools: tuple[str, ...] = ()) -> Request:
    """Return a request of this system prompt."""
    body = {
        "model": "claude-haiku-5-5",
        "system": system * 3,
        "messages": [{"role": "user", "content": user}],
        "tools": [{"name": name, "input_schema": {}} for name in tools],
    }
    return parse(json.dumps(body).encode())


def exchange(request_class: str | None = None, agent_type: str | None = None) -> Exchange:
    """Return an exchange of that class."""
    return Exchange(
        exchange_id="x", opened_at_ms=1, source="gateway", request_class=request_class, agent_type=agent_type
    )


def test_one_template_is_one_type() -> None:
    """Volatile parts do not matter, other instructions do."""
    types = TaskTypes()
    first = types.name(exchange(), request(TRIAGE + "Today is 2026-11-25. Ticket 4411."))
    again = types.name(exchange(), request(TRIAGE + "Today is 2026-11-26. Ticket 4412.", "other words"))

    assert first == again
    assert first != types.name(exchange(), request(SUMMARY))
    assert first != types.name(exchange(), request(TRIAGE, tools=("lookup",)))


def test_names_hold_no_prompt_text() -> None:
    """The ledger stores the name, so no word of the prompt may be in it."""
    name = TaskTypes().name(exchange(), request(TRIAGE, "my secret question")) or ""

    assert not [word for word in ("Zebrafinch", "triage", "secret") if word.lower() in name.lower()]


@pytest.mark.parametrize(
    ("request_class", "agent_type", "prompt", "expected"),
    [
        ("main", None, "<system-reminder>\nfix nothing\n</system-reminder>please review my last change", "review"),
        ("main", None, "/my-secret-plan fix the crash", "fix bug"),
        ("main", None, "<command-message>x</command-message><command-name>/triage</command-name>", "/triage"),
        ("main", None, "zebrafinch", "other: conversation"),
        ("subagent", "Explore", "find every caller", "subagent: Explore"),
        ("compaction", None, "anything", "/compact"),
    ],
)
def test_claude_code_is_named_as_its_transcripts_are(
    request_class: str, agent_type: str | None, prompt: str, expected: str
) -> None:
    """Class, agent and kind of work; what a person typed is never in the name."""
    assert expected == TaskTypes().name(exchange(request_class, agent_type), request(TRIAGE, prompt))


def test_what_could_not_be_read_has_no_type() -> None:
    """Unknown is None."""
    assert TaskTypes().name(exchange(), None) is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the limits new templates are "other", and old system prompts are read again."""
    monkeypatch.setattr(tasktypes, "TYPES_MAX", 1)
    monkeypatch.setattr(tasktypes, "NAMES_MAX", 1)
    types = TaskTypes()
    first = types.name(exchange(), request(TRIAGE))

    assert OTHER == types.name(exchange(), request(SUMMARY))
    assert first == types.name(exchange(), request(TRIAGE))
