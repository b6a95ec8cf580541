"""What shaping at the door makes of tool results: their sizes before and after, and whether all of it comes back.

Every text is shaped, restored and compared; one that does not come back character for character is counted and is to
nobody's credit. A result that stands in several files (forked and resumed sessions copy rows) counts once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from scrimp.core.levers.shaping.shape import Hint, Shaped, restore, shape
from scrimp.core.wire.tokens import estimate
from scrimp.errors import TraceFormatError
from scrimp.replay.traces import claude_code
from scrimp.replay.traces.discover import find, reader_of
from scrimp.replay.traces.files import load
from scrimp.replay.traces.results import Result, read_results
from scrimp.replay.traces.trace import Problem, Source
from scrimp.replay.traces.workers import Watch


class Sizes(msgspec.Struct, frozen=True):
    """Texts before and after shaping, in characters and in estimated tokens."""

    characters_before: int = 0
    characters_after: int = 0
    tokens_before: int = 0
    tokens_after: int = 0

    def __add__(self, other: Sizes) -> Sizes:
        """Add figure by figure."""
        return Sizes(
            self.characters_before + other.characters_before,
            self.characters_after + other.characters_after,
            self.tokens_before + other.tokens_before,
            self.tokens_after + other.tokens_after,
        )

    @property
    def share_saved(self) -> float:
        """The share of the characters that shaping saves; 0 where there are none."""
        return 1 - self.characters_after / self.characters_before if self.characters_before else 0.0

    @property
    def tokens_saved(self) -> int:
        """How many tokens shaping saves, less than 0 where the shorter text is estimated at more."""
        return self.tokens_before - self.tokens_after


class Measured(msgspec.Struct, frozen=True):
    """One text, shaped; `is_restored` says that it came back as it was."""

    shaped: Shaped
    sizes: Sizes
    is_restored: bool


class ToolSum(msgspec.Struct):
    """All results of one tool."""

    results: int = 0
    sizes: Sizes = Sizes()


def total_of(sums: Iterable[ToolSum]) -> ToolSum:
    """Return the sum of several tools."""
    total = ToolSum()
    for each in sums:
        total = ToolSum(total.results + each.results, total.sizes + each.sizes)
    return total


class Shaping(msgspec.Struct):
    """The results of some sessions: by tool, the number of texts that each shaper worked on, and what was wrong.

    `unrestored` counts the texts that did not come back as they were.
    """

    tools: dict[str | None, ToolSum] = {}
    shapers: Counter[str] = msgspec.field(default_factory=Counter)
    unrestored: int = 0
    files: int = 0
    problems: list[Problem] = []

    @property
    def total(self) -> ToolSum:
        """The sum over all tools."""
        return total_of(self.tools.values())

    def largest_first(self) -> list[tuple[str | None, ToolSum]]:
        """Return the tools and their sums, the one with most characters first."""
        return sorted(self.tools.items(), key=lambda pair: (-pair[1].sizes.characters_before, pair[0] or ""))


def measure(text: str, hint: Hint, model: str) -> Measured:
    """Shape a text and restore it; tokens are estimated for `model`."""
    shaped = shape(text, hint)
    tokens = _tokens(text, model)
    after = _tokens(shaped.text, model) if shaped.steps else tokens
    return Measured(shaped, Sizes(len(text), len(shaped.text), tokens, after), _restored(shaped) == text)


def _tokens(text: str, model: str) -> int:
    return estimate(msgspec.json.encode(text), model) if text else 0


def _restored(shaped: Shaped) -> str | None:
    try:
        return restore(shaped)
    except ValueError:
        return None


def add(shaping: Shaping, results: Iterable[Result], model: str) -> None:
    """Shape some results and add them to their tools' sums."""
    for result in results:
        tool = shaping.tools.setdefault(result.tool, ToolSum())
        tool.results += 1
        for text in result.texts:
            measured = measure(text, Hint(result.tool, result.input), model)
            tool.sizes += measured.sizes
            shaping.shapers.update(measured.shaped.steps)
            shaping.unrestored += not measured.is_restored


def is_session(data: bytes) -> bool:
    """Whether a file's bytes, unpacked, are a Claude Code session."""
    reader = reader_of(data)
    return reader is not None and reader.KIND == claude_code.KIND


def of_sessions(path: str, model: str, watch: Watch = iter) -> Shaping:
    """Shape the tool results of the session, or of every session in the folder, at `path`.

    `watch` may wrap the list of files to show progress. Raises TraceFormatError where there is no session.
    """
    found = find([path])
    shaping = Shaping(problems=found.problems)
    seen: set[str] = set()
    for name in watch(found.files):
        data, troubles = load(name)
        shaping.problems += troubles
        if not is_session(data):
            continue
        results, complaints = read_results(Source(name, data))
        shaping.files += 1
        shaping.problems += complaints
        add(shaping, [result for result in results if result.use_id not in seen], model)
        seen.update(result.use_id for result in results)
    if not shaping.files:
        raise TraceFormatError(f"{path} holds no Claude Code session.", "Give the folder that holds the sessions.")
    return shaping
