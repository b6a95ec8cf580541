"""A Messages request as blocks in cache order: tools, then system, then messages.

Only what is read is decoded; everything else stays the client's bytes (`msgspec.Raw`), so nothing here can change
a request. Deferred tools are not part of the prefix until a `tool_reference` brings them in, so they are left out.

An agent sends its whole conversation with every request, so a body is read in parts that do not depend on each other:
what stands before the messages, and each message. Whoever remembers them (`Reader`) reads only what is new.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from typing import Annotated, Literal, Protocol

import msgspec

from scrimp.core.wire.blocks import (
    BLOCKS_MAX,
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
from scrimp.core.wire.cachekey import are_cited, hold_image, key_settings, read_settings, thinking_turns
from scrimp.core.wire.labels import LABEL_CHARS_MAX, clip
from scrimp.core.wire.surrogates import UNREADABLE, decode_mended
from scrimp.core.wire.turns import at_once

#: Tool kinds by prefix that are rendered into the system tier (API docs, what invalidates the cache).
_WEB_TOOLS = ("web_search_", "web_fetch_")


class RequestUnreadable(ValueError):
    """The body is not a Messages request we can read; it is forwarded as it came."""


#: What names a cache, or a price: it is kept, so a request with a longer one is not read.
Label = Annotated[str, msgspec.Meta(max_length=LABEL_CHARS_MAX)]


class _Head(msgspec.Struct, frozen=True):
    """The request's top level; `Raw` fields stay undecoded."""

    messages: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=BLOCKS_MAX)]
    model: Label
    tools: msgspec.Raw = msgspec.Raw()
    system: msgspec.Raw = msgspec.Raw()
    max_tokens: int | None = None
    stream: bool | None = None
    metadata: msgspec.Raw = msgspec.Raw()
    cache_control: CacheControl | None = None
    tool_choice: msgspec.Raw = msgspec.Raw()
    thinking: msgspec.Raw = msgspec.Raw()
    output_config: msgspec.Raw = msgspec.Raw()
    context_management: msgspec.Raw = msgspec.Raw()
    speed: Label | None = None
    inference_geo: Label | None = None
    thread: msgspec.Raw = msgspec.Raw()
    fallbacks: msgspec.Raw = msgspec.Raw()
    mcp_servers: msgspec.Raw = msgspec.Raw()
    compaction: msgspec.Raw = msgspec.Raw()


class _Metadata(msgspec.Struct, frozen=True):
    user_id: str | None = None


class Request(msgspec.Struct, frozen=True):
    """What we read of one Messages request. `blocks` are in cache order; `automatic_ttl` is the top-level mark.

    `settings` are the parameters that are part of the cache key from the named tier on; `thinking_turns` is how many
    turns of thinking the request asks to keep ("all", a number, or None for the model's habit). `body_bytes` is the
    body's length; `may_sample_more` says that another model, a server of tools or a summary may have a part in the
    answer.
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
    body_bytes: int = 0
    may_sample_more: bool = False

    def tier(self, tier: Tier) -> Iterator[Block]:
        """Return the blocks of one tier, in order."""
        return (block for block in self.blocks if block.tier == tier)

    @property
    def is_marked(self) -> bool:
        """Whether the client asked for any caching, be it in a way that the API will refuse."""
        return self.automatic_ttl is not None or any(block.ttl is not None for block in self.blocks)

    @property
    def first_user_text(self) -> str | None:
        """The text of the first user block, decoded; None where there is none."""
        texts = (block for block in self.tier("messages") if block.role == "user" and block.kind == "text")
        return next((block_text(block) for block in texts), None)


class Tools(msgspec.Struct, frozen=True):
    """What a body's `tools` hold: its blocks, and by name digests of what a tool_reference would bring in."""

    blocks: tuple[Block, ...]
    deferred: Mapping[bytes, bytes]


class MessageRead(msgspec.Struct, frozen=True):
    """One message: its blocks, what it carries `beside` them, and what of it is part of the cache key's settings."""

    blocks: tuple[Block, ...]
    beside: bytes
    has_effort: bool
    has_image: bool
    is_cited: bool


class Reader(Protocol):
    """Reads the parts of a body as the functions of these names do, which it may remember."""

    def tools(self, raw: bytes) -> Tools:
        """Return what `read_tools` returns."""
        ...

    def system(self, raw: bytes) -> tuple[Block, ...]:
        """Return what `read_system` returns."""
        ...

    def message(self, index: int, raw: bytes) -> MessageRead:
        """Return what `read_message` returns."""
        ...


_READ_HEAD = msgspec.json.Decoder(_Head)
_READ_MESSAGE = msgspec.json.Decoder(dict[str, msgspec.Raw])
_READ_TOOLS = msgspec.json.Decoder(Annotated[list[msgspec.Raw], msgspec.Meta(max_length=BLOCKS_MAX)] | None)

_TOOL_NAME = re.compile(rb'"tool_name"\s*:\s*"([^"]+)"')
#: What a message may hold that is looked at closer; one search for all of them, because a message may be long.
_TELLING = re.compile(rb'"(cache_control|citations|output_config|image)"')
#: A member that says nothing.
_NOTHING = frozenset({b"", b"null", b"[]"})
#: How much of a body `parsing` reads before it lets others have their turn, in bytes.
TURN_BYTES = 128 * 1024


def parse(body: bytes, reader: Reader | None = None) -> Request:
    """Read a request body. Raises `RequestUnreadable` for anything that is not a Messages request."""
    return at_once(parsing(body, reader))


def parsing(body: bytes, reader: Reader | None = None) -> Generator[None, None, Request]:
    """Read a request body as `parse` does, in turns: yields whenever some more of it was read."""
    try:
        if not body.isascii():
            body.decode()  # undecoded members are not checked otherwise, and JSON is UTF-8 (RFC 8259 section 8.1)
        return (yield from _request(decode_mended(_READ_HEAD, body), len(body), reader or _EachTime()))
    except UNREADABLE as error:
        raise RequestUnreadable(str(error)) from error


def _request(head: _Head, body_bytes: int, reader: Reader) -> Generator[None, None, Request]:
    tools, system = reader.tools(bytes(head.tools)), reader.system(bytes(head.system))
    front = (*tools.blocks, *system)
    messages, read_bytes, blocks_count = [], len(bytes(head.tools)) + len(bytes(head.system)), len(front)
    for index, raw in enumerate(map(bytes, head.messages)):
        if read_bytes and read_bytes + len(raw) > TURN_BYTES:
            read_bytes = 0
            yield
        messages.append(reader.message(index, raw))
        read_bytes += len(raw)
        blocks_count += len(messages[-1].blocks)
        if blocks_count > BLOCKS_MAX:
            raise RequestUnreadable(f"it has more than {BLOCKS_MAX} blocks")
    config = read_settings(head.output_config)
    return Request(
        model=head.model,
        blocks=(*front, *_joined(messages, tools.deferred)),
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
            read_settings(head.tool_choice),
            read_settings(head.thinking),
            config,
            effort_in_messages=any(message.has_effort for message in messages),
            has_image=any(message.has_image for message in messages),
            is_cited=any(message.is_cited for message in messages),
        ),
        body_bytes=body_bytes,
        may_sample_more=_may_sample_more(head),
    )


def _may_sample_more(head: _Head) -> bool:
    others = (head.fallbacks, head.mcp_servers, head.compaction)
    return any(bytes(each) not in _NOTHING for each in others) or b'"compact_' in bytes(head.context_management)


def _user_id(metadata: msgspec.Raw) -> str | None:
    if not bytes(metadata):
        return None
    try:
        return msgspec.json.decode(metadata, type=_Metadata).user_id
    except UNREADABLE:
        return None


class _EachTime:
    """Remembers nothing."""

    def tools(self, raw: bytes) -> Tools:
        return read_tools(raw)

    def system(self, raw: bytes) -> tuple[Block, ...]:
        return read_system(raw)

    def message(self, index: int, raw: bytes) -> MessageRead:
        return read_message(index, raw)


def read_tools(raw: bytes) -> Tools:
    """Read a body's `tools` as they stand, empty where there are none."""
    each = (_READ_TOOLS.decode(raw) or []) if raw else []
    return Tools(tuple(_tools(each)), _deferred(each))


def read_system(raw: bytes) -> tuple[Block, ...]:
    """Read a body's `system` as it stands, empty where there is none."""
    return tuple(content_blocks("system", "system", "", msgspec.Raw(raw)))


def _tools(tools: list[msgspec.Raw]) -> Iterator[Block]:
    """Yield the tools that are in the prefix; web tools belong to the system tier, so they come last."""
    heads = [(f"tools.{index}", raw, block_head(raw)) for index, raw in enumerate(tools)]
    shown = [each for each in heads if not each[2].defer_loading]
    for path, raw, head in sorted(shown, key=lambda each: each[2].type.startswith(_WEB_TOOLS)):
        tier: Tier = "system" if head.type.startswith(_WEB_TOOLS) else "tools"
        yield read_block(tier, path, "tool" if head.type == "unknown" else head.type, "", raw, head)


def _deferred(tools: list[msgspec.Raw]) -> dict[bytes, bytes]:
    """Return digests of the definitions that a tool_reference would bring into the prompt, by name."""
    heads = ((raw, block_head(raw)) for raw in tools if b'"defer_loading"' in bytes(raw))
    return {
        (head.name or "").encode(): digest_of("", unmarked(bytes(raw))) for raw, head in heads if head.defer_loading
    }


def read_message(index: int, raw: bytes) -> MessageRead:
    """Read the message that stands at `index`."""
    message = _READ_MESSAGE.decode(raw)
    role = clip(bytes(message.pop("role", b"")).strip(b'"').decode("utf-8", "replace"))
    content = message.pop("content", msgspec.Raw())
    named = set(_TELLING.findall(raw))
    has_mark, has_citations = b"cache_control" in named, b"citations" in named
    path = f"messages.{index}.content"
    blocks = tuple(content_blocks("messages", path, role, content, has_mark=has_mark, has_citations=has_citations))
    return MessageRead(
        blocks=blocks,
        beside=b"".join(b"%b:%b," % (key.encode(), value) for key, value in sorted(message.items())),
        has_effort=b"output_config" in named,
        has_image=b"image" in named and any(map(hold_image, blocks)),
        is_cited=has_citations and any(map(are_cited, blocks)),
    )


def _joined(messages: list[MessageRead], deferred: Mapping[bytes, bytes]) -> Iterator[Block]:
    """Yield the messages' blocks. What a message carries beside them is rendered with the next block."""
    beside: list[bytes] = []
    for message in messages:
        if message.beside:
            beside.append(message.beside)
        if not beside and not deferred:
            yield from message.blocks
            continue
        for block in message.blocks:
            extra = b"".join([*beside, _definitions(block, deferred)])
            beside = []
            yield msgspec.structs.replace(block, digest=digest_of(block.role, block.digest + extra)) if extra else block


def _definitions(block: Block, deferred: Mapping[bytes, bytes]) -> bytes:
    """Return the digests of the deferred tools that this block refers to, one after the other."""
    if not deferred or b'"tool_reference"' not in bytes(block.raw):
        return b""
    return b"".join(deferred.get(name, b"") for name in _TOOL_NAME.findall(bytes(block.raw)))
