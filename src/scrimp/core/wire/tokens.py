"""How many tokens a request's blocks will be, guessed from their bytes and corrected by what was really counted.

A token is not a fixed number of characters: in code and tool output, punctuation and digits cost about four times
what letters cost and spaces next to nothing. So a block's JSON is counted by class of byte and each class has a
weight. The weights were fitted on 2,414 tool turns of recorded Claude Code sessions (Opus 4.5 and 4.6, Sonnet 4), where
the median error of a turn is 5 percent; newer tokenizers are scaled by a factor. What is left, and drifts, is
learnt online: `observe` folds each pair of estimated and billed tokens into a `Calibration`.

Sources of the tables: API docs, tool use (pricing), vision, and pricing (newer models count some 30% more tokens).
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat
from math import exp, log
from operator import mul

import msgspec

from scrimp.core.wire.blocks import Block
from scrimp.core.wire.imagesize import image_size

#: Tokens per byte of a block's JSON that is an ASCII letter, and by class for the others: digits, spaces, backslashes,
#: other ASCII, the rest of UTF-8.
TOKENS_PER_LETTER = 0.214
WEIGHTS = {b"d": 0.715, b"s": 0.058, b"e": 0.553, b"p": 1.084, b"u": 0.268}
#: A quote within a JSON string is two bytes and half a token.
ESCAPED_QUOTE_TOKENS = -1.05
#: What the rest of a kind's JSON is over- or undercounted by, in tokens.
ENVELOPES = {"text": -11.0, "tool_use": -6.0, "tool_result": -6.0, "tool": -25.0, "custom": -25.0}
BARE_TEXT_ENVELOPE = 6.0
#: A mark is no content: what its JSON would count for, by lifetime.
MARKS = {"5m": 18.5, "1h": 28.0}
#: Encrypted thinking is base64 of some four bytes of text per token; documented nowhere, not measured.
REDACTED_TOKENS_PER_BYTE = 0.19
#: A PDF page is 1,500 to 3,000 tokens of text (API docs, PDF support); its size in bytes is a guess.
PDF_PAGE_TOKENS, PDF_PAGE_BYTES = 2_250, 50_000
PATCH_PIXELS = 28
#: Enough of a picture's base64 to find its size in; a multiple of four.
PICTURE_HEAD_BYTES = 65_536
BLOCK_TOKENS_MIN = 1
#: How much of a block is counted at a time, in bytes.
PIECE_BYTES = 64 * 1024


class Generation(msgspec.Struct, frozen=True):
    """A tokenizer: what its counts are multiplied by, and the limits of one image in tokens and in pixels."""

    scale: float
    image_tokens_max: int
    image_edge_pixels_max: int


class ToolPrompt(msgspec.Struct, frozen=True):
    """Tokens of the prompt that the API adds where tools are present, by whether one of them is forced."""

    free: int
    forced: int


UNTIL_4_6 = Generation(1.0, 1_568, 1_568)
SINCE_4_7 = Generation(1.3, 4_784, 2_576)

#: Undated names of the models before 4.7; the longest matching name wins, and what matches none is newer.
OLD_MODELS = ("claude-3", "claude-2", "claude-opus-4", "claude-sonnet-4", "claude-haiku-4")
NEW_MODELS = ("claude-opus-4-7", "claude-opus-4-8")

#: Fable 5 is measured from a recorded request; models whose number is not published are taken to be like it.
NEWEST_TOOL_PROMPT = ToolPrompt(290, 410)
#: Undated name -> the added prompt.
TOOL_PROMPTS = {
    "claude-opus-5-5": NEWEST_TOOL_PROMPT,
    "claude-sonnet-5-5": NEWEST_TOOL_PROMPT,
    "claude-opus-5": ToolPrompt(286, 406),
    "claude-opus-4-8": ToolPrompt(290, 410),
    "claude-opus-4-7": ToolPrompt(675, 804),
    "claude-opus-4-6": ToolPrompt(497, 589),
    "claude-opus-4-5": ToolPrompt(496, 588),
    "claude-sonnet-5": ToolPrompt(354, 474),
    "claude-sonnet-4-6": ToolPrompt(497, 589),
    "claude-sonnet-4-5": ToolPrompt(496, 588),
    "claude-haiku-4-5": ToolPrompt(496, 588),
    "claude-opus-4": ToolPrompt(313, 315),
    "claude-sonnet-4": ToolPrompt(313, 315),
    "claude-3-5-haiku": ToolPrompt(264, 355),
    "claude-3": ToolPrompt(313, 315),
}

#: Prefix of an Anthropic-defined tool's type -> its tokens until 4.6 and since 4.7.
TYPED_TOOLS = {"bash_": (244, 325), "text_editor_": (700, 700), "computer_": (4_500, 4_500)}

#: Class -> its bytes; every other byte is of class "p".
_CLASSES = {
    b"d": b"0123456789",
    b"s": b" ",
    b"e": b"\\",
    b"l": b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    b"u": bytes(range(0x80, 0x100)),
}
#: Members that the API does not count as they stand.
_UNCOUNTED = re.compile(rb'"(?:signature|encrypted_content|encrypted_index)"\s*:\s*"[^"]*"')
_BASE64 = re.compile(rb'"data"\s*:\s*"([A-Za-z0-9+/=]*)"')


# --- estimating -------------------------------------------------------------------------------------------------


def estimate(raw: bytes, model: str, calibration: Calibration | None = None) -> int:
    """Return the estimated tokens of a piece of JSON text."""
    return _whole(generation(model).scale * _weigh(raw), calibration, model)


def _weigh(raw: bytes) -> float:
    """Return the tokens of JSON text for the tokenizer that the weights were fitted on."""
    counts = dict.fromkeys((*WEIGHTS, b"l"), 0)
    for start in range(0, len(raw), PIECE_BYTES):  # larger pieces leave the processor's cache
        for name, count in _count(raw[start : start + PIECE_BYTES]):
            counts[name] += count
    weighed = sum(WEIGHTS[name] * counts[name] for name in WEIGHTS) + TOKENS_PER_LETTER * counts[b"l"]
    return weighed + (ESCAPED_QUOTE_TOKENS * raw.count(b'\\"') if counts[b"e"] else 0.0)


def _count(raw: bytes) -> tuple[tuple[bytes, int], ...]:
    """Count the bytes of each class. Deleting a class counts it faster than looking for it; the largest goes first."""
    rest = raw.translate(None, _CLASSES[b"l"])
    spaceless = rest.translate(None, _CLASSES[b"s"])
    signs = spaceless.translate(None, _CLASSES[b"d"])
    escapes = signs.count(b"\\")
    wide = 0 if signs.isascii() else len(signs) - len(signs.translate(None, _CLASSES[b"u"]))
    return (
        (b"d", len(spaceless) - len(signs)),
        (b"s", len(rest) - len(spaceless)),
        (b"e", escapes),
        (b"p", len(signs) - escapes - wide),
        (b"u", wide),
        (b"l", len(raw) - len(rest)),
    )


def block_tokens(block: Block, model: str, calibration: Calibration | None = None) -> int:
    """Return the estimated tokens of one block, without the prompt that the API adds for tools."""
    return _whole(weigh_block(block, model), calibration, model)


def count_blocks(
    model: str,
    blocks: Sequence[Block],
    calibration: Calibration | None = None,
    *,
    forced_tool: bool = False,
    weights: Sequence[float] | None = None,
) -> tuple[int, ...]:
    """Return the estimated tokens of each block; the first tool carries the prompt that the API adds for tools.

    `weights` are what `weigh_block` gives for each, for a caller that has them.
    """
    counts = [*weights] if weights is not None else [weigh_block(block, model) for block in blocks]
    first_tool = next((i for i, block in enumerate(blocks) if _is_tool(block)), None)
    if first_tool is not None:
        added = tool_prompt(model)
        counts[first_tool] += added.forced if forced_tool else added.free
    ratio = calibration.ratio(model) if calibration else 1.0
    counted = tuple(map(round, map(mul, counts, repeat(ratio))))
    return tuple([each or BLOCK_TOKENS_MIN for each in counted]) if 0 in counted else counted


def image_tokens(width: int, height: int, model: str) -> int:
    """Return the tokens of an image of this size in pixels: patches of 28 x 28, scaled down to the model's limits."""
    limits = generation(model)
    scale = min(1.0, limits.image_edge_pixels_max / max(width, height, 1))
    columns, rows = (max(1, -int(-side * scale // PATCH_PIXELS)) for side in (width, height))
    return min(columns * rows, limits.image_tokens_max)


@lru_cache(maxsize=256)
def generation(model: str) -> Generation:
    """Return the tokenizer of a model id, dated or not."""
    is_old = _longest(model, OLD_MODELS) is not None and _longest(model, NEW_MODELS) is None
    return UNTIL_4_6 if is_old else SINCE_4_7


@lru_cache(maxsize=256)
def tool_prompt(model: str) -> ToolPrompt:
    """Return what the API adds to the prompt where tools are present."""
    name = _longest(model, tuple(TOOL_PROMPTS))
    return TOOL_PROMPTS[name] if name else NEWEST_TOOL_PROMPT


def _longest(model: str, names: Sequence[str]) -> str | None:
    """Return the longest of the names that the model's id holds, not followed by another digit of its version."""
    return max((name for name in names if re.search(rf"{name}(?!\d)", model)), key=len, default=None)


def _is_tool(block: Block) -> bool:
    return block.path.startswith("tools.")


def weigh_block(block: Block, model: str) -> float:
    """Return the estimated tokens of one block, uncalibrated and without the prompt that the API adds for tools."""
    raw = bytes(block.raw)
    if block.kind == "redacted_thinking":
        return len(raw) * REDACTED_TOKENS_PER_BYTE
    typed = _typed_tool(block.kind) if _is_tool(block) else None
    if typed is not None:
        return float(typed[generation(model) is SINCE_4_7])
    attached = 0.0
    if b'"base64"' in raw:
        attached = sum(_attachment_tokens(found, model) for found in _BASE64.findall(raw))
        raw = _BASE64.sub(b"", raw)
    elif block.kind == "image":
        return float(generation(model).image_tokens_max)
    envelope = BARE_TEXT_ENVELOPE if raw[:1] == b'"' else ENVELOPES.get(block.kind, 0.0)
    mark = MARKS[block.ttl] if block.ttl else 0.0
    weighed = _weigh(_UNCOUNTED.sub(b"", raw)) + envelope - mark
    return generation(model).scale * max(0.0, weighed) + attached


def _typed_tool(kind: str) -> tuple[int, int] | None:
    """Return what one of the API's own tools adds, by tokenizer generation; None for any other kind."""
    return next((sizes for prefix, sizes in TYPED_TOOLS.items() if kind.startswith(prefix)), None)


def _attachment_tokens(data: bytes, model: str) -> float:
    """Return the tokens of a base64 picture or document."""
    head = data[:PICTURE_HEAD_BYTES]
    try:
        size = image_size(a2b_base64(head[: len(head) // 4 * 4]))
    except ValueError:
        size = None
    if size is not None:
        return float(image_tokens(*size, model))
    pages = -(-len(data) * 3 // 4 // PDF_PAGE_BYTES)
    return float(max(1, pages) * PDF_PAGE_TOKENS)


def _whole(tokens: float, calibration: Calibration | None, model: str) -> int:
    return max(BLOCK_TOKENS_MIN, round(tokens * (calibration.ratio(model) if calibration else 1.0)))


# --- learning from what was billed -----------------------------------------------------------------------------

#: Prompts shorter than this are mostly overhead and teach nothing about text.
LEARN_FROM_TOKENS_MIN = 200
#: How many observations a model's ratio remembers: each newer one moves it by at least one part in so many.
MEMORY_OBSERVATIONS = 32
#: One observation moves the logarithm of a settled ratio as if it were at most this far off: one outlier is one vote.
STEP_LOG_MAX = 0.25
#: Observations before a ratio is settled.
SETTLED_OBSERVATIONS = 3
RATIO_MIN, RATIO_MAX = 0.4, 2.5
MODELS_MAX = 64


class Fit(msgspec.Struct, frozen=True, gc=False):
    """What is known of one model: billed tokens per uncalibrated estimated token, after so many observations."""

    ratio: float = 1.0
    observations: int = 0


class Calibration(msgspec.Struct, frozen=True):
    """A fold over observations, by model: a value, so whoever holds an older one loses nothing."""

    fits: dict[str, Fit] = {}

    def ratio(self, model: str) -> float:
        """Return what estimates of a model are multiplied by."""
        return self.fits.get(model, Fit()).ratio


UNCALIBRATED = Calibration()


def observe(calibration: Calibration, model: str, estimated: int, observed: int) -> Calibration:
    """Fold in one prompt: what it was estimated at with this calibration, and what the API then counted, in tokens.

    The ratio stays within `RATIO_MIN` and `RATIO_MAX`; a wild observation moves it as little as a mild one.
    """
    if estimated < LEARN_FROM_TOKENS_MIN or observed <= 0:
        return calibration
    fit = calibration.fits.get(model, Fit())
    off = log(observed / estimated)
    if fit.observations >= SETTLED_OBSERVATIONS:
        off = max(-STEP_LOG_MAX, min(STEP_LOG_MAX, off))
    ratio = fit.ratio * exp(off / min(fit.observations + 1, MEMORY_OBSERVATIONS))
    known = Fit(max(RATIO_MIN, min(RATIO_MAX, ratio)), fit.observations + 1)
    others = {name: each for name, each in calibration.fits.items() if name != model}
    oldest = list(others)[: max(0, len(others) - MODELS_MAX + 1)]
    return Calibration({name: each for name, each in others.items() if name not in oldest} | {model: known})
