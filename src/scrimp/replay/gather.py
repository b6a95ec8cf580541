"""From paths to the steps of each account: Claude Code sessions, ledgers' exports, spans, and Mooncake's traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from scrimp.core.belief.exchange import Exchange
from scrimp.errors import TraceFormatError
from scrimp.replay import mooncake
from scrimp.replay.branching import steps_of
from scrimp.replay.steps import Step
from scrimp.replay.traces.claude_history import Link
from scrimp.replay.traces.discover import Reading, find
from scrimp.replay.traces.files import load, unpack
from scrimp.replay.traces.links import links_in
from scrimp.replay.traces.trace import Problem
from scrimp.replay.traces.workers import Watch

_HEAD_BYTES = 65_536
_GZIP_MAGIC = b"\x1f\x8b"


class Material(msgspec.Struct, frozen=True):
    """What can be replayed: the steps of each account; `exchanges` and `links` of what was recorded with its bills."""

    accounts: dict[str, list[Step]]
    exchanges: Sequence[Exchange]
    links: Mapping[str, Link]
    problems: list[Problem]
    files: int


def gather(paths: Sequence[str], workers: int = 1, watch: Watch = iter) -> Material:
    """Read everything under some paths; raises TraceFormatError where nothing can be replayed."""
    found = find(paths)
    chats = {path for path in found.files if mooncake.sniff(_head(path))}
    accounts: dict[str, list[Step]] = {}
    problems: list[Problem] = []
    for path in sorted(chats):
        data, troubles = load(path)
        accounts[Path(path).name], more = mooncake.read_steps(path, data)
        problems += [*troubles, *more]
    others = [path for path in found.files if path not in chats]
    if chats and not others:
        return Material(accounts, (), {}, [*found.problems, *problems], len(chats))
    kept = others if chats else list(paths)
    recording = Reading(kept, workers).finish(watch)
    links = links_in(others)
    accounts |= steps_of(recording.exchanges, links)
    if not any(accounts.values()):
        raise TraceFormatError("Nothing in there says what a request used.", "Give recorded sessions.")
    files = recording.files + len(chats)
    return Material(accounts, recording.exchanges, links, [*recording.problems, *problems], files)


def _head(path: str) -> bytes:
    """Return how a file begins, nothing if it cannot be read; others say what is wrong with it."""
    try:
        if not Path(path).is_file():
            return b""
        with Path(path).open("rb") as file:
            data = file.read(_HEAD_BYTES)
    except OSError:
        return b""
    return unpack(data)[0] if data.startswith(_GZIP_MAGIC) else data
