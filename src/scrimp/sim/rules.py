"""What the API's documentation leaves open, each choice a named switch."""

from __future__ import annotations

from typing import Literal

import msgspec


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How this simulator decides where the documentation is silent or contradicts itself.

    The cache:

    * `lookback_positions`: how far each breakpoint looks back, itself included (documented: 20).
    * `max_breakpoints`: marks allowed in one request, the automatic one included (documented: 4).
    * `collapse_tool_runs`: a run of consecutive tool_use blocks, or of tool_result blocks, is one look-back position
      (newer guidance); False counts every block (older pages).
    * `cross_ttl_hits`: a breakpoint may read an entry written with the other lifetime. Either way a hit keeps the
      lifetime of the write that made the entry.
    * `refresh_shorter_entries`: reading a longer prefix also restarts the lifetime of the shorter entries under it.
    * `write_below_hit`: a marked position below the hit that has no live entry gets one, free of charge.
    * `minimum_per`: the minimum length is asked of each "breakpoint" or of the whole "request".
    * `eviction_permille`: the share of look-ups that find a live entry evicted early (documented: best effort).

    The key:

    * `speed_scope`: a change of speed loses "all", or keeps the tools ("system").
    * `thinking_tier`: the tier that thinking and effort are rendered before: "messages", "system" or "tools".
    * `image_salt`: what of the images the messages depend on: their "presence", their "count", or "none".
    * `betas_in_key`: the set of anthropic-beta values is a part of the key.
    * `attribution_block`: a first system block that starts with `x-anthropic-billing-header:` is kept whole ("keep"),
      kept without the fields that change with every request ("stable"), or not rendered at all ("strip").

    Time, in milliseconds: the first token comes after `first_token_ms` plus `uncached_ms_per_1000_tokens`, every
    output token takes `output_token_ms`.
    """

    lookback_positions: int = 20
    max_breakpoints: int = 4
    collapse_tool_runs: bool = True
    cross_ttl_hits: bool = True
    refresh_shorter_entries: bool = True
    write_below_hit: bool = False
    minimum_per: Literal["breakpoint", "request"] = "breakpoint"
    eviction_permille: int = 0

    speed_scope: Literal["all", "system"] = "all"
    thinking_tier: Literal["tools", "system", "messages"] = "messages"
    image_salt: Literal["presence", "count", "none"] = "presence"
    betas_in_key: bool = False
    attribution_block: Literal["keep", "stable", "strip"] = "stable"

    first_token_ms: int = 400
    uncached_ms_per_1000_tokens: int = 20
    output_token_ms: int = 12
