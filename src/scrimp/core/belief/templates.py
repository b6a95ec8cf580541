"""The system prompts and tools of one application: which lines change from request to request, how its tools drift.

Requests that offer tools of the same names are a family. Its system prompts are compared line by line, each line known
by a digest: what stands in every one of them is a template, what differs is volatile. A system prompt belongs to a
template if no more than a small part of either is missing in the other; so two agents that share a few lines stay two.
A line counts as volatile once its place was seen to change: twice, or once where the line holds a digit. A line that
says what time it is now is taken for volatile at first sight, because waiting for the second costs a whole rewrite.

Tools drift if the same definitions come in another order, or with their keys in another order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from hashlib import blake2s
from itertools import chain, compress, count
from operator import ne

import msgspec

from scrimp.core.belief.prefix import Prompt, front_of
from scrimp.core.wire.blocks import Block, block_text
from scrimp.core.wire.surrogates import UNREADABLE

#: Families remembered per principal, templates of each, and system prompts or tool orders by which one is recognised.
FAMILIES_MAX = 128
TEMPLATES_MAX = 8
VARIANTS_MAX = 16
#: A system prompt with more lines is not compared.
LINES_MAX = 4_000
#: What may differ between two prompts of one template: so many bytes, and no more than one part in so many of either.
VOLATILE_BYTES_MAX = 2_048
VOLATILE_SHARE = 4
#: Lines that two prompts do not share at either end and that are still looked through for common ones.
_MIDDLE_MAX = 200
#: Lines whose reading is remembered, and the longest that is, in characters: a system prompt comes again and again.
_LINES_REMEMBERED, _LINE_CHARS_MAX = 8_192, 512
#: Sightings of a change, after which lines are volatile.
CHANGES_MIN = 2
#: How many outcomes the first guess is worth, and the guess that a prompt comes back as it is: of one that says what
#: time it is, and of any other.
_PRIOR_WEIGHT, _PRIOR_SUSPECT, _PRIOR = 2, 0.05, 0.5

_DIGEST_BYTES, _SIZE_BYTES = 8, 4
_ATTRIBUTION = "x-anthropic-billing-header:"
#: A time of day with the word for its being now, on one line.
_CLOCK = re.compile(r"(?<!\d)\d{1,2}:\d{2}(?!\d)|(?<!\d)1[6-9]\d{8}(?:\d{3})?(?!\d)")
_NOW = re.compile(r"\b(?:current|now|today|timestamp|as of|generated at)\b|^\W*(?:date|time)\b", re.IGNORECASE)
_DIGIT = re.compile(r"\d")


def _survival(requests: int, changes: int, prior: float) -> float:
    """Return the chance that the next request brings what was seen before, after `changes` in so many requests."""
    return (requests - 1 - changes + prior * _PRIOR_WEIGHT) / (requests - 1 + _PRIOR_WEIGHT)


#: Digests of the lines of each block of a system prompt; see `_line`.
Lines = tuple[tuple[bytes, ...], ...]


class Template(msgspec.Struct, frozen=True, gc=False):
    """A system prompt: the lines that never changed, and how often the whole of it came back as it was.

    `variants` are digests of the latest prompts; `changes` counts, of all `requests` after the first, those that
    brought a new one. `is_suspect` says that a line states the time.
    """

    lines: Lines
    variants: tuple[bytes, ...]
    requests: int = 1
    changes: int = 0
    is_suspect: bool = False

    @property
    def survival(self) -> float:
        """The chance that the next request brings a prompt that was seen before, 0 to 1."""
        return _survival(self.requests, self.changes, _PRIOR_SUSPECT if self.is_suspect else _PRIOR)


class Toolbox(msgspec.Struct, frozen=True, gc=False):
    """The tools of a family: digests of them whatever their order, and of what they mean whatever their keys' order.

    `orders` are digests of the latest lists as sent; `drifts` counts new ones that mean the same.
    """

    exact: bytes
    meant: bytes
    orders: tuple[bytes, ...]
    requests: int = 1
    drifts: int = 0
    is_rekeyed: bool = False

    @property
    def survival(self) -> float:
        """The chance that the next request brings a list that was seen before, 0 to 1."""
        return _survival(self.requests, self.drifts, _PRIOR)


class Family(msgspec.Struct, frozen=True):
    """What is known of requests that offer tools of the same names; the newest template comes last."""

    toolbox: Toolbox | None = None
    templates: tuple[Template, ...] = ()


class Spot(msgspec.Struct, frozen=True, gc=False):
    """The volatile lines of one system block: the block's index in the chain, their numbers from 0, and its text."""

    index: int
    lines: tuple[int, ...]
    text: tuple[str, ...]


class Look(msgspec.Struct, frozen=True):
    """A request beside its family: the family as it is to be remembered, and what of the request is volatile.

    `survival` is the chance that the next request brings the same system prompt; `toolbox` is set where tools drift.
    """

    key: bytes
    family: Family
    spots: tuple[Spot, ...] = ()
    survival: float = 1.0
    toolbox: Toolbox | None = None


def look(families: Mapping[bytes, Family], prompt: Prompt) -> Look:
    """Compare a prompt with those of its family."""
    front = prompt.blocks[: front_of(prompt.blocks)]
    tools = [block for block in front if block.path.startswith("tools.")]
    system = [(i, block) for i, block in enumerate(front) if block.path.startswith("system.")]
    key = _digest(sorted(str(tool.name).encode() for tool in tools))
    known = families.get(key, Family())
    toolbox = _tools_seen(known.toolbox, tools) if tools else None
    others, template, spots = _system_seen(known.templates, system)
    templates = others if template is None else (*others, template)[-TEMPLATES_MAX:]
    return Look(
        key,
        Family(toolbox, templates),
        spots if template and template.survival <= _PRIOR else (),
        template.survival if template else 1.0,
        toolbox if toolbox and toolbox.drifts >= CHANGES_MIN and toolbox.survival <= _PRIOR else None,
    )


def _digest(parts: Sequence[bytes]) -> bytes:
    return blake2s(b"\x00".join(parts), digest_size=_DIGEST_BYTES).digest()


def _newest(known: tuple[bytes, ...], digest: bytes) -> tuple[bytes, ...]:
    return (*(each for each in known if each != digest), digest)[-VARIANTS_MAX:]


# --- tools ------------------------------------------------------------------------------------------------------------


def canonical(tool: Block) -> bytes | None:
    """Return a tool's JSON without its mark and with sorted keys; None where it cannot be read and written again.

    What its schema calls `cache_control` is no mark.
    """
    try:
        value = msgspec.json.decode(tool.raw)
        if isinstance(value, dict):
            value.pop("cache_control", None)
        return msgspec.json.encode(value, order="deterministic")
    except (*UNREADABLE, ValueError):
        return None


def _tools_seen(known: Toolbox | None, tools: Sequence[Block]) -> Toolbox:
    """Count one more request of a family, or start anew where its tools mean something else."""
    order, exact = _digest([tool.digest for tool in tools]), _digest(sorted(tool.digest for tool in tools))
    if known is not None and order in known.orders:
        return msgspec.structs.replace(known, requests=known.requests + 1, orders=_newest(known.orders, order))
    meant = known.meant if known and known.exact == exact else _digest(sorted(canonical(tool) or b"" for tool in tools))
    if known is None or known.meant != meant:
        return Toolbox(exact, meant, (order,))
    return Toolbox(
        exact=exact,
        meant=meant,
        orders=_newest(known.orders, order),
        requests=known.requests + 1,
        drifts=known.drifts + 1,
        is_rekeyed=known.is_rekeyed or known.exact != exact,
    )


# --- the system prompt ------------------------------------------------------------------------------------------------


def lines_of(block: Block) -> list[str]:
    """Return the lines of a system block; none where it is no plain text, or Claude Code's billing line."""
    text = block_text(block)
    is_plain = bool(text) and not text.startswith(_ATTRIBUTION) and b'"citations"' not in bytes(block.raw)
    return text.split("\n") if is_plain else []


class _Texts(msgspec.Struct, frozen=True):
    """A system prompt's blocks as lines: their index in the chain, their texts, and the lines that say the time."""

    indices: tuple[int, ...]
    texts: tuple[list[str], ...]
    times: tuple[set[int], ...]
    lines: Lines
    size: int


def _read(system: Sequence[tuple[int, Block]]) -> _Texts | None:
    """Return the lines of a system prompt, None where they are too many."""
    texts = tuple(lines_of(block) for _, block in system)
    if sum(map(len, texts)) > LINES_MAX:
        return None
    read = [_read_lines(text) for text in texts]
    lines = tuple(digests or (block.digest,) for (_, block), (digests, _) in zip(system, read, strict=True))
    times = tuple(set(compress(count(), says)) for _, says in read)
    size = sum(block.size for (_, block), text in zip(system, texts, strict=True) if text)
    return _Texts(tuple(index for index, _ in system), texts, times, lines, size)


def _read_lines(text: list[str]) -> tuple[tuple[bytes, ...], tuple[bool, ...]]:
    """Return the digest of each line, and whether it says the time."""
    is_short = max(map(len, text), default=0) <= _LINE_CHARS_MAX
    digests, says = zip(*map(_line_known if is_short else _line, text), strict=True) if text else ((), ())
    return digests, says


def _line(text: str) -> tuple[bytes, bool]:
    """Return the digest of a line with its length in bytes, which can be told from it, and whether it says the time."""
    raw = text.encode()
    digest = blake2s(raw, digest_size=_DIGEST_BYTES).digest()
    return digest + len(raw).to_bytes(_SIZE_BYTES, "big"), says_the_time(text)


_line_known = lru_cache(_LINES_REMEMBERED)(_line)


def _bytes_of(lines: Sequence[bytes]) -> int:
    return sum(int.from_bytes(line[_DIGEST_BYTES:], "big") + 1 for line in lines)


def _is_opaque(lines: Sequence[bytes]) -> bool:
    """Whether these stand for a block that has no lines to be told apart."""
    return len(lines) == 1 and len(lines[0]) != _DIGEST_BYTES + _SIZE_BYTES


def _system_seen(
    templates: tuple[Template, ...], system: Sequence[tuple[int, Block]]
) -> tuple[tuple[Template, ...], Template | None, tuple[Spot, ...]]:
    """Return the other templates, the one that the prompt belongs to, this request counted, and its volatile lines."""
    if not system:
        return templates, None, ()
    variant = _digest([block.digest for _, block in system])
    again = next((each for each in reversed(templates) if variant in each.variants), None)
    if again is not None:
        seen = msgspec.structs.replace(again, requests=again.requests + 1, variants=_newest(again.variants, variant))
        is_stable = seen.survival > _PRIOR or not (seen.changes or seen.is_suspect)
        read = None if is_stable else _read(system)
        return _without(templates, again), seen, _spots(read, seen) if read else ()
    read = _read(system)
    if read is None:
        return templates, None, ()
    is_suspect = any(read.times)
    for known in reversed(templates):
        shared = _shared(known.lines, read)
        if shared is not None:
            counts = known.requests + 1, known.changes + 1, known.is_suspect or is_suspect
            changed = Template(shared, _newest(known.variants, variant), *counts)
            return _without(templates, known), changed, _spots(read, changed)
    fresh = Template(read.lines, (variant,), is_suspect=is_suspect)
    return templates, fresh, _spots(read, fresh)


def _without(templates: tuple[Template, ...], known: Template) -> tuple[Template, ...]:
    return tuple(each for each in templates if each is not known)


def _shared(known: Lines, read: _Texts) -> Lines | None:
    """Return the lines that two prompts share, in order; None where these are too few for one template."""
    if len(known) != len(read.lines):
        return None
    kept, differing = [], 0
    for one, two in zip(known, read.lines, strict=True):
        if one != two and (_is_opaque(one) or _is_opaque(two)):
            return None
        found = [] if one == two else _matched(one, two)
        same = two if one == two else tuple(chain.from_iterable(two[at : at + size] for _, at, size in found))
        gone, new = ([_rest(each, found, side) for side, each in enumerate((one, two))]) if one != two else ((), ())
        differing += max(_bytes_of(gone), _bytes_of(new))
        kept.append(same)
    few = differing <= VOLATILE_BYTES_MAX and differing * VOLATILE_SHARE <= read.size
    return tuple(kept) if few and any(kept) else None


def _rest(lines: Sequence[bytes], matched: Sequence[tuple[int, int, int]], side: int) -> list[bytes]:
    """Return the lines of one of two prompts, 0 or 1, that the other has not."""
    return [lines[i] for i in _gaps(len(lines), [(each[side], each[2]) for each in matched])]


def _gaps(length: int, taken: Sequence[tuple[int, int]]) -> list[int]:
    """Return what of 0 to `length` is in none of the ranges, each a start and a size, in order."""
    gaps: list[int] = []
    upto = 0
    for start, size in (*taken, (length, 0)):
        gaps += range(upto, start)
        upto = start + size
    return gaps


def _matched(known: Sequence[bytes], now: Sequence[bytes]) -> list[tuple[int, int, int]]:
    """Return the runs of lines that both have in the same order: where in the one, where in the other, how many."""
    both = min(len(known), len(now))
    head = next(compress(count(), map(ne, known, now)), both)
    tail = min(next(compress(count(), map(ne, reversed(known), reversed(now))), both), both - head)
    one, two = known[head : len(known) - tail], now[head : len(now) - tail]
    runs = [(0, 0, head)]
    if one and two and max(len(one), len(two)) <= _MIDDLE_MAX:
        matches = SequenceMatcher(None, one, two, autojunk=False).get_matching_blocks()
        runs += [(head + each.a, head + each.b, each.size) for each in matches if each.size]
    return [*runs, (len(known) - tail, len(now) - tail, tail)]


def _spots(read: _Texts, template: Template) -> tuple[Spot, ...]:
    """Return the lines of a prompt that are not its template's, as far as they may be called volatile, and the time."""
    found = []
    for index, text, times, now, stable in zip(
        read.indices, read.texts, read.times, read.lines, template.lines, strict=True
    ):
        runs = [(at, size) for _, at, size in _matched(stable, now)] if stable != now else [(0, len(now))]
        changed = _gaps(len(now), runs)
        is_sure = template.changes >= CHANGES_MIN or any(_DIGIT.search(text[i]) for i in changed)
        lines = tuple(sorted(times.union(changed if is_sure else ())))
        found += [Spot(index, lines, tuple(text))] if lines else []
    return tuple(found)


def says_the_time(line: str) -> bool:
    """Whether a line states what time it is now, which will be another one in the next request."""
    return _CLOCK.search(line) is not None and _NOW.search(line) is not None


def text_without(text: Sequence[str], lines: Sequence[int]) -> tuple[str, str]:
    """Return a text, given as lines, without some of them, and these alone."""
    stays, gone = list(text), sorted(set(lines))
    for i in reversed(gone):
        del stays[i]
    return "\n".join(stays), "\n".join([text[i] for i in gone])
