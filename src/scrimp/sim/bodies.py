"""The JSON that the API answers with: messages, their usage, and models."""

from __future__ import annotations

from collections.abc import Sequence

from scrimp.sim import billing, models
from scrimp.sim.agents import Reply
from scrimp.sim.billing import Classes, Terms
from scrimp.sim.blocks import JsonObject
from scrimp.sim.models import Model


def terms_of(request: JsonObject, model: Model, now_ms: int) -> Terms:
    """Return what selects the rates of a request."""
    fast = request.get("speed") == "fast" and model.fast == "priced"
    geo = request.get("inference_geo") or ("global" if model.inference_geo else "not_available")
    return Terms(model.name, now_ms, "standard", "fast" if fast else "standard", str(geo))


def _counts(classes: Classes) -> JsonObject:
    write_5m, write_1h = classes.cache_write_5m_input_tokens, classes.cache_write_1h_input_tokens
    return {
        "input_tokens": classes.uncached_input_tokens,
        "cache_creation_input_tokens": write_5m + write_1h,
        "cache_read_input_tokens": classes.cache_read_input_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": write_5m, "ephemeral_1h_input_tokens": write_1h},
        "output_tokens": classes.output_tokens,
    }


def usage_json(request: JsonObject, parts: Sequence[Classes], spoken: Reply, terms: Terms) -> JsonObject:
    """Return the usage of a message, with its iterations where server tools made several."""
    whole = billing.added(parts)
    usage: JsonObject = {
        **_counts(whole),
        "service_tier": terms.service_tier,
        "inference_geo": terms.inference_geo,
    }
    if request.get("speed"):
        usage["speed"] = terms.speed
    if spoken.thinking_tokens:
        usage["output_tokens_details"] = {"thinking_tokens": spoken.thinking_tokens}
    if spoken.web_search_requests:
        usage["server_tool_use"] = {"web_search_requests": spoken.web_search_requests, "web_fetch_requests": 0}
    if len(parts) > 1:
        usage["iterations"] = [{"type": "message", **_counts(part)} for part in parts]
    return usage


def message_json(message_id: str, model: Model, spoken: Reply, usage: JsonObject, beside: JsonObject) -> JsonObject:
    """Return a whole message; `beside` are the fields that only some answers have."""
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model.name,
        "content": spoken.content,
        "stop_reason": spoken.stop_reason,
        "stop_sequence": None,
        "stop_details": None,
        "usage": usage,
        **beside,
    }


def model_json(model: Model, now_ms: int) -> JsonObject:
    """Return a model as GET /v1/models shows it."""
    retired = models.is_retired(model, now_ms)
    return {
        "type": "model",
        "id": model.name,
        "display_name": model.name.replace("claude-", "Claude ").replace("-", " ").title(),
        "created_at": f"{model.released or '1970-01-01'}T00:00:00Z",
        "lifecycle": "retired" if retired else "deprecated" if model.retires else "active",
        "line": model.line,
        "max_input_tokens": model.context_tokens,
        "max_tokens": model.max_output_tokens,
        "retires_at": f"{model.retires}T00:00:00Z" if model.retires else None,
    }
