"""An event loop whose clock jumps to the next timer once nothing else is left to do: hours of waiting in no time.

For whole stacks in one process: nothing in them may wait for the outside.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from scrimp.clock import VirtualClock

T = TypeVar("T")


class _Jumping(selectors.SelectSelector):
    """Waits for nothing: where it would, time goes on instead."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready now, after moving the clock to when the next timer is due."""
        if timeout is None:
            raise RuntimeError("everything waits, and nothing is due")
        if timeout > 0:
            self._clock.advance_ms(-int(-timeout * 1_000 // 1))
        return super().select(0)


def run(clock: VirtualClock, story: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in the time of this clock."""
    loop = asyncio.SelectorEventLoop(_Jumping(clock))
    start_ms = clock.now_ms()  # a loop counts in floats, which would lose what lies between two times of an epoch
    loop.time = lambda: (clock.now_ms() - start_ms) / 1_000  # type: ignore[method-assign]
    try:
        return loop.run_until_complete(story)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
