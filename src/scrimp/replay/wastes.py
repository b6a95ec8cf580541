"""Money that was spent in vain: hours that were paid for and not needed, writes that nobody read, pings for nobody.

All are told from the recorded bills alone. What a break made a request write again is not blamed twice: only what is
written beyond the `lost` tokens of a step counts here. Pings in front of a request that came are what pings are for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from scrimp.core.belief.cache import TTL_MS
from scrimp.core.wire.prices import RateCard
from scrimp.core.wire.usage import Usage
from scrimp.replay.regret import input_pico_usd
from scrimp.replay.steps import ROOT, Step

#: A usage, its rates and how many tokens of it a break explains -> tokens in vain, and their price in pico-USD.
_Price = Callable[[Usage, RateCard, int], tuple[int, int]]


class Waste(NamedTuple):
    """What one thread's marks, or its pings, cost in vain, in pico-USD, None if that is not known.

    `step` is the dearest of them, or the last one, which was pinged; `tokens` are all of them.
    """

    cause: str
    step: int
    tokens: int
    pico_usd: int | None


class Recorded(NamedTuple):
    """The steps of an account beside what each was billed, at which rates (None: unknown), and what each lost."""

    steps: Sequence[Step]
    usages: Sequence[Usage]
    cards: Sequence[RateCard | None]
    lost: Mapping[int, int]


def wastes(recorded: Recorded) -> list[Waste]:
    """Return the waste of each thread that has any."""
    threads: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, step in enumerate(recorded.steps):
        threads[step.session_id, step.thread].append(index)
    covered, paused = _covered(recorded), _paused(recorded)
    marks = [_of_thread(recorded, thread, covered, paused) for thread in threads.values()]
    pings = [_unanswered(recorded, thread[-1]) for thread in threads.values()]
    return [waste for waste in (*marks, *pings) if waste is not None]


def _unanswered(recorded: Recorded, last: int) -> Waste | None:
    """Say what the pings after the last request of a thread cost."""
    usages, card = [ping.usage for ping in recorded.steps[last].pings], recorded.cards[last]
    if not usages:
        return None
    cost = None if card is None else sum(input_pico_usd(usage, card) for usage in usages)
    return Waste("pings_in_vain", last, sum(usage.total_input_tokens for usage in usages), cost)


def _of_thread(
    recorded: Recorded, thread: Sequence[int], covered: Sequence[int], paused: Sequence[bool]
) -> Waste | None:
    """Say what a thread paid for in vain: its writes where none was read, else its hours where none was needed."""
    writes = [index for index in thread if recorded.usages[index].cache_write_input_tokens]
    if not writes:
        return None
    if all(covered[index] <= recorded.usages[index].cache_read_input_tokens for index in writes):
        return _summed("never_read", recorded, writes, _unread)
    hours = [index for index in writes if recorded.usages[index].cache_write_1h_input_tokens]
    if not hours or any(paused[index] for index in thread):
        return None
    return _summed("hour_unused", recorded, hours, _premium)


def _summed(cause: str, recorded: Recorded, at: Sequence[int], price: _Price) -> Waste | None:
    priced = [
        (index, *price(recorded.usages[index], card, recorded.lost.get(index, 0)))
        for index in at
        if (card := recorded.cards[index]) is not None
    ]
    total = sum(cost for _, _, cost in priced)
    if total <= 0:
        return None
    dearest = max(priced, key=lambda each: each[2])[0]
    return Waste(cause, dearest, sum(tokens for _, tokens, _ in priced), total)


def _unread(usage: Usage, card: RateCard, lost: int) -> tuple[int, int]:
    """Return how many tokens were written for nobody, and what that cost more than leaving them plain."""
    tokens = max(0, usage.cache_write_input_tokens - lost)
    hour = min(tokens, usage.cache_write_1h_input_tokens)
    extra_1h, extra_5m = card.cache_write_1h - card.uncached_input, card.cache_write_5m - card.uncached_input
    return tokens, hour * extra_1h + (tokens - hour) * extra_5m


def _premium(usage: Usage, card: RateCard, lost: int) -> tuple[int, int]:
    """Return how many tokens were written for an hour, and what that cost more than five minutes."""
    tokens = max(0, usage.cache_write_1h_input_tokens - lost)
    return tokens, tokens * (card.cache_write_1h - card.cache_write_5m)


def _covered(recorded: Recorded) -> list[int]:
    """Return how many tokens of each step's prompt a later step read."""
    steps = recorded.steps
    covered = [0] * len(steps)
    for index in range(len(steps) - 1, -1, -1):
        step = steps[index]
        if step.parent != ROOT:
            read = max(recorded.usages[index].cache_read_input_tokens, covered[index])
            covered[step.parent] = max(covered[step.parent], min(step.shared_tokens, read))
    return covered


def _paused(recorded: Recorded) -> list[bool]:
    """Say of each step whether it came more than five minutes after anything that used the prompt before it."""
    used_ms = [step.at_ms for step in recorded.steps]
    paused = []
    for step in recorded.steps:
        paused.append(step.parent != ROOT and step.at_ms - used_ms[step.parent] >= TTL_MS["5m"])
        if step.parent != ROOT:
            used_ms[step.parent] = step.at_ms
    return paused
