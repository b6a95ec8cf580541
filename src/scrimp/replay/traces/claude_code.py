"""Reads Claude Code session files: `<project>/<session>.jsonl` and `<session>/subagents/agent-<id>.jsonl`.

One assistant message stands on several rows, each repeating the same usage; it is one exchange, with the largest of
its output counts (facts on data). Where no row states any count, its usage is unknown. It was opened when its
`api-request` row says so, else at its parent row's time: the tool result or prompt that it answers. Rows that the
client made up (no model or `<synthetic>`, API errors) are none.

Rows form threads: the main one and one for each subagent, whether in a file of its own or as `isSidechain` rows in the
session's (older builds, told apart by their chain of parents). A thread carries what names its work (see
`scrimp.core.belief.work`): the agent's type, the cluster of its first prompt, the command or skill at work.
"""

# Paths are strings here: there may be thousands of them, and they go to other processes.
# ruff: noqa: PTH120, PTH206

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from zlib import adler32, crc32

import msgspec

from scrimp.core.belief import work
from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.surrogates import UNREADABLE
from scrimp.core.wire.usage import TOKENS_MAX, ApiUsage, meter
from scrimp.replay.traces import claude_rows
from scrimp.replay.traces.claude_rows import Message, Row
from scrimp.replay.traces.lines import Complaints, numbered_lines
from scrimp.replay.traces.trace import Compaction, Source, Trace, is_dated

KIND = "claude-code"

_AGENT_FILE = re.compile(r"agent-([\w-]+)\.jsonl(\.gz)?$")
_SESSION_FILE = re.compile(r"([^/\\]+?)\.jsonl(\.gz)?$")
_VERSION = re.compile(r"2\.1\.(\d+)$")
#: Agent ids that the client gives its own side requests -> request class.
_SIDE_AGENTS = {"acompact": "compaction", "aprompt_suggestion": "auxiliary", "aside_question": "auxiliary"}
#: `querySource` of an api-request row -> request class, where it is neither an agent nor auxiliary.
_SOURCES = {"sdk": "main", "cli": "main", "repl_main_thread": "main", "compact": "compaction"}
_MAIN_THREAD_SOURCE = "repl_main_thread"
_AGENT_SOURCE = "agent:"

_FOREIGN = "this line is JSON but no row of a Claude Code session"
_WRONG = f"a value of this row has the wrong type or cannot be, as a count beyond {TOKENS_MAX:,} tokens"
_NO_TIME = "this answer has no readable time"
#: Tools whose input names the work to come: a new agent's type (two names, by age of the build) or a skill.
_TELLING_TOOLS = frozenset({"Agent", "Task", "Skill"})
#: How much a row says of what was used, below any output count.
_OTHERS, _NOTHING = -1, -2
#: What stands for the model in rows that the client made up.
_NO_MODELS = frozenset({None, "<synthetic>"})
_READ_KINDS = frozenset({"assistant", "user", "system", "api-request"})


class _Thread(msgspec.Struct):
    """One agent's line of work within a session, as known so far."""

    agent_id: str | None = None
    agent_type: str | None = None
    request_class: str = "main"
    cluster: str | None = None
    activity: str | None = None
    prompt_id: str | None = None
    launch: str | None = None
    tools: set[str] = msgspec.field(default_factory=set)


class _Draft(msgspec.Struct):
    """One message while its rows are still coming; `message` is the one that says most of what was used."""

    line: int
    first: Row
    last: Row
    message: Message
    known: int
    thread: _Thread
    activity: str | None
    prompt_id: str | None
    stop_reason: str | None


def sniff(head: bytes) -> bool:
    """Whether the first bytes of a file look like rows of a session: objects with a `type` and ids of the client's."""
    for line in head.split(b"\n")[:20]:
        try:
            keys = msgspec.json.decode(line, type=dict[str, msgspec.Raw]).keys()
        except UNREADABLE:
            continue
        if "type" in keys and keys & {"sessionId", "uuid", "message", "leafUuid"}:
            return True
    return False


@lru_cache(maxsize=256)
def output_is_partial(version: str | None) -> bool:
    """Whether this build wrote only the first partial output count (facts on data: 2.1.1 and 2.1.12 to 2.1.43)."""
    found = _VERSION.match(version or "")
    build = int(found[1]) if found else 0
    return build == 1 or 12 <= build <= 43  # noqa: PLR2004 - the builds of the docstring


def read(source: Source) -> Trace:
    """Read one session file, or one subagent's file; rows that cannot be read become problems.

    A file without fault, the usual one, is decoded in one go; one with any fault is gone through line by line, so that
    the good lines are used and the problems say where they are.
    """
    try:
        rows = claude_rows.row_decoder.decode_lines(source.data)
    except UNREADABLE:
        trace = None
    else:
        trace = _SessionReader(source).read(enumerate(rows, 1))
    if trace is None or trace.problems:
        reader = _SessionReader(source)
        trace = reader.read(numbered_lines(source.data, claude_rows.row_decoder, reader.complaints, _judge))
    return trace


def _judge(kind: str) -> str | None:
    """Say what is wrong with a row that did not decode; kinds that are not read may be of any shape."""
    if not kind:
        return _FOREIGN
    return _WRONG if kind in _READ_KINDS else None


def time_ms(stamp: str | None) -> int | None:
    """Return a row's time in milliseconds, None if it states none that can be read; without a zone it is UTC."""
    if not stamp:
        return None
    try:
        moment = datetime.fromisoformat(stamp)
        at_ms = round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
    return at_ms if is_dated(at_ms) else None


def _known_of(usage: ApiUsage | None) -> int:
    """Return how much a usage says: its output count, `_OTHERS` if it states other counts only, else `_NOTHING`."""
    if usage is None:
        return _NOTHING
    if usage.output_tokens is None:
        return _OTHERS if usage.is_known else _NOTHING
    return usage.output_tokens


def _digest(prompt: str) -> str:
    """Tell apart the few prompts that agents were launched with; two checksums do, and hashlib is slow to load."""
    text = prompt.encode("utf-8", "replace")
    return f"{crc32(text):08x}{adler32(text):08x}{len(text):x}"


def _project_of(path: str) -> str | None:
    """Return the folder that stands for the project in the path of a session's or a subagent's file."""
    folders = os.path.dirname(path).split(os.sep)
    if folders[-1:] == ["subagents"]:
        folders = folders[:-2]
    return folders[-1] or None if folders else None


class _SessionReader:
    """Folds the rows of one file into exchanges."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._launches: dict[str, str] = {}
        self._orphans: dict[str, str] = {}
        self.complaints = Complaints(source.path)
        self._stamps: dict[str, str | None] = {}
        self._requests: dict[str, Row] = {}
        self._chains: dict[str, _Thread] = {}
        self._agents: dict[str, _Thread] = {}
        self._drafts: dict[str, _Draft] = {}
        self._compactions: dict[str, Compaction] = {}
        self._cwd: str | None = None
        self._main = _Thread()
        agent_file = _AGENT_FILE.search(source.path)
        if agent_file:
            self._main = self._agent(agent_file[1])
            self._main.agent_type = claude_rows.agent_type_of(source.sidecar)

    def read(self, rows: Iterable[tuple[int, Row]]) -> Trace:
        """Fold the numbered rows of the file."""
        handlers: dict[str, Callable[[Row, int], None]] = {
            "assistant": self._on_assistant,
            "user": self._on_user,
            "system": self._on_system,
            "api-request": self._on_request,
        }
        stamps = self._stamps
        for line, row in rows:
            if row.uuid is not None:
                stamps[row.uuid] = row.timestamp
            handler = handlers.get(row.type)
            if handler is not None:
                handler(row, line)
            elif not row.type:
                self.complaints.add(_FOREIGN, line)
        return self._finish()

    # --- threads ---

    def _agent(self, agent_id: str) -> _Thread:
        if agent_id not in self._agents:
            side = _SIDE_AGENTS.get(agent_id.split("-", maxsplit=1)[0], "subagent")
            self._agents[agent_id] = _Thread(agent_id=agent_id, request_class=side)
        return self._agents[agent_id]

    def _thread(self, row: Row) -> _Thread:
        """Return the thread of a row; side chains of older builds have no agent id and are found by their parent."""
        if row.agent_id is not None:
            return self._agent(row.agent_id)
        if not row.is_sidechain or self._main.agent_id is not None:
            return self._main
        thread = self._chains.get(row.parent_uuid or "") or self._agent(row.uuid or "")
        if row.uuid:
            self._chains[row.uuid] = thread
        return thread

    # --- rows ---

    def _on_request(self, row: Row, _line: int) -> None:
        if row.id:
            self._requests[row.id] = row

    def _on_system(self, row: Row, _line: int) -> None:
        if row.subtype == "compact_boundary":
            self._compacted(row)

    def _compacted(self, row: Row) -> None:
        """Note a compaction; its boundary and its summary follow each other and are one."""
        at_ms = time_ms(row.timestamp)
        if at_ms is not None:
            last = next(reversed(self._drafts), "")
            self._compactions.setdefault(last, Compaction(row.session_id or self._session_id(), at_ms))

    def _on_user(self, row: Row, _line: int) -> None:
        thread = self._thread(row)
        message = row.message
        if row.is_compact_summary:
            self._compacted(row)
            return
        if message is None or row.is_meta or not message.content or claude_rows.has_tool_result(message):
            return
        prompt = work.clean(claude_rows.text_of(message))
        if prompt:
            self._on_prompt(thread, prompt, row.prompt_id or row.uuid)

    def _on_prompt(self, thread: _Thread, prompt: str, prompt_id: str | None) -> None:
        command = work.command_of(prompt)
        if command and work.is_local(command):
            return
        thread.prompt_id = prompt_id
        if thread.agent_id is not None and thread.launch is None:
            thread.launch = _digest(prompt)
        if command:
            thread.activity = command
        elif not work.is_acknowledgement(prompt):
            thread.activity = None
        if thread.cluster is None and not command:
            thread.cluster = work.cluster_of(prompt)

    def _on_assistant(self, row: Row, line: int) -> None:
        message = row.message
        thread = self._thread(row)
        if self._cwd is None:
            self._cwd = row.cwd
        if message is None or row.is_api_error_message or message.model in _NO_MODELS:
            return
        if row.attribution_agent and thread.agent_type is None:
            thread.agent_type = row.attribution_agent
        if isinstance(message.content, list):
            for block in message.content:
                if block.name is not None:
                    thread.tools.add(block.name)
                    if block.name in _TELLING_TOOLS:
                        self._on_tool(thread, block)
        key = message.id or row.request_id or row.uuid or f"{self._source.path}:{line}"
        draft = self._drafts.get(key)
        known = _known_of(message.usage)
        if draft is None:
            self._drafts[key] = _Draft(
                line, row, row, message, known, thread, thread.activity, thread.prompt_id, message.stop_reason
            )
            return
        draft.last = row
        draft.stop_reason = message.stop_reason or draft.stop_reason
        if known >= draft.known:
            draft.message, draft.known = message, known

    def _on_tool(self, thread: _Thread, block: claude_rows.Block) -> None:
        """Note what a new agent or a skill says of the work to come."""
        given = claude_rows.input_of(block)
        if block.name == "Skill":
            skill = given.skill or given.command
            thread.activity = f"{work.SKILL}{skill}" if skill else thread.activity
        elif given.prompt and given.subagent_type:
            self._launches[_digest(work.clean(given.prompt))] = given.subagent_type

    # --- exchanges ---

    def _session_id(self) -> str:
        found = _SESSION_FILE.search(self._source.path)
        return found[1] if found else self._source.path

    def _finish(self) -> Trace:
        """Make the trace, once every row is known."""
        trace = Trace(self._source.path, KIND, compactions=list(self._compactions.values()), launches=self._launches)
        for agent_id, thread in self._agents.items():
            if thread.agent_type is None and thread.launch is not None:
                thread.agent_type = self._launches.get(thread.launch)
                if thread.agent_type is None:
                    trace.orphans[agent_id] = thread.launch
        project = self._cwd or _project_of(self._source.path)
        for key, draft in self._drafts.items():
            exchange = self._exchange(key, draft, project)
            if exchange is not None:
                trace.exchanges.append(exchange)
                if draft.first.forked_from is not None:
                    trace.copied.add(key)
        trace.problems = self.complaints.problems()
        return trace

    def _opened_at_ms(self, first: Row, request: Row | None) -> int | None:
        """Return when a message's request was sent: as its own row says, else when what it answers was written."""
        answered_ms = time_ms(first.timestamp)
        sent_ms = time_ms(request.timestamp if request else self._stamps.get(first.parent_uuid or ""))
        if answered_ms is None or sent_ms is None:
            return answered_ms if sent_ms is None else sent_ms
        return min(sent_ms, answered_ms)

    def _exchange(self, key: str, draft: _Draft, project: str | None) -> Exchange | None:
        """Make the exchange of a message; None, with a complaint, where it has no readable time."""
        first, message, thread = draft.first, draft.message, draft.thread
        request = self._requests.get(first.request_ref or "")
        opened_at_ms = self._opened_at_ms(first, request)
        if opened_at_ms is None:
            self.complaints.add(_NO_TIME, draft.line)
            return None
        api = message.usage if draft.known > _NOTHING else None
        metered = meter(api, message.model) if api is not None else None
        request_class, activity = _class_of(request, thread, draft.activity)
        return Exchange(
            exchange_id=key,
            opened_at_ms=opened_at_ms,
            source=KIND,
            closed_at_ms=time_ms(draft.last.timestamp),
            project=project,
            session_id=first.session_id or self._session_id(),
            agent_id=thread.agent_id,
            agent_type=thread.agent_type,
            request_class=request_class,
            prompt_id=draft.prompt_id,
            client=f"{KIND}/{first.version}" if first.version else KIND,
            task_type=work.name_type(
                request_class, thread.agent_type, activity, thread.cluster or work.tool_cluster(thread.tools)
            ),
            requested_model=first.requested_model,
            served_model=message.model,
            message_id=message.id,
            request_id=first.request_id,
            stop_reason=draft.stop_reason,
            usage=metered.usage if metered else None,
            usage_lines=metered.lines if metered else (),
            usage_complete=api is not None and api.is_complete,
            output_partial=output_is_partial(first.version),
        )


def _class_of(request: Row | None, thread: _Thread, activity: str | None) -> tuple[str, str | None]:
    """Return the request class and the activity: what the client says of the request, else what its thread is."""
    source = request.query_source if request else None
    if not source or source.startswith(_AGENT_SOURCE):
        source = thread.agent_id if thread.request_class == "auxiliary" else None
        return thread.request_class, _side_name(source) if source else activity
    known = "main" if source.startswith(_MAIN_THREAD_SOURCE) else _SOURCES.get(source)
    if known is not None:
        return known, activity
    return "auxiliary", source.replace("_", " ")


def _side_name(agent_id: str) -> str:
    """Return what a side request's agent id says of it: "aprompt_suggestion-1f2e" is a prompt suggestion."""
    return agent_id.split("-", maxsplit=1)[0].removeprefix("a").replace("_", " ")
