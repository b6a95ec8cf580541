"""The cache emulator: what the API's prompt cache is believed to hold, and what a request will read and write.

It follows the documented rules (API docs, prompt caching; facts section 2): entries are written only at
breakpoints, each breakpoint looks back over at most 20 positions, a lifetime runs from the start of the request
that wrote or last read the entry, and an entry becomes readable only when the first token of its writer is out.
What the docs leave open is a named switch in `CacheRules`. An entry's life, as a table:

    state     event               next
    -------   -----------------   --------
    (none)    request sent        flight      written by a breakpoint, not readable yet
    flight    first token         live
    flight    request failed      (none)
    live      read in time        live        the lifetime starts again
    live      lifetime over       (none)
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from scrimp.core.belief.prefix import Mark, Prompt
from scrimp.core.wire.blocks import Ttl
from scrimp.core.wire.models import traits
from scrimp.core.wire.usage import Usage

#: Lifetimes in milliseconds.
TTL_MS: dict[Ttl, int] = {"5m": 300_000, "1h": 3_600_000}


class CacheRules(msgspec.Struct, frozen=True):
    """What the documentation states (`lookback_positions`) or leaves open (the switches).

    * `tool_runs_count_once`: CONFLICT between the docs (each block counts) and Claude Code's skill of November
      2026 (a run of tool_use or tool_result blocks counts once); the newer one is the default.
    * `longer_read_refreshes_shorter`: a hint in Claude Code's docs (/rewind) says it does.
    * `foreign_thinking_dropped`: thinking that another model wrote is left out of the prompt, so that a change of model
      loses the cache from there on (Claude Code's skill: preserved thinking).
    * `server_tool_marks`: in a request with a mark the API marks each result of its own tools, too, for five minutes
      (API docs, tool use with prompt caching).
    * `write_below_hit`: whether a mark in front of the prefix that was read makes an entry of its own, free of charge;
      the safer guess is that it does not.
    """

    lookback_positions: int = 20
    tool_runs_count_once: bool = True
    longer_read_refreshes_shorter: bool = True
    write_below_hit: bool = False
    foreign_thinking_dropped: bool = True
    server_tool_marks: bool = True


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A cached prefix of `tokens` tokens. `flights` are the exchanges that write it and have no first token yet."""

    tokens: int
    ttl: Ttl
    expires_at_ms: int
    flights: frozenset[str] = frozenset()


#: Entries remembered per cache; those that run out first are forgotten first, which only costs predictions.
ENTRIES_MAX = 4_096

#: Prefix digest -> entry, for one principal and model.
Entries = Mapping[bytes, Entry]


class Split(msgspec.Struct, frozen=True):
    """What a request is expected to read and write. `hit` is the chain index of the prefix that is read."""

    hit: int | None
    marks: tuple[Mark, ...]
    usage: Usage


def is_live(entry: Entry | None, now_ms: int) -> bool:
    """Whether an entry can be read now."""
    return entry is not None and not entry.flights and now_ms < entry.expires_at_ms


def _look_back(entries: Entries, prompt: Prompt, start: int, now_ms: int, rules: CacheRules) -> int | None:
    """Walk back from the breakpoint at `start`, itself the first position, to the nearest live entry."""
    positions = prompt.runs if rules.tool_runs_count_once else range(start + 1)
    for index in range(start, -1, -1):
        if positions[start] - positions[index] >= rules.lookback_positions:
            return None
        if is_live(entries.get(prompt.digests[index]), now_ms):
            return index
    return None


def eligible_marks(prompt: Prompt) -> tuple[Mark, ...]:
    """Return the marks whose prefix reaches the model's minimum; shorter ones are silently not cached."""
    shortest = traits(prompt.model).min_cacheable_tokens
    return tuple(mark for mark in prompt.marks if prompt.tokens[mark.index] >= shortest)


def predict(entries: Entries, prompt: Prompt, now_ms: int, rules: CacheRules) -> Split:
    """Say what the API will bill for the input of this prompt, sent now.

    With A the tokens at the hit, B at the last 1-hour mark after it and C at the last mark: read A, write B - A
    for an hour and C - B for five minutes (API docs, mixing TTLs).
    """
    entries, marks = _with_own_marks(entries, prompt, now_ms), eligible_marks(prompt)
    hits = (_look_back(entries, prompt, mark.index, now_ms, rules) for mark in reversed(marks))
    hit = next((index for index in hits if index is not None), None)
    read = 0 if hit is None else prompt.tokens[hit]
    one_hour = max((prompt.tokens[mark.index] for mark in marks if mark.ttl == "1h"), default=0)
    last = max((prompt.tokens[mark.index] for mark in marks), default=0)
    upto_1h, upto_last = max(read, one_hour), max(read, last)
    usage = Usage(
        uncached_input_tokens=prompt.total_tokens - upto_last,
        cache_read_input_tokens=read,
        cache_write_5m_input_tokens=upto_last - upto_1h,
        cache_write_1h_input_tokens=upto_1h - read,
    )
    return Split(hit, marks, usage)


def send(entries: Entries, prompt: Prompt, split: Split, now_ms: int, flight: str, rules: CacheRules) -> Entries:
    """Record that the prompt was sent: what it reads lives on, what it writes is in flight until its first token."""
    known = _with_own_marks(entries, prompt, now_ms)
    kept = _bounded({digest: entry for digest, entry in known.items() if now_ms < entry.expires_at_ms})
    hit = -1 if split.hit is None else split.hit
    for digest in prompt.digests[0 if rules.longer_read_refreshes_shorter else max(0, hit) : hit + 1]:
        entry = kept.get(digest)
        if entry is not None and not entry.flights:
            kept[digest] = msgspec.structs.replace(entry, expires_at_ms=now_ms + TTL_MS[entry.ttl])
    for mark in split.marks:
        if mark.index > hit or rules.write_below_hit:
            digest = prompt.digests[mark.index]
            kept[digest] = _written(kept.get(digest), prompt.tokens[mark.index], mark.ttl, now_ms, flight)
    return kept


def _with_own_marks(entries: Entries, prompt: Prompt, now_ms: int) -> Entries:
    """Return the entries with those that the API wrote itself within earlier answers, which this prompt shows first."""
    if not prompt.own_marks:
        return entries
    shortest, written = traits(prompt.model).min_cacheable_tokens, dict(entries)
    for own in prompt.own_marks:
        tokens, expires_at_ms = prompt.tokens[own.index], own.at_ms + TTL_MS["5m"]
        if tokens >= shortest and now_ms < expires_at_ms:
            written.setdefault(prompt.digests[own.index], Entry(tokens, "5m", expires_at_ms))
    return written


def _bounded(entries: dict[bytes, Entry]) -> dict[bytes, Entry]:
    if len(entries) <= ENTRIES_MAX:
        return entries
    longest = sorted(entries.items(), key=lambda item: item[1].expires_at_ms, reverse=True)
    return dict(longest[: ENTRIES_MAX // 2])


def _written(known: Entry | None, tokens: int, ttl: Ttl, now_ms: int, flight: str) -> Entry:
    """Return the entry that a write makes; a second writer of the same prefix only lengthens its life."""
    if known is None:
        return Entry(tokens, ttl, now_ms + TTL_MS[ttl], frozenset({flight}))
    longer = max(ttl, known.ttl, key=TTL_MS.__getitem__)
    flights = known.flights | {flight} if known.flights else known.flights
    return Entry(tokens, longer, now_ms + TTL_MS[longer], flights)


def land(entries: Entries, flight: str) -> Entries:
    """Record the first token of `flight`: its entries become readable."""
    written = {
        digest: msgspec.structs.replace(entry, flights=frozenset())
        for digest, entry in entries.items()
        if entry.flights and flight in entry.flights
    }
    return {**entries, **written} if written else entries


def drop(entries: Entries, flight: str) -> Entries:
    """Record that `flight` failed before its first token: what only it was writing never existed."""
    return {
        digest: msgspec.structs.replace(entry, flights=entry.flights - {flight}) if flight in entry.flights else entry
        for digest, entry in entries.items()
        if entry.flights != {flight}
    }
