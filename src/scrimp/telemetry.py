"""Our names in OpenTelemetry's words: the only file that spells them.

The GenAI conventions are in development and have renamed things more than once (what the newer schema calls
`cache_write`, the older calls `cache_creation`), so each of our names has every spelling that recordings use, the one
to write first. `gen_ai.usage.input_tokens` counts the whole prompt, cached parts included.
Sources: OpenTelemetry GenAI semantic conventions; the attributes set by the anthropic SDK 2.12.
"""

from __future__ import annotations

#: our name -> attribute spellings of a span, the preferred first.
ATTRIBUTES = {
    "operation": ("gen_ai.operation.name",),
    "requested_model": ("gen_ai.request.model",),
    "served_model": ("gen_ai.response.model",),
    "message_id": ("gen_ai.response.id",),
    "session_id": ("gen_ai.conversation.id", "anthropic.session.id", "session.id"),
    "agent_id": ("gen_ai.agent.id",),
    "agent_type": ("gen_ai.agent.name",),
    "task_tag": ("scrimp.task",),
    "tenant": ("scrimp.tenant",),
    "error_type": ("error.type",),
    "http_status": ("http.response.status_code",),
    "service_tier": ("anthropic.response.service_tier",),
    "speed": ("anthropic.response.speed",),
    "inference_geo": ("anthropic.response.inference_geo",),
    "stop_reasons": ("gen_ai.response.finish_reasons",),
    "first_token_seconds": ("gen_ai.response.time_to_first_chunk",),
    "total_input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    "output_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    "thinking_tokens": ("gen_ai.usage.reasoning.output_tokens",),
    "cache_read_input_tokens": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.input_tokens.cached",
    ),
    "cache_write_input_tokens": (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.input_tokens.cache_write",
    ),
    "cache_write_1h_input_tokens": ("anthropic.usage.cache_creation.ephemeral_1h_input_tokens",),
    "compaction_input_tokens": ("anthropic.usage.compaction.input_tokens",),
    "compaction_output_tokens": ("anthropic.usage.compaction.output_tokens",),
}

#: our name -> attribute spellings of a resource.
RESOURCE_ATTRIBUTES = {"project": ("service.name",)}

#: Operations that are one request to a model; spans of agents and tools only sum or surround such spans.
MODEL_OPERATIONS = frozenset({"chat", "generate_content", "text_completion"})

#: Operations that are known not to be one request to a model.
OTHER_OPERATIONS = frozenset(
    {"create_agent", "embeddings", "execute_tool", "invoke_agent", "invoke_workflow", "plan", "retrieval"}
)

#: What a line of spans contains, whichever of the spellings it uses.
PREFIX = "gen_ai."

#: our name -> (Prometheus name, what it counts, its kind), in the order of the page.
METRICS = {
    "exchanges": ("scrimp_exchanges_total", "Exchanges that ended, by how they ended.", "counter"),
    "tokens": ("scrimp_tokens_total", "Tokens billed, by token class.", "counter"),
    "cost": ("scrimp_cost_usd_total", "List price of what was billed, in US dollars.", "counter"),
    "unpriced": ("scrimp_unpriced_exchanges_total", "Exchanges with usage whose price is unknown.", "counter"),
    "in_flight": ("scrimp_in_flight_exchanges", "Exchanges opened and not closed yet.", "gauge"),
    "ledger_trouble": ("scrimp_ledger_trouble", "1 while the ledger cannot be written.", "gauge"),
}
