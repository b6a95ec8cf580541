"""What tools gave back in the recorded data, and what a shaper saves of it."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

from scrimp.core.levers.shaping.contract import Hint, Shaper
from scrimp.core.levers.shaping.shape import proved
from scrimp.replay.traces.results import read_results
from scrimp.replay.traces.trace import Source

LOGS = "test logs"
"""What stands for the tool's name of the outputs of test runs, which no tool names."""


@cache
def recorded(data: Path) -> tuple[tuple[str, str], ...]:
    """Return the tool and the text of every tool result in sessions, and of every recorded test run."""
    return (*_of_sessions(data / "claude_code_sessions"), *_of_runs(data / "pytest_outputs"))


def _of_sessions(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*.jsonl.gz")):
        results, _ = read_results(Source(path.name, gzip.decompress(path.read_bytes())))
        first = {result.use_id: result for result in reversed(results)}
        yield from ((result.tool or "", text) for result in first.values() for text in result.texts)


def _of_runs(folder: Path) -> Iterator[tuple[str, str]]:
    yield from ((LOGS, path.read_bytes().decode()) for path in sorted(folder.glob("*.txt")))


def saved_by_tool(shaper: Shaper, data: Path) -> dict[str, float]:
    """Return the percentage of characters that a shaper saves by tool, each result proved to come back."""
    before: Counter[str] = Counter()
    saved: Counter[str] = Counter()
    for tool, text in recorded(data):
        hint = Hint(tool if tool != LOGS else None)
        shaped = proved(shaper, text, hint)
        before[tool] += len(text)
        if shaped is not None:
            assert proved(shaper, shaped, hint) is None
            saved[tool] += len(text) - len(shaped)
    return {tool: 100 * saved[tool] / before[tool] for tool, _ in saved.most_common()}


def falling_short(
    shaper: Shaper, data: Path, record_property: Callable[[str, object], None], least: Mapping[str, float]
) -> list[str]:
    """Say what a shaper alone saves of recorded results by tool; return the tools of which it saves less than this."""
    saved = saved_by_tool(shaper, data)
    figures = ", ".join(f"{tool} {share:.2f}%" for tool, share in saved.items() if share >= 0.005)
    record_property("measured", f"{shaper.name} alone saves {figures} of the characters of tool results")
    return [tool for tool, share in least.items() if saved.get(tool, 0) < share]
