"""What the API's documentation leaves open, each choice a named switch."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Permille = Annotated[int, msgspec.Meta(ge=0, le=1_000)]

#: A switch -> what it decides. Where a page of the API's documentation says which, its word stands in brackets.
SWITCHES = {
    "lookback_positions": "how many positions a breakpoint looks back over, itself included (documented: 20)",
    "max_breakpoints": "marks allowed in one request, the automatic one included (documented: 4)",
    "collapse_tool_runs": "a run of tool_use blocks, or of tool_result blocks, is one look-back position (newer "
    "guidance); without it every block counts (older pages)",
    "cross_ttl_hits": "a breakpoint may read an entry written with the other lifetime; either way a hit keeps the "
    "lifetime of the write that made the entry",
    "refresh_shorter_entries": "reading a longer prefix also restarts the lifetime of the shorter entries under it",
    "keeps_lifetimes": "each token lives as long as the mark that it was written with, so an entry of an hour that "
    "goes on from one of five minutes dies with it; without it an entry lives as a whole",
    "write_below_hit": "a marked position below the hit that has no live entry gets one, free of charge",
    "minimum_per": "the minimum length is asked of each breakpoint, or of the whole request",
    "eviction_permille": "the share of look-ups that find a live entry evicted early (documented: best effort)",
    "speed_scope": 'a change of speed loses "all", or keeps the tools ("system")',
    "thinking_tier": "the tier that thinking and effort are rendered before",
    "image_salt": "what of the images the messages depend on",
    "betas_in_key": "the set of anthropic-beta values is a part of the key",
    "attribution_block": "a first system block that starts with x-anthropic-billing-header: is kept whole, kept "
    "without the fields that change with every request, or not rendered at all",
    "account": 'whose thinking is held to its conversation: accounts since 2026-08-31 ("new") on every model that '
    'can, an "old" one only on the models that always do, one that is "exempt" (a test\'s) on none',
    "foreign_thinking": "thinking signed by another model stays, or is left out and reported (documented: dropped)",
    "threads": "message threads are served; without it they are refused as unsupported",
    "thread_ms": "how long a thread is held after its last answer, in milliseconds (documented: five minutes)",
    "diagnostics_need_beta": "cache diagnostics want their beta header (older pages) or not (newer guidance)",
    "server_tool_breakpoints": "the API sets a 5m breakpoint of its own on each server-tool result of a marked request",
    "refuse_zero_tokens": "the models that refuse max_tokens 0, separated by commas",
    "band_per": "a long-prompt price is judged by each iteration of a request, or by the whole request",
    "cut_bill": "an answer that is cut off bills its input and the output that was streamed, or the whole answer",
    "cut_ahead_tokens": "the tokens that were sampled, but not yet sent, when the connection broke",
    "tier": "the documented rate limits of this usage tier",
    "requests_per_minute": "a limit of one's own for each pool of models, in place of the tier's",
    "input_tokens_per_minute": "the same; what is read from the cache does not count",
    "output_tokens_per_minute": "the same",
    "enforce_limits": "an empty bucket refuses; without it the limits only show in the headers",
    "first_token_ms": "when the first token comes, in milliseconds after the request",
    "uncached_ms_per_1000_tokens": "how much later for each thousand tokens that are not read from the cache",
    "output_token_ms": "how long each token of output takes",
}


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How this simulator decides where the documentation is silent or contradicts itself; see `SWITCHES`.

    In this order: the cache; its key; thinking, threads, diagnostics and server tools; what a broken answer costs (the
    documentation does not say); limits; and time.
    """

    lookback_positions: Positive = 20
    max_breakpoints: Positive = 4
    collapse_tool_runs: bool = True
    cross_ttl_hits: bool = True
    refresh_shorter_entries: bool = True
    keeps_lifetimes: bool = False
    write_below_hit: bool = False
    minimum_per: Literal["breakpoint", "request"] = "breakpoint"
    eviction_permille: Permille = 0

    speed_scope: Literal["all", "system"] = "all"
    thinking_tier: Literal["tools", "system", "messages"] = "messages"
    image_salt: Literal["presence", "count", "none"] = "presence"
    betas_in_key: bool = False
    attribution_block: Literal["keep", "stable", "strip"] = "stable"

    account: Literal["old", "new", "exempt"] = "new"
    foreign_thinking: Literal["kept", "dropped"] = "dropped"
    threads: bool = False
    thread_ms: Count = 300_000
    diagnostics_need_beta: bool = False
    server_tool_breakpoints: bool = True
    refuse_zero_tokens: frozenset[str] = frozenset()
    band_per: Literal["iteration", "request"] = "iteration"

    cut_bill: Literal["streamed", "whole"] = "streamed"
    cut_ahead_tokens: Count = 1

    tier: Literal["start", "build", "scale"] = "start"
    requests_per_minute: Positive | None = None
    input_tokens_per_minute: Positive | None = None
    output_tokens_per_minute: Positive | None = None
    enforce_limits: bool = False

    first_token_ms: Count = 400
    uncached_ms_per_1000_tokens: Count = 20
    output_token_ms: Count = 12
