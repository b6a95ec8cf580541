"""Finds recorded files, asks the table of readers who reads each, and merges what they give.

A message is counted once over all files read, whatever their kinds: forked and resumed sessions copy what was sent
before them, and a gateway records what its client records too. The copy that knows most of what was used counts, the
first by time among equals. Everything that cannot be found, opened or read is a `Problem`; only where nothing at all
can be used is it an error.
"""

# Paths are strings here: there may be thousands of them, and they go to other processes.
# ruff: noqa: PTH110, PTH112, PTH118, PTH119

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Protocol

import msgspec
from msgspec.structs import replace

from scrimp.core.belief.exchange import Exchange
from scrimp.core.belief.work import with_agent_type
from scrimp.core.wire.usage import ZERO
from scrimp.errors import TraceFormatError
from scrimp.replay.traces.files import GOOD_PART, load
from scrimp.replay.traces.lines import SKIPPED
from scrimp.replay.traces.trace import Compaction, Problem, Source, Trace
from scrimp.replay.traces.workers import Readers, Watch

#: How much of a file the readers are shown to tell whose it is: this much, and the whole first line up to a limit.
HEAD_BYTES = 65_536
FIRST_LINE_BYTES_MAX = 64 << 20

#: What is looked at in a folder; other files are none of our business.
_SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz")
_SIDECAR_SUFFIX = ".meta.json"
_AGENT_PREFIX = "agent-"

#: What is said of a file whose other parts are used; where nothing is, that would be no advice.
_USES_THE_REST = (GOOD_PART, SKIPPED)
_NOTHING_LEFT = "no request is left in it, so check what wrote it or give another file"
_KINDS_READ = "give Claude Code sessions, an export of scrimp or OpenTelemetry GenAI spans"


class Reader(Protocol):
    """What a reader's module offers: whether the first bytes look like its kind, and how to read a whole file."""

    KIND: str

    def sniff(self, head: bytes) -> bool:
        """Whether a file that begins like this is of the reader's kind."""
        ...

    def read(self, source: Source) -> Trace:
        """Read a whole file."""
        ...


#: kind -> the module that reads it, loaded when a file is shown to it; the first whose `sniff` agrees reads the file.
READERS = {
    "claude-code": "scrimp.replay.traces.claude_code",
    "export": "scrimp.replay.traces.ledger_export",
    "otel": "scrimp.replay.traces.otel",
}


class Found(msgspec.Struct):
    """Files to read; `named` are those that the caller asked for one by one: not to know such a file is a problem."""

    files: list[str]
    named: set[str]
    problems: list[Problem]


class Recording(msgspec.Struct):
    """Everything that was read: exchanges in the order of opening, each once."""

    exchanges: list[Exchange]
    compactions: list[Compaction]
    problems: list[Problem]
    files: int


def default_paths(environment: Mapping[str, str], home: str) -> list[str]:
    """Return where Claude Code keeps its sessions: $CLAUDE_CONFIG_DIR, several with commas between, or ~/.claude."""
    folders = environment.get("CLAUDE_CONFIG_DIR") or os.path.join(home, ".claude")
    return [os.path.join(folder.strip(), "projects") for folder in folders.split(",") if folder.strip()]


def find(paths: Sequence[str]) -> Found:
    """Find the files under each path, which is a file or a folder; what cannot be found or listed is a problem."""
    found = Found([], set(), [])
    for path in paths:
        if os.path.isdir(path):
            _walk(path, found)
        elif os.path.exists(path):
            found.files.append(path)
            found.named.add(path)
        else:
            found.problems.append(Problem(path, "there is no such file or folder", "check the path"))
    found.files = sorted(set(found.files))
    return found


def _walk(folder: str, found: Found) -> None:
    """Add the files of a folder and of the folders in it."""
    before = len(found.files), len(found.problems)

    def closed(error: OSError) -> None:
        what = f"this folder cannot be listed ({error.strerror})"
        found.problems.append(Problem(str(error.filename), what, "allow reading it or leave it out"))

    for parent, _, names in os.walk(folder, onerror=closed):
        found.files += [
            os.path.join(parent, name)
            for name in names
            if name.endswith(_SUFFIXES) and not name.endswith(_SIDECAR_SUFFIX)
        ]
    if before == (len(found.files), len(found.problems)):
        what = "this folder holds no .jsonl, .jsonl.gz or .json file"
        found.problems.append(Problem(folder, what, "give the folder that holds the sessions"))


def _sidecar_of(path: str) -> bytes | None:
    """Return the `.meta.json` beside a subagent's file, if there is one."""
    if not os.path.basename(path).startswith(_AGENT_PREFIX):
        return None
    stem = path.removesuffix(".gz").removesuffix(".jsonl")
    data, _ = load(stem + _SIDECAR_SUFFIX)
    return data or None


def reader_of(data: bytes) -> Reader | None:
    """Return the reader that knows this kind of file, None if there is none."""
    line_end = data.find(b"\n", 0, FIRST_LINE_BYTES_MAX)
    head = data[: FIRST_LINE_BYTES_MAX if line_end < 0 else max(HEAD_BYTES, line_end)]
    for module in READERS.values():
        reader: Reader = importlib.import_module(module)
        if reader.sniff(head):
            return reader
    return None


def read_file(path: str, *, named: bool) -> Trace:
    """Read one file with the reader that knows it; the trace's kind is "" if there is none."""
    try:
        return _read_file(path, named=named)
    except MemoryError:
        return Trace(path, "", problems=[Problem(path, "this file does not fit into the memory", "split it by lines")])


def _read_file(path: str, *, named: bool) -> Trace:
    data, problems = load(path)
    reader = reader_of(data)
    if reader is not None:
        trace = reader.read(Source(path, data, _sidecar_of(path)))
        trace.problems[:0] = problems
        return trace
    expected = named or (path.removesuffix(".gz").endswith(".jsonl") and bool(data))
    if expected and not problems:
        problems = [Problem(path, "no reader knows this kind of file" if data else "this file is empty", _KINDS_READ)]
    return Trace(path, "", problems=problems)


def merge(traces: Sequence[Trace], problems: Sequence[Problem] = ()) -> Recording:
    """Put traces together, each exchange once; `problems` are those from before the first file was read."""
    kept: dict[str, Exchange] = {}
    copied: set[str] = set()
    for trace in traces:
        for exchange in trace.exchanges:
            name = exchange.message_id or exchange.exchange_id
            is_copy = exchange.exchange_id in trace.copied
            other = kept.get(name)
            if other is None or _preference(exchange, is_copy) < _preference(other, name in copied):
                kept[name] = exchange
                copied.discard(name)
                if is_copy:
                    copied.add(name)
    exchanges = sorted(kept.values(), key=attrgetter("opened_at_ms"))
    return Recording(
        exchanges=_with_agent_types(exchanges, traces),
        compactions=list(dict.fromkeys(chain.from_iterable(trace.compactions for trace in traces))),
        problems=[*problems, *chain.from_iterable(trace.problems for trace in traces)],
        files=sum(bool(trace.kind) for trace in traces),
    )


def _preference(exchange: Exchange, is_copy: bool) -> tuple[bool, bool, int, int, int, bool]:
    """Order the copies of an exchange: the fullest usage first, then the earliest, then what is not said to be copied.

    A copy may be torn: the rows with the last counts are missing, or the answer was cut off on its way.
    """
    usage = exchange.usage or ZERO
    return (
        exchange.usage is None,
        exchange.output_partial or not exchange.usage_complete,
        -usage.output_tokens,
        -usage.total_input_tokens,
        exchange.opened_at_ms,
        is_copy,
    )


def _with_agent_types(exchanges: list[Exchange], traces: Sequence[Trace]) -> list[Exchange]:
    """Give subagents the type that another file launched them with."""
    launches = {prompt: agent_type for trace in traces for prompt, agent_type in trace.launches.items()}
    types = {
        agent_id: launches[prompt]
        for trace in traces
        for agent_id, prompt in trace.orphans.items()
        if prompt in launches
    }
    if not types:
        return exchanges
    return [
        replace(exchange, agent_type=known, task_type=with_agent_type(exchange.task_type, known))
        if (known := types.get(exchange.agent_id or ""))
        else exchange
        for exchange in exchanges
    ]


class Reading:
    """Recorded files being read: start it early, with more than one worker it goes on in the background.

    With more than one worker this process forks, so it must not have threads.
    """

    def __init__(self, paths: Sequence[str], workers: int = 1) -> None:
        self._paths = paths
        self._found = find(paths)
        named = self._found.named
        self._readers = Readers(self._found.files, lambda path: read_file(path, named=path in named), workers)

    def finish(self, watch: Watch = iter) -> Recording:
        """Return everything that was read; `watch` may wrap a list of files to show progress.

        Raises TraceFormatError if nothing at all could be used: a session in which nothing was asked yet can be.
        """
        traces = self._readers.finish(watch)
        recording = merge(traces, self._found.problems)
        if any(trace.kind and (trace.exchanges or not trace.problems) for trace in traces):
            return recording
        problem = recording.problems[0] if recording.problems else _nothing(self._paths)
        then = _NOTHING_LEFT if problem.then.startswith(_USES_THE_REST) else problem.then
        raise TraceFormatError(f"{problem.headline}.", f"{then[0].upper()}{then[1:]}.")


def _nothing(paths: Sequence[str]) -> Problem:
    return Problem(", ".join(paths), "nothing here is a recorded session", _KINDS_READ)
