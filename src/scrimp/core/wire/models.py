"""What differs between models besides price: the shortest prefix that can be cached, and what is stripped.

Sources: API docs, prompt caching (cache limitations) and extended thinking; Claude Code 2.1.330's own skill for
the 5.x models. Dated ids share the row of their undated name; an unknown model gets the newest rule.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec


class ModelTraits(msgspec.Struct, frozen=True):
    """What a model does when the request does not say.

    `min_cacheable_tokens` is the shortest prefix up to a mark; `keeps_thinking` says whether thinking of earlier turns
    stays in the context; `default_thinking` and `default_effort` are the API's own (None: the model has no effort).
    """

    min_cacheable_tokens: int
    keeps_thinking: bool = True
    default_thinking: str = "disabled"
    default_effort: str | None = "high"


_THINKS = "adaptive"
_NEWEST = ModelTraits(512, default_thinking=_THINKS)
_BEFORE_EFFORT = ModelTraits(1024, keeps_thinking=False, default_effort=None)

#: undated model name -> traits; the longest matching name wins.
TRAITS = {
    "claude-fable-5": _NEWEST,
    "claude-mythos-5": _NEWEST,
    "claude-mythos-preview": ModelTraits(2048, default_thinking=_THINKS),
    "claude-opus-5": _NEWEST,
    "claude-opus-5-5": ModelTraits(512, default_thinking=_THINKS, default_effort="medium"),
    "claude-sonnet-5-5": _NEWEST,
    "claude-haiku-5-5": ModelTraits(512, default_thinking=_THINKS, default_effort="medium"),
    "claude-sonnet-5": ModelTraits(1024, default_thinking=_THINKS),
    "claude-opus-4-8": ModelTraits(1024),
    "claude-opus-4-7": ModelTraits(2048),
    "claude-opus-4-6": ModelTraits(4096),
    "claude-opus-4-5": ModelTraits(4096),
    "claude-sonnet-4-6": ModelTraits(1024),
    "claude-sonnet-4-5": _BEFORE_EFFORT,
    "claude-haiku-4-5": ModelTraits(4096, keeps_thinking=False, default_effort=None),
    "claude-opus-4": _BEFORE_EFFORT,
    "claude-sonnet-4": _BEFORE_EFFORT,
    "claude-3": _BEFORE_EFFORT,
    "claude-3-5-haiku": ModelTraits(2048, keeps_thinking=False, default_effort=None),
    "claude-3-haiku": ModelTraits(2048, keeps_thinking=False, default_effort=None),
}


#: Models whose thinking blocks are never held to the conversation before them (Claude Code's skill: preserved
#: thinking). What is not listed may be newer, and is taken to hold its thinking.
_UNBOUND = re.compile(
    r"claude-(?:3[a-z0-9-]*?|instant[a-z0-9-]*?|(?:opus|sonnet|haiku)-(?:4(?:-[0-8])?|5)|(?:fable|mythos)-5|mythos-preview)"
    r"(?:-20\d{6})?"
)
#: Models that take system messages in the middle of a conversation (Claude Code's skill).
_SYSTEM_MESSAGES = re.compile(
    r"claude-(?:opus-(?:4-8|5|5-5)|(?:fable|mythos)-5(?:-[12])?|sonnet-5-5|haiku-5-5)(?:-20\d{6})?"
)


@lru_cache(maxsize=256)
def binds_thinking(model: str) -> bool:
    """Say whether an edit of the conversation before a thinking block may make the API refuse that block."""
    return _UNBOUND.fullmatch(model) is None


@lru_cache(maxsize=256)
def takes_system_messages(model: str) -> bool:
    """Say whether a message of the role system may stand among the messages."""
    return _SYSTEM_MESSAGES.fullmatch(model) is not None


@lru_cache(maxsize=256)
def traits(model: str) -> ModelTraits:
    """Return the traits of a model id, dated or not."""
    names = [name for name in TRAITS if re.match(rf"{re.escape(name)}(?![0-9])", model)]
    return TRAITS[max(names, key=len)] if names else _NEWEST
