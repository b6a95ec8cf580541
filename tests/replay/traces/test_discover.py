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
from scrimp.core.wire.usage import Usage
from scrimp.errors import TraceFormatError
from scrimp.replay.traces import discover, files, ledger_export
from scrimp.replay.traces.discover import READERS, Reading, default_paths, find, merge, reader_of
from scrimp.replay.traces.trace import Compaction, Problem, Trace

USAGE = {"input_tokens": 1, "output_tokens": 2}


def _answer(message_id: str, second: int = 0, session: str = "s1", **more: Any) -> bytes:
    usage = USAGE | {key: more.pop(key) for key in USAGE if key in more}
    message = {"id": message_id, "model": "claude-opus-4-6", "usage": usage, "content": []}
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


def test_records_of_one_message_are_one_exchange() -> None:
    """A gateway names an exchange itself; what it and its client recorded meets by the message's id."""
    client = Trace("a", "x", [_exchange("m1", 5, message_id="m1", session_id="client", usage=Usage(1))])
    gateway = Trace("b", "x", [_exchange("ex_1", 3, message_id="m1", usage=Usage(1)), _exchange("ex_2", 4)])
    for order in permutations([client, gateway]):
        assert ["ex_1", "ex_2"] == [each.exchange_id for each in merge(order).exchanges]


@pytest.mark.parametrize(
    ("torn", "whole"),
    [
        ({"usage": None}, {"usage": Usage(1)}),
        ({"usage": Usage(1, output_tokens=1)}, {"usage": Usage(1, output_tokens=50)}),
        ({"usage": Usage(9, output_tokens=99), "usage_complete": False}, {"usage": Usage(1, output_tokens=50)}),
        ({"usage": Usage(9, output_tokens=99), "output_partial": True}, {"usage": Usage(1, output_tokens=50)}),
        ({"usage": Usage(1, output_tokens=50)}, {"usage": Usage(1, 7, output_tokens=50)}),
    ],
)
def test_a_torn_copy_never_wins_over_a_whole_one(torn: dict[str, Any], whole: dict[str, Any]) -> None:
    """Whichever was opened first, and whichever says that it is a copy."""
    for torn_ms, whole_ms, copied in ((1, 2, {"m1"}), (2, 1, set[str]()), (1, 1, {"m1"})):
        traces = [
            Trace("a", "x", [_exchange("m1", torn_ms, **torn)]),
            Trace("b", "x", [_exchange("m1", whole_ms, **whole)], copied=copied),
        ]
        for order in permutations(traces):
            assert [whole["usage"]] == [each.usage for each in merge(order).exchanges]


def test_a_torn_session_and_its_fork_count_all_that_was_said(tmp_path: Path) -> None:
    """The last rows of an answer are missing in one file: the other has its whole output, read in either order."""
    rows = [_answer("m1", output_tokens=count) for count in (1, 50)]
    for torn, fork in (("a.jsonl", "b.jsonl"), ("b.jsonl", "a.jsonl")):
        (tmp_path / torn).write_bytes(rows[0])
        (tmp_path / fork).write_bytes(rows[0] + rows[1])
        (exchange,) = Reading([str(tmp_path / torn), str(tmp_path / fork)]).finish().exchanges
        assert Usage(1, output_tokens=50) == exchange.usage


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


@pytest.mark.parametrize(
    ("data", "what", "then"),
    [
        (b'{"scrimp_export":2}\n{"a":1}\n', "this is an export of format 2", "Read it with a newer scrimp."),
        (b'{"scrimp_export":1}\n{"a":1}\n{"a":2}\n', "and 1 more like it", "No request is left in it, so check"),
        (b'{\n "resourceSpans": [\n  {\n', "this JSON document is cut off", "Have it written anew"),
        (gzip.compress(_answer("m1"))[:-60], "this gzip file is cut short", "No request is left in it, so check"),
        (_answer("m1", input_tokens=10**18), "beyond 1,000,000,000 tokens", "No request is left in it, so check"),
    ],
)
def test_a_file_of_which_nothing_can_be_used_is_an_error(tmp_path: Path, data: bytes, what: str, then: str) -> None:
    """Though its kind is known: a bill of nothing would look like an answer."""
    (tmp_path / "x.jsonl").write_bytes(data)
    with pytest.raises(TraceFormatError) as caught:
        Reading([str(tmp_path)]).finish()
    assert (True, True) == (what in caught.value.message, caught.value.hint.startswith(then))


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    """It is told, and what lies beside it is used."""
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + _answer("m1"))
    recording = Reading([str(tmp_path)]).finish()
    assert (["m1"], ["this is no regular file"]) == (
        [each.exchange_id for each in recording.exchanges],
        [each.what for each in recording.problems],
    )


def test_a_first_line_without_end_is_not_searched_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the readers are shown of it is limited; the limit is played down, to keep the test small."""
    seen: list[int] = []

    def sniff(head: bytes) -> bool:
        seen.append(len(head))
        return False

    monkeypatch.setattr(discover, "FIRST_LINE_BYTES_MAX", 100_000)
    monkeypatch.setattr(ledger_export, "sniff", sniff)
    assert reader_of(b"x" * 200_000) is None
    assert [100_000] == seen


def test_a_file_too_large_for_the_memory_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are still read. The lack of memory is played."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_bytes(_answer(name))

    def load(path: str) -> tuple[bytes, list[Problem]]:
        if path.endswith("a.jsonl"):
            raise MemoryError
        return files.load(path)

    monkeypatch.setattr(discover, "load", load)
    recording = Reading([str(tmp_path)]).finish()
    assert (["b"], ["this file does not fit into the memory"]) == (
        [each.exchange_id for each in recording.exchanges],
        [each.what for each in recording.problems],
    )


def test_answers_without_any_id_are_each_counted(tmp_path: Path) -> None:
    """In one file and across files: nothing says that they are the same."""
    row = json.loads(_answer("m1"))
    del row["uuid"], row["message"]["id"]
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(f"{json.dumps(row)}\n" * 3, encoding="utf-8")
    assert 6 == len({each.exchange_id for each in Reading([str(tmp_path)]).finish().exchanges})


def test_a_session_without_answers_is_read(tmp_path: Path) -> None:
    """It holds nothing to bill, which is no fault."""
    (tmp_path / "a.jsonl").write_bytes(b'{"type":"user","uuid":"u","sessionId":"s"}\n')
    assert ([], 1) == ((recording := Reading([str(tmp_path)]).finish()).exchanges, recording.files)
