"""A Messages request as blocks in cache order: tools, then system, then messages.

Only what is read is decoded; everything else stays the client's bytes (`msgspec.Raw`), so nothing here can change
a request. Deferred tools are not part of the prefix until a `tool_reference` brings them in, so they are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from scrimp.core.wire.blocks import (
    Block,
    CacheControl,
    Tier,
    Ttl,
    block_head,
    block_text,
    content_blocks,
    digest_of,
    read_block,
    unmarked,
)
from scrimp.core.wire.cachekey import key_settings, read_settings, thinking_turns
from scrimp.core.wire.surrogates import decode_mended

#: Tool kinds by prefix that are rendered into the system tier (API docs, what invalidates the cache).
_WEB_TOOLS = ("web_search_", "web_fetch_")


class RequestUnreadable(ValueError):
    """The body is not a Messages request we can read; it is forwarded as it came."""


class _Head(msgspec.Struct, frozen=True):
    """The request's top level; `Raw` fields stay undecoded."""

    messages: list[msgspec.Raw]
    model: str
    tools: list[msgspec.Raw] | None = None
    system: msgspec.Raw = msgspec.Raw()
    max_tokens: int | None = None
    stream: bool | None = None
    metadata: msgspec.Raw = msgspec.Raw()
    cache_control: CacheControl | None = None
    tool_choice: msgspec.Raw = msgspec.Raw()
    thinking: msgspec.Raw = msgspec.Raw()
    output_config: msgspec.Raw = msgspec.Raw()
    context_management: msgspec.Raw = msgspec.Raw()
    speed: str | None = None
    inference_geo: str | None = None
    thread: msgspec.Raw = msgspec.Raw()


class _Metadata(msgspec.Struct, frozen=True):
    user_id: str | None = None


class Request(msgspec.Struct, frozen=True):
    """What we read of one Messages request. `blocks` are in cache order; `automatic_ttl` is the top-level mark.

    `settings` are the parameters that are part of the cache key from the named tier on; `thinking_turns` is how many
    turns of thinking the request asks to keep ("all", a number, or None for the model's habit).
    """

    model: str
    blocks: tuple[Block, ...]
    stream: bool
    max_tokens: int | None
    automatic_ttl: Ttl | None
    user_id: str | None
    speed: str | None
    inference_geo: str | None
    is_thread: bool
    output_format: bool
    thinking_turns: int | Literal["all"] | None
    settings: tuple[tuple[Tier, bytes], ...]

    def tier(self, tier: Tier) -> Iterator[Block]:
        """Return the blocks of one tier, in order."""
        return (block for block in self.blocks if block.tier == tier)

    @property
    def first_user_text(self) -> str | None:
        """The text of the first user block, decoded; None where there is none."""
        texts = (block for block in self.tier("messages") if block.role == "user" and block.kind == "text")
        return next((block_text(block) for block in texts), None)


_READ_HEAD = msgspec.json.Decoder(_Head)
_READ_MESSAGE = msgspec.json.Decoder(dict[str, msgspec.Raw])

_TOOL_NAME = re.compile(rb'"tool_name"\s*:\s*"([^"]+)"')


def parse(body: bytes) -> Request:
    """Read a request body. Raises `RequestUnreadable` for anything that is not a Messages request."""
    try:
        if not body.isascii():
            body.decode()  # undecoded members are not checked otherwise, and JSON is UTF-8 (RFC 8259 section 8.1)
        return _request(decode_mended(_READ_HEAD, body))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RequestUnreadable(str(error)) from error


def _request(head: _Head) -> Request:
    blocks = (*_tools(head.tools or []), *_system(head.system), *_messages(head))
    config = read_settings(head.output_config)
    return Request(
        model=head.model,
        blocks=blocks,
        stream=bool(head.stream),
        max_tokens=head.max_tokens,
        automatic_ttl=head.cache_control.ttl if head.cache_control else None,
        user_id=_user_id(head.metadata),
        speed=head.speed,
        inference_geo=head.inference_geo,
        is_thread=bytes(head.thread) not in {b"", b"null"},
        output_format=config.get("format") is not None,
        thinking_turns=thinking_turns(read_settings(head.context_management)),
        settings=key_settings(
            head.model,
            blocks,
            read_settings(head.tool_choice),
            read_settings(head.thinking),
            config,
            effort_in_messages=any(b'"output_config"' in bytes(raw) for raw in head.messages),
        ),
    )


def _user_id(metadata: msgspec.Raw) -> str | None:
    if not bytes(metadata):
        return None
    try:
        return msgspec.json.decode(metadata, type=_Metadata).user_id
    except msgspec.DecodeError:
        return None


def _tools(tools: list[msgspec.Raw]) -> Iterator[Block]:
    """Yield the tools that are in the prefix; web tools belong to the system tier, so they come last."""
    heads = [(f"tools.{index}", raw, block_head(raw)) for index, raw in enumerate(tools)]
    shown = [each for each in heads if not each[2].defer_loading]
    for path, raw, head in sorted(shown, key=lambda each: each[2].type.startswith(_WEB_TOOLS)):
        tier: Tier = "system" if head.type.startswith(_WEB_TOOLS) else "tools"
        yield read_block(tier, path, "tool" if head.type == "unknown" else head.type, "", raw, head)


def _system(system: msgspec.Raw) -> Iterator[Block]:
    return content_blocks("system", "system", "", system)


def _messages(head: _Head) -> Iterator[Block]:
    """Yield the messages' blocks. What a message carries beside them is rendered with the next block."""
    deferred = _deferred(head.tools or [])
    beside = b""
    for index, raw in enumerate(head.messages):
        message = _READ_MESSAGE.decode(raw)
        role = bytes(message.pop("role", b"")).strip(b'"').decode("utf-8", "replace")
        content = message.pop("content", msgspec.Raw())
        if message:
            beside += b"".join(b"%b:%b," % (key.encode(), value) for key, value in sorted(message.items()))
        for block in content_blocks("messages", f"messages.{index}.content", role, content):
            extra = beside + _definitions(block, deferred)
            beside = b""
            yield msgspec.structs.replace(block, digest=digest_of(role, block.digest + extra)) if extra else block


def _deferred(tools: list[msgspec.Raw]) -> dict[bytes, bytes]:
    """Return the definitions that a tool_reference would bring into the prompt, by name."""
    heads = ((raw, block_head(raw)) for raw in tools if b'"defer_loading"' in bytes(raw))
    return {(head.name or "").encode(): unmarked(bytes(raw)) for raw, head in heads if head.defer_loading}


def _definitions(block: Block, deferred: dict[bytes, bytes]) -> bytes:
    """Return the definitions of the deferred tools that this block refers to."""
    if not deferred or b'"tool_reference"' not in bytes(block.raw):
        return b""
    return b"".join(deferred.get(name, b"") for name in _TOOL_NAME.findall(bytes(block.raw)))
