"""What the cache key holds besides the blocks: settings that lose a tier of the cache when they change.

Source: API docs, prompt caching, "What invalidates the cache". A setting that says what the model does anyway is the
same as none. Speed is not here: fast and standard never share a prefix, so it selects the cache itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from scrimp.core.wire.models import traits

if TYPE_CHECKING:
    from scrimp.core.wire.blocks import Block, Tier

_IMAGE = re.compile(rb'"type"\s*:\s*"image"')
_CITING = frozenset({"document", "search_result"})


def read_settings(raw: msgspec.Raw) -> Mapping[str, Any]:
    """Decode an optional object of settings; anything else is no setting."""
    if not bytes(raw):
        return {}
    try:
        decoded = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def thinking_turns(context_management: Mapping[str, Any]) -> int | Literal["all"] | None:
    """Return how many turns of thinking a `clear_thinking` edit keeps (API docs, context editing); None: not asked."""
    edits = context_management.get("edits")
    for edit in edits if isinstance(edits, list) else []:
        if isinstance(edit, dict) and str(edit.get("type")).startswith("clear_thinking_"):
            keep = edit.get("keep")
            value = keep.get("value", 1) if isinstance(keep, dict) else keep
            return max(1, value) if isinstance(value, int) else "all" if value is not None else None
    return None


def key_settings(
    model: str,
    blocks: Sequence[Block],
    tool_choice: Mapping[str, Any],
    thinking: Mapping[str, Any],
    output_config: Mapping[str, Any],
    *,
    effort_in_messages: bool,
) -> tuple[tuple[Tier, bytes], ...]:
    """Return the settings of the system tier and of the messages tier, as bytes to be digested.

    Where messages carry their own effort (`effort_in_messages`), it is rendered there and not part of the settings.
    """
    habit = traits(model)
    in_messages = [block for block in blocks if block.tier == "messages"]
    messages = [
        [thinking.get("type") or habit.default_thinking, thinking.get("budget_tokens")],
        None if effort_in_messages else output_config.get("effort") or habit.default_effort,
        [
            tool_choice.get("type") or "auto",
            tool_choice.get("name"),
            bool(tool_choice.get("disable_parallel_tool_use")),
        ],
        any(_IMAGE.search(bytes(block.raw)) for block in in_messages),
        output_config.get("format"),
        output_config.get("task_budget"),
    ]
    cited = any(block.kind in _CITING and b'"citations"' in bytes(block.raw) for block in in_messages)
    return ("system", msgspec.json.encode(cited)), ("messages", msgspec.json.encode(messages, order="deterministic"))
