"""Processes that a test started, and theirs."""

from __future__ import annotations

import subprocess


def _table() -> dict[int, int]:
    """Return the parent of each process that runs; what ended and is only not collected yet counts as gone."""
    with subprocess.Popen(["ps", "-A", "-o", "pid=,ppid=,stat="], stdout=subprocess.PIPE, text=True) as listing:  # noqa: S607 - any ps
        out, _ = listing.communicate()
    rows = (line.split() for line in out.splitlines())
    return {int(pid): int(parent) for pid, parent, state in rows if state[0] != "Z" and int(pid) != listing.pid}


def children_of(pid: int) -> list[int]:
    """Return the children of a process, the oldest first."""
    return sorted(child for child, parent in _table().items() if parent == pid)


def running(pids: list[int]) -> list[int]:
    """Return which of some processes still run."""
    return sorted(set(pids) & _table().keys())
