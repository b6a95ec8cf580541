"""Chats without tools: which ends of prompts are worth a mark, learnt from how often they are read again in time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from scrimp.core.belief.account import Account
from scrimp.core.belief.cache import TTL_MS
from scrimp.core.levers.hold import marks_tail, tail_seen
from scrimp.core.wire.prices import RateCard
from scrimp.replay.emulator import Ways
from scrimp.replay.steps import ROOT, Step

_MINUTES_MS = TTL_MS["5m"]
#: Turns of a chat that are told apart; all later ones are alike.
_TURNS = 3


class Tails:
    """Counts what becomes of the ends of chats' prompts, in order of time."""

    def __init__(self, steps: Sequence[Step], ways: Ways) -> None:
        self._steps, self._ways = steps, ways
        self._turns: dict[int, int] = {}
        self._waiting: dict[int, int] = {}
        self._queue: deque[int] = deque()

    def seen(self, account: Account, index: int, step: Step) -> Account:
        """Count the prompt that a step goes on from as read again in time, and those whose time is over as not."""
        while self._queue and self._steps[self._queue[0]].at_ms + _MINUTES_MS <= step.at_ms:
            over = self._queue.popleft()
            if over in self._waiting:
                account = tail_seen(account, self._kind(over), self._waiting.pop(over), returned=False)
        up = self._ways.up[index]
        if up in self._waiting:
            account = tail_seen(account, self._kind(up), self._waiting.pop(up), returned=True)
        self._turns[index] = self._turns.get(up, 0) + 1 if up != ROOT else 1
        self._waiting[index] = self._ways.ends[index] - (self._ways.ends[up] if up != ROOT else 0)
        self._queue.append(index)
        return account

    def marks(self, account: Account, index: int, tokens: int, card: RateCard) -> bool:
        """Whether a step's end is marked; it is where leaving it plain could go beyond the guard."""
        risk = tokens * (card.cache_write_5m - card.cache_read)
        return risk > account.allowance_pico_usd(card) or marks_tail(account, self._kind(index), card)

    def _kind(self, index: int) -> str:
        return f"turn {min(self._turns[index], _TURNS)}"
