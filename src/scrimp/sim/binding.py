"""Preserved thinking: which thinking blocks a request may send back, and what happens to the others.

A block that another model wrote is dropped where `Rules.foreign_thinking` says so. A block whose conversation was
edited before it is a 400, or is dropped by wish (beta `thinking-binding-controls-2026-08-01`), together with the
thinking right after it (API docs, preserved thinking; SDK, `input_transformations`). Marks are no edit, and neither
is thinking that the API itself left out. Signatures that are not ours, such as those of recorded traffic, bind nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from scrimp.sim.blocks import JsonObject, as_blocks, as_object
from scrimp.sim.errors import bad_request
from scrimp.sim.models import Model
from scrimp.sim.render import THINKING, Position, Prompt
from scrimp.sim.rules import Rules
from scrimp.sim.signatures import signature_of

CONTROLS = "thinking-binding-controls-2026-08-01"
_DIGEST_LETTERS = 32


def prefixes(prompt: Prompt) -> Iterator[tuple[str, str]]:
    """Yield each position's path with a digest of all before it, thinking aside."""
    running = sha256()
    for position in prompt.positions:
        yield position.path, running.hexdigest()[:_DIGEST_LETTERS]
        if position.kind not in THINKING:
            running.update(_digest(position))


def binds(model: Model, rules: Rules) -> bool:
    """Say whether this model holds this account's thinking to its conversation."""
    if rules.account == "exempt":
        return False
    return model.binds_thinking == "always" or (model.binds_thinking == "new" and rules.account == "new")


def prefix_of(prompt: Prompt) -> str:
    """Return what thinking that answers this prompt is bound to."""
    bound = (_digest(position) for position in prompt.positions if position.kind not in THINKING)
    return sha256(b"".join(bound)).hexdigest()[:_DIGEST_LETTERS]


def _digest(position: Position) -> bytes:
    return sha256(position.rendered.encode("utf-8", "surrogatepass")).digest()


def _behaviour(request: JsonObject, betas: frozenset[str]) -> str:
    """Return what the request wants done with blocks of another conversation."""
    controls = as_object(request.get("thinking")).get("block_binding")
    if controls is None:
        return "error"
    if CONTROLS not in betas:
        raise bad_request(f"thinking.block_binding: this field requires the anthropic-beta value `{CONTROLS}`")
    wish = as_object(controls).get("prefix_mismatch_behavior") or "error"
    if wish not in {"error", "drop_block"}:
        raise bad_request("thinking.block_binding.prefix_mismatch_behavior: Input should be 'error' or 'drop_block'")
    return str(wish)


def _thinking_blocks(request: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    for index, message in enumerate(request["messages"]):
        for at, block in enumerate(as_blocks(message.get("content"))):
            if block.get("type") == "thinking":
                yield f"messages.{index}.content.{at}", block


def _mismatch(block: JsonObject, prefix: str | None, model: Model, rules: Rules) -> str | None:
    """Return which check the block fails, the model's before the conversation's; None where it passes."""
    signed = signature_of(block)
    if signed is None or not signed.model:
        return None
    if signed.model != model.name:
        return "model_binding_mismatch" if rules.foreign_thinking == "dropped" else None
    is_edited = bool(signed.prefix) and prefix is not None and signed.prefix != prefix
    return "prefix_binding_mismatch" if is_edited and binds(model, rules) else None


def _refusal(path: str) -> str:
    return (
        f"{path}: Invalid `signature` in `thinking` block. The block is bound to a different conversation. Remove the "
        'block, or set `thinking.block_binding.prefix_mismatch_behavior` to "drop_block". This setting requires the '
        f"value `{CONTROLS}` in the `anthropic-beta` header."
    )


def transformations(
    request: JsonObject, prompt: Prompt, model: Model, rules: Rules, betas: frozenset[str]
) -> list[dict[str, Any]]:
    """Return the API's own list of the blocks to drop; raise where the request does not want them dropped."""
    behaviour = _behaviour(request, betas)
    blocks = list(_thinking_blocks(request))
    before = dict(prefixes(prompt)) if blocks else {}
    dropped: list[dict[str, Any]] = []
    for path, block in blocks:
        reason = _mismatch(block, before.get(path), model, rules)
        if reason == "prefix_binding_mismatch" and behaviour == "error":
            raise bad_request(_refusal(path))
        if reason is None and _follows(path, dropped):
            reason = "prefix_binding_mismatch"
        if reason is not None:
            dropped.append({"type": "thinking_dropped", "path": path, "reason": reason})
    return dropped


def _follows(path: str, dropped: list[dict[str, Any]]) -> bool:
    """Say whether the block stands right after one that was dropped for its conversation."""
    if not dropped or dropped[-1]["reason"] != "prefix_binding_mismatch":
        return False
    message, _, at = path.rpartition(".")
    return f"{message}.{int(at) - 1}" == str(dropped[-1]["path"])


def without(request: JsonObject, dropped: list[dict[str, Any]]) -> JsonObject:
    """Return the request without the dropped blocks."""
    gone = {each["path"] for each in dropped}
    messages = [
        {**message, "content": _kept(message["content"], f"messages.{index}.content", gone)}
        for index, message in enumerate(request["messages"])
    ]
    return {**request, "messages": messages}


def _kept(content: Any, path: str, gone: set[str]) -> Any:
    if not isinstance(content, list):
        return content
    return [block for at, block in enumerate(content) if f"{path}.{at}" not in gone]
