"""The measure of shaping: sums that add up, each result once, and nobody's credit for what does not come back."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.levers.shaping.shape import Hint, restore, shape
from scrimp.core.wire.tokens import estimate
from scrimp.errors import TraceFormatError
from scrimp.replay import shaping as subject
from scrimp.replay.shaping import Shaping, Sizes, ToolSum, add, is_session, measure, of_sessions, total_of
from scrimp.replay.traces.results import Result
from tests.replay.transcripts import Transcript

MODEL = "claude-opus-5-5"
FLIGHTS = json.dumps([{"flight": f"HAT{n:03}", "origin": "SFO", "price": 100 + n} for n in range(30)])

sizes = st.builds(Sizes, *[st.integers(0, 10**9)] * 4)


@given(st.text())
def test_a_text_is_measured_as_it_is_shaped(text: str) -> None:
    """Sizes are those of the text and of what `shape` makes of it, and it comes back."""
    measured = measure(text, Hint("Bash"), MODEL)
    assert shape(text, Hint("Bash")) == measured.shaped
    assert (len(text), len(measured.shaped.text)) == (
        measured.sizes.characters_before,
        measured.sizes.characters_after,
    )
    assert (True, text) == (measured.is_restored, restore(measured.shaped))


def test_tokens_are_those_of_the_text_as_the_api_gets_it() -> None:
    """A JSON string, before and after; an empty text has none."""
    measured = measure(FLIGHTS, Hint(), MODEL)
    after = json.dumps(measured.shaped.text, ensure_ascii=False).encode()
    assert (estimate(json.dumps(FLIGHTS).encode(), MODEL), estimate(after, MODEL)) == (
        measured.sizes.tokens_before,
        measured.sizes.tokens_after,
    )
    assert measured.sizes.tokens_before - measured.sizes.tokens_after == measured.sizes.tokens_saved
    assert Sizes() == measure("", Hint(), MODEL).sizes


def test_what_does_not_come_back_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it comes back as something else or not at all."""

    def refuse(_shaped: object) -> str:
        raise ValueError

    for broken in (lambda _shaped: "another", refuse):
        monkeypatch.setattr(subject, "restore", broken)
        shaping = Shaping()
        add(shaping, [Result("a", "Bash", b"", ("one", "two"))], MODEL)
        assert 2 == shaping.unrestored


@given(st.lists(st.builds(ToolSum, st.integers(0, 99), sizes)))
def test_the_total_adds_up(sums: list[ToolSum]) -> None:
    """Figure by figure, in any order."""
    total = total_of(sums)
    assert total == total_of(sums[::-1])
    assert sum(each.results for each in sums) == total.results
    for name in ("characters_before", "characters_after", "tokens_before", "tokens_after"):
        assert sum(getattr(each.sizes, name) for each in sums) == getattr(total.sizes, name)


def test_the_share_saved_is_of_characters() -> None:
    """And nothing where there are none."""
    assert (0.25, 0.0) == (Sizes(100, 75).share_saved, Sizes().share_saved)


def test_results_are_summed_up_by_tool(tmp_path: Path) -> None:
    """The tool with most characters first; a result that two files hold counts once; other files are passed over."""
    session = Transcript()
    session.user(0, "book me a flight")
    session.answer(1, "m1", 10_000)
    session.result(2, FLIGHTS)
    folder = session.kept_under(tmp_path)
    (folder / "copy.jsonl.gz").write_bytes(gzip.compress(session.source().data))
    (folder / "other.json").write_text("[1, 2]")

    shaping = of_sessions(str(folder), MODEL)
    assert ({"Read": ToolSum(1, measure(FLIGHTS, Hint("Read", b"{}"), MODEL).sizes)}, 2, 0, []) == (
        shaping.tools,
        shaping.files,
        shaping.unrestored,
        shaping.problems,
    )
    assert shaping.tools["Read"] == shaping.total
    assert list(shape(FLIGHTS, Hint("Read", b"{}")).steps) == list(shaping.shapers)


def test_the_largest_tool_comes_first() -> None:
    """By characters before shaping; one without a name is sorted, too."""
    shaping = Shaping()
    add(shaping, [Result(str(n), tool, b"", ("x" * n,)) for n, tool in ((1, "Grep"), (3, None), (2, "Bash"))], MODEL)
    assert [None, "Bash", "Grep"] == [tool for tool, _ in shaping.largest_first()]


def test_files_are_watched(tmp_path: Path) -> None:
    """A caller may show progress over them."""
    seen: list[str] = []

    def watch(files: list[str]) -> list[str]:
        seen.extend(files)
        return files

    session = Transcript()
    session.user(0, "hi")
    of_sessions(str(session.kept_under(tmp_path)), MODEL, watch)
    assert ["s1.jsonl"] == [Path(path).name for path in seen]


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A torn file, and a torn line of another; the rest is used."""
    session = Transcript()
    session.user(0, "hi")
    session.answer(1, "m1", 10_000)
    session.result(2)
    folder = session.kept_under(tmp_path)
    (folder / "torn.jsonl.gz").write_bytes(gzip.compress(b"x" * 1_000)[:12])
    (folder / "cut.jsonl").write_bytes(session.source().data + b'{"type":"us')
    shaping = of_sessions(str(folder), MODEL)
    assert (["cut.jsonl", "torn.jsonl.gz"], 1) == (
        sorted(Path(problem.path).name for problem in shaping.problems),
        shaping.total.results,
    )


def test_a_folder_without_sessions_is_refused(tmp_path: Path) -> None:
    """With what to give instead."""
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(TraceFormatError, match="holds no Claude Code session") as caught:
        of_sessions(str(tmp_path), MODEL)
    assert caught.value.hint


def test_a_session_is_known_by_its_rows() -> None:
    """Whatever its name."""
    session = Transcript()
    session.user(0, "hi")
    assert [True, False, False] == [is_session(data) for data in (session.source().data, b"", b'{"a": 1}\n')]
