"""Virtual time in which tasks sleep: a clock whose sleepers wake in their order, each before time goes on."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

from scrimp.clock import VirtualClock

#: Turns of the event loop in which whoever was woken does what it woke for.
SETTLE_TURNS = 200


class Timeline(VirtualClock):
    """A virtual clock with a `sleep` of its own; time passes in `pass_ms` alone."""

    def __init__(self, start_ms: int = 0) -> None:
        super().__init__(start_ms)
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()

    @property
    def sleeping(self) -> int:
        """How many tasks sleep."""
        return sum(not waking.done() for _, _, waking in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Return once so much time has passed."""
        waking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now_ms() + round(seconds * 1_000), next(self._order), waking))
        await waking

    async def pass_ms(self, delta_ms: int) -> None:
        """Let time pass; each sleeper wakes at its time."""
        end_ms = self.now_ms() + delta_ms
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end_ms:
            at_ms, _, waking = heapq.heappop(self._sleepers)
            self.advance_ms(max(0, at_ms - self.now_ms()))
            if not waking.done():
                waking.set_result(None)
                await settle()
        self.advance_ms(end_ms - self.now_ms())


async def settle() -> None:
    """Let everybody do what there is to do."""
    for _ in range(SETTLE_TURNS):
        await asyncio.sleep(0)
