"""Finding, choosing a reader, merging: nothing is counted twice, nothing readable is lost, every fault is told."""

from __future__ import annotations

import errno
import gzip
import json
import os
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.exchange import Exchange
from scrimp.errors import TraceFormatError
from scrimp.replay.traces import ledger_export
from scrimp.replay.traces.discover import READERS, Reading, default_paths, find, merge, reader_of
from scrimp.replay.traces.trace import Compaction, Problem, Trace

USAGE = {"input_tokens": 1, "output_tokens": 2}


def _answer(message_id: str, second: int = 0, session: str = "s1", **more: Any) -> bytes:
    message = {"id": message_id, "model": "claude-opus-4-6", "usage": USAGE, "content": []}
    row = {"type": "assistant", "uuid": message_id, "sessionId": session, "timestamp": f"2026-11-25T10:00:{second:02}Z"}
    return json.dumps(row | {"message": message} | more).encode() + b"\n"


def _exchange(name: str, opened_at_ms: int, **more: Any) -> Exchange:
    return Exchange(exchange_id=name, opened_at_ms=opened_at_ms, source="test", **more)


# --- finding ---


def test_the_default_is_claude_codes_own_folder() -> None:
    """$CLAUDE_CONFIG_DIR wins, and may name several folders."""
    assert ["/h/.claude/projects"] == default_paths({}, "/h") == default_paths({"CLAUDE_CONFIG_DIR": ""}, "/h")
    assert ["/a/projects", "/b/projects"] == default_paths({"CLAUDE_CONFIG_DIR": "/a, /b"}, "/h")


def test_folders_are_searched_and_files_taken_as_they_are(tmp_path: Path) -> None:
    """In folders only names that may be traces count, at any depth; a file given twice is read once."""
    for name in ("p/a.jsonl", "p/s/subagents/agent-1.jsonl.gz", "p/agent-1.meta.json", "p/LICENSE", "q/spans.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    named = str(tmp_path / "p/LICENSE")
    found = find([str(tmp_path), str(tmp_path / "p"), named])
    names = ["p/LICENSE", "p/a.jsonl", "p/s/subagents/agent-1.jsonl.gz", "q/spans.json"]
    assert ([str(tmp_path / name) for name in names], {named}, []) == (found.files, found.named, found.problems)


def test_what_cannot_be_found_is_a_problem(tmp_path: Path) -> None:
    """A path that is not there, and a folder without files."""
    gone = str(tmp_path / "gone")
    found = find([gone, str(tmp_path)])
    assert [f"{gone}: there is no such file or folder", f"{tmp_path}: this folder holds no .jsonl"] == [
        each.headline.split(",")[0] for each in found.problems
    ]


def test_a_folder_without_permission_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies beside it is still found. The system's refusal is played, because a superuser is never refused."""
    (tmp_path / "a.jsonl").touch()
    closed = tmp_path / "closed"
    closed.mkdir()
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if path == str(closed):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = find([str(tmp_path)])
    assert (1, ["this folder cannot be listed (Permission denied)"]) == (
        len(found.files),
        [each.what for each in found.problems],
    )


# --- choosing a reader ---


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("claude-code", _answer("m1")),
        ("claude-code", json.dumps({"type": "user", "uuid": "u", "message": {"content": "x" * 100_000}}).encode()),
        ("export", b"".join(ledger_export.write([]))),
        ("otel", b'{"resourceSpans":[]}'),
    ],
)
def test_each_kind_finds_its_reader(kind: str, data: bytes) -> None:
    """The table decides by the first bytes, however long the first line is."""
    reader = reader_of(data)
    assert reader is not None
    assert (kind, kind) == (reader.KIND, next(name for name, module in READERS.items() if module == reader.__name__))  # type: ignore[attr-defined]


@given(st.binary(max_size=100))
def test_unknown_bytes_find_none(data: bytes) -> None:
    """Noise is nobody's."""
    assert reader_of(b"\x00" + data) is None


# --- merging ---


def test_a_message_is_counted_once_the_first_by_time() -> None:
    """The order of the files does not matter; exchanges come in the order of opening."""
    traces = [
        Trace("a", "x", [_exchange("m2", 7), _exchange("m1", 5, session_id="late")]),
        Trace("b", "x", [_exchange("m1", 3, session_id="first")]),
        Trace("c", "x", [_exchange("m1", 9, session_id="last"), _exchange("m3", 1)]),
    ]
    for order in permutations(traces):
        merged = merge(order).exchanges
        assert [("m3", None), ("m1", "first"), ("m2", None)] == [(x.exchange_id, x.session_id) for x in merged]


def test_the_original_wins_over_a_copy_of_the_same_moment() -> None:
    """Forks copy rows with their times; they say so."""
    original = Trace("a", "x", [_exchange("m1", 5, session_id="original")])
    copy = Trace("b", "x", [_exchange("m1", 5, session_id="copy")], copied={"m1"})
    for order in permutations([original, copy]):
        assert ["original"] == [each.session_id for each in merge(order).exchanges]


def test_agents_get_the_type_that_another_file_launched_them_with() -> None:
    """Also where the subagent's file is read first; an unknown one stays unknown."""
    agent = Trace(
        "a", "x", [_exchange("m1", 1, agent_id="x", task_type="subagent: tests")], orphans={"x": "p", "y": "q"}
    )
    session = Trace("b", "x", [_exchange("m2", 2, task_type="tests")], launches={"p": "Explore"})
    for order in permutations([agent, session]):
        assert [("Explore", "subagent: Explore"), (None, "tests")] == [
            (each.agent_type, each.task_type) for each in merge(order).exchanges
        ]


def test_everything_else_is_put_together() -> None:
    """Problems come in order, compactions once, and only recognised files count."""
    problem = Problem("f", "bad", "mend it")
    traces = [Trace("a", "", problems=[problem]), Trace("b", "x", compactions=[Compaction("s", 1)] * 2)]
    merged = merge(traces, [Problem("g", "gone", "look")])
    assert (["g", "f"], [Compaction("s", 1)], 1) == (
        [each.path for each in merged.problems],
        merged.compactions,
        merged.files,
    )


# --- all of it ---


def test_good_files_are_used_beside_bad_ones(tmp_path: Path) -> None:
    """A cut gzip, a torn session, noise and an empty file: everything that can be read is."""
    (tmp_path / "a.jsonl").write_bytes(_answer("m1") + _answer("m2")[:60])
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(_answer("m3", 1) + _answer("m4", 2) * 2_000)[:-20])
    (tmp_path / "c.jsonl").write_bytes(b"noise\n")
    (tmp_path / "d.jsonl").touch()
    (tmp_path / "e.json").write_bytes(b'{"settings": 1}')
    recording = Reading([str(tmp_path)]).finish()
    assert (["m1", "m3", "m4"], 2) == ([each.exchange_id for each in recording.exchanges], recording.files)
    said = {(Path(each.path).name, each.what) for each in recording.problems}
    assert {
        ("a.jsonl", "the last line is cut off"),
        ("b.jsonl.gz", "this gzip file is cut short"),
        ("c.jsonl", "no reader knows this kind of file"),
    } == {pair for pair in said if pair != ("b.jsonl.gz", "the last line is cut off")}


def test_a_file_that_is_asked_for_must_be_known(tmp_path: Path) -> None:
    """In a folder an empty file or a settings file is nothing; asked for by name, it is a problem."""
    (tmp_path / "e.json").touch()
    (tmp_path / "a.jsonl").write_bytes(_answer("m1"))
    recording = Reading([str(tmp_path / "e.json"), str(tmp_path / "a.jsonl")]).finish()
    assert ["this file is empty"] == [each.what for each in recording.problems]


def test_a_sidecar_names_its_agent(tmp_path: Path) -> None:
    """The `.meta.json` beside a subagent's file is read with it, gzip or not."""
    folder = tmp_path / "p/s1/subagents"
    folder.mkdir(parents=True)
    (folder / "agent-x.jsonl.gz").write_bytes(gzip.compress(_answer("m1", isSidechain=True, agentId="x")))
    (folder / "agent-x.meta.json").write_bytes(b'{"agentType":"Explore"}')
    assert ["Explore"] == [each.agent_type for each in Reading([str(tmp_path)]).finish().exchanges]


@pytest.mark.parametrize("name", ["gone", "empty", "noise.txt"])
def test_nothing_readable_at_all_is_an_error(tmp_path: Path, name: str) -> None:
    """One sentence says what, one what next; the command then ends with 2."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "noise.txt").write_bytes(b"hello")
    with pytest.raises(TraceFormatError) as caught:
        Reading([str(tmp_path / name)]).finish()
    assert (2, True, True) == (caught.value.exit_code, name in caught.value.message, caught.value.hint.endswith("."))


def test_a_session_without_answers_is_read(tmp_path: Path) -> None:
    """It holds nothing to bill, which is no fault."""
    (tmp_path / "a.jsonl").write_bytes(b'{"type":"user","uuid":"u","sessionId":"s"}\n')
    assert ([], 1) == ((recording := Reading([str(tmp_path)]).finish()).exchanges, recording.files)
