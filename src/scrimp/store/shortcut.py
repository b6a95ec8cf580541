"""When an open row is committed by whoever brings it, on the event loop itself, instead of by the writer's thread.

Handing a row to a thread and back costs more than twice what committing it costs, and that is all there is to gain
where requests come one at a time. While others are under way a commit would keep them waiting and not join a group, and
a slow disk would hold up the whole loop: then the thread does it.
"""

from __future__ import annotations

#: A commit that took longer than this was slow, in seconds: a busy machine alone makes some take a few milliseconds.
SLOW_SECONDS = 0.02

#: How long the thread has the disk for itself after a slow one, in seconds; twice as long after each more in a row.
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 1.0, 60.0


class Shortcut:
    """Counts what is under way, and remembers how long commits took. Times are the event loop's, in seconds."""

    def __init__(self) -> None:
        self._under_way_count = 0
        self._closed_until_s = 0.0
        self._pause_s = PAUSE_SECONDS

    def opens(self, now_s: float) -> bool:
        """Count an exchange that opens; return whether its row may take the shortcut."""
        self._under_way_count += 1
        return self._under_way_count == 1 and now_s >= self._closed_until_s

    def closes(self) -> None:
        """Count an exchange that closes. One that was never opened only lets others take the shortcut sooner."""
        self._under_way_count = max(0, self._under_way_count - 1)

    def took(self, began_s: float, ended_s: float) -> None:
        """Note when a commit on the loop began and ended."""
        if ended_s - began_s <= SLOW_SECONDS:
            self._pause_s = PAUSE_SECONDS
            return
        self._closed_until_s = ended_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, PAUSE_SECONDS_MAX)
