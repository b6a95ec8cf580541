"""A request as the cache sees it: a chain of positions, each with the digest and the tokens of all before it.

The chain follows the API's render order. Its digest at a block covers the block, everything before it, and the
parameters that are part of the key from that tier on, so equal digests mean an equal prefix (API docs: 100%
identical segments). Thinking that the model drops from earlier turns is not in the chain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2s
from itertools import accumulate, groupby, takewhile
from operator import attrgetter
from typing import Literal

import msgspec

from scrimp.core.wire.blocks import TIERS, Block, Tier, Ttl
from scrimp.core.wire.models import traits
from scrimp.core.wire.request import Request

#: Breakpoints that a request may have, the automatic one included (API docs, prompt caching).
MARKS_MAX = 4
_DIGEST_BYTES = 16
_TIER_OF, _KIND_OF, _TTL_OF = attrgetter("tier"), attrgetter("kind"), attrgetter("ttl")
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
    if turns == "all" and not heard.foreign:
        return request.blocks
    if THINKING.isdisjoint(map(_KIND_OF, request.blocks)):
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


def front_of(blocks: Sequence[Block]) -> int:
    """Return how many blocks stand before the messages."""
    return next((i for i, block in enumerate(blocks) if block.tier == "messages"), len(blocks))


class Chain(msgspec.Struct, frozen=True, gc=False):
    """What is known of each block from those up to it alone: the rolling digest, and the number of its tool run."""

    digests: tuple[bytes, ...] = ()
    runs: tuple[int, ...] = ()


NO_CHAIN = Chain()
#: Works out the chain of the blocks that a request's model sees.
Chainer = Callable[[Request, Sequence[Block]], Chain]


def chain_of(request: Request, blocks: Sequence[Block], known: Chain = NO_CHAIN) -> Chain:
    """Return the chain of blocks; `known` is that of the first of them, under the same settings."""
    return Chain(chain(request, blocks, known.digests), tool_runs(blocks, known.runs))


def chain(request: Request, blocks: Sequence[Block], known: tuple[bytes, ...] = ()) -> tuple[bytes, ...]:
    """Return the rolling digest at each block; `known` are those of the first of them."""
    salts: dict[Tier, bytes] = dict(request.settings)
    entered = _tiers_of(blocks, len(known))
    digest, digests = known[-1] if known else b"", []
    for tier, alike in groupby(blocks[len(known) :], _TIER_OF):
        salt = b"" if tier in entered else _salts_upto(tier, entered, salts)
        entered.add(tier)
        for block in alike:
            digest = blake2s(digest + salt + block.digest, digest_size=_DIGEST_BYTES).digest()
            digests.append(digest)
            salt = b""
    return (*known, *digests)


def _tiers_of(blocks: Sequence[Block], count: int) -> set[Tier]:
    """Return the tiers of the first blocks, so many of them; tiers stand in order, so only the last one is long."""
    if not count:
        return set()
    last = blocks[count - 1].tier
    return {last, *(block.tier for block in takewhile(lambda block: block.tier != last, blocks))}


def _salts_upto(tier: Tier, entered: set[Tier], salts: dict[Tier, bytes]) -> bytes:
    """Return the settings of every tier opened by entering `tier`, so that an empty system tier still salts."""
    upto = TIERS[: TIERS.index(tier) + 1]
    return b"".join(b"\x00" + salts.get(each, b"") for each in upto if each not in entered)


def tool_runs(blocks: Sequence[Block], known: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Return each block's look-back number; a run of tool_use, or of tool_result, blocks shares one.

    `known` are the numbers of the first blocks.
    """
    kinds = list(map(_KIND_OF, blocks[max(0, len(known) - 1) :]))
    before, later = (kinds, kinds[1:]) if known else (["", *kinds], kinds)
    starts = [kind not in _RUN_KINDS or kind != last for last, kind in zip(before, later, strict=False)]
    counted = accumulate(starts, initial=known[-1] if known else 0)
    return (*known, *tuple(counted)[1:])


def find_marks(request: Request, blocks: Sequence[Block]) -> tuple[Mark, ...]:
    """Return the client's own breakpoints, the automatic one included (API docs, automatic caching).

    A request with more than the API allows is refused, so nothing of it will be cached.
    """
    marks = [Mark(i, ttl) for i, ttl in enumerate(map(_TTL_OF, blocks)) if ttl is not None]
    if request.automatic_ttl is not None:
        last = next((i for i in reversed(range(len(blocks))) if blocks[i].markable), None)
        if last is not None and all(mark.index != last for mark in marks):
            marks.append(Mark(last, request.automatic_ttl))
    return tuple(sorted(marks, key=lambda mark: mark.index)) if len(marks) <= MARKS_MAX else ()


def cache_of(request: Request) -> str:
    """Return the name of the cache that a request meets."""
    return f"{request.model}|{request.speed or 'standard'}"


def read_prompt(
    request: Request,
    block_tokens: Sequence[int],
    tail_tokens: int = 0,
    heard: Heard = NOTHING_HEARD,
    kept: tuple[Block, ...] | None = None,
    chains: Chainer = chain_of,
) -> Prompt:
    """Build the chain. `block_tokens` holds the tokens of each of `kept_blocks(request, heard)`, in order.

    `kept` are these blocks, for a caller that has them; `chains` may stand in for `chain_of` if it gives the same
    answers, for instance remembered ones.
    """
    blocks = kept_blocks(request, heard) if kept is None else kept
    found, tokens = chains(request, blocks), tuple(accumulate(block_tokens))
    return Prompt(
        cache=cache_of(request),
        model=request.model,
        blocks=blocks,
        digests=found.digests,
        tokens=tokens,
        runs=found.runs,
        marks=find_marks(request, blocks),
        total_tokens=(tokens[-1] if tokens else 0) + tail_tokens,
        own_marks=_own_marks(blocks, found.digests, heard),
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
