"""The clairvoyant bound: what the same prompts would have cost with perfect knowledge of when each is sent.

LOSSLESS-OPT (levers study, section 3): for every token, the cheapest choice of how it is written (plain, for five
minutes, for an hour), how often it is kept warm in each pause, and where it is let go, knowing all times to come. It is
relaxed wherever that makes it exact and quick: as many breakpoints as one likes, no shortest length, no look-back,
entries readable at once, a ping paid for by the tokens that it holds alone. No policy that leaves prompts as they are
can be below it, under the reading of the docs that each token keeps the lifetime it was written with.

A token's cost depends only on the requests that carry it. Prompts form a tree: each shares the first so many tokens
with an earlier one. From the last request to the first, every stretch of a prompt has a `_Cell`: the best cost from
there on, were it held for five minutes, for an hour, or written anew, and the cell of the request that carries it next.
Stretches without a branch share those cells, so the whole takes time in proportion to the requests and the branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from scrimp.core.belief.cache import TTL_MS
from scrimp.core.wire.prices import RateCard

#: The parent of a visit that extends no earlier one.
ROOT = -1

_MINUTES_MS, _HOUR_MS = TTL_MS["5m"], TTL_MS["1h"]


class Visit(NamedTuple):
    """One request, in time order: its whole length in tokens, and how many of those it shares with its parent's.

    `parent` is the index of an earlier visit, or `ROOT`. The first `given` tokens are read from what others had warmed,
    whatever is decided.
    """

    at_ms: int
    length: int
    parent: int = ROOT
    shared: int = 0
    given: int = 0


class Bound(msgspec.Struct, frozen=True):
    """The least that the visits can cost, and how many tokens of each no later visit carries. Money is pico-USD."""

    cost_pico_usd: int
    unread_tokens: tuple[int, ...]


class _Cell(NamedTuple):
    """A visit that carries a stretch of tokens, and the cost of each of them after it, by how it is held, and with it.

    `held_5m` and `held_1h` are the least that a token costs from the next visit on if it was alive at this one;
    `written` is the least that it costs from this visit on if it was not; what is `given` is read all the same.
    """

    visit: int
    given: bool
    held_5m: int
    held_1h: int
    written: int
    after: _Cell | None


#: Stretches of a prompt from its front: the token they reach up to, and who carries them next.
_Stretches = list[tuple[int, _Cell | None]]


def lossless(visits: Sequence[Visit], cards: Sequence[RateCard]) -> Bound:
    """Return the bound for the visits of one account; `cards` are the rates that each is billed at."""
    return _Tree(visits, cards).bound()


class _Tree:
    """The visits of an account, folded from the last to the first."""

    def __init__(self, visits: Sequence[Visit], cards: Sequence[RateCard]) -> None:
        self._visits = visits
        self._cards = cards
        self._carried: list[_Stretches | None] = [None] * len(visits)
        self._unread = [0] * len(visits)

    def bound(self) -> Bound:
        """Return what all tokens cost together, each from the visit that brings it."""
        cost = sum([self._visit(index) for index in range(len(self._visits) - 1, -1, -1)])
        return Bound(cost, tuple(self._unread))

    def _visit(self, index: int) -> int:
        """Return the cost of the tokens that a visit brings, and hand the rest up to its parent."""
        visit = self._visits[index]
        stretches = self._carried[index] or []
        self._carried[index] = None
        if not stretches or stretches[-1][0] < visit.length:
            stretches.append((visit.length, None))
        own = self._cells(index, stretches, visit.given)
        shared = 0
        if visit.parent != ROOT:
            shared = min(visit.shared, visit.length)
            self._hand_up(visit.parent, _clipped(own, shared))
        return self._brought(index, own, shared)

    def _cells(self, index: int, stretches: _Stretches, given: int) -> list[tuple[int, _Cell]]:
        """Put a visit in front of what carries its stretches next."""
        cells: list[tuple[int, _Cell]] = []
        start = 0
        for upto, after in stretches:
            if start < given:
                cells.append((min(upto, given), self._cell(index, after, given=True)))
            if upto > given:
                cells.append((upto, self._cell(index, after, given=False)))
            start = upto
        return cells

    def _brought(self, index: int, own: Sequence[tuple[int, _Cell]], shared: int) -> int:
        """Return the cost of the tokens behind the shared ones."""
        start, cost, given = shared, 0, self._visits[index].given
        for upto, cell in own:
            if upto > start:
                cost += (upto - start) * cell.written
                self._unread[index] += upto - start if cell.after is None and upto > given else 0
                start = upto
        return cost

    def _hand_up(self, parent: int, stretches: _Stretches) -> None:
        known = self._carried[parent]
        self._carried[parent] = stretches if known is None else self._merged(known, stretches)

    def _merged(self, first: _Stretches, second: _Stretches) -> _Stretches:
        """Lay the stretches of two branches over each other; a stretch in both is carried by both."""
        merged: _Stretches = []
        for upto in sorted({upto for upto, _ in (*first, *second)}):
            cells = [next((cell for end, cell in side if end >= upto), None) for side in (first, second)]
            merged.append((upto, self._joined(*cells)))
        return merged

    def _joined(self, first: _Cell | None, second: _Cell | None) -> _Cell | None:
        """Return the cell of the earliest visit of two sequences, with all visits of both after it."""
        if first is None or second is None:
            return first or second
        cell = None
        for index, given in sorted([*_visits_of(first), *_visits_of(second)], reverse=True):
            cell = self._cell(index, cell, given=given)
        return cell

    def _cell(self, index: int, after: _Cell | None, *, given: bool) -> _Cell:
        """Return the cell of a visit in front of the one that carries the same tokens next."""
        card = self._cards[index]
        if after is None:
            plain = min(card.uncached_input, card.cache_write_5m, card.cache_write_1h)
            return _Cell(index, given, 0, 0, card.cache_read if given else plain, None)
        pause = max(1, self._visits[after.visit].at_ms - self._visits[index].at_ms)
        read, ping, anew = self._cards[after.visit].cache_read, card.cache_read, after.written
        held_5m = min(anew, after.held_5m + read + ping * ((pause - 1) // _MINUTES_MS))
        held_1h = min(anew, after.held_1h + read + ping * ((pause - 1) // _HOUR_MS))
        if given:
            written = card.cache_read + min(held_5m, held_1h)
        else:
            written = min(card.uncached_input + anew, card.cache_write_5m + held_5m, card.cache_write_1h + held_1h)
        return _Cell(index, given, held_5m, held_1h, written, after)


def _clipped(stretches: Sequence[tuple[int, _Cell]], length: int) -> _Stretches:
    """Return the stretches in front of a length."""
    inside: _Stretches = []
    for upto, cell in stretches:
        if upto >= length:
            return [*inside, (length, cell)] if length else []
        inside.append((upto, cell))
    return inside


def _visits_of(cell: _Cell | None) -> list[tuple[int, bool]]:
    found: list[tuple[int, bool]] = []
    while cell is not None:
        found.append((cell.visit, cell.given))
        cell = cell.after
    return found
