"""The JSON that the API answers with."""

from __future__ import annotations

from scrimp.sim.agents import Reply
from scrimp.sim.billing import Classes, Terms
from scrimp.sim.bodies import message_json, model_json, terms_of, usage_json
from scrimp.sim.models import MODELS, day_ms, find

NOW = day_ms("2026-11-22")
TERMS = Terms("claude-opus-5-5", NOW)
SPOKEN = Reply([{"type": "text", "text": "hi"}], "end_turn", 5, 0)


def test_usage_names_every_class_once() -> None:
    """Writes are split by lifetime beside their sum; what did not happen is not mentioned."""
    usage = usage_json({}, [Classes(1, 2, 3, 4, 5)], SPOKEN, TERMS)
    assert {
        "input_tokens": 1,
        "cache_creation_input_tokens": 7,
        "cache_read_input_tokens": 2,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
        "output_tokens": 5,
        "service_tier": "standard",
        "inference_geo": "global",
    } == usage


def test_what_happened_is_added() -> None:
    """Speed where it was asked for, thinking, searches, iterations."""
    spoken = Reply([], "end_turn", 5, 3, web_search_requests=1)
    usage = usage_json({"speed": "fast"}, [Classes(1), Classes(2)], spoken, TERMS)
    assert ("standard", 3, 1, 2) == (
        usage["speed"],
        usage["output_tokens_details"]["thinking_tokens"],
        usage["server_tool_use"]["web_search_requests"],
        len(usage["iterations"]),
    )


def test_terms_follow_the_request_and_the_model() -> None:
    """Fast only where it is priced, geography only where the model knows it."""
    new, ignoring, old = (find(name) for name in ("claude-opus-5-5", "claude-opus-4-6", "claude-haiku-4-5"))
    assert new is not None
    assert ignoring is not None
    assert old is not None
    fast = {"speed": "fast", "inference_geo": "us"}
    assert Terms(new.name, NOW, "standard", "fast", "us") == terms_of(fast, new, NOW)
    assert "standard" == terms_of(fast, ignoring, NOW).speed
    assert "not_available" == terms_of({}, old, NOW).inference_geo


def test_a_message_carries_what_only_some_have() -> None:
    """Beside the fields of every message."""
    model = find("claude-opus-5-5")
    assert model is not None
    message = message_json("msg_1", model, SPOKEN, {}, {"diagnostics": None})
    assert {"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "stop_details", "usage"} == (
        message.keys() - {"diagnostics"}
    )


def test_every_model_is_shown() -> None:
    """With its limits and where it is in its life."""
    shown = [model_json(model, NOW) for model in MODELS]
    assert {"active", "deprecated", "retired"} == {each["lifecycle"] for each in shown}
    assert all(each["max_input_tokens"] >= each["max_tokens"] > 0 for each in shown)
