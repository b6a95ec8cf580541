"""Items of single fields: each holds for ours, and each is failed by what gateways were seen to do to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scrimp.gateway.conformance.fields import FIELDS, ITEMS
from tests.gateway.conformance.faults import bodies, sound
from tests.gateway.conformance.shape import proofs

if TYPE_CHECKING:
    from tests.gateway.conformance.conftest import Examine
    from tests.gateway.conformance.faults import Fault

#: What a gateway of last year knows.
KNOWN = {"model", "messages", "system", "tools", "max_tokens", "metadata", "thinking", "stream"}


def edited(edit: Callable[[dict[str, Any]], None]) -> Fault:
    """Change the JSON value of each body."""

    def change(body: bytes) -> bytes:
        value = json.loads(body)
        edit(value)
        return json.dumps(value).encode()

    return bodies(change)


def only_known_fields(body: dict[str, Any]) -> None:
    """Keep a list of fields, as Portkey and inferrail do."""
    for name in set(body) - KNOWN:
        del body[name]


def only_known_message_keys(body: dict[str, Any]) -> None:
    """Keep role and content."""
    body["messages"] = [{key: message[key] for key in ("role", "content")} for message in body["messages"]]


def no_empty_messages(body: dict[str, Any]) -> None:
    """Drop what says nothing."""
    body["messages"] = [message for message in body["messages"] if message["content"]]


def system_lifted(body: dict[str, Any]) -> None:
    """Move system messages into the system field, as headroom does."""
    if lifted := [message["content"] for message in body["messages"] if message["role"] == "system"]:
        body["messages"] = [message for message in body["messages"] if message["role"] != "system"]
        body["system"] = str(lifted)


def system_merged(body: dict[str, Any]) -> None:
    """Make one text of the system blocks."""
    if "system" in body:
        body["system"] = "".join(block["text"] for block in body["system"])


def no_deferral(body: dict[str, Any]) -> None:
    """Drop defer_loading."""
    for tool in body.get("tools", []):
        tool.pop("defer_loading", None)


def no_signatures(body: dict[str, Any]) -> None:
    """Drop the signature of thinking."""
    for message in body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else ():
            block.pop("signature", None)


def five_minutes(body: dict[str, Any]) -> None:
    """Drop ttl and scope of each mark."""
    for block in (*body.get("tools", []), *body.get("system", []), body):
        if "cache_control" in block:
            block["cache_control"] = {"type": "ephemeral"}


def no_metadata(body: dict[str, Any]) -> None:
    """Drop metadata, as LiteLLM's pass-through does."""
    body.pop("metadata", None)


def only_known_tool_keys(body: dict[str, Any]) -> None:
    """Keep what a tool had last year."""
    known = {"name", "description", "input_schema", "cache_control", "defer_loading", "type", "max_uses"}
    if "tools" in body:
        body["tools"] = [{key: tool[key] for key in tool if key in known} for tool in body["tools"]]


FAULTS: dict[str, tuple[Fault, set[str]]] = {
    "none": (sound, set()),
    "a list of known fields": (
        edited(only_known_fields),
        {
            "field-unknown",
            "field-automatic-caching",
            "field-safeguards",
            "field-diagnostics",
            "field-thread-create",
            "field-thread-continue",
            "field-context-management",
        },
    ),
    "a list of known message keys": (
        edited(only_known_message_keys),
        {"field-unknown-in-message", "field-empty-content"},
    ),
    "empty messages dropped": (edited(no_empty_messages), {"field-empty-content"}),
    "system messages lifted": (edited(system_lifted), {"field-empty-content", "field-system-role"}),
    "system blocks merged": (edited(system_merged), {"field-system-blocks", "field-cache-control"}),
    "deferral dropped": (edited(no_deferral), {"field-deferred-tools"}),
    "signatures dropped": (edited(no_signatures), {"field-thinking"}),
    "every mark for five minutes": (
        edited(five_minutes),
        {"field-system-blocks", "field-cache-control", "field-automatic-caching"},
    ),
    "metadata dropped": (edited(no_metadata), {"field-metadata"}),
    "a list of known tool keys": (edited(only_known_tool_keys), {"field-tool-keys"}),
}


test_each_fault_fails_just_its_items, test_each_item_can_fail = proofs(ITEMS, FAULTS)


def test_a_body_written_anew_keeps_its_fields(examine: Examine) -> None:
    """These items look at values alone; the bytes are those of bodies."""
    assert [] == examine(edited(lambda _body: None), ITEMS).failed()


def test_a_body_that_is_no_json_fails_each(examine: Examine) -> None:
    """Whatever it was before."""
    assert [field.name for field in FIELDS] == examine(bodies(lambda body: body[:-1]), ITEMS).failed()
