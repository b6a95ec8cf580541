"""Settings in the cache key: an explicit default is no change, and foreign values do no harm."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scrimp.core.wire.cachekey import key_settings, read_settings, thinking_turns


def settings(given: dict[str, dict[str, Any]], model: str = "claude-opus-5-5") -> object:
    """Return the key's settings for the given request parameters."""
    named = (given.get("tool_choice", {}), given.get("thinking", {}), given.get("output_config", {}))
    return key_settings(model, *named, effort_in_messages=False, has_image=False, is_cited=False)


@pytest.mark.parametrize(
    ("model", "explicit"),
    [
        ("claude-opus-5-5", {"thinking": {"type": "adaptive"}}),
        ("claude-opus-5-5", {"output_config": {"effort": "medium"}}),
        ("claude-opus-4-8", {"thinking": {"type": "disabled"}}),
        ("claude-opus-4-8", {"output_config": {"effort": "high"}}),
        ("claude-opus-5-5", {"tool_choice": {"type": "auto"}}),
        ("claude-opus-5-5", {"tool_choice": {"disable_parallel_tool_use": False}}),
    ],
)
def test_an_explicit_default_is_no_change(model: str, explicit: dict[str, dict[str, Any]]) -> None:
    """Saying what the model does anyway keeps the cache (API docs)."""
    assert settings({}, model) == settings(explicit, model)


@pytest.mark.parametrize(
    "changed",
    [
        {"thinking": {"type": "enabled", "budget_tokens": 4000}},
        {"output_config": {"effort": "low"}},
        {"output_config": {"format": {"type": "json_schema"}}},
        {"tool_choice": {"type": "tool", "name": "x"}},
        {"tool_choice": {"disable_parallel_tool_use": True}},
    ],
)
def test_a_real_change_is_one(changed: dict[str, dict[str, Any]]) -> None:
    """Each of these loses the messages tier."""
    assert settings({}) != settings(changed)


@pytest.mark.parametrize("raw", [b"", b"null", b"3", b"[1]", b"{torn", b"[" * 100_000])
def test_what_is_no_object_is_no_setting(raw: bytes) -> None:
    """A foreign value is forwarded with the body; here it counts as absent."""
    assert {} == read_settings(msgspec.Raw(raw))


@pytest.mark.parametrize(
    ("edits", "turns"),
    [
        ([{"type": "clear_thinking_20251015", "keep": "all"}], "all"),
        ([{"type": "clear_thinking_20251015", "keep": {"type": "thinking_turns", "value": 3}}], 3),
        ([{"type": "clear_thinking_20251015", "keep": {"value": 0}}], 1),
        ([{"type": "clear_thinking_20251015"}], None),
        ([{"type": "clear_tool_uses_20250919"}], None),
        ("odd", None),
        ([7], None),
        (None, None),
    ],
)
def test_thinking_turns(edits: Any, turns: Any) -> None:
    """How many turns of thinking an edit keeps."""
    assert turns == thinking_turns({"edits": edits})
