"""Rate limits: token buckets for each workspace and pool of models (API docs, rate limits).

A pool has three buckets that fill up once a minute: requests, input tokens without those read from the cache, and
output tokens. A bucket of output can fall below nothing, because output is counted while it is written. Fast requests
have pools and headers of their own, and so has count_tokens.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import msgspec

from scrimp.sim.errors import ApiError
from scrimp.sim.headers import Pairs, rfc3339
from scrimp.sim.models import Model

MINUTE_MS = 60_000

#: Pools remembered; the least recently used start afresh, full.
POOLS_MAX = 10_000


class Allowance(msgspec.Struct, frozen=True):
    """What a pool may use in a minute; None: not limited."""

    requests: int
    input_tokens: int | None = None
    output_tokens: int | None = None


#: tier -> the allowance of most models, of Fable and Mythos, and of count_tokens. The pages give none for the 5.5
#: models and Fable 5.2, so the nearest sibling's stand here.
TIERS = {
    "start": (Allowance(1_000, 2_000_000, 400_000), Allowance(1_000, 500_000, 100_000), Allowance(2_000)),
    "build": (Allowance(5_000, 5_000_000, 1_000_000), Allowance(2_000, 1_500_000, 300_000), Allowance(4_000)),
    "scale": (Allowance(10_000, 10_000_000, 2_000_000), Allowance(4_000, 4_000_000, 800_000), Allowance(8_000)),
}
COUNTING = "count_tokens"

#: Models that share a pool; every other one has its own.
_SHARED = {
    "claude-fable-5-1": "claude-fable-5",
    "claude-mythos-5-1": "claude-mythos-5",
    "claude-opus-4-8": "claude-opus-4",
    "claude-opus-4-7": "claude-opus-4",
    "claude-opus-4-6": "claude-opus-4",
    "claude-opus-4-5-20251101": "claude-opus-4",
    "claude-sonnet-4-6": "claude-sonnet-4",
    "claude-sonnet-4-5-20250929": "claude-sonnet-4",
}
_LARGE = ("claude-fable", "claude-mythos")
_FAST = "fast:"


def pool_of(model: Model, *, fast: bool = False) -> str:
    """Return the name of the pool that a request counts against."""
    return (_FAST if fast else "") + _SHARED.get(model.name, model.name)


def _allowance(pool: str, tier: str) -> Allowance:
    usual, large, counting = TIERS[tier]
    if pool == COUNTING:
        return counting
    return large if pool.removeprefix(_FAST).startswith(_LARGE) else usual


class Bucket:
    """One bucket, full at first. Levels are kept in whole sixty-thousandths, so that nothing is ever rounded."""

    def __init__(self, per_minute: int, now_ms: int) -> None:
        self.per_minute = per_minute
        self._level = per_minute * MINUTE_MS
        self._at_ms = now_ms

    def _fill(self, now_ms: int) -> None:
        gained = max(0, now_ms - self._at_ms) * self.per_minute
        self._level = min(self.per_minute * MINUTE_MS, self._level + gained)
        self._at_ms = max(self._at_ms, now_ms)

    def left(self, now_ms: int) -> int:
        """Return what is left, below zero where more was used than there was."""
        self._fill(now_ms)
        return self._level // MINUTE_MS

    def take(self, amount: int, now_ms: int) -> None:
        """Use an amount, whether or not it is there."""
        self._fill(now_ms)
        self._level -= amount * MINUTE_MS

    def wait_ms(self, amount: int, now_ms: int) -> int:
        """Return how long it takes until an amount is there; one larger than the bucket waits until it is full."""
        self._fill(now_ms)
        missing = min(amount, self.per_minute) * MINUTE_MS - self._level
        return max(0, -(-missing // self.per_minute))


class _Pool:
    """The buckets of one pool by the name that their headers have."""

    def __init__(self, allowance: Allowance, now_ms: int) -> None:
        amounts = {
            "requests": allowance.requests,
            "input-tokens": allowance.input_tokens,
            "output-tokens": allowance.output_tokens,
        }
        self.buckets = {name: Bucket(amount, now_ms) for name, amount in amounts.items() if amount is not None}


class Limits:
    """Every workspace's buckets under one tier; with `enforce` an empty one refuses.

    `own` are amounts of one's own, by the name of the field of `Allowance`, in place of the tier's.
    """

    def __init__(self, tier: str, *, enforce: bool, own: Mapping[str, int] | None = None) -> None:
        self._tier = tier
        self._enforce = enforce
        self._own = own or {}
        self._pools: OrderedDict[tuple[str, str], _Pool] = OrderedDict()

    def _pool(self, workspace: str, pool: str, now_ms: int) -> _Pool:
        found = self._pools.setdefault((workspace, pool), _Pool(self._allowance(pool), now_ms))
        self._pools.move_to_end((workspace, pool))
        if len(self._pools) > POOLS_MAX:
            self._pools.popitem(last=False)
        return found

    def _allowance(self, pool: str) -> Allowance:
        documented = _allowance(pool, self._tier)
        return documented if pool == COUNTING else msgspec.structs.replace(documented, **self._own)

    def admit(self, workspace: str, pool: str, input_tokens: int, now_ms: int) -> None:
        """Refuse a request that its pool has no room for; `input_tokens` leaves out what is read from the cache."""
        if not self._enforce:
            return
        needed = {"requests": 1, "input-tokens": input_tokens, "output-tokens": 1}
        buckets = self._pool(workspace, pool, now_ms).buckets
        for name, bucket in buckets.items():
            wait_ms = bucket.wait_ms(needed[name], now_ms)
            if wait_ms > 0:
                what = f"{bucket.per_minute} {name.replace('-', ' ')} per minute"
                raise ApiError(
                    429,
                    f"This request would exceed your organization's rate limit of {what}.",
                    headers=(("retry-after", str(-(-wait_ms // 1_000))), *self.headers(workspace, pool, now_ms)),
                )

    def spend(self, workspace: str, pool: str, input_tokens: int, output_tokens: int, now_ms: int) -> None:
        """Count a request that was served."""
        used = {"requests": 1, "input-tokens": input_tokens, "output-tokens": output_tokens}
        for name, bucket in self._pool(workspace, pool, now_ms).buckets.items():
            bucket.take(used[name], now_ms)

    def headers(self, workspace: str, pool: str, now_ms: int) -> Pairs:
        """Return the limits as the API shows them; tokens are rounded to the nearest thousand."""
        buckets = dict(self._pool(workspace, pool, now_ms).buckets)
        if "input-tokens" in buckets:
            tightest = min(
                (buckets["input-tokens"], buckets["output-tokens"]),
                key=lambda bucket: bucket.left(now_ms) / bucket.per_minute,
            )
            buckets["tokens"] = tightest
        prefix = "anthropic-fast" if pool.startswith(_FAST) else "anthropic-ratelimit"
        return tuple(pair for name, bucket in buckets.items() for pair in _shown(f"{prefix}-{name}", bucket, now_ms))


def _shown(name: str, bucket: Bucket, now_ms: int) -> Pairs:
    left = max(0, bucket.left(now_ms))
    rounded = left if name.endswith("requests") else (left + 500) // 1_000 * 1_000
    full_at_ms = now_ms + bucket.wait_ms(bucket.per_minute, now_ms)
    return (
        (f"{name}-limit", str(bucket.per_minute)),
        (f"{name}-remaining", str(rounded)),
        (f"{name}-reset", rfc3339(full_at_ms)),
    )
