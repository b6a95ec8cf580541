"""A request as the cache sees it: a chain of positions, each with the digest and the tokens of all before it.

The chain follows the API's render order. Its digest at a block covers the block, everything before it, and the
parameters that are part of the key from that tier on, so equal digests mean an equal prefix (API docs: 100%
identical segments). Thinking that the model drops from earlier turns is not in the chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2s
from itertools import accumulate
from typing import Literal

import msgspec

from scrimp.core.wire.blocks import TIERS, Block, Tier, Ttl
from scrimp.core.wire.models import traits
from scrimp.core.wire.request import Request

#: Breakpoints that a request may have, the automatic one included (API docs, prompt caching).
MARKS_MAX = 4
_DIGEST_BYTES = 16
THINKING = frozenset({"thinking", "redacted_thinking"})
#: Runs of these count as one look-back position (newer rule; see `CacheRules.tool_runs_count_once`).
_RUN_KINDS = frozenset({"tool_use", "tool_result"})


class Mark(msgspec.Struct, frozen=True, gc=False):
    """A breakpoint: the index of its block in the chain, and the lifetime it asks for."""

    index: int
    ttl: Ttl


class OwnMark(msgspec.Struct, frozen=True, gc=False):
    """A breakpoint that the API set itself, for five minutes, within an earlier answer: its block, and when."""

    index: int
    at_ms: int


class Searched(msgspec.Struct, frozen=True, gc=False):
    """Where an answer with a result of the API's own tools began: after which block, by its path, and when.

    `prefix` is the digest that the prompt had up to that block when the API marked the result.
    """

    after: str
    prefix: bytes
    at_ms: int


class Heard(msgspec.Struct, frozen=True):
    """What is known of a request's answers of earlier turns, by the paths of their blocks (`belief.answers`).

    `foreign` thinking was written by another model and is left out; `own_marks` are results of the API's own tools that
    the API marked.
    """

    foreign: frozenset[str] = frozenset()
    own_marks: Mapping[str, Searched] = {}


NOTHING_HEARD = Heard()


class Fragile(msgspec.Struct, frozen=True, gc=False):
    """A piece that is known to change: the index of its block, and the chance that the next request brings it again."""

    index: int
    chance: float


class Prompt(msgspec.Struct, frozen=True):
    """A chain of `n` blocks. `digests[i]` and `tokens[i]` cover blocks 0..i; `runs[i]` numbers tool runs.

    `cache` names the cache it meets: models and speeds share no prefix (API docs, fast mode). `total_tokens` is the
    whole prompt; it can exceed `tokens[-1]` by what stands behind the last block: what the API appends, and what a
    lever moved there for this one request (`is_ordered`).
    """

    cache: str
    model: str
    blocks: tuple[Block, ...]
    digests: tuple[bytes, ...]
    tokens: tuple[int, ...]
    runs: tuple[int, ...]
    marks: tuple[Mark, ...]
    total_tokens: int
    own_marks: tuple[OwnMark, ...] = ()
    is_ordered: bool = False
    fragile: Fragile | None = None


def kept_blocks(request: Request, heard: Heard = NOTHING_HEARD) -> tuple[Block, ...]:
    """Return the blocks that the model really sees: none of another model's thinking, older ones' of the last turn.

    A turn starts with a user message that is more than tool results (API docs, extended thinking); how many turns keep
    their thinking is the request's wish, else the model's habit (API docs, context editing).
    """
    habit: int | Literal["all"] = "all" if traits(request.model).keeps_thinking else 1
    turns = request.thinking_turns or habit
    if all(block.kind not in THINKING for block in request.blocks):
        return request.blocks
    starts = _turn_starts(request.blocks)
    first = 0 if turns == "all" or len(starts) < turns else starts[-turns]
    if first == 0 and not heard.foreign:
        return request.blocks
    return tuple(
        block
        for i, block in enumerate(request.blocks)
        if block.kind not in THINKING or (i >= first and block.path not in heard.foreign)
    )


def _turn_starts(blocks: Sequence[Block]) -> list[int]:
    """Return the index of the first block of each user message that is more than tool results."""
    starts: dict[str, int] = {}
    for i, block in enumerate(blocks):
        if block.tier == "messages" and block.role == "user" and block.kind != "tool_result":
            starts.setdefault(block.message, i)
    return sorted(starts.values())


def chain(request: Request, blocks: Sequence[Block]) -> tuple[bytes, ...]:
    """Return the rolling digest at each block."""
    salts: dict[Tier, bytes] = dict(request.settings)
    entered: set[Tier] = set()
    digest, digests = b"", []
    for block in blocks:
        salt = b"" if block.tier in entered else _salts_upto(block.tier, entered, salts)
        entered.add(block.tier)
        digest = blake2s(digest + salt + block.digest, digest_size=_DIGEST_BYTES).digest()
        digests.append(digest)
    return tuple(digests)


def _salts_upto(tier: Tier, entered: set[Tier], salts: dict[Tier, bytes]) -> bytes:
    """Return the settings of every tier opened by entering `tier`, so that an empty system tier still salts."""
    upto = TIERS[: TIERS.index(tier) + 1]
    return b"".join(b"\x00" + salts.get(each, b"") for each in upto if each not in entered)


def tool_runs(blocks: Sequence[Block]) -> tuple[int, ...]:
    """Return each block's look-back number; a run of tool_use, or of tool_result, blocks shares one."""
    starts = (
        i == 0 or block.kind not in _RUN_KINDS or block.kind != blocks[i - 1].kind for i, block in enumerate(blocks)
    )
    return tuple(accumulate(int(start) for start in starts))


def find_marks(request: Request, blocks: Sequence[Block]) -> tuple[Mark, ...]:
    """Return the client's own breakpoints, the automatic one included (API docs, automatic caching).

    A request with more than the API allows is refused, so nothing of it will be cached.
    """
    marks = [Mark(i, block.ttl) for i, block in enumerate(blocks) if block.ttl is not None]
    if request.automatic_ttl is not None:
        last = next((i for i in reversed(range(len(blocks))) if blocks[i].markable), None)
        if last is not None and all(mark.index != last for mark in marks):
            marks.append(Mark(last, request.automatic_ttl))
    return tuple(sorted(marks, key=lambda mark: mark.index)) if len(marks) <= MARKS_MAX else ()


def cache_of(request: Request) -> str:
    """Return the name of the cache that a request meets."""
    return f"{request.model}|{request.speed or 'standard'}"


def read_prompt(
    request: Request, block_tokens: Sequence[int], tail_tokens: int = 0, heard: Heard = NOTHING_HEARD
) -> Prompt:
    """Build the chain. `block_tokens` holds the tokens of each of `kept_blocks(request, heard)`, in order."""
    blocks = kept_blocks(request, heard)
    digests, tokens = chain(request, blocks), tuple(accumulate(block_tokens))
    return Prompt(
        cache=cache_of(request),
        model=request.model,
        blocks=blocks,
        digests=digests,
        tokens=tokens,
        runs=tool_runs(blocks),
        marks=find_marks(request, blocks),
        total_tokens=(tokens[-1] if tokens else 0) + tail_tokens,
        own_marks=_own_marks(blocks, digests, heard),
    )


def _own_marks(blocks: Sequence[Block], digests: Sequence[bytes], heard: Heard) -> tuple[OwnMark, ...]:
    """Return the API's own marks that are still worth something: nothing before their answer has changed since."""
    if not heard.own_marks:
        return ()
    known = {block.path: digest for block, digest in zip(blocks, digests, strict=True)}
    found = ((i, heard.own_marks.get(block.path)) for i, block in enumerate(blocks))
    return tuple(
        OwnMark(i, searched.at_ms)
        for i, searched in found
        if searched is not None and known.get(searched.after) == searched.prefix
    )
