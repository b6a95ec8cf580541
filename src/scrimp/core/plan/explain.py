"""Why a request reads less from the cache than the one before it left there, and what that costs.

The cost is the difference of two bills: the request as it is, and the same request had nothing stood in the way, which
then reads all that its predecessor had cached. Content that changed is the first thing asked about; where none did, the
cache itself is: too late, too early, too far behind, too short.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from scrimp.core.belief.cache import TTL_MS, Entries, Entry, Split, is_live
from scrimp.core.belief.divergence import REPLACED, CacheMissReason, Divergence, compare
from scrimp.core.belief.prefix import Prompt
from scrimp.core.wire.blocks import TIERS, Ttl
from scrimp.core.wire.models import traits
from scrimp.core.wire.request import Request
from scrimp.core.wire.usage import Usage


class Last(msgspec.Struct, frozen=True):
    """The request before, as far as breaks are explained by it: what it said, and how much of it was to be cached.

    `marked` is the chain index of its last breakpoint, in `prompt`.
    """

    request: Request
    prompt: Prompt
    marked: int
    ttl: Ttl
    at_ms: int


def last_of(request: Request, prompt: Prompt, now_ms: int) -> Last | None:
    """Return what is to be remembered of a request that was sent; None where it marked nothing."""
    if not prompt.marks:
        return None
    deepest = prompt.marks[-1]
    return Last(request, prompt, deepest.index, deepest.ttl, now_ms)


def may_lose(last: Last, prompt: Prompt, split: Split) -> bool:
    """Whether a prompt may read less than `last` left: a quick look that takes no time however long the prompt is."""
    at = last.marked
    goes_on = at < len(prompt.digests) and prompt.digests[at] == last.prompt.digests[at]
    return not (goes_on and split.hit is not None and split.hit >= at)


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """A break of the cache: why, where, and what it costs in nano-USD (None where the model has no price).

    `lost_tokens` of `left_tokens` are what could have been read and is not; `place_tokens` is how long this prompt is
    up to there. `divergence` is set where content or a setting changed.
    """

    cause: str
    reason: CacheMissReason | None
    path: str
    byte: int | None
    lost_tokens: int
    left_tokens: int
    place_tokens: int
    cost_nano_usd: int | None
    divergence: Divergence | None = None


def explain(
    last: Last | None,
    request: Request,
    prompt: Prompt,
    split: Split,
    entries: Entries,
    now_ms: int,
    cost: Callable[[Usage], int | None],
) -> Break | None:
    """Say why this prompt, with this split, does not read all that `last` left; None where it does.

    `entries` are the cache's before this request was sent. `cost` prices the input of a usage in nano-USD.
    """
    if last is None or not prompt.blocks:
        return None
    divergence = None if _only_goes_on(last, request, prompt) else compare(last.request, request)
    read = split.usage.cache_read_input_tokens
    left, place = _left(last, prompt, divergence)
    if read >= left:
        return None
    return Break(
        cause=divergence.cause if divergence else _of_the_cache(last, prompt, entries, now_ms),
        reason=divergence.reason if divergence else None,
        path=divergence.path if divergence else prompt.blocks[place].path,
        byte=divergence.byte if divergence else None,
        lost_tokens=left - read,
        left_tokens=left,
        place_tokens=prompt.tokens[place],
        cost_nano_usd=_dearer(split.usage, left, prompt.tokens[place], cost),
        divergence=divergence,
    )


def _only_goes_on(last: Last, request: Request, prompt: Prompt) -> bool:
    """Whether the chains say already that nothing of `last` changed, as `compare` would find out block by block."""
    same = last.prompt.cache == prompt.cache and last.request.settings == request.settings
    return same and prompt.digests[: len(last.prompt.digests)] == last.prompt.digests


def unwarmed(prompt: Prompt, split: Split, entries: Entries, cost: Callable[[Usage], int | None]) -> Break | None:
    """Say that a first request writes what another one is writing at this moment; None where nobody is.

    Such are the siblings of a fan-out: what they share could be read, had they waited for the first token.
    """
    shared = [mark.index for mark in prompt.marks if _is_in_flight(entries.get(prompt.digests[mark.index]))]
    left, read = max((prompt.tokens[at] for at in shared), default=0), split.usage.cache_read_input_tokens
    if left <= read:
        return None
    return Break(
        cause="concurrency",
        reason=None,
        path=prompt.blocks[shared[-1]].path,
        byte=None,
        lost_tokens=left - read,
        left_tokens=left,
        place_tokens=left,
        cost_nano_usd=_dearer(split.usage, left, left, cost),
    )


def _is_in_flight(entry: Entry | None) -> bool:
    return entry is not None and bool(entry.flights)


def confirmed(
    found: Break,
    expected_tokens: int,
    usage: Usage,
    cost: Callable[[Usage], int | None],
    warm_tokens: int | None = None,
) -> Break | None:
    """Return a break as its bill shows it; None where the bill shows none.

    `expected_tokens` is how long the prompt was taken to be, `usage` what was billed, `warm_tokens` what the bill of
    the request before says that it left. All counts before a bill are estimates, so they are stretched to it, and a
    read is taken for the nearer of what was left and what was expected.
    """
    usage = msgspec.structs.replace(usage, output_tokens=0, thinking_tokens=0, web_search_requests=0)
    billed, read = usage.total_input_tokens, usage.cache_read_input_tokens
    if not billed or not expected_tokens:
        return None
    left, place, lost = (
        min(billed, tokens * billed // expected_tokens)
        for tokens in (found.left_tokens, found.place_tokens, found.lost_tokens)
    )
    if warm_tokens and found.cause not in REPLACED and found.reason != "model_changed":
        left, place = warm_tokens, min(billed, max(0, warm_tokens + place - left))
    if 2 * read >= 2 * left - lost:
        return None
    return msgspec.structs.replace(
        found,
        lost_tokens=left - read,
        left_tokens=left,
        place_tokens=place,
        cost_nano_usd=_dearer(usage, left, place, cost),
    )


def _left(last: Last, prompt: Prompt, divergence: Divergence | None) -> tuple[int, int]:
    """Return how many tokens could have been read, and the block of this prompt at which they end.

    Another model counts the same text differently, and what replaces a history on purpose can only be compared with
    itself, read instead of written.
    """
    place = corresponding(last, prompt)
    if divergence is None or divergence.reason == "model_changed":
        return prompt.tokens[place], place
    if divergence.cause in REPLACED:
        place = prompt.marks[-1].index if prompt.marks else place
        return prompt.tokens[place], place
    return last.prompt.tokens[last.marked], place


def corresponding(last: Last, prompt: Prompt) -> int:
    """Return the block of this prompt that stands where the last one's breakpoint stood: same tier, same number."""
    block = last.prompt.blocks[last.marked]
    number = sum(each.tier == block.tier for each in last.prompt.blocks[: last.marked])
    upto = [i for i, each in enumerate(prompt.blocks) if TIERS.index(each.tier) <= TIERS.index(block.tier)]
    same = [i for i in upto if prompt.blocks[i].tier == block.tier]
    return same[min(number, len(same) - 1)] if same else (upto[-1] if upto else 0)


def _dearer(usage: Usage, left: int, place: int, cost: Callable[[Usage], int | None]) -> int | None:
    """Return how much more a usage costs than `_unbroken`, in nano-USD; None where there is no price."""
    now, ideal = cost(usage), cost(_unbroken(usage, left, place))
    return None if now is None or ideal is None else now - ideal


def _unbroken(usage: Usage, left: int, place: int) -> Usage:
    """Return what the request would be billed had it read the `left` tokens; `place` is its own length up to there."""
    upto_1h = usage.cache_read_input_tokens + usage.cache_write_1h_input_tokens
    upto_mark = upto_1h + usage.cache_write_5m_input_tokens
    return Usage(
        uncached_input_tokens=usage.total_input_tokens - max(upto_mark, place),
        cache_read_input_tokens=left,
        cache_write_5m_input_tokens=max(upto_mark, place) - max(upto_1h, place),
        cache_write_1h_input_tokens=max(upto_1h, place) - place,
    )


def _of_the_cache(last: Last, prompt: Prompt, entries: Entries, now_ms: int) -> str:
    """Say why the cache did not have, or did not find, a prefix that was sent before just so."""
    shortest = traits(prompt.model).min_cacheable_tokens
    if last.prompt.tokens[last.marked] < shortest:
        return "below_minimum"
    entry = entries.get(last.prompt.digests[last.marked])
    if entry is not None and entry.flights:
        return "concurrency"
    if not is_live(entry, now_ms):
        return "ttl_expired" if now_ms - last.at_ms >= TTL_MS[last.ttl] else "unknown"
    deepest = max((mark.index for mark in prompt.marks), default=-1)
    return "look_back" if deepest >= last.marked else "not_marked"
