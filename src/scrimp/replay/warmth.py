"""What is cached of each step's prompt, by lengths: what a policy can know before `replay.emulator` bills it."""

from __future__ import annotations

import msgspec

from scrimp.core.belief.cache import TTL_MS
from scrimp.core.wire.blocks import Ttl
from scrimp.replay.emulator import Ways
from scrimp.replay.steps import ROOT, Step

_MINUTES_MS, _HOUR_MS = TTL_MS["5m"], TTL_MS["1h"]


class Warm(msgspec.Struct, gc=False):
    """What a step left cached of its prompt: up to `hour` tokens, the end of step `at`, for an hour, the rest for less.

    Steps that read each other's prompts keep the same entries alive: `minutes_use` and `hour_use` number their uses.
    """

    end: int
    hour: int
    at: int
    minutes_use: int
    hour_use: int

    @property
    def minutes(self) -> int:
        """How many tokens behind those of an hour are cached for five minutes."""
        return self.end - self.hour if self.minutes_use != ROOT else 0


class Warmth:
    """Follows what is cached; `left` is what each step left so far."""

    def __init__(self, ways: Ways) -> None:
        self.left: list[Warm] = []
        self._ways = ways
        self._used_ms: list[int] = []
        self._bases: dict[int, tuple[int, bool]] = {}

    def front(self, index: int, step: Step) -> Warm:
        """Return what is still cached in front of a step; what others warmed is of no lifetime that would bind us."""
        up, now_ms = self._ways.up[index], step.at_ms
        if up != ROOT:
            warm = self.left[up]
            hour = warm.hour if warm.hour and now_ms < self._used_ms[warm.hour_use] + _HOUR_MS else 0
            has_minutes = warm.end > warm.hour and now_ms < self._used_ms[warm.minutes_use] + _MINUTES_MS
            if hour == warm.hour and (has_minutes or 0 < hour == warm.end):
                return warm
            if hour:
                return Warm(hour, hour, warm.at, ROOT, warm.hour_use)
        until_ms, is_hour = self._bases.get(self._ways.base[index], (0, False))
        if now_ms < until_ms and step.base_tokens > step.given_tokens:
            return Warm(step.base_tokens, 0, ROOT, ROOT if is_hour else self._new_use(now_ms), ROOT)
        return Warm(step.given_tokens, 0, ROOT, ROOT, ROOT)

    def write(self, index: int, step: Step, front: Warm, end: int, ttl: Ttl | None) -> Warm:
        """Note what a step leaves cached up to `end`, and that it used what it read; with no `ttl` it adds nothing."""
        now_ms = step.at_ms
        hour, at, minutes_use, hour_use = front.hour, front.at, front.minutes_use, front.hour_use
        if ttl == "1h":
            hour, at = end, index
        self.use(front, now_ms)
        if hour and hour_use == ROOT:
            hour_use = self._new_use(now_ms)
        if minutes_use == ROOT:
            minutes_use = self._new_use(now_ms)
        warm = Warm(end if ttl else front.end, hour, at, minutes_use, hour_use)
        self.left.append(warm)
        self._bases[self._ways.base[index]] = (now_ms + (_HOUR_MS if hour else _MINUTES_MS), bool(hour))
        return warm

    def use(self, warm: Warm, now_ms: int) -> None:
        """Note that all of what is warm was read."""
        for use in (warm.minutes_use, warm.hour_use):
            if use != ROOT:
                self._used_ms[use] = max(self._used_ms[use], now_ms)

    def use_hour(self, warm: Warm, now_ms: int) -> None:
        """Note that only the part of an hour was read."""
        self._used_ms[warm.hour_use] = max(self._used_ms[warm.hour_use], now_ms)

    def _new_use(self, now_ms: int) -> int:
        self._used_ms.append(now_ms)
        return len(self._used_ms) - 1
