"""A deterministic token counter: the same content gives the same count, however it is written.

Counts follow the length of what is rendered, scaled per model; images follow the documented 28-pixel rule. They are
not the real tokenizer's, but they add up in the same way: a prompt is the sum of its blocks.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable

from scrimp.sim.blocks import JsonObject, canonical, compact, nested
from scrimp.sim.models import Model
from scrimp.sim.signatures import signature_of

#: What a change of speaker costs, and the frame around a tool's use and its result.
ROLE_TOKENS = 4
TOOL_FRAME_TOKENS = 8

UNKNOWN_IMAGE_TOKENS = 1_500
UNKNOWN_DOCUMENT_TOKENS = 3_000
PDF_BYTES_PER_PAGE = 40_000
PDF_PAGE_TOKENS = 2_000

_PNG_HEADER_BYTES = 24
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PATCH_PIXELS = 28

#: Tools that the API defines itself: prefix of their type -> tokens (API docs, tool use pricing; the rest are round).
SERVER_TOOL_TOKENS = {
    "text_editor_": 700,
    "computer_": 4_500,
    "browser_": 6_600,
    "web_search_": 600,
    "web_fetch_": 600,
    "code_execution_": 900,
}


def text_tokens(text: str, model: Model) -> int:
    """Return the tokens of a text, rounded up."""
    return -(-len(text.encode("utf-8", "surrogatepass")) * model.tokens_per_1000_bytes // 1_000)


def png_size(data: str) -> tuple[int, int] | None:
    """Return width and height of a base64 PNG in pixels, or None if it is not one."""
    try:
        head = base64.b64decode(data[: _PNG_HEADER_BYTES * 2], validate=False)[:_PNG_HEADER_BYTES]
    except ValueError:
        return None
    if len(head) < _PNG_HEADER_BYTES or not head.startswith(_PNG_SIGNATURE):
        return None
    width, height = struct.unpack(">II", head[16:24])
    return (width, height) if width and height else None


def image_tokens(width: int, height: int, model: Model) -> int:
    """Return the visual tokens of an image after down-scaling: ceil(w/28) * ceil(h/28), capped per model."""
    long_edge = max(width, height)
    if long_edge > model.max_image_edge:
        width, height = (max(1, edge * model.max_image_edge // long_edge) for edge in (width, height))
    patches = -(-width // _PATCH_PIXELS) * -(-height // _PATCH_PIXELS)
    return min(patches, model.max_image_tokens)


def _source(block: JsonObject) -> JsonObject:
    source = block.get("source")
    return source if isinstance(source, dict) else {}


def _text(block: JsonObject, model: Model) -> int:
    return text_tokens(str(block.get("text") or ""), model)


def _image(block: JsonObject, model: Model) -> int:
    data = _source(block).get("data")
    size = png_size(data) if isinstance(data, str) else None
    return image_tokens(*size, model) if size else UNKNOWN_IMAGE_TOKENS


def _document(block: JsonObject, model: Model) -> int:
    source = _source(block)
    data = source.get("data")
    around = text_tokens(f"{block.get('title') or ''}{block.get('context') or ''}", model)
    if source.get("type") == "text":
        return around + text_tokens(str(data or ""), model)
    if source.get("type") == "content":
        return around + sum(block_tokens(inner, model) for inner in nested(source))
    if isinstance(data, str):
        return around + PDF_PAGE_TOKENS * max(1, -(-len(data) // PDF_BYTES_PER_PAGE))
    return around + UNKNOWN_DOCUMENT_TOKENS


def _tool_use(block: JsonObject, model: Model) -> int:
    shown = f"{block.get('name') or ''}{compact(block.get('input') or {}, sort_keys=False)}"
    return TOOL_FRAME_TOKENS + text_tokens(shown, model)


def _tool_result(block: JsonObject, model: Model) -> int:
    return TOOL_FRAME_TOKENS + sum(block_tokens(inner, model) for inner in nested(block))


def _thinking(block: JsonObject, model: Model) -> int:
    signed = signature_of(block)
    return signed.thinking_tokens if signed else text_tokens(str(block.get("thinking") or ""), model)


def _redacted(block: JsonObject, model: Model) -> int:
    return text_tokens(str(block.get("data") or ""), model)


def _tool_reference(block: JsonObject, model: Model) -> int:
    definition = block.get("definition")
    return tool_tokens(definition, model) if isinstance(definition, dict) else _other(block, model)


def _other(block: JsonObject, model: Model) -> int:
    return text_tokens(canonical(block), model)


_COUNTERS: dict[str, Callable[[JsonObject, Model], int]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "tool_use": _tool_use,
    "server_tool_use": _tool_use,
    "mcp_tool_use": _tool_use,
    "tool_result": _tool_result,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "tool_reference": _tool_reference,
}


def block_tokens(block: JsonObject, model: Model) -> int:
    """Return the tokens of one content block; a kind that is not known counts as its JSON."""
    return _COUNTERS.get(str(block.get("type")), _other)(block, model)


def tool_tokens(tool: JsonObject, model: Model) -> int:
    """Return the tokens of one tool definition."""
    kind = str(tool.get("type") or "custom")
    if kind.startswith("bash_"):
        return model.bash_tool_tokens
    for prefix, tokens in SERVER_TOOL_TOKENS.items():
        if kind.startswith(prefix):
            return tokens
    return text_tokens(canonical(tool), model)
