"""Who waits for whose first token: requests that are held back until what they can read has been written."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Landings:
    """The exchanges that somebody waits for. Only those are remembered, and only while they are waited for."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    async def wait(self, exchange_id: str, seconds: float) -> None:
        """Wait for an exchange's first token or its end, for so long at most; whoever is cancelled waits no longer."""
        waiting = self._waiting.setdefault(exchange_id, set())
        landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.add(landed)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(landed, max(0.0, seconds))
        finally:
            waiting.discard(landed)
            if not waiting and self._waiting.get(exchange_id) is waiting:
                del self._waiting[exchange_id]

    def landed(self, exchange_id: str) -> None:
        """Let go of those who wait for this exchange."""
        for each in self._waiting.pop(exchange_id, ()):
            if not each.done():
                each.set_result(None)
