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
from typing import Any

import msgspec


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

    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class ServerToolUse(msgspec.Struct, frozen=True, gc=False):
    """The API's count of server tools; only web searches carry a fee of their own."""

    web_search_requests: int | None = None


class OutputTokensDetails(msgspec.Struct, frozen=True, gc=False):
    """The API's split of the output count."""

    thinking_tokens: int | None = None


class ApiIteration(msgspec.Struct, frozen=True):
    """One entry of the API's `usage.iterations`."""

    type: str = "message"
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputTokensDetails | None = None


class ApiUsage(msgspec.Struct, frozen=True):
    """The API's `usage` block with only the fields that are billed; a missing field is None."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputTokensDetails | None = None
    server_tool_use: ServerToolUse | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    iterations: tuple[ApiIteration, ...] | None = None

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


#: Iterations that the top-level totals leave out; every other kind is the executor's own work.
BILLED_ON_TOP = frozenset({"compaction", "advisor_message"})


def _explain_totals(top: Usage, executor: Sequence[ApiIteration]) -> list[ApiIteration] | None:
    """Return the executor's iterations if they add up to the top-level totals exactly, else None."""
    summed = total(map(_classes, executor))
    same = summed.total_input_tokens == top.total_input_tokens and summed.output_tokens == top.output_tokens
    return list(executor) if executor and same else None


def meter(api: ApiUsage, model: str | None) -> Metered:
    """Turn an API usage block of a response served by `model` into billing lines.

    Iterations that add up to the totals become a line each, because a long-prompt band is judged by each
    iteration's own prompt (Claude Code's cost function); otherwise the totals are one line.
    """
    searches = (api.server_tool_use.web_search_requests or 0) if api.server_tool_use else 0
    top = _classes(api, searches)
    iterations = api.iterations
    if not iterations:  # nearly every answer, and recordings hold many
        return Metered(top, (UsageLine(top, model, "message", api.service_tier, api.speed, api.inference_geo),))
    executor = _explain_totals(top, [entry for entry in iterations if entry.type not in BILLED_ON_TOP])
    extra = [entry for entry in iterations if entry.type in BILLED_ON_TOP]

    def line(usage: Usage, kind: str, by: str | None) -> UsageLine:
        return UsageLine(usage, by or model, kind, api.service_tier, api.speed, api.inference_geo)

    if executor is None:
        lines = [line(top, "message", None)]
    else:
        lines = [
            line(_classes(entry, searches if index == 0 else 0), entry.type, entry.model)
            for index, entry in enumerate(executor)
        ]
    lines += [line(_classes(entry), entry.type, entry.model) for entry in extra]
    return Metered(total(each.usage for each in lines), tuple(lines))


def read_usage(raw: Any) -> ApiUsage | None:
    """Read an already decoded `usage` value; None if it is not one."""
    try:
        return msgspec.convert(raw, ApiUsage)
    except msgspec.ValidationError:
        return None
