"""The prompt cache: entries per workspace, keyed by the hash of the whole prefix.

The rules (API docs, prompt caching): an entry is written only at a breakpoint; each breakpoint looks back a limited
number of positions, the last breakpoint first; an entry lives from the start of the request that wrote or last read it
and can be read only once the writing response has begun.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256

import msgspec

from scrimp.sim.marks import TTL_MS, Mark
from scrimp.sim.models import Model
from scrimp.sim.render import Prompt
from scrimp.sim.rules import Rules


class Entry(msgspec.Struct):
    """One cached prefix. Times are milliseconds since the epoch; `used_at_ms` is the start of the last use.

    `under` is the hash of the prefix that its writer read, which the entry goes on from.
    """

    ttl: str
    used_at_ms: int
    available_at_ms: int
    under: bytes | None = None

    def is_live(self, now_ms: int) -> bool:
        """Say whether the entry has not run out."""
        return now_ms < self.used_at_ms + TTL_MS[self.ttl]

    def is_readable(self, now_ms: int) -> bool:
        """Say whether a request that starts now can read the entry."""
        return self.available_at_ms <= now_ms and self.is_live(now_ms)


class CacheUse(msgspec.Struct, frozen=True):
    """What one request reads and writes, in tokens: four disjoint parts of the prompt.

    `read_at` is the index of the position that was hit, -1 for none; `writes` are the breakpoints to be written.
    """

    cache_read: int
    write_1h: int
    write_5m: int
    uncached: int
    read_at: int
    writes: tuple[Mark, ...]

    @property
    def written(self) -> int:
        """What is written, under either lifetime."""
        return self.write_5m + self.write_1h


def _effective(prompt: Prompt, marks: Sequence[Mark], model: Model, rules: Rules) -> list[Mark]:
    """Return the breakpoints that reach the model's minimum length; the others are silently not there."""
    whole = prompt.total_tokens
    measured = {mark.at: whole if rules.minimum_per == "request" else prompt.ends[mark.at] for mark in marks}
    return [mark for mark in marks if measured[mark.at] >= model.minimum_cacheable_tokens]


def _window(prompt: Prompt, at: int, positions: int) -> Iterator[int]:
    """Yield the positions that a breakpoint at `at` looks at, latest first."""
    for index in range(at, -1, -1):
        if prompt.groups[at] - prompt.groups[index] >= positions:
            return
        yield index


def usage_of(prompt: Prompt, marks: Sequence[Mark], read_at: int) -> CacheUse:
    """Return the four parts for a hit at `read_at` (-1: none); `marks` are the effective breakpoints.

    The hour's writes reach from the hit to the last 1h mark, the five minutes' from there to the last mark.
    """
    above = [mark for mark in marks if mark.at > read_at]
    hit = prompt.ends[read_at] if read_at >= 0 else 0
    hour = max((prompt.ends[mark.at] for mark in above if mark.ttl == "1h"), default=hit)
    last = max((prompt.ends[mark.at] for mark in above), default=hit)
    return CacheUse(hit, hour - hit, last - hour, prompt.total_tokens - last, read_at, tuple(above))


class Cache:
    """Every workspace's entries. `seed` decides which look-ups find an entry evicted early."""

    def __init__(self, rules: Rules, seed: int = 0) -> None:
        self._rules = rules
        self._seed = seed
        self._entries: dict[tuple[str, bytes], Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def look_up(self, workspace: str, prompt: Prompt, marks: Sequence[Mark], model: Model, now_ms: int) -> CacheUse:
        """Return what a request that starts now reads and would write; nothing is changed."""
        effective = _effective(prompt, marks, model, self._rules)
        for mark in reversed(effective):
            for index in _window(prompt, mark.at, self._rules.lookback_positions):
                if self._is_hit(workspace, prompt.hashes[index], mark, now_ms):
                    return self._with_free_writes(usage_of(prompt, effective, index), effective)
        return usage_of(prompt, effective, -1)

    def _with_free_writes(self, use: CacheUse, marks: Sequence[Mark]) -> CacheUse:
        return msgspec.structs.replace(use, writes=tuple(marks)) if self._rules.write_below_hit else use

    def _is_hit(self, workspace: str, key: bytes, mark: Mark, now_ms: int) -> bool:
        entry = self._entries.get((workspace, key))
        if entry is None or not entry.is_readable(now_ms) or self._is_evicted(key, entry):
            return False
        if not self._stands(workspace, entry, now_ms):
            return False
        return self._rules.cross_ttl_hits or entry.ttl == mark.ttl

    def _below(self, workspace: str, entry: Entry) -> Iterator[Entry | None]:
        """Yield what an entry goes on from, the longest first, None for what is gone; nothing where it lives alone."""
        under = entry.under if self._rules.keeps_lifetimes else None
        while under is not None:
            found = self._entries.get((workspace, under))
            yield found
            under = found.under if found is not None else None

    def _stands(self, workspace: str, entry: Entry, now_ms: int) -> bool:
        return all(each is not None and each.is_live(now_ms) for each in self._below(workspace, entry))

    def _is_evicted(self, key: bytes, entry: Entry) -> bool:
        draw = sha256(f"{self._seed}:{key.hex()}:{entry.used_at_ms}".encode()).digest()
        return int.from_bytes(draw[:4], "big") % 1_000 < self._rules.eviction_permille

    def commit(self, workspace: str, prompt: Prompt, use: CacheUse, now_ms: int, first_token_at_ms: int) -> None:
        """Refresh what was read and write what was marked, for a request that started at `now_ms`.

        What is written can be read from `first_token_at_ms` on.
        """
        first = 0 if self._rules.refresh_shorter_entries else max(0, use.read_at)
        for key in prompt.hashes[first : use.read_at + 1]:
            entry = self._entries.get((workspace, key))
            if entry is not None and entry.is_readable(now_ms):
                entry.used_at_ms = now_ms
        under = prompt.hashes[use.read_at] if use.read_at >= 0 else None
        read = self._entries.get((workspace, under)) if under is not None else None
        for below in self._below(workspace, read) if read is not None else ():
            if below is not None:
                below.used_at_ms = now_ms
        for mark in use.writes:
            entry = Entry(mark.ttl, now_ms, first_token_at_ms, under if mark.at > use.read_at else None)
            self._write(workspace, prompt.hashes[mark.at], entry, now_ms)

    def _write(self, workspace: str, key: bytes, entry: Entry, now_ms: int) -> None:
        """Write one entry; one that is still live keeps the longer lifetime and the earlier first reading."""
        old = self._entries.get((workspace, key))
        if old is not None and old.is_live(now_ms) and self._stands(workspace, old, now_ms):
            entry.ttl = max(entry.ttl, old.ttl, key=TTL_MS.__getitem__)
            entry.available_at_ms = min(entry.available_at_ms, old.available_at_ms)
            entry.under = old.under
        self._entries[workspace, key] = entry

    def expire(self, now_ms: int) -> None:
        """Forget every entry that has run out; they could not be read any more anyway."""
        self._entries = {key: entry for key, entry in self._entries.items() if entry.is_live(now_ms)}
