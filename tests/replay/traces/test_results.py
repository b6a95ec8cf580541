"""What tools gave back, read from sessions."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scrimp.replay.traces.results import Result, read_results
from scrimp.replay.traces.trace import Source


def _session(*rows: Any) -> Source:
    return Source("s.jsonl", b"".join(json.dumps(row).encode() + b"\n" for row in rows))


def _asked(use_id: str, tool: str, **given: Any) -> dict[str, Any]:
    block = {"type": "tool_use", "id": use_id, "name": tool, "input": given}
    return {"type": "assistant", "message": {"content": [block]}}


def _answered(use_id: str, content: Any) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": use_id, "content": content}
    return {"type": "user", "message": {"content": [{"type": "text", "text": "hm"}, block]}}


def test_a_result_knows_its_tool_and_what_it_was_asked() -> None:
    """By the id that both blocks bear, however many rows lie between; prompts are no results."""
    source = _session(
        _asked("a", "Read", file_path="x.py"),
        _asked("b", "Bash", command="ls"),
        {"type": "user", "message": {"content": "go on"}},
        _answered("b", "x.py"),
        _answered("a", "1\tx"),
    )
    results, problems = read_results(source)
    assert [("b", "Bash", {"command": "ls"}, ("x.py",)), ("a", "Read", {"file_path": "x.py"}, ("1\tx",))] == [
        (each.use_id, each.tool, json.loads(each.input), each.texts) for each in results
    ]
    assert [] == problems


def test_a_result_whose_question_is_missing_has_no_tool() -> None:
    """A session may begin in the middle."""
    assert [Result("a", None, b"", ("done",))] == read_results(_session(_answered("a", "done")))[0]


def test_only_text_is_read_of_a_result() -> None:
    """Pictures and references are passed over, and so is what is of no known shape."""
    pieces = [{"type": "text", "text": "one"}, {"type": "image", "source": {}}, {"type": "text", "text": "two"}]
    contents: list[Any] = [pieces, None, [], {}, 7, [7]]
    texts = [read_results(_session(_answered("a", content)))[0][0].texts for content in contents]
    assert [("one", "two"), (), (), (), (), ()] == texts


def test_half_a_surrogate_pair_is_mended() -> None:
    """JavaScript writes them; the text is kept but for that sign."""
    source = _session(_answered("a", "x\ud83dy"))
    assert [("x\N{REPLACEMENT CHARACTER}y",)] == [each.texts for each in read_results(source)[0]]


def test_a_torn_line_is_a_problem_and_the_rest_is_used() -> None:
    """A line that is no JSON and the cut-off last one, each with its place."""
    good = _session(_asked("a", "Bash"), _answered("a", "done")).data
    results, problems = read_results(Source("s.jsonl", b"nonsense\n" + good + b'{"type":"us'))
    assert ([("done",)], [1, 4]) == ([each.texts for each in results], [problem.line for problem in problems])


@given(st.lists(st.text(), max_size=5))
def test_every_text_comes_back_as_it_was_written(texts: list[str]) -> None:
    """To the character."""
    pieces = [{"type": "text", "text": text} for text in texts]
    data = json.dumps(_answered("a", pieces), ensure_ascii=True).encode()
    assert [tuple(texts)] == [each.texts for each in read_results(Source("s.jsonl", data))[0]]


@given(st.binary(max_size=200))
def test_no_bytes_are_too_wild(data: bytes) -> None:
    """Whatever stands in the file, reading it ends, and what is not read is a problem or no row."""
    results, _ = read_results(Source("s.jsonl", data))
    assert [] == results
