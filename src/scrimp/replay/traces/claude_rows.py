"""The rows of a Claude Code session file, as far as they are read (facts on clients, section 6).

Rows are one JSON object a line. `assistant` rows repeat the same message once per content block; `user` rows are
prompts, tool results and notes of the client; `api-request` rows (newer builds) say when and why a request was sent.
Texts and tool inputs stay undecoded (`msgspec.Raw`) until somebody needs them: they are nearly all of a file.
"""

from __future__ import annotations

import msgspec

from scrimp.core.wire.surrogates import UNREADABLE
from scrimp.core.wire.usage import ApiUsage

_EMPTY = msgspec.Raw(b"")


class Block(msgspec.Struct, gc=False):
    """One content block: its kind, and a tool's name and input."""

    type: str = ""
    name: str | None = None
    text: msgspec.Raw = _EMPTY
    input: msgspec.Raw = _EMPTY


class Message(msgspec.Struct, gc=False):
    """The `message` of a user or assistant row."""

    id: str | None = None
    model: str | None = None
    usage: ApiUsage | None = None
    stop_reason: str | None = None
    content: str | list[Block] | None = None


class ForkedFrom(msgspec.Struct, gc=False, rename="camel"):
    """Where a copied row came from."""

    session_id: str | None = None


class Row(msgspec.Struct, gc=False, rename="camel"):
    """One line of a session file, any kind: absent keys stay None."""

    type: str = ""
    uuid: str | None = None
    parent_uuid: str | None = None
    timestamp: str | None = None
    session_id: str | None = None
    agent_id: str | None = None
    is_sidechain: bool | None = None
    message: Message | None = None
    version: str | None = None
    cwd: str | None = None
    request_id: str | None = None
    request_ref: str | None = None
    requested_model: str | None = None
    attribution_agent: str | None = None
    prompt_id: str | None = None
    is_meta: bool | None = None
    is_compact_summary: bool | None = None
    is_api_error_message: bool | None = None
    forked_from: ForkedFrom | None = None
    subtype: str | None = None
    id: str | None = None
    query_source: str | None = None


class ToolInput(msgspec.Struct, gc=False):
    """What is read of a tool's input: the prompt and type of a new agent, or the name of a skill."""

    prompt: str | None = None
    subagent_type: str | None = None
    skill: str | None = None
    command: str | None = None


class Sidecar(msgspec.Struct, gc=False, rename="camel"):
    """The `.meta.json` beside a subagent's file."""

    agent_type: str | None = None


row_decoder = msgspec.json.Decoder(Row)
_decode_text = msgspec.json.Decoder(str).decode
_decode_input = msgspec.json.Decoder(ToolInput).decode
_decode_sidecar = msgspec.json.Decoder(Sidecar).decode


def _text(raw: msgspec.Raw) -> str:
    try:
        return _decode_text(raw) if raw else ""
    except UNREADABLE:
        return ""


def has_tool_result(message: Message) -> bool:
    """Whether a message brings tool results, and so is no prompt."""
    if isinstance(message.content, list):
        for block in message.content:  # a loop: most rows of a file come through here
            if block.type == "tool_result":
                return True
    return False


def text_of(message: Message) -> str:
    """Return a message's text blocks, joined by line breaks; text that cannot be decoded is left out."""
    if isinstance(message.content, str):
        return message.content
    return "\n".join(filter(None, (_text(block.text) for block in message.content or () if block.type == "text")))


def input_of(block: Block) -> ToolInput:
    """Decode what is read of a tool's input; an input of other types says nothing."""
    try:
        return _decode_input(block.input) if block.input else ToolInput()
    except UNREADABLE:
        return ToolInput()


def agent_type_of(sidecar: bytes | None) -> str | None:
    """Return the agent type that a `.meta.json` states, if it is there and says so."""
    try:
        return _decode_sidecar(sidecar).agent_type if sidecar else None
    except UNREADABLE:
        return None
