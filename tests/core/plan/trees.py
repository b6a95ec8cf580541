"""Small trees of prompts, and what they cost at best by brute force: every token apart, every choice tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from scrimp.core.plan.optimum import ROOT, Bound, Visit
from scrimp.core.wire.prices import RateCard

#: Draws a whole number between two, both included.
Number = Callable[[int, int], int]

CHEAP = RateCard(uncached_input=40, cache_read=2, cache_write_5m=50, cache_write_1h=80, output=200)
DEAR = RateCard(uncached_input=100, cache_read=10, cache_write_5m=125, cache_write_1h=200, output=500)
FLAT = RateCard(uncached_input=100, cache_read=100, cache_write_5m=100, cache_write_1h=100, output=100)
CARDS = (CHEAP, DEAR, FLAT)

#: Pauses around every edge: within a lifetime, at its end, a few pings long, many, past an hour.
PAUSES_MS = (1, 1_000, 299_999, 300_000, 300_001, 599_000, 900_000, 3_599_000, 3_600_000, 3_601_000, 9_000_000)


def prompts_of(visits: Sequence[Visit]) -> list[list[int]]:
    """Give every token a name of its own, and return each visit's prompt as names."""
    prompts: list[list[int]] = []
    fresh = iter(range(10_000))
    for visit in visits:
        kept = prompts[visit.parent][: visit.shared] if visit.parent != ROOT else []
        prompts.append(kept + [next(fresh) for _ in range(visit.length - len(kept))])
    return prompts


def _least(times: Sequence[int], cards: Sequence[RateCard], given: Sequence[bool]) -> int:
    """Try every choice for one token that is carried at `times`: written each way, or pinged up to 40 times a pause."""

    @cache
    def from_visit(at: int, held: str) -> int:
        if at == len(times):
            return 0
        card = cards[at]
        anew = [
            card.uncached_input + pause(at, "plain"),
            card.cache_write_5m + pause(at, "5m"),
            card.cache_write_1h + pause(at, "1h"),
        ]
        if given[at]:
            anew = [card.cache_read + pause(at, "5m"), card.cache_read + pause(at, "1h")]
        return min(anew if held == "gone" else [*anew, card.cache_read + pause(at, held)])

    @cache
    def pause(at: int, held: str) -> int:
        if at + 1 == len(times):
            return 0
        if held == "plain":
            return from_visit(at + 1, "gone")
        life = 300_000 if held == "5m" else 3_600_000
        length = max(1, times[at + 1] - times[at])
        found = []
        for pings in range(41):
            alive = length <= life * (pings + 1)
            found.append(cards[at].cache_read * pings + from_visit(at + 1, held if alive else "gone"))
        return min(found)

    return from_visit(0, "gone")


def brute_force(visits: Sequence[Visit], cards: Sequence[RateCard]) -> Bound:
    """Return the least that the tokens cost, one by one."""
    """Return the least that the visits can cost, by trying everything."""
    prompts = prompts_of(visits)
    carried: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        for token in prompt:
            carried.setdefault(token, []).append(index)
    cost, unread = 0, [0] * len(visits)
    for token, indexes in carried.items():
        given = [prompts[index].index(token) < visits[index].given for index in indexes]
        times = [visits[index].at_ms for index in indexes]
        cost += _least(times, [cards[index] for index in indexes], given)
        unread[indexes[0]] += len(indexes) == 1 and not given[0]
    return Bound(cost, tuple(unread))


def tree(number: Number) -> tuple[list[Visit], list[RateCard]]:
    """Draw a small tree of prompts; most extend the one before, as conversations do."""

    def pick(choices: Sequence[int]) -> int:
        return choices[number(0, len(choices) - 1)]

    visits: list[Visit] = []
    now = 0
    for index in range(number(1, 7)):
        now += pick(PAUSES_MS)
        parent = pick((index - 1, index - 1, number(-1, index - 1))) if index else ROOT
        upto = 0 if parent == ROOT else visits[parent].length
        shared = pick((upto, upto, number(0, upto)))
        length = shared + number(0, 6 if parent == ROOT else 3)
        visits.append(Visit(now, length, parent, shared, pick((0, 0, 0, number(0, length)))))
    return visits, [CARDS[number(0, len(CARDS) - 1)] for _ in visits]
