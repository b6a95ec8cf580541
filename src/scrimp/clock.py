"""Time as an argument: one `Clock`, so that a week of traffic runs in seconds.

Nothing else in the package asks the operating system for the time (ruff bans it elsewhere).
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the wall-clock time in whole milliseconds since the Unix epoch."""

    def now_ms(self) -> int:
        """Return the current time in milliseconds since the Unix epoch."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        """Return the machine's wall-clock time in milliseconds."""
        return time.time_ns() // 1_000_000


class VirtualClock:
    """A clock that moves only when told to: for tests and the simulator."""

    def __init__(self, start_ms: int = 0) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> int:
        """Return the virtual time in milliseconds."""
        return self._now_ms

    def advance_ms(self, delta_ms: int) -> None:
        """Move forward by `delta_ms`, which must not be negative."""
        if delta_ms < 0:
            raise ValueError(f"a clock does not run backwards: {delta_ms} ms")
        self._now_ms += delta_ms
