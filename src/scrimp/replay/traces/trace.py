"""The values that every trace reader takes and gives."""

from __future__ import annotations

import re

import msgspec

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import TOKENS_MAX, Usage

#: What a terminal obeys, what turns the direction of writing, and what UTF-8 cannot write: names may hold any of it.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(name: str) -> str:
    r"""Return a name that was recorded or found as it may be shown: what cannot be is spelled out, as in `\x1b`."""
    if name.isascii() and name.isprintable():
        return name
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), name)


class Source(msgspec.Struct, frozen=True):
    """One recorded file: where it lies, its unpacked bytes, and the `.meta.json` beside it, if it has one."""

    path: str
    data: bytes
    sidecar: bytes | None = None


class Problem(msgspec.Struct, frozen=True):
    """Something that could not be read: `what` is one sentence without its place, `then` says what next.

    `line` is the first line concerned (from 1), `count` how many lines of the file have the same problem.
    """

    path: str
    what: str
    then: str
    line: int | None = None
    count: int = 1

    def __str__(self) -> str:
        """Return the whole message: place, what, what next."""
        return f"{self.headline}; {self.then}."

    @property
    def headline(self) -> str:
        """Return the place and what is wrong there."""
        path = printable(self.path)
        place = path if self.line is None else f"{path} line {self.line}"
        more = f" (and {self.count - 1:,} more like it)" if self.count > 1 else ""
        return f"{place}: {self.what}{more}"


class Compaction(msgspec.Struct, frozen=True):
    """A point where a session's context was replaced by a summary of it."""

    session_id: str
    at_ms: int


class Trace(msgspec.Struct):
    """What one file held. `exchanges` are in the order of the file, each with its own `opened_at_ms`.

    * `copied` names the exchanges that the file itself says were made in another session.
    * `launches` maps the digest of a prompt that an agent was started with to the agent's type; `orphans` maps the ids
      of agents whose type the file does not know to the digest of their first prompt. Files are read independently of
      each other, and these meet when traces are merged.
    """

    path: str
    kind: str
    exchanges: list[Exchange] = []
    compactions: list[Compaction] = []
    problems: list[Problem] = []
    copied: set[str] = set()
    launches: dict[str, str] = {}
    orphans: dict[str, str] = {}


#: The first millisecond after the last day of the calendar.
_END_OF_TIME_MS = 253_402_300_800_000


def is_countable(usage: Usage) -> bool:
    """Whether no count of a usage is negative, or larger than any answer's can be (`TOKENS_MAX`)."""
    return all(0 <= count <= TOKENS_MAX for count in msgspec.structs.astuple(usage))


def is_dated(at_ms: int) -> bool:
    """Whether a time, in milliseconds since the epoch, has a day in the calendar."""
    return 0 <= at_ms < _END_OF_TIME_MS
