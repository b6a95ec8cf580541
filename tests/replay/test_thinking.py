"""With which thinking a request was asked, as the messages show it."""

from __future__ import annotations

from typing import Any

import pytest

from scrimp.replay.thinking import Turns, is_budgeted
from tests.replay.transcripts import Transcript

OPUS_45, OPUS_46 = "claude-opus-4-5-20251101", "claude-opus-4-6"
TEXT: list[tuple[str, str | None]] = [("text", None)]


def thinking(session: Transcript) -> list[str]:
    """Return the thinking of each exchange of a session."""
    turns = Turns(session.links())
    return [turns.thinking(exchange) for exchange in session.exchanges()]


def asked(meta: bool, version: str = "2.1.20", model: str = OPUS_45, **more: Any) -> Transcript:
    """Return a session of one turn of two requests, by default without any thinking in the answers."""
    session = Transcript(version=version, model=model)
    session.user(0, "text", isMeta=meta)
    session.answer(1, "m1", 10_000, blocks=[("tool_use", "Read")])
    session.result(2)
    session.answer(3, "m2", 11_000, blocks=more.pop("blocks", TEXT), **more)
    return session


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        (asked(meta=False), ["on", "on"]),
        (asked(meta=True), ["off", "off"]),
        (asked(meta=True, version="2.1.38"), ["on", "on"]),
        (asked(meta=True, blocks=[("thinking", None)]), ["on", "on"]),
        (asked(meta=False, version="1.0.98"), ["off", "off"]),
        (asked(meta=False, version="1.0.98", blocks=[("thinking", None)]), ["on", "on"]),
        (asked(meta=True, model=OPUS_46), ["off", "off"]),
        (asked(meta=False, blocks=[("thinking", None), ("text", None)], whole=True), ["on", "less"]),
        (asked(meta=False, model=OPUS_46, blocks=[("thinking", None), ("text", None)], whole=True), ["on", "on"]),
    ],
)
def test_a_turn_is_of_one_mind(session: Transcript, expected: list[str]) -> None:
    """What any answer of a turn shows holds for the whole turn; else prompter and build decide."""
    assert expected == thinking(session)


def test_without_links_thinking_is_taken_for_granted() -> None:
    """Recordings of other kinds do not show it, so it never changes."""
    assert ["on", "on"] == [Turns({}).thinking(exchange) for exchange in asked(meta=True).exchanges()]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("claude-3-5-haiku-20241022", True),
        ("claude-opus-4-20250514", True),
        ("claude-opus-4-1-20250805", True),
        (OPUS_45, True),
        ("claude-sonnet-4-5", True),
        (OPUS_46, False),
        ("claude-opus-5-5", False),
        ("claude-sonnet-5", False),
    ],
)
def test_which_models_have_a_budget(model: str, expected: bool) -> None:
    """Up to the 4.5 generation."""
    assert expected == is_budgeted(model)
