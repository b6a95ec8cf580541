"""The models that the simulated API serves, and what of each its cache, its checks and its clock depend on.

Sources: Anthropic's documentation and model pages as of November 2026. Where no source gives a value (the tool prompts
of the 5.5 models and of Fable, some release days) the nearest sibling's stands here.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

#: Tokens per 1,000 bytes of text: models since Claude 4.7 count about 30% more tokens for the same text.
OLDER_TOKENIZER = 340
NEWER_TOKENIZER = 442


#: The beta that fast mode needs where it is a research preview.
FAST_PREVIEW = "fast-mode-2026-02-01"


class ToolPrompt(msgspec.Struct, frozen=True):
    """Tokens that the API adds where tools are offered, by the kind of tool_choice."""

    auto: int
    forced: int


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One model. Sizes are in tokens, image edges in pixels, days are ISO dates (UTC).

    `fast` says what `speed: "fast"` does: "priced", "ignored" (runs as standard) or "refused". A priced one
    needs `fast_beta` and ends on the day `fast_until`, where they are set. `keeps_thinking` says whether thinking of
    earlier turns stays in the prompt, `binds_thinking` whose thinking is held to its conversation: everybody's
    ("always"), that of "new" accounts, or nobody's ("never").
    """

    name: str
    line: str
    minimum_cacheable_tokens: int
    tool_prompt: ToolPrompt
    aliases: tuple[str, ...] = ()
    context_tokens: int = 1_000_000
    max_output_tokens: int = 128_000
    tokens_per_1000_bytes: int = NEWER_TOKENIZER
    max_image_tokens: int = 4_784
    max_image_edge: int = 2_576
    bash_tool_tokens: int = 325
    keeps_thinking: bool = True
    system_messages: bool = True
    forced_tool_choice: bool = True
    inference_geo: bool = True
    default_thinking: str = "adaptive"
    default_effort: str | None = "high"
    fast: str = "refused"
    fast_beta: str | None = None
    fast_until: str | None = None
    binds_thinking: str = "never"
    released: str | None = None
    retires: str | None = None


class _OlderModel(Model, frozen=True, kw_only=True):
    """The defaults of models up to Claude 4.6."""

    tokens_per_1000_bytes: int = OLDER_TOKENIZER
    max_image_tokens: int = 1_568
    max_image_edge: int = 1_568
    bash_tool_tokens: int = 244
    system_messages: bool = False
    default_thinking: str = "disabled"


class _SmallModel(_OlderModel, frozen=True, kw_only=True):
    """The defaults of models up to Claude 4.5: a 200,000-token window and no data residency."""

    context_tokens: int = 200_000
    max_output_tokens: int = 64_000
    inference_geo: bool = False


_OPUS_5, _SONNET_5, _OPUS_4_8 = ToolPrompt(286, 406), ToolPrompt(354, 474), ToolPrompt(290, 410)
_CLAUDE_4_6, _CLAUDE_4_5, _CLAUDE_4 = ToolPrompt(497, 589), ToolPrompt(496, 588), ToolPrompt(313, 315)


def _fable(line: str, version: str, fast: str, released: str | None) -> Model:
    return Model(
        name=f"claude-{line}-{version}",
        line=line,
        minimum_cacheable_tokens=512,
        tool_prompt=_OPUS_4_8,
        forced_tool_choice=version == "5",
        fast=fast,
        binds_thinking={"5-2": "always", "5-1": "new"}.get(version, "never"),
        released=released,
    )


_FABLES = tuple(
    _fable(line, version, fast, released)
    for line in ("fable", "mythos")
    for version, fast, released in (
        ("5-2", "priced", "2026-11-09"),
        ("5-1", "refused", "2026-09-01"),
        ("5", "refused", None),
    )
)

MODELS: tuple[Model, ...] = (
    *_FABLES,
    Model(
        name="claude-haiku-5-5",
        line="haiku",
        minimum_cacheable_tokens=512,
        tool_prompt=_SONNET_5,
        default_effort="medium",
        binds_thinking="new",
        released="2026-10-07",
    ),
    Model(
        name="claude-sonnet-5-5",
        line="sonnet",
        minimum_cacheable_tokens=512,
        tool_prompt=_SONNET_5,
        forced_tool_choice=False,
        binds_thinking="new",
        released="2026-09-28",
    ),
    Model(
        name="claude-opus-5-5",
        line="opus",
        minimum_cacheable_tokens=512,
        tool_prompt=_OPUS_5,
        forced_tool_choice=False,
        default_effort="medium",
        fast="priced",
        binds_thinking="new",
        released="2026-09-22",
    ),
    Model(
        name="claude-sonnet-5",
        line="sonnet",
        minimum_cacheable_tokens=1_024,
        tool_prompt=_SONNET_5,
        system_messages=False,
    ),
    Model(
        name="claude-opus-5",
        line="opus",
        minimum_cacheable_tokens=512,
        tool_prompt=_OPUS_5,
        fast="priced",
        fast_beta=FAST_PREVIEW,
        released="2026-07-24",
    ),
    Model(
        name="claude-opus-4-8",
        line="opus",
        minimum_cacheable_tokens=1_024,
        tool_prompt=_OPUS_4_8,
        default_thinking="disabled",
        fast="priced",
        fast_beta=FAST_PREVIEW,
        fast_until="2026-11-30",
    ),
    Model(
        name="claude-opus-4-7",
        line="opus",
        minimum_cacheable_tokens=2_048,
        tool_prompt=ToolPrompt(675, 804),
        system_messages=False,
        default_thinking="disabled",
    ),
    _OlderModel(
        name="claude-opus-4-6",
        line="opus",
        minimum_cacheable_tokens=4_096,
        tool_prompt=_CLAUDE_4_6,
        fast="ignored",
    ),
    _OlderModel(
        name="claude-sonnet-4-6",
        line="sonnet",
        minimum_cacheable_tokens=1_024,
        tool_prompt=_CLAUDE_4_6,
    ),
    _SmallModel(
        name="claude-opus-4-5-20251101",
        aliases=("claude-opus-4-5",),
        line="opus",
        minimum_cacheable_tokens=4_096,
        tool_prompt=_CLAUDE_4_5,
        released="2025-11-01",
    ),
    _SmallModel(
        name="claude-haiku-4-5-20251001",
        aliases=("claude-haiku-4-5",),
        line="haiku",
        minimum_cacheable_tokens=4_096,
        tool_prompt=_CLAUDE_4_5,
        keeps_thinking=False,
        default_effort=None,
        released="2025-10-01",
    ),
    _SmallModel(
        name="claude-sonnet-4-5-20250929",
        aliases=("claude-sonnet-4-5",),
        line="sonnet",
        minimum_cacheable_tokens=1_024,
        tool_prompt=_CLAUDE_4_5,
        keeps_thinking=False,
        default_effort=None,
        released="2025-09-29",
        retires="2026-11-30",
    ),
    _SmallModel(
        name="claude-opus-4-1",
        line="opus",
        minimum_cacheable_tokens=1_024,
        tool_prompt=_CLAUDE_4,
        max_output_tokens=32_000,
        keeps_thinking=False,
        default_effort=None,
        retires="2026-08-05",
    ),
)

_BY_NAME = {name: model for model in MODELS for name in (model.name, *model.aliases)}


def find(name: object) -> Model | None:
    """Return the model of this id or alias, or None."""
    return _BY_NAME.get(name) if isinstance(name, str) else None


def day_ms(day: str) -> int:
    """Return the start of an ISO day (UTC) in milliseconds since the epoch."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1_000


def is_retired(model: Model, now_ms: int) -> bool:
    """Say whether the model is no longer served at `now_ms`."""
    return model.retires is not None and now_ms >= day_ms(model.retires)
