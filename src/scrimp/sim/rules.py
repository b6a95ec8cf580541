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

    Thinking, threads, diagnostics, server tools:

    * `account`: accounts since 2026-08-31 ("new") have thinking bound to its conversation on every model that can, an
      "old" one only on the models that always do.
    * `foreign_thinking`: thinking signed by another model is "kept", or "dropped" and reported (documented).
    * `threads`: message threads are served; without it they are refused as unsupported.
    * `thread_ms`: how long a thread is held after its last answer (documented: five minutes).
    * `diagnostics_need_beta`: cache diagnostics want their beta header (older pages) or not (newer guidance).
    * `server_tool_breakpoints`: the API sets a 5m breakpoint of its own on each server-tool result of a marked request.
    * `refuse_zero_tokens`: the names of models that refuse max_tokens 0.
    * `band_per`: a long-prompt price is judged by each "iteration" of a request, or by the whole "request".

    What a broken answer costs; the documentation does not say:

    * `cut_bill`: an answer that is cut off bills its input and the output that was "streamed", or the "whole" answer.
    * `cut_ahead_tokens`: the tokens that were sampled, but not yet sent, when the connection broke.

    Limits: `tier` selects the documented buckets, `enforce_limits` says whether an empty one refuses.

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

    account: Literal["old", "new"] = "new"
    foreign_thinking: Literal["kept", "dropped"] = "kept"
    threads: bool = False
    thread_ms: int = 300_000
    diagnostics_need_beta: bool = False
    server_tool_breakpoints: bool = True
    refuse_zero_tokens: frozenset[str] = frozenset()
    band_per: Literal["iteration", "request"] = "iteration"

    cut_bill: Literal["streamed", "whole"] = "streamed"
    cut_ahead_tokens: int = 1

    tier: Literal["start", "build", "scale"] = "start"
    enforce_limits: bool = False

    first_token_ms: int = 400
    uncached_ms_per_1000_tokens: int = 20
    output_token_ms: int = 12
