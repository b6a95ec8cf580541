"""The token counter: same content, same count; and prompts that add up."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.sim import models, tokens
from scrimp.sim.models import Model
from scrimp.sim.signatures import Signature


def _model(name: str) -> Model:
    model = models.find(name)
    assert model is not None
    return model


NEWER, OLDER = _model("claude-opus-5-5"), _model("claude-opus-4-6")


def _png(width: int, height: int) -> dict[str, Any]:
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + b"\x08\x06" + b"\0" * 40
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(head).decode()}
    return {"type": "image", "source": source}


@given(st.text(), st.text())
def test_text_adds_up(left: str, right: str) -> None:
    """Two texts together are never longer than apart, nor shorter than either."""
    both = tokens.text_tokens(left + right, NEWER)
    apart = tokens.text_tokens(left, NEWER), tokens.text_tokens(right, NEWER)
    assert max(apart) <= both <= sum(apart)


def test_newer_models_count_about_30_percent_more() -> None:
    """The tokenizer changed with Claude 4.7."""
    text = "word " * 2_000
    assert tokens.text_tokens(text, NEWER) / tokens.text_tokens(text, OLDER) == pytest.approx(1.3)


@pytest.mark.parametrize(
    ("size", "model", "expected"),
    [
        ((28, 28), NEWER, 1),
        ((29, 28), NEWER, 2),
        ((1_000, 1_000), NEWER, 36 * 36),
        ((2_576, 1_288), NEWER, 92 * 46),
        ((5_152, 2_576), NEWER, 92 * 46),
        ((2_576, 2_576), NEWER, 4_784),
        ((1_000, 1_000), OLDER, 36 * 36),
        ((1_568, 1_568), OLDER, 1_568),
        ((5_000, 1), OLDER, 56),
    ],
)
def test_images_follow_the_documented_rule(size: tuple[int, int], model: Model, expected: int) -> None:
    """ceil(w/28) * ceil(h/28) after down-scaling to the model's edge, capped."""
    assert expected == tokens.block_tokens(_png(*size), model)


@pytest.mark.parametrize("data", ["", "not base64!", base64.b64encode(b"GIF89a" + b"\0" * 40).decode(), None, 5])
def test_an_image_of_unknown_size_has_a_fixed_count(data: Any) -> None:
    """Data that is no PNG, cut short, or missing."""
    block = {"type": "image", "source": {"type": "base64", "data": data}}
    assert tokens.UNKNOWN_IMAGE_TOKENS == tokens.block_tokens(block, NEWER)


def test_a_signature_remembers_hidden_thinking() -> None:
    """Thinking counts as long as it was, whether or not its text is shown."""
    signature = Signature(321).encode()
    shown = {"type": "thinking", "thinking": "some thought", "signature": signature}
    hidden = {"type": "thinking", "thinking": "", "signature": signature}
    assert [321, 321] == [tokens.block_tokens(block, NEWER) for block in (shown, hidden)]


@pytest.mark.parametrize("signature", [None, "", "EqQBCgYI", "ÿ", base64.b64encode(b"sim:x:y").decode()])
def test_a_foreign_signature_counts_the_text(signature: str | None) -> None:
    """Thinking that another API wrote is as long as its text."""
    block = {"type": "thinking", "thinking": "word " * 100, "signature": signature}
    assert tokens.text_tokens("word " * 100, NEWER) == tokens.block_tokens(block, NEWER)


TEXT = {"type": "text", "text": "hello world"}
TEXT_TOKENS = tokens.text_tokens("hello world", NEWER)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (TEXT, TEXT_TOKENS),
        ({"type": "text", "text": ""}, 0),
        ({"type": "tool_result", "tool_use_id": "t", "content": "hello world"}, tokens.TOOL_FRAME_TOKENS + TEXT_TOKENS),
        (
            {"type": "tool_result", "tool_use_id": "t", "content": [TEXT, TEXT]},
            tokens.TOOL_FRAME_TOKENS + 2 * TEXT_TOKENS,
        ),
        ({"type": "tool_result", "tool_use_id": "t"}, tokens.TOOL_FRAME_TOKENS),
        ({"type": "document", "source": {"type": "text", "data": "hello world"}}, TEXT_TOKENS),
        (
            {
                "type": "document",
                "title": "hello ",
                "context": "world",
                "source": {"type": "content", "content": [TEXT]},
            },
            2 * TEXT_TOKENS,
        ),
        ({"type": "document", "source": {"type": "base64", "data": "A" * 90_000}}, 3 * tokens.PDF_PAGE_TOKENS),
        ({"type": "document", "source": {"type": "url", "url": "u"}}, tokens.UNKNOWN_DOCUMENT_TOKENS),
        ({"type": "document"}, tokens.UNKNOWN_DOCUMENT_TOKENS),
        ({"type": "redacted_thinking", "data": "hello world"}, TEXT_TOKENS),
        (
            {"type": "tool_use", "name": "hello", "input": {}},
            tokens.TOOL_FRAME_TOKENS + tokens.text_tokens("hello{}", NEWER),
        ),
        ({"type": "server_tool_use", "name": "hello"}, tokens.TOOL_FRAME_TOKENS + tokens.text_tokens("hello{}", NEWER)),
        ({"type": "brand_new", "x": 1}, tokens.text_tokens('{"type":"brand_new","x":1}', NEWER)),
    ],
)
def test_each_kind_of_block_has_its_count(block: dict[str, Any], expected: int) -> None:
    """Every kind of the API, what is nested in it, and kinds that are not known."""
    assert expected == tokens.block_tokens(block, NEWER)


@pytest.mark.parametrize(
    ("kind", "newer", "older"),
    [("bash_20250124", 325, 244), ("text_editor_20250429", 700, 700), ("computer_20251124", 4_500, 4_500)],
)
def test_tools_of_the_api_have_a_published_count(kind: str, newer: int, older: int) -> None:
    """The pricing page names them."""
    assert (newer, older) == tuple(tokens.tool_tokens({"type": kind, "name": "n"}, model) for model in (NEWER, OLDER))


def test_a_reference_to_a_tool_is_as_long_as_the_tool() -> None:
    """A tool that was found by search is read where it is referred to."""
    tool = {"name": "deploy", "description": "word " * 50, "input_schema": {"type": "object"}}
    known = {"type": "tool_reference", "tool_name": "deploy", "definition": tool}
    assert tokens.tool_tokens(tool, NEWER) == tokens.block_tokens(known, NEWER)
    assert 0 < tokens.block_tokens({"type": "tool_reference", "tool_name": "deploy"}, NEWER) < 30
