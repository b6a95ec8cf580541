"""Who waits for whose first token: requests that are held back until what they can read has been written."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Landings:
    """The exchanges that somebody waits for. Only those are remembered, and only while they are waited for."""

    def __init__(self) -> None:
        self._awaited: dict[str, asyncio.Event] = {}

    async def wait(self, exchange_id: str, seconds: float) -> None:
        """Wait for an exchange's first token or its end, for so long at most."""
        event = self._awaited.setdefault(exchange_id, asyncio.Event())
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), max(0.0, seconds))
        self._awaited.pop(exchange_id, None)

    def landed(self, exchange_id: str) -> None:
        """Let go of those who wait for this exchange."""
        event = self._awaited.pop(exchange_id, None)
        if event is not None:
            event.set()
