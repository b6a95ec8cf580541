"""What the cache key holds besides the blocks: settings that lose a tier of the cache when they change.

Source: API docs, prompt caching, "What invalidates the cache". A setting that says what the model does anyway is the
same as none. Speed is not here: fast and standard never share a prefix, so it selects the cache itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from scrimp.core.wire.models import traits
from scrimp.core.wire.surrogates import UNREADABLE

if TYPE_CHECKING:
    from scrimp.core.wire.blocks import Block, Tier

_IMAGE = re.compile(rb'"type"\s*:\s*"image"')
_CITING = frozenset({"document", "search_result"})


#: A larger object of settings is not decoded; a schema of structured output is the largest there is.
SETTINGS_BYTES_MAX = 1024 * 1024


def read_settings(raw: msgspec.Raw) -> Mapping[str, Any]:
    """Decode an optional object of settings; anything else, or one that is too large, is no setting."""
    if not 0 < memoryview(raw).nbytes <= SETTINGS_BYTES_MAX:
        return {}
    try:
        decoded = msgspec.json.decode(raw)
    except UNREADABLE:
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


def hold_image(block: Block) -> bool:
    """Whether a block is or holds an image."""
    return _IMAGE.search(bytes(block.raw)) is not None


def are_cited(block: Block) -> bool:
    """Whether a block is a source with citations."""
    return block.kind in _CITING and b'"citations"' in bytes(block.raw)


#: What each setting of a tier is called, in the order of `key_settings`.
SETTING_NAMES: Mapping[str, tuple[str, ...]] = {
    "system": ("citations",),
    "messages": ("thinking", "effort", "tool_choice", "images", "output_format", "task_budget"),
}


def changed_setting(tier: str, before: bytes, after: bytes) -> str | None:
    """Name the first setting of a tier that differs between two of its values in `key_settings`; None if none does."""
    if before == after:
        return None
    one, other = (msgspec.json.decode(value) if value else [] for value in (before, after))
    values = ([each] if tier == "system" else each for each in (one, other))
    pairs = zip(SETTING_NAMES.get(tier, ()), *values, strict=False)
    return next((name for name, old, new in pairs if old != new), None)


def key_settings(
    model: str,
    tool_choice: Mapping[str, Any],
    thinking: Mapping[str, Any],
    output_config: Mapping[str, Any],
    *,
    effort_in_messages: bool,
    has_image: bool,
    is_cited: bool,
) -> tuple[tuple[Tier, bytes], ...]:
    """Return the settings of the system tier and of the messages tier, as bytes to be digested.

    Where messages carry their own effort (`effort_in_messages`), it is rendered there and not part of the settings.
    `has_image` and `is_cited` say whether any block of the messages `hold_image` and `are_cited`.
    """
    habit = traits(model)
    messages = [
        [thinking.get("type") or habit.default_thinking, thinking.get("budget_tokens")],
        None if effort_in_messages else output_config.get("effort") or habit.default_effort,
        [
            tool_choice.get("type") or "auto",
            tool_choice.get("name"),
            bool(tool_choice.get("disable_parallel_tool_use")),
        ],
        has_image,
        output_config.get("format"),
        output_config.get("task_budget"),
    ]
    return ("system", msgspec.json.encode(is_cited)), ("messages", msgspec.json.encode(messages, order="deterministic"))
