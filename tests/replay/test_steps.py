"""The one thing that a step works out itself."""

from __future__ import annotations

from scrimp.replay.steps import Step


def test_a_step_ends_at_its_last_mark() -> None:
    """Without a known mark it ends with its prompt."""
    plain = Step(exchange_id="x", session_id="s", at_ms=0, model="m", cache="m", total_tokens=100)
    marked = Step(exchange_id="x", session_id="s", at_ms=0, model="m", cache="m", total_tokens=100, marked_tokens=97)

    assert (100, 97) == (plain.end_tokens, marked.end_tokens)
