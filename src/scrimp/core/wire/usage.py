"""What a response says it used, as disjoint token classes that add up.

The API's `usage` block is read leniently (`ApiUsage`), then turned into billing lines: one line per thing
that is billed at its own rate. Top-level totals cover the executor's iterations only; `compaction` and
`advisor_message` iterations are billed on top of them (SDK `beta_usage.py`; API docs, compaction and
advisor-tool pages), so the lines, not the totals, are what a bill is made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from typing import Annotated, Any

import msgspec

from scrimp.core.wire.labels import clip

#: No answer uses more tokens of a class than this: a larger count is a corrupt one.
TOKENS_MAX = 10**9
#: No answer is made of more iterations than this; each is a line of the bill, and kept.
ITERATIONS_MAX = 1_000
Count = Annotated[int, msgspec.Meta(ge=0, le=TOKENS_MAX)]


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Five disjoint token classes, in tokens; `thinking_tokens` is a part of `output_tokens`."""

    uncached_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_write_5m_input_tokens: int = 0
    cache_write_1h_input_tokens: int = 0
    output_tokens: int = 0
    thinking_tokens: int = 0
    web_search_requests: int = 0

    @property
    def total_input_tokens(self) -> int:
        """The prompt's length in tokens, however each part of it was billed."""
        return self.uncached_input_tokens + self.cache_read_input_tokens + self.cache_write_input_tokens

    @property
    def cache_write_input_tokens(self) -> int:
        """Tokens written to the cache, under either lifetime."""
        return self.cache_write_5m_input_tokens + self.cache_write_1h_input_tokens

    @property
    def billed(self) -> tuple[int, int, int, int, int]:
        """The five classes that are billed by the token."""
        return (
            self.uncached_input_tokens,
            self.cache_read_input_tokens,
            self.cache_write_5m_input_tokens,
            self.cache_write_1h_input_tokens,
            self.output_tokens,
        )

    def __add__(self, other: Usage) -> Usage:
        """Add class by class."""
        return Usage(
            self.uncached_input_tokens + other.uncached_input_tokens,
            self.cache_read_input_tokens + other.cache_read_input_tokens,
            self.cache_write_5m_input_tokens + other.cache_write_5m_input_tokens,
            self.cache_write_1h_input_tokens + other.cache_write_1h_input_tokens,
            self.output_tokens + other.output_tokens,
            self.thinking_tokens + other.thinking_tokens,
            self.web_search_requests + other.web_search_requests,
        )


ZERO = Usage()


class UsageLine(msgspec.Struct, frozen=True, gc=False):
    """One line of a bill: what was used, and everything that selects its rate.

    `model` is the model that did this part (an advisor's differs from the executor's), `kind` the API's own
    name of the iteration. `service_tier` "batch" halves the rate; `speed` "fast" and `inference_geo` "us"
    raise it.
    """

    usage: Usage
    model: str | None
    kind: str = "message"
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None


class Metered(msgspec.Struct, frozen=True):
    """Everything one response used: `usage` is the sum of `lines`."""

    usage: Usage
    lines: tuple[UsageLine, ...]


class CacheCreation(msgspec.Struct, frozen=True, gc=False):
    """The API's split of a cache write by lifetime."""

    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None


class ServerToolUse(msgspec.Struct, frozen=True, gc=False):
    """The API's count of server tools; only web searches carry a fee of their own."""

    web_search_requests: Count | None = None


class OutputTokensDetails(msgspec.Struct, frozen=True, gc=False):
    """The API's split of the output count."""

    thinking_tokens: Count | None = None


class ApiIteration(msgspec.Struct, frozen=True):
    """One entry of the API's `usage.iterations`."""

    type: str = "message"
    model: str | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputTokensDetails | None = None


class ApiUsage(msgspec.Struct, frozen=True):
    """The API's `usage` block with only the fields that are billed; a missing field is None."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputTokensDetails | None = None
    server_tool_use: ServerToolUse | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    iterations: Annotated[tuple[ApiIteration, ...], msgspec.Meta(max_length=ITERATIONS_MAX)] | None = None

    @property
    def is_known(self) -> bool:
        """Whether it says anything of what was used: an empty block is no usage, not a usage of zero."""
        written = self.cache_creation_input_tokens if self.cache_creation is None else self.cache_creation
        counts = (self.input_tokens, self.output_tokens, self.cache_read_input_tokens, written)
        return any(count is not None for count in counts)

    @property
    def is_complete(self) -> bool:
        """Whether both sides of the bill are stated; one alone is a lower bound."""
        return self.input_tokens is not None and self.output_tokens is not None

    def merge(self, later: ApiUsage) -> ApiUsage:
        """Overlay a later `message_delta` usage: absent there means unchanged (API docs, streaming).

        Only `message_start` carries the lifetime split, so it survives a delta that names the write total alone.
        """
        known = {name: value for name in later.__struct_fields__ if (value := getattr(later, name)) is not None}
        return msgspec.structs.replace(self, **known)


_NO_SPLIT = CacheCreation()
_NO_DETAILS = OutputTokensDetails()


def _classes(api: ApiUsage | ApiIteration, web_search_requests: int = 0) -> Usage:
    """Return the disjoint classes; a write without a split is a 5-minute write, the API's default lifetime."""
    split = api.cache_creation or _NO_SPLIT
    write_1h = split.ephemeral_1h_input_tokens or 0
    written = api.cache_creation_input_tokens
    if written is None:
        written = (split.ephemeral_5m_input_tokens or 0) + write_1h
    write_1h = min(write_1h, written)
    details = api.output_tokens_details or _NO_DETAILS
    return Usage(
        uncached_input_tokens=api.input_tokens or 0,
        cache_read_input_tokens=api.cache_read_input_tokens or 0,
        cache_write_5m_input_tokens=written - write_1h,
        cache_write_1h_input_tokens=write_1h,
        output_tokens=api.output_tokens or 0,
        thinking_tokens=details.thinking_tokens or 0,
        web_search_requests=web_search_requests,
    )


def total(usages: Iterable[Usage]) -> Usage:
    """Add up any number of usages."""
    return reduce(add, usages, ZERO)


#: Iterations that the top-level totals leave out (SDK `beta_usage.py`).
BILLED_ON_TOP = frozenset({"compaction", "advisor_message"})
#: Iterations that the totals are known to be made of.
EXECUTOR_KINDS = frozenset({"message", "fallback_message"})


def _same_tokens(one: Usage, other: Usage) -> bool:
    """Whether two usages have the same prompt length and output, however the prompt was billed."""
    return (one.total_input_tokens, one.output_tokens) == (other.total_input_tokens, other.output_tokens)


def _executor(top: Usage, entries: Sequence[ApiIteration]) -> list[tuple[ApiIteration, Usage]]:
    """Return the executor's iterations with what each used, if they explain the totals exactly; else nothing.

    A single iteration is the totals, which alone may carry the split of a write by lifetime.
    """
    used = [(entry, _classes(entry)) for entry in entries]
    summed = total(usage for _, usage in used)
    if summed.billed == top.billed:
        return used
    if len(used) == 1 and _same_tokens(summed, top):
        return [(entries[0], top)]
    return []


def _explain(
    top: Usage, iterations: Sequence[ApiIteration]
) -> tuple[list[tuple[ApiIteration, Usage]], list[ApiIteration]]:
    """Split iterations into those that the totals are made of and those that are billed on top of them.

    A kind that we do not know counts among the former if the totals say so, else among the latter: a bill that is
    too high is seen, one that is too low is not.
    """
    on_top = [entry for entry in iterations if entry.type in BILLED_ON_TOP]
    inside = [entry for entry in iterations if entry.type not in BILLED_ON_TOP]
    explained = _executor(top, inside)
    if explained:
        return explained, on_top
    known = [entry for entry in inside if entry.type in EXECUTOR_KINDS]
    explained = _executor(top, known)
    unknown = [entry for entry in inside if entry.type not in EXECUTOR_KINDS]
    return explained, [*on_top, *(unknown if explained else ())]


def meter(api: ApiUsage, model: str | None) -> Metered:
    """Turn an API usage block of a response served by `model` into billing lines.

    Iterations that add up to the totals, class by class, become a line each, because a long-prompt band is judged by
    each iteration's own prompt (Claude Code's cost function); otherwise the totals are one line. What only the totals
    say (searches, thinking) stands on the first line.
    """
    searches = (api.server_tool_use.web_search_requests or 0) if api.server_tool_use else 0
    top = _classes(api, searches)
    if not api.iterations:  # nearly every answer, and recordings hold many
        return Metered(top, (UsageLine(top, model, "message", api.service_tier, api.speed, api.inference_geo),))
    explained, on_top = _explain(top, api.iterations)

    def line(usage: Usage, kind: str, by: str | None) -> UsageLine:
        return UsageLine(usage, clip(by) or model, clip(kind), api.service_tier, api.speed, api.inference_geo)

    lines = [line(usage, entry.type, entry.model) for entry, usage in explained] or [line(top, "message", None)]
    first = msgspec.structs.replace(lines[0].usage, thinking_tokens=top.thinking_tokens, web_search_requests=searches)
    lines[0] = msgspec.structs.replace(lines[0], usage=first)
    lines[1:] = [msgspec.structs.replace(each, usage=_without_thinking(each.usage)) for each in lines[1:]]
    lines += [line(_classes(entry), entry.type, entry.model) for entry in on_top]
    return Metered(total(each.usage for each in lines), tuple(lines))


def _without_thinking(usage: Usage) -> Usage:
    return msgspec.structs.replace(usage, thinking_tokens=0) if usage.thinking_tokens else usage


def read_usage(raw: Any) -> ApiUsage | None:
    """Read an already decoded `usage` value; None if it says nothing of what was used.

    A member of an unexpected type, or a count that cannot be one, is unknown; the others still count.
    """
    try:
        usage = msgspec.convert(raw, ApiUsage)
    except msgspec.ValidationError:
        usage = ApiUsage(**_readable_members(raw)) if isinstance(raw, dict) else ApiUsage()
    return usage if usage.is_known else None


def _readable_members(raw: dict[Any, Any]) -> dict[str, Any]:
    members = {}
    for member in msgspec.structs.fields(ApiUsage):
        try:
            members[member.name] = msgspec.convert(raw.get(member.name), member.type)
        except msgspec.ValidationError:
            members[member.name] = None
    return members
