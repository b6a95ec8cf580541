"""One request and its response, as numbers and digests: what the ledger stores and every report folds over."""

from __future__ import annotations

import msgspec

from scrimp.core.wire.usage import Usage, UsageLine

#: Who caused an exchange: the client itself, or something that we sent on its behalf and must own up to.
CLIENT, PING = "client", "ping"
ORIGINS = (CLIENT, PING, "prime", "triage", "summary", "recall", "shadow", "escalation")


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One request and its response. None means "not known", never zero. Times are milliseconds since the epoch.

    * `origin` is one of `ORIGINS`; `payer` is the session that something of ours was sent for, None for a client's own.
    * `source` says where the record comes from: "gateway", "sdk", "claude-code", "otel" or "export".
    * `usage_complete` is False where the final usage never arrived: the counts are then lower bounds.
    * `cost_nano_usd` is the cost where `usage_complete`, else the least that it can have been; `cost_upper_nano_usd` is
      the most that it can have been (`scrimp.core.wire.ceiling`): the cost itself where the usage is complete, 0 where
      the API refused or was never reached, and what the request alone allows while the exchange is open. None is "no
      bound is known".
    * `output_partial` marks recordings whose client wrote only the first partial output count.
    * `task_tag` is what the owner called this work; `task_type` is what we inferred.
    * `planned` is False where the request could not be read and was forwarded as it came.
    * `break_cause` names why less was read from the cache than the request before left there, None where nothing was
      lost; `break_reason` is the API's own word for it where it has said one. `break_block` is the path of the first
      block that differs, `break_byte` the offset in it, `break_lost_tokens` what could have been read, and
      `break_cost_nano_usd` what that added to the bill (see `scrimp.core.plan.explain`).
    """

    exchange_id: str
    opened_at_ms: int
    source: str
    origin: str = CLIENT
    payer: str | None = None
    closed_at_ms: int | None = None
    first_token_at_ms: int | None = None
    principal: str | None = None
    tenant: str | None = None
    project: str | None = None
    session_id: str | None = None
    agent_id: str | None = None
    parent_agent_id: str | None = None
    agent_type: str | None = None
    request_class: str | None = None
    prompt_id: str | None = None
    client: str | None = None
    task_tag: str | None = None
    task_type: str | None = None
    requested_model: str | None = None
    served_model: str | None = None
    message_id: str | None = None
    request_id: str | None = None
    http_status: int | None = None
    stop_reason: str | None = None
    error_type: str | None = None
    usage: Usage | None = None
    usage_lines: tuple[UsageLine, ...] = ()
    usage_complete: bool = True
    output_partial: bool = False
    cost_nano_usd: int | None = None
    cost_upper_nano_usd: int | None = None
    baseline_cost_nano_usd: int | None = None
    planned: bool = True
    break_cause: str | None = None
    break_reason: str | None = None
    break_block: str | None = None
    break_byte: int | None = None
    break_lost_tokens: int | None = None
    break_cost_nano_usd: int | None = None
