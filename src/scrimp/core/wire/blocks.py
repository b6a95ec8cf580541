"""Content blocks: what the API renders of each, as a digest, and where it may be marked.

A block's digest ignores `cache_control` (a mark is not content), and a string content equals the list of one text
block, because clients move their marks and change between both forms (facts on how Claude Code does).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Annotated, Literal, get_args

import msgspec

from scrimp.core.wire.surrogates import UNREADABLE

Tier = Literal["tools", "system", "messages"]
#: The tiers in the order in which the API renders them.
TIERS: tuple[Tier, ...] = get_args(Tier)
Ttl = Literal["5m", "1h"]

#: Kinds that cannot carry a mark (API docs, prompt caching: what can be cached).
UNMARKABLE = frozenset({"thinking", "redacted_thinking"})

#: How deep blocks may stand inside a block: a tool_result holds text, images, documents.
NESTED_DEPTH_MAX = 2

#: A request with more blocks is not read: the API takes no more messages than that (SDK, messages.create).
BLOCKS_MAX = 100_000

_DIGEST_BYTES = 16
_EMPTY_STRING = b'""'
_EMPTY_STRING_BYTES = len(_EMPTY_STRING)
#: How a text block begins as clients write it, and how an empty one does.
_TEXT_BEGINS = (b'{"type":"text","text":"', b'{"type": "text", "text": "')
_TEXT_IS_EMPTY = tuple(begin + b'"' for begin in _TEXT_BEGINS)


class CacheControl(msgspec.Struct, frozen=True, gc=False):
    """The API's `cache_control`: ephemeral, 5 minutes unless it says otherwise."""

    type: str = "ephemeral"
    ttl: Ttl = "5m"


class Block(msgspec.Struct, frozen=True, gc=False):
    """One block in cache order. `size` is the length of its JSON in bytes; `ttl` is set where it is marked.

    `path` is where it stands in the body, e.g. "messages.3.content.0". `raw` is the client's own bytes of it.
    """

    tier: Tier
    path: str
    kind: str
    role: str
    digest: bytes
    raw: msgspec.Raw
    size: int
    ttl: Ttl | None = None
    name: str | None = None

    @property
    def message(self) -> str:
        """The path of the message that holds this block, e.g. "messages.3"."""
        return self.path.partition(".content")[0]

    @property
    def markable(self) -> bool:
        """Whether the API lets this block carry `cache_control`; empty text may not."""
        if self.kind != "text":
            return self.kind not in UNMARKABLE
        # Most texts need not be decoded: as clients write them the first letter shows, and in every empty one there are
        # two quotes side by side.
        raw = bytes(self.raw)
        if raw.startswith(_TEXT_BEGINS) and not raw.startswith(_TEXT_IS_EMPTY):
            return True
        return _EMPTY_STRING not in raw or bool(block_text(self))


class BlockHead(msgspec.Struct, frozen=True):
    """The fields of a block that are read; `Raw` ones stay undecoded."""

    type: str = "unknown"
    text: msgspec.Raw = msgspec.Raw()
    content: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()
    name: str | None = None
    cache_control: CacheControl | None = None
    defer_loading: bool = False


_READ_BLOCK = msgspec.json.Decoder(BlockHead)
_READ_LIST = msgspec.json.Decoder(Annotated[list[msgspec.Raw], msgspec.Meta(max_length=BLOCKS_MAX)])

#: In JSON a quote inside a string is always escaped, so this can only match a real member.
_MARK = re.compile(rb',\s*"cache_control"\s*:\s*(?:\{[^{}]*\}|null)|"cache_control"\s*:\s*(?:\{[^{}]*\}|null)\s*,?\s*')
_MARK_NAME = b'"cache_control"'
_ATTRIBUTION = b'"x-anthropic-billing-header:'
_VOLATILE_ATTRIBUTION = re.compile(rb"(?<!\s)\s*\b(?:cch|cc_prev_req|cc_prompt_id)=[^;]*;?")


def content_blocks(
    tier: Tier, path: str, role: str, content: msgspec.Raw, *, has_mark: bool = True, has_citations: bool = True
) -> Iterator[Block]:
    """Yield the blocks of a content value; a string is one text block, an empty one is none.

    `has_mark` and `has_citations` are False where the caller knows that these members are in none of them.
    """
    size, begins = size_of(content), bytes(memoryview(content)[:1])
    if begins == b'"' and size > _EMPTY_STRING_BYTES:
        yield Block(tier, f"{path}.0", "text", role, text_digest(path, role, content), content, size)
    elif begins == b"[":
        for index, each in enumerate(_READ_LIST.decode(content)):
            head = block_head(each)
            where = f"{path}.{index}"
            yield read_block(tier, where, head.type, role, each, head, has_mark=has_mark, has_citations=has_citations)


def size_of(raw: msgspec.Raw) -> int:
    """Return the length of a piece of JSON in bytes; taking its bytes would copy them."""
    return memoryview(raw).nbytes


def block_head(raw: msgspec.Raw) -> BlockHead:
    """Read a block's head; one with fields of unexpected types is an unknown kind, not an error."""
    try:
        return _READ_BLOCK.decode(raw)
    except msgspec.ValidationError:
        return BlockHead()


def read_block(
    tier: Tier,
    path: str,
    kind: str,
    role: str,
    raw: msgspec.Raw,
    head: BlockHead,
    *,
    has_mark: bool = True,
    has_citations: bool = True,
) -> Block:
    """Build a block from its bytes and its head; the flags are as `content_blocks` has them."""
    content = bytes(raw) if has_mark or has_citations else b""  # taking the bytes copies them
    marked = has_mark and _MARK_NAME in content
    if kind == "text" and not (has_citations and b'"citations"' in content):
        digest = text_digest(path, role, head.text)
    else:
        digest = digest_of(role, *(_unmarked_block(content, bytes(head.input)) if marked else (raw,)))
    ttl = _ttl(head) if marked else None
    return Block(tier, path, kind, role, digest, raw, size_of(raw), ttl, head.name)


def _ttl(head: BlockHead, depth: int = 0) -> Ttl | None:
    """Return the lifetime of a mark on a block or on a block inside it; together they act as one (API docs).

    The API nests blocks once; deeper ones are no blocks.
    """
    if head.cache_control is not None:
        return head.cache_control.ttl
    if depth == NESTED_DEPTH_MAX or bytes(head.content)[:1] != b"[":
        return None
    inner = (_ttl(block_head(raw), depth + 1) for raw in _READ_LIST.decode(head.content))
    return next((ttl for ttl in inner if ttl is not None), None)


def _stable_attribution(path: str, text: bytes | msgspec.Raw) -> bytes | msgspec.Raw:
    """Drop what changes with every request from Claude Code's attribution block, which the API must ignore too."""
    if path.startswith("system") and bytes(text).startswith(_ATTRIBUTION):
        return _VOLATILE_ATTRIBUTION.sub(b"", bytes(text))
    return text


def _unmarked_block(content: bytes, given: bytes) -> list[memoryview]:
    """Return a block's JSON without its marks; what a model wrote as a tool's input is content to the last member."""
    begin = content.find(given) if given else -1
    if begin < 0:
        return _between_marks(content, 0, len(content))
    end = begin + len(given)
    found = memoryview(content)[begin:end]
    return [*_between_marks(content, 0, begin), found, *_between_marks(content, end, len(content))]


def unmarked(content: bytes) -> bytes:
    """Return a block's JSON without its marks."""
    return b"".join(_between_marks(content, 0, len(content)))


def _between_marks(content: bytes, begin: int, end: int) -> list[memoryview]:
    """Return what stands between the marks: what `_MARK` finds, looked for where there may be one only."""
    whole, parts, at = memoryview(content), [], begin
    while (found := content.find(_MARK_NAME, at, end)) >= 0:
        since = max(begin, at - 1)
        lead = content[since:found].rstrip()
        mark = _MARK.match(content, since + len(lead) - 1 if lead.endswith(b",") else found, end)
        at = found + 1
        if mark is not None:
            parts.append(whole[begin : mark.start()])
            at = begin = mark.end()
    return [*parts, whole[begin:end]]


def digest_of(role: str, *rendered: bytes | memoryview | msgspec.Raw) -> bytes:
    """Return the digest of what a block renders to, in one piece or several, spoken by `role`."""
    digest = blake2b(digest_size=_DIGEST_BYTES, person=role.encode()[:16])
    for piece in rendered:
        digest.update(piece)
    return digest.digest()


def text_digest(path: str, role: str, text: bytes | msgspec.Raw) -> bytes:
    """Return the digest of a block that holds a text alone, as JSON."""
    return digest_of(role, b"text:", _stable_attribution(path, text))


def block_text(block: Block) -> str:
    """Decode the text of a text block; empty for other kinds."""
    if block.kind != "text":
        return ""
    raw = bytes(block.raw)
    try:
        text = msgspec.json.decode(raw if raw[:1] == b'"' else _READ_BLOCK.decode(raw).text)
    except UNREADABLE:
        return ""
    return text if isinstance(text, str) else ""
