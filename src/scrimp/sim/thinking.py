"""Which thinking of earlier turns is still in the prompt."""

from __future__ import annotations

from scrimp.sim.blocks import JsonObject, as_blocks, as_object
from scrimp.sim.models import Model


def is_prompted(message: JsonObject) -> bool:
    """Say whether a user message is more than tool results, so that it starts a new turn."""
    kinds = {block.get("type") for block in as_blocks(message.get("content"))}
    return message.get("role") == "user" and bool(kinds - {"tool_result"})


def _keep(request: JsonObject, model: Model) -> int | None:
    """Return how many turns of thinking are kept, None for all: the request's own wish, else the model's habit."""
    edits = as_blocks(as_object(request.get("context_management")).get("edits"))
    wishes = [edit.get("keep") for edit in edits if str(edit.get("type")).startswith("clear_thinking_")]
    if not wishes or wishes[0] is None:
        return None if model.keeps_thinking else 1
    value = as_object(wishes[0]).get("value")
    return max(1, value) if isinstance(value, int) else None


def kept_from(request: JsonObject, model: Model) -> int:
    """Return the index of the first message whose thinking is still rendered.

    A turn starts with a user message that is more than tool results. Models that keep thinking keep all of it; the
    others drop it when the next turn starts, unless the request asks to keep it (API docs, extended thinking, context
    editing).
    """
    turns = _keep(request, model)
    starts = [index for index, message in enumerate(request["messages"]) if is_prompted(message)]
    return 0 if turns is None or len(starts) < turns else starts[-turns]
