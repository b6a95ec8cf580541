"""Which earlier thinking is still in the prompt."""

from __future__ import annotations

from typing import Any

import pytest

from scrimp.sim import models
from scrimp.sim.thinking import is_prompted, kept_from

RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]}
ASKED = {"role": "user", "content": "go"}
ANSWER = {"role": "assistant", "content": "done"}
#: Three turns: prompts at 0, 4 and 6.
MESSAGES = [ASKED, ANSWER, RESULT, ANSWER, ASKED, ANSWER, ASKED]


def _kept(model_name: str, keep: Any = None) -> int:
    model = models.find(model_name)
    assert model is not None
    request: dict[str, Any] = {"messages": MESSAGES}
    if keep is not None:
        request["context_management"] = {"edits": [{"type": "clear_thinking_20251015", "keep": keep}]}
    return kept_from(request, model)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (ASKED, True),
        (RESULT, False),
        (ANSWER, False),
        ({"role": "user", "content": [*RESULT["content"], {"type": "text", "text": "and"}]}, True),
        ({"role": "system", "content": "note"}, False),
    ],
)
def test_a_turn_starts_with_a_prompt(message: dict[str, Any], expected: bool) -> None:
    """Tool results alone go on with the turn."""
    assert expected is is_prompted(message)


@pytest.mark.parametrize(
    ("model", "keep", "expected"),
    [
        ("claude-opus-5-5", None, 0),
        ("claude-opus-4-5", None, 0),
        ("claude-haiku-4-5", None, 6),
        ("claude-sonnet-4-5", None, 6),
        ("claude-haiku-4-5", "all", 0),
        ("claude-haiku-4-5", {"type": "thinking_turns", "value": 2}, 4),
        ("claude-opus-5-5", {"type": "thinking_turns", "value": 1}, 6),
        ("claude-opus-5-5", {"type": "thinking_turns", "value": 9}, 0),
        ("claude-opus-5-5", {"type": "thinking_turns", "value": "many"}, 0),
    ],
)
def test_thinking_is_kept_by_model_or_by_wish(model: str, keep: Any, expected: int) -> None:
    """Newer models keep all of it, older ones that of the running turn; context_management can say otherwise."""
    assert expected == _kept(model, keep)
