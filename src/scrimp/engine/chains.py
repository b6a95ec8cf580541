"""Chains of digests as they were worked out before: a conversation that goes on only adds to them.

What stands at a place of a chain depends on what stands up to it alone, so of a chain that begins like one that is
remembered only the rest is worked out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

from scrimp.core.belief.prefix import NO_CHAIN, Chain, chain_of, front_of
from scrimp.core.belief.session import Trails, trails
from scrimp.core.wire.blocks import Block
from scrimp.core.wire.request import Request

#: Places of chains that are remembered, over all conversations; the least recently used conversations go first. One
#: takes about 150 bytes, and a chain as much as so many places besides.
PLACES_MAX = 100_000
CHAIN_PLACES = 5
#: Links that are compared at once, fewer and fewer where some of them differ.
_STRIDES = (64, 8, 1)
#: Chains that are remembered of what has one name: a conversation as it came, in order, and branches of it.
SAME_NAME_MAX = 4

V = TypeVar("V")
_DIGEST_OF = attrgetter("digest")


def _places_of(links: Sequence[Any]) -> int:
    return len(links) + CHAIN_PLACES


class _Kept(NamedTuple):
    """A chain: what it is made of, what was worked out for it, and how much room it takes."""

    links: Sequence[Any]
    value: Any
    size: int


class Grown(Generic[V]):
    """Remembers what was worked out for chains, by name, up to a `limit` on the sum of what `size_of` says of links."""

    def __init__(self, limit: int = PLACES_MAX, size_of: Callable[[Sequence[Any]], int] = len) -> None:
        self._limit = limit
        self._size_of = size_of
        self._size = 0
        self._known: OrderedDict[Hashable, list[_Kept]] = OrderedDict()

    def grown(self, name: Hashable, links: Sequence[Any], work: Callable[[V | None, int], V]) -> V:
        """Return `work(known, common)`: of the chain with most links in common what is known, and how many they are.

        It is remembered, instead of what was known if that was for the beginning of this chain.
        """
        kept = self._known.setdefault(name, [])
        self._known.move_to_end(name)
        at, common = _nearest(kept, links)
        value = work(None if at is None else kept[at].value, common)
        if at is not None and common == len(kept[at].links):
            self._size -= kept.pop(at).size
        elif len(kept) == SAME_NAME_MAX:
            self._size -= kept.pop(0).size
        kept.append(_Kept(links, value, self._size_of(links)))
        self._size += kept[-1].size
        while self._size > self._limit:
            _, oldest = self._known.popitem(last=False)
            self._size -= sum(each.size for each in oldest)
        return value


def _nearest(kept: Sequence[_Kept], links: Sequence[Any]) -> tuple[int | None, int]:
    """Return which chain begins with most of these links, and with how many; None where all begin otherwise."""
    at, common = None, 0
    for i in reversed(range(len(kept))):
        known = kept[i].links
        # One that has more in common has the next one, too.
        if common < min(len(known), len(links)) and known[common] == links[common]:
            found = _common(known, links)
            at, common = (i, found) if found > common else (at, common)
    return at, common


def _common(one: Sequence[Any], two: Sequence[Any]) -> int:
    """Return how many links two chains begin alike with.

    Slices are compared several times faster than their links are, one by one: the same objects are not looked into.
    """
    at = 0
    for stride in _STRIDES:
        while at < len(one) and one[at : at + stride] == two[at : at + stride]:
            at += stride
    return min(at, len(one))


class Chains:
    """Works out chains as `chain_of` and `trails` do, of each conversation only what is new."""

    def __init__(self) -> None:
        self._chains = Grown[Chain](size_of=_places_of)
        self._trails = Grown[tuple[bytes, ...]](size_of=_places_of)

    def chain(self, request: Request, blocks: Sequence[Block]) -> Chain:
        """Return the chain of the blocks that a request's model sees."""

        def work(known: Chain | None, common: int) -> Chain:
            known = known or NO_CHAIN
            return chain_of(request, blocks, Chain(known.digests[:common], known.runs[:common]))

        links = list(map(_DIGEST_OF, blocks))
        return self._chains.grown((_settings(request), _opening(request)), links, work)

    def trails(self, request: Request) -> Trails:
        """Return the chains by which a request's session is recognised."""
        links = list(map(_DIGEST_OF, request.blocks[front_of(request.blocks) :]))
        alone = self._trails.grown(
            links[0] if links else b"", links, lambda known, common: trails(request, (known or ())[:common])[1]
        )
        return trails(request, alone)


def _settings(request: Request) -> bytes:
    """Return a digest of what belongs to the cache's key: a schema of the output may be long."""
    return blake2b(b"\0".join(value for _, value in request.settings), digest_size=16).digest()


def _opening(request: Request) -> bytes:
    """Return the digest of what a conversation opens with."""
    return next((block.digest for block in request.tier("messages")), b"")
