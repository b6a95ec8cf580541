"""Items of single fields: each is sent in a small request and has to be upstream with the same JSON value."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

from scrimp.gateway.conformance.bodies import absent
from scrimp.gateway.conformance.item import CLIENTS, PROTOCOL, Finding, Item, judged
from scrimp.gateway.conformance.samples import whole
from scrimp.gateway.conformance.shapes import CLAUDE_CODE_HEADERS, plain_request
from scrimp.gateway.conformance.trial import PROBE, Trial

_TEXT = {"type": "text", "text": f"Say hello. {PROBE}"}
_SCHEMA = {"type": "object", "properties": {}}
_PAIRS = "A beta's header and its body field only work together; one without the other is refused or ignored."
_LADDER = "After a 400 or a lost field Claude Code drops features for the rest of its session."


@dataclass(frozen=True)
class Field:
    """What is added to a small request, and why a gateway must leave it there."""

    name: str
    sent: str
    added: dict[str, Any]
    why: str
    source: str = PROTOCOL


def _messages(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": list(messages)}


def _user(*blocks: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"role": "user", "content": [*blocks], **keys}


def _assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": [*blocks]}


_THINKING = {"type": "thinking", "thinking": "", "signature": "EqQBCkYIARgCKkBhYmM="}
_REDACTED = {"type": "redacted_thinking", "data": "EmwKAhgBEgw="}
_SEARCH = {"type": "tool_use", "id": "toolu_01S", "name": "ToolSearch", "input": {}}
_FOUND = {
    "type": "tool_result",
    "tool_use_id": "toolu_01S",
    "content": [{"type": "tool_reference", "tool_name": "Later"}],
}
_LATER = {"name": "Later", "input_schema": _SCHEMA, "defer_loading": True}
_MARKED = {"name": "Look", "input_schema": _SCHEMA, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
_SCOPED = {"type": "text", "text": "Shared.", "cache_control": {"type": "ephemeral", "ttl": "1h", "scope": "global"}}

FIELDS = (
    Field("field-unknown", "a top-level field that nobody knows", {"x_future_field": {"k": [1, None]}}, _LADDER),
    Field(
        "field-unknown-in-message",
        "output_config and an unknown key within a message",
        _messages(_user(_TEXT, output_config={"effort": "low"}, x_future_key=True)),
        "Claude Code sets the effort of single turns there.",
        CLIENTS,
    ),
    Field(
        "field-empty-content",
        "a system message whose content is []",
        _messages(_user(_TEXT), {"role": "system", "content": [], "output_config": {"effort": "high"}}),
        "Claude Code appends one when the effort changes; dropping it changes the prefix.",
        CLIENTS,
    ),
    Field(
        "field-system-role",
        "messages of the role system between the others",
        _messages(_user(_TEXT), {"role": "system", "content": "A note."}, _assistant(_TEXT), _user(_TEXT)),
        "Moved into the top-level system field, it would make a new prefix of the whole conversation.",
    ),
    Field(
        "field-system-blocks",
        "three system blocks, the first the client's attribution",
        {"system": [{"type": "text", "text": "x-anthropic-billing-header: cc_version=1.a;"}, _TEXT, _SCOPED]},
        "The API strips the attribution block by its position: merged or moved it becomes a part of the prompt.",
    ),
    Field(
        "field-deferred-tools",
        "defer_loading, tool_reference",
        {"tools": [_LATER], **_messages(_user(_TEXT), _assistant(_SEARCH), _user(_FOUND))},
        "Without them every tool is in the prompt: 31,000 characters become 61,000, and the cache is lost.",
    ),
    Field(
        "field-thinking",
        "thinking with its signature, redacted thinking, thinking.display",
        {
            "thinking": {"type": "adaptive", "display": "omitted"},
            **_messages(_user(_TEXT), _assistant(_THINKING, _REDACTED, _TEXT), _user(_TEXT)),
        },
        "The API refuses a turn whose thinking was changed.",
    ),
    Field(
        "field-cache-control",
        "cache_control with ttl and scope on a tool and on blocks",
        {"tools": [_MARKED], "system": [_SCOPED]},
        "Without its mark a prefix is paid in full at each turn; without its ttl it is gone after five minutes.",
    ),
    Field(
        "field-automatic-caching",
        "cache_control at the top level",
        {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
        "The SDKs' one line of caching: dropped, it is silently off.",
        CLIENTS,
    ),
    Field(
        "field-safeguards",
        "safeguards with its beta",
        {"safeguards": {"dangerous_tool_use": {"enabled": True}}},
        "Without it Claude Code pays for a classifier request of its own before each gated action.",
    ),
    Field(
        "field-diagnostics",
        "diagnostics.previous_message_id",
        {"diagnostics": {"previous_message_id": "msg_01Before"}},
        "Without it the API cannot say why a cache was missed.",
    ),
    Field("field-thread-create", "thread: create", {"thread": {"type": "create"}}, _PAIRS, CLIENTS),
    Field(
        "field-thread-continue",
        "thread: continue, with only the new messages",
        {"thread": {"type": "continue", "previous_message_id": "msg_01Before"}},
        "The SDK's tool runner sends the history no second time: without this field the model sees none.",
        CLIENTS,
    ),
    Field(
        "field-context-management",
        "context_management, output_config, speed",
        {
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "output_config": {"effort": "medium", "format": {"type": "json_schema", "schema": _SCHEMA}},
            "speed": "standard",
        },
        _PAIRS,
    ),
    Field(
        "field-metadata",
        "metadata.user_id, a JSON text in a text",
        {"metadata": {"user_id": '{"device_id":"0","session_id":"1","team":"blue"}'}},
        "It is what a team attributes its cost by.",
        CLIENTS,
    ),
    Field(
        "field-tool-keys",
        "strict, eager_input_streaming and an unknown key of a tool; a server tool",
        {
            "tools": [
                {"name": "A", "input_schema": _SCHEMA, "strict": True, "eager_input_streaming": True, "x_future": 1},
                {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
            ]
        },
        _PAIRS,
    ),
)


def _kept(field: Field, trial: Trial) -> Finding:
    exchanged = trial.exchange(plain_request(trial.model, CLAUDE_CODE_HEADERS, **field.added), whole())
    if exchanged.arrived is None:
        return absent(exchanged)
    sent = json.loads(exchanged.sent.body)
    try:
        got = json.loads(exchanged.arrived.body)
    except ValueError:
        return judged(False, "", "what reached the upstream is no JSON")
    changed = [name for name in field.added if name not in got or sent[name] != got[name]]
    lost = [name for name in changed if name not in got]
    return judged(not changed, "as sent", f"lost: {', '.join(lost)}" if lost else f"changed: {', '.join(changed)}")


ITEMS = tuple(
    Item(field.name, field.source, field.sent, "the same value upstream", field.why, partial(_kept, field))
    for field in FIELDS
)
