"""Breakpoints: what marks a prompt could carry beside its own. A mark only decides what is billed, never the answer.

The client's own marks are respected. What may be added, as a table:

    the prompt has      added                                         because
    -----------------   -------------------------------------------   ------------------------------------------------
    no mark             the best placement over its depths            nothing of it would be cached
    marks, slots left   the deepest live entry they do not find       the look-back of 20 positions ends before it
    marks, slots left   depths in front of a mark that outlive it     free: those tokens are written or read anyway
    any                 another lifetime, where holding asks for it   the pause to come is longer, or shorter
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from scrimp.core.belief.cache import TTL_MS, Entries, is_live, predict
from scrimp.core.belief.prefix import MARKS_MAX, Mark, Prompt
from scrimp.core.belief.session import Belief
from scrimp.core.belief.sightings import Sightings, chance, depths, likely
from scrimp.core.levers.placement import Level, place
from scrimp.core.wire.blocks import Block, Ttl, block_head
from scrimp.core.wire.prices import RateCard


class Marking(msgspec.Struct, frozen=True):
    """A set of marks that a prompt could carry, in order of depth, and why."""

    marks: tuple[Mark, ...]
    reason: str


def levels(
    prompt: Prompt, sightings: Sightings, ttls: Sequence[Ttl], known: dict[bytes, bytes]
) -> tuple[tuple[int, Level], ...]:
    """Return each depth with its chance of being read again by lifetime; a deeper one is never the likelier.

    `known` are the kinds of the prompt's depths.
    """
    found = []
    least: dict[Ttl, float] = dict.fromkeys(ttls, 1.0)
    for i in depths(prompt):
        digest = prompt.digests[i]
        odds = {ttl: likely(prompt, i, chance(sightings, digest, known[digest], ttl)) for ttl in ttls}
        least = {ttl: min(least[ttl], odds[ttl]) for ttl in ttls}
        found.append((i, Level(prompt.tokens[i], tuple(least.items()))))
    return tuple(found)


def options(
    prompt: Prompt,
    belief: Belief,
    ttls: Sequence[Ttl],
    card: RateCard,
    now_ms: int,
    known: dict[bytes, bytes],
    *,
    marked: bool,
) -> list[Marking]:
    """Return the sets of marks that could replace the prompt's own; `ttls` are the lifetimes that may be asked for.

    `known` are the kinds of the prompt's depths.
    `marked` says whether the client marked anything: marks that the API will refuse are not to be mended by us.
    """
    if marked and not prompt.marks:
        return []
    graded = levels(prompt, belief.sightings, ttls, known)
    if not marked:
        placed = place([level for _, level in graded], card)
        best = tuple(Mark(graded[each.index][0], each.ttl) for each in placed)
        return [Marking(_with_front(best, prompt, graded), "marks: nothing of this prompt was marked")] if best else []
    entries = belief.caches.get(prompt.cache, {})
    bridged = _bridged(prompt, entries, belief, now_ms)
    found = [bridged] if bridged else []
    base = bridged.marks if bridged else prompt.marks
    found += _freely_marked(base, graded)
    return found


def _with_front(marks: tuple[Mark, ...], prompt: Prompt, graded: Iterable[tuple[int, Level]]) -> tuple[Mark, ...]:
    """Mark what stands before the messages, too, where it is written anyway: siblings share it, whatever they ask."""
    front = [i for i, _ in graded if prompt.blocks[i].tier != "messages" and i < marks[-1].index]
    is_free = bool(front) and len(marks) < MARKS_MAX and all(mark.index != front[-1] for mark in marks)
    return added(marks, front[-1]) if is_free else marks


def _bridged(prompt: Prompt, entries: Entries, belief: Belief, now_ms: int) -> Marking | None:
    """Mark the deepest live entry, where the prompt's own marks look back and do not find it."""
    if len(prompt.marks) >= MARKS_MAX:
        return None
    hit = predict(entries, prompt, now_ms, belief.rules).hit
    last = max(mark.index for mark in prompt.marks)
    reachable = range(last, -1 if hit is None else hit, -1)
    live = next((i for i in reachable if is_live(entries.get(prompt.digests[i]), now_ms)), None)
    if live is None or not prompt.blocks[live].markable:
        return None
    return Marking(added(prompt.marks, live), "marks: what was cached lies beyond the look-back of 20 positions")


def _freely_marked(marks: tuple[Mark, ...], graded: Iterable[tuple[int, Level]]) -> list[Marking]:
    """Add the depth in front of a mark that is most worth keeping when what follows it changes."""
    if len(marks) >= MARKS_MAX or not marks:
        return []
    taken, deepest = {mark.index for mark in marks}, marks[-1].index
    likely = {i: (level.tokens, dict(level.chances).get("5m", 0.0)) for i, level in graded if i <= deepest}
    tail = likely.get(deepest, (0, 0.0))[1]
    gains = {i: tokens * (odds - tail) for i, (tokens, odds) in likely.items() if i not in taken and odds > tail}
    if not gains:
        return []
    best = max(gains, key=gains.__getitem__)
    return [Marking(added(marks, best), "marks: a stable part in front of a volatile one, free of charge")]


def added(marks: tuple[Mark, ...], index: int) -> tuple[Mark, ...]:
    """Add a mark at an index with a lifetime that the order of the API allows: that of the next mark after it."""
    ttl = next((mark.ttl for mark in marks if mark.index > index), marks[-1].ttl)
    return tuple(sorted((*marks, Mark(index, ttl)), key=lambda mark: mark.index))


def with_lifetime(prompt: Prompt, ttl: Ttl) -> tuple[Mark, ...]:
    """Give a prompt's own marks a lifetime; those that stand on a block inside their block keep what they have.

    The order that the API asks for holds again afterwards: no longer lifetime comes after a shorter one.
    """
    if all(mark.ttl == ttl for mark in prompt.marks):
        return prompt.marks
    ordered: list[Mark] = []
    for mark in reversed(prompt.marks):
        wanted = ttl if _can_change(prompt.blocks[mark.index]) else mark.ttl
        least = ordered[-1].ttl if ordered else wanted
        ordered.append(Mark(mark.index, max(wanted, least, key=TTL_MS.__getitem__)))
    marks = tuple(reversed(ordered))
    kept = all(_can_change(prompt.blocks[m.index]) or m in prompt.marks for m in marks)
    return marks if kept else prompt.marks


def _can_change(block: Block) -> bool:
    return block.ttl is None or block_head(block.raw).cache_control is not None
