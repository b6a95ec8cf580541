"""The way from one request to the next, as the rows of a session tell it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.replay.traces.claude_history import Link, Stopped, by_message, read_links
from scrimp.replay.traces.trace import Source
from tests.replay.transcripts import T0_MS, Transcript


def talk(**more: Any) -> Transcript:
    """Return a session with one prompt and one answer that calls a tool."""
    session = Transcript(**more)
    session.user(0, "mend the shop")
    session.answer(2, "m1", 10_000)
    return session


def test_a_tool_turn_goes_on_from_the_answer_before_it() -> None:
    """The second answer follows the first; nobody prompted, and a run of results is one position."""
    session = talk()
    session.result(3)
    session.answer(4, "m2", 11_000, blocks=[("text", None)])

    first, second = session.links().values()
    assert (None, "user", 1, 13, True, "tool") == (
        first.parent_id,
        first.prompter,
        first.positions,
        first.prompt_characters,
        first.thinks,
        first.waiting,
    )
    assert ("m1", None, 3, 0, False, "turn_ended") == (
        second.parent_id,
        second.prompter,
        second.positions,
        second.prompt_characters,
        second.thinks,
        second.waiting,
    )


def test_a_rewound_prompt_goes_on_from_the_older_answer() -> None:
    """A prompt whose parent is an older row starts a branch there."""
    session = talk()
    fork = session.last
    session.user(5, "do this")
    session.answer(6, "m2", 12_000)
    session.last = fork
    session.user(9, "no, do that")
    session.answer(10, "m3", 11_000)

    assert ("m1", "m1") == (session.links()["m2"].parent_id, session.links()["m3"].parent_id)


def test_a_row_that_is_missing_is_the_one_before() -> None:
    """Transcripts get trimmed: an unknown parent stands for the row before in the file."""
    session = talk()
    session.last = "gone"
    session.user(5, "go on")
    session.answer(6, "m2", 12_000)

    assert "m1" == session.links()["m2"].parent_id


def test_a_compaction_is_seen_across_its_boundary() -> None:
    """The boundary has no parent but names it in another field; the summary is no prompt of anybody's."""
    session = talk()
    before, session.last = session.last, None
    session.system(60, "compact_boundary", logicalParentUuid=before)
    session.user(60, "This session is being continued ...", isCompactSummary=True)
    session.answer(70, "m2", 6_000)

    link = session.links()["m2"]
    assert ("m1", True, None) == (link.parent_id, link.compacted, link.prompter)


def test_a_conversation_that_starts_anew_has_no_parent() -> None:
    """A row without any parent begins a conversation, although the session has others."""
    session = talk()
    session.last = None
    session.user(9, "something else")
    session.answer(10, "m2", 9_000)

    assert None is session.links()["m2"].parent_id


@pytest.mark.parametrize(
    ("text", "meta", "prompter"),
    [
        ("go on", False, "user"),
        ("Base directory for this skill: ...", True, "client"),
        ("Implement the following plan:\n\n1.", False, "client"),
    ],
)
def test_who_prompts(text: str, meta: bool, prompter: str) -> None:
    """A skill's text and an accepted plan are the client's own prompts, all else is the user's."""
    session = talk()
    session.user(5, text, isMeta=meta)
    session.answer(6, "m2", 12_000)

    assert prompter == session.links()["m2"].prompter


def test_a_note_that_tool_results_were_cleared() -> None:
    """The client's own note is taken at its word."""
    session = talk()
    session.result(3)
    session.system(3, "microcompact_boundary")
    session.answer(4, "m2", 8_000)

    assert session.links()["m2"].microcompacted


def test_a_conversation_that_was_taken_up_again() -> None:
    """The client answers in our place when it is started again on a conversation that ended with a prompt."""
    session = talk()
    session.user(50, "<command-name>/exit</command-name>")
    session.made_up(90, "No response requested.")
    session.user(95, "go on")
    session.answer(96, "m2", 12_000)

    link = session.links()["m2"]
    assert ("m1", True) == (link.parent_id, link.resumed)


def test_a_request_that_was_stopped_unanswered() -> None:
    """It was sent with the prompt in front of the note, and ran until the note."""
    session = talk()
    session.user(100, "first words")
    session.user(107, [{"type": "text", "text": "[Request interrupted by user]"}])
    session.user(110, "second")
    session.answer(112, "m2", 12_000)

    assert Stopped(T0_MS + 100_000, 7_000, 35) == session.links()["m2"].stopped


def test_a_tool_that_was_stopped_is_no_request() -> None:
    """While a tool runs nothing is sent."""
    session = talk()
    session.result(3)
    session.user(4, [{"type": "text", "text": "[Request interrupted by user for tool use]"}])
    session.user(9, "stop")
    session.answer(10, "m2", 12_000)

    link = session.links()["m2"]
    assert (None, "user") == (link.stopped, link.prompter)


def test_an_answer_in_one_piece_is_told_from_a_stream() -> None:
    """A stream leaves a row for each block; only the client's second try leaves several in one."""
    session = talk()
    session.result(3)
    session.answer(90, "m2", 11_000, whole=True)

    assert (False, True) == (session.links()["m1"].in_one_piece, session.links()["m2"].in_one_piece)


@pytest.mark.parametrize(
    ("tool", "waiting"),
    [("Read", "tool"), ("Task", "agent"), ("Agent", "agent"), ("AskUserQuestion", "question")],
)
def test_what_an_answer_leaves_open(tool: str, waiting: str) -> None:
    """The slowest of its calls."""
    session = Transcript()
    session.user(0, "go")
    session.answer(2, "m1", 10_000, blocks=[("tool_use", "Read"), ("tool_use", tool)])

    assert waiting == session.links()["m1"].waiting


def test_rows_that_cannot_be_read_are_passed_over() -> None:
    """A broken line costs itself only."""
    session = talk()
    data = session.source().data + b'{"type": "user", "message"\n'

    assert list(session.links().values()) == read_links(Source("s.jsonl", data))


def test_the_first_copy_of_an_answer_counts() -> None:
    """Forked sessions repeat rows; the links of the first file stay."""
    own, copy = Link("m1", None), Link("m1", "m0")

    assert {"m1": own} == by_message([own, copy])


_JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(("type", "uuid", "parentUuid", "message", "subtype", "isMeta", "timestamp")),
            st.sampled_from(("user", "assistant", "a", "b", "c")) | _JSON,
        )
    )
)
def test_no_rows_whatever_make_it_fail(rows: list[dict[str, Any]]) -> None:
    """Rows of any shape, with parents in circles or of wrong types, give links of distinct answers."""
    links = read_links(Source("s.jsonl", b"".join(json.dumps(row).encode() + b"\n" for row in rows)))

    assert len(links) == len({link.message_id for link in links})


def test_signs_are_counted_where_a_turn_ends() -> None:
    """Over all tools of the turn; while a tool is waited for there are none to count, and a new prompt starts anew."""
    session = Transcript()
    session.user(0, "mend the shop")
    session.answer(1, "m1", 10_000, blocks=[("tool_use", "Edit")])
    session.result(2)
    session.answer(3, "m2", 11_000, blocks=[("text", None)])
    session.user(4, "and now?")
    session.answer(5, "m3", 12_000, blocks=[("text", None)])

    assert [None, 0, 1] == [link.signs for link in session.links().values()]
