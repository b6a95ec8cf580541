"""Which requests can be repeated with no output, as a ping that keeps their cache, and the edits that make one of them.

A ping is the request that was sent last with `max_tokens: 0`, not streamed: it reads the prompt, starts the lifetime of
what it reads again, and answers nothing (API docs, prompt caching: pre-warming). Everything else stays as it is, since
it may be a part of the cache's key.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from scrimp.core.belief.prefix import MARKS_MAX, Mark, Prompt
from scrimp.core.plan.planning import Plan
from scrimp.core.wire.blocks import CacheControl
from scrimp.core.wire.request import Request
from scrimp.core.wire.splice import Edit, SetMark, SetTop, place_of

#: What makes a ping of a request.
PING_EDITS: tuple[Edit, ...] = (SetTop("max_tokens", b"0"), SetTop("stream", None))

_FORCED = frozenset({"any", "tool"})


def may_ping(request: Request) -> bool:
    """Whether the API takes a request with `max_tokens: 0`, and no more than its prompt would be paid for.

    Left out is what the API refuses with it (thinking with a budget, a forced tool, a format of output, compaction),
    and what may make another model or server do more than read.
    """
    if request.is_thread or request.may_sample_more or request.output_format:
        return False
    thinking, choice = _thinking_and_choice(request)
    return thinking != "enabled" and choice not in _FORCED


def _thinking_and_choice(request: Request) -> tuple[Any, Any]:
    """Return the types of `thinking` and `tool_choice` as the cache's key holds them (`wire.cachekey`)."""
    thinking, _, choice, *_ = msgspec.json.decode(dict(request.settings)["messages"])
    return thinking[0], choice[0]


def thinking_of(request: Request) -> str:
    """Return the setting `thinking` of a request in a word or two, as the cache's key holds it."""
    thinking, *_ = msgspec.json.decode(dict(request.settings)["messages"])
    return " ".join(str(each) for each in thinking if each is not None)


def can_upgrade(request: Request, plan: Plan) -> bool:
    """Whether a mark of an hour can be set behind all that is cached: on the last block, which has none yet.

    Where the client lets the API place marks, or blocks were moved, it is left alone.
    """
    prompt = plan.prompt
    last = len(prompt.blocks) - 1
    is_free = request.automatic_ttl is None and plan.moved is None and 0 < len(prompt.marks) < MARKS_MAX
    return is_free and prompt.blocks[last].markable and prompt.marks[-1].index < last


def upgraded_marks(prompt: Prompt, last: int) -> tuple[Mark, ...]:
    """Return the marks of an upgrade: all of an hour, for none of five minutes may stand in front of such a one."""
    return (*(Mark(mark.index, "1h") for mark in prompt.marks), Mark(last, "1h"))


def upgrade_edits(prompt: Prompt) -> tuple[Edit, ...]:
    """Return the edits that set the marks of an upgrade in the body of a prompt."""
    hour = CacheControl(ttl="1h")
    marks: Iterable[Mark] = upgraded_marks(prompt, len(prompt.blocks) - 1)
    return tuple(SetMark(place_of(prompt.blocks[mark.index].path), hour) for mark in marks)
