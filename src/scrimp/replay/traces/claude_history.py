"""What a session's rows say of how each request was put together: which answer it follows, and what lies between.

Claude Code keeps a conversation as a tree of rows, each naming the row before it; a request is the way from a row up to
the root. Read here is only that way and the kinds of blocks on it, not what they say but for a few fixed phrases of the
client, and only where replay asks, so `scrimp report` does not pay for it. A row that the file lacks (transcripts get
trimmed) is taken to be the one that stands before in the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Literal, NamedTuple

import msgspec

from scrimp.core.belief.signs import signs_of
from scrimp.core.wire.surrogates import UNREADABLE
from scrimp.replay.steps import Waiting
from scrimp.replay.traces.claude_code import time_ms
from scrimp.replay.traces.lines import Complaints, numbered_lines
from scrimp.replay.traces.trace import Source

#: Who wrote the prompt that opened a turn: the user, or the client on its own (a skill's text, a plan that was
#: accepted).
Prompter = Literal["user", "client"]

_SYNTHETIC = "<synthetic>"
#: The client's own first words of a conversation that carries out an accepted plan.
_PLAN = "Implement the following plan:"
#: The client's answer in our place, where it takes up a conversation again that ended with a prompt.
_RESUMED = "No response requested."
#: What the client writes where the user stopped an answer before its first word.
_STOPPED = "[Request interrupted by user]"
_QUESTIONS = frozenset({"AskUserQuestion", "ExitPlanMode"})
_AGENTS = frozenset({"Agent", "Task"})
#: Runs of these are one look-back position.
_RUNS = frozenset({"tool_use", "tool_result"})
_KINDS = frozenset({"assistant", "user", "system"})


class _Block(msgspec.Struct, gc=False):
    type: str = ""
    name: str | None = None
    text: str | None = None


class _Message(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    content: str | list[_Block] | None = None


class _Row(msgspec.Struct, gc=False, rename="camel"):
    type: str = ""
    subtype: str | None = None
    uuid: str | None = None
    parent_uuid: str | None = None
    logical_parent_uuid: str | None = None
    timestamp: str | None = None
    is_meta: bool | None = None
    is_compact_summary: bool | None = None
    is_api_error_message: bool | None = None
    message: _Message | None = None


class Stopped(msgspec.Struct, frozen=True, gc=False):
    """A request that the user stopped before any answer was recorded.

    `ran_ms` is for how long it ran: if that was long enough for its first token, its prompt is in the cache.
    `later_characters` is the length of the user's texts after it.
    """

    at_ms: int
    ran_ms: int
    later_characters: int


class Link(msgspec.Struct, frozen=True, gc=False):
    """How the request of one answer was put together.

    * `parent_id` is the message id of the answer that it follows, None where a conversation starts.
    * `prompter` wrote the prompt between the two, None if there is none and the turn goes on.
    * `compacted`: a summary stands for what was before; `microcompacted`: the client says that it cleared old tool
      results; `resumed`: the client was ended and took the conversation up again.
    * `stopped` is the last request in between that never got an answer.
    * `positions` is how many look-back positions lie between the end of the parent's prompt and the end of this one;
      a run of tool_use or tool_result blocks is one (`CacheRules.tool_runs_count_once`).
    * `prompt_characters` is the length of the user's texts between the two.
    * `thinks`: the answer holds thinking; `in_one_piece`: it came whole, not as a stream; `waiting` is what it
      left open, and `signs` how many signs it bears of wanting a reply (`belief.signs`), where it ends a turn.
    """

    message_id: str
    parent_id: str | None
    prompter: Prompter | None = None
    compacted: bool = False
    microcompacted: bool = False
    resumed: bool = False
    stopped: Stopped | None = None
    positions: int = 1
    prompt_characters: int = 0
    thinks: bool = False
    in_one_piece: bool = False
    waiting: Waiting = "turn_ended"
    signs: int | None = None


_decoder = msgspec.json.Decoder(_Row)


def read_links(source: Source) -> list[Link]:
    """Return the links of one session file, in the order of its answers; rows that cannot be read are passed over."""
    try:
        rows = _decoder.decode_lines(source.data)
    except UNREADABLE:
        complaints = Complaints(source.path)
        rows = [row for _, row in numbered_lines(source.data, _decoder, complaints, lambda _kind: None)]
    return _History([row for row in rows if row.type in _KINDS]).links()


def by_message(links: Iterable[Link]) -> Mapping[str, Link]:
    """Index links by the id of their answer; where sessions copied each other's rows, the first says it."""
    found: dict[str, Link] = {}
    for link in links:
        found.setdefault(link.message_id, link)
    return found


class _Way(NamedTuple):
    """The answer in front of a request, and the rows in between, in order."""

    parent: str | None
    rows: list[_Row]


class _History:
    """The tree of rows of one file."""

    def __init__(self, rows: list[_Row]) -> None:
        self._rows = rows
        self._at: dict[str, int] = {row.uuid: index for index, row in enumerate(rows) if row.uuid is not None}
        self._answers: dict[str, list[_Row]] = {}
        self._firsts: dict[str, int] = {}
        self._used: dict[str, set[str]] = {}
        for index, row in enumerate(rows):
            name = _answer_id(row)
            if name is not None:
                self._answers.setdefault(name, []).append(row)
                self._firsts.setdefault(name, index)

    def links(self) -> list[Link]:
        """Return one link for each answer."""
        return [self._link(name, self._way(name, index)) for name, index in self._firsts.items()]

    def _before(self, index: int) -> int | None:
        """Return the row in front of a row, None if there is none."""
        row = self._rows[index]
        name = row.parent_uuid or row.logical_parent_uuid
        if name is None:
            return None
        found = self._at.get(name)
        if found is None or found >= index:
            return index - 1 if index else None
        return found

    def _way(self, name: str, index: int) -> _Way:
        rows: list[_Row] = []
        at = self._before(index)
        while at is not None:
            row = self._rows[at]
            parent = _answer_id(row)
            if parent is not None and parent != name:
                return _Way(parent, rows[::-1])
            rows.append(row)
            at = self._before(at)
        return _Way(None, rows[::-1])

    def _link(self, name: str, way: _Way) -> Link:
        answer = self._answers[name]
        blocks = [block for row in answer for block in _blocks(row)]
        return Link(
            message_id=name,
            parent_id=way.parent,
            prompter=_prompter(way.rows),
            compacted=any(row.is_compact_summary or row.subtype == "compact_boundary" for row in way.rows),
            microcompacted=any(row.subtype == "microcompact_boundary" for row in way.rows),
            resumed=any(_is_resumption(row) for row in way.rows),
            stopped=_stopped(way.rows),
            positions=max(1, self._positions(way)),
            prompt_characters=_characters(way.rows),
            thinks=any(block.type in {"thinking", "redacted_thinking"} for block in blocks),
            in_one_piece=len(answer) == 1 and len(blocks) > 1,
            waiting=_waiting(blocks),
            signs=self._signs(name, way, blocks),
        )

    def _signs(self, name: str, way: _Way, blocks: list[_Block]) -> int | None:
        """Count the signs of an answer that ends a turn, and keep which tools the turn has used so far."""
        used = {block.name or "" for block in blocks if block.type == "tool_use"}
        if _prompter(way.rows) is None:
            used |= self._used.get(way.parent or "", set())
        self._used[name] = used
        if _waiting(blocks) != "turn_ended":
            return None
        return signs_of("".join(block.text or "" for block in blocks if block.type == "text"), used)

    def _positions(self, way: _Way) -> int:
        """Count the positions in between; of parallel results only one is on the way, but they are one run anyway."""
        answer = [block.type for row in self._answers.get(way.parent or "", []) for block in _blocks(row)]
        asked = [block.type for row in way.rows if row.type == "user" for block in _blocks(row)]
        calls = ["tool_use"] * ("tool_use" in answer)
        kinds = ["", *(kind for kind in answer if kind != "tool_use"), *calls, *asked]
        return sum(kind not in _RUNS or kind != before for before, kind in pairwise(kinds))


def _blocks(row: _Row) -> list[_Block]:
    content = row.message.content if row.message else None
    if isinstance(content, str):
        return [_Block("text", None, content)]
    return content or []


def _answer_id(row: _Row) -> str | None:
    """Return the message id of a row of an answer by the API, None for all others."""
    message = row.message
    if row.type != "assistant" or message is None or row.is_api_error_message:
        return None
    return None if message.model in {None, _SYNTHETIC} else message.id


def _starts_with(row: _Row, phrase: str) -> bool:
    return any((block.text or "").startswith(phrase) for block in _blocks(row))


def _has_result(row: _Row) -> bool:
    return any(block.type == "tool_result" for block in _blocks(row))


def _prompter(rows: list[_Row]) -> Prompter | None:
    """Say who wrote the last prompt among rows: no tool results, no summary, no note that the user stopped it."""
    for row in reversed(rows):
        if row.type != "user" or row.is_compact_summary or _has_result(row) or _starts_with(row, _STOPPED[:-1]):
            continue
        return "client" if row.is_meta or _starts_with(row, _PLAN) else "user"
    return None


def _characters(rows: list[_Row]) -> int:
    return sum(len(block.text or "") for row in rows if row.type == "user" for block in _blocks(row))


def _stopped(rows: list[_Row]) -> Stopped | None:
    """Find the last request that got no answer: its last row stands in front of the note that it was stopped."""
    for index in range(len(rows) - 1, 0, -1):
        sent = rows[index - 1]
        if _starts_with(rows[index], _STOPPED) and sent.type == "user":
            at_ms, stopped_at_ms = time_ms(sent.timestamp), time_ms(rows[index].timestamp)
            if at_ms is None or stopped_at_ms is None:
                return None
            return Stopped(at_ms, stopped_at_ms - at_ms, _characters(rows[index:]))
    return None


def _is_resumption(row: _Row) -> bool:
    is_synthetic = row.type == "assistant" and row.message is not None and row.message.model == _SYNTHETIC
    return is_synthetic and _starts_with(row, _RESUMED)


def _waiting(blocks: list[_Block]) -> Waiting:
    """Say what an answer left open: the slowest of its tools counts."""
    names = {block.name for block in blocks if block.type == "tool_use"}
    if names & _QUESTIONS:
        return "question"
    if names & _AGENTS:
        return "agent"
    return "tool" if names else "turn_ended"
