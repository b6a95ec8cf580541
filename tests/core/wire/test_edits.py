"""Edits as a tree: places, collisions and what may be put in."""

from __future__ import annotations

import pytest

from scrimp.core.wire.blocks import CacheControl
from scrimp.core.wire.edits import (
    Edit,
    InsertBlock,
    MoveBlock,
    Place,
    RemoveBlock,
    ReplaceBlock,
    ReplaceText,
    SetMark,
    SetTop,
    SpliceError,
    place_of,
    planned,
)
from scrimp.core.wire.request import parse

MARK = CacheControl()


def test_a_blocks_path_is_a_place() -> None:
    """Whatever `parse` finds can be addressed."""
    body = (
        b'{"model":"m","tools":[{}],"system":"s","messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}'
    )
    expected = [("tools", 0), ("system", 0), ("messages", 0, 0)]
    assert expected == [place_of(block.path) for block in parse(body).blocks]


def test_the_tree_is_shaped_as_the_request() -> None:
    """A block inside a tool_result stands four steps down, a top-level member none."""
    root = planned([SetMark(("messages", 3, 1, 2), MARK), SetTop("max_tokens", b" 0 ")])
    assert {"max_tokens": b"0"} == root.members
    inner = root.children["messages"].children[3].children["content"].children[1].children["content"].children[2]
    assert (MARK, True) == (inner.mark, inner.is_edited)


@pytest.mark.parametrize(
    "at", [(), ("tools",), ("tools", 0, 0), ("other", 0), ("messages", "0"), ("messages", 0, 0, 0, 0)]
)
def test_other_places_are_refused(at: Place) -> None:
    """What the API does not number is no place."""
    with pytest.raises(SpliceError, match="no place"):
        planned([RemoveBlock(at)])


@pytest.mark.parametrize(
    "edits",
    [
        [SetMark(("system", 0), MARK), SetMark(("system", 0), None)],
        [SetTop("model", b"1"), SetTop("model", None)],
        [RemoveBlock(("system", 0)), ReplaceBlock(("system", 0), b"{}")],
        [RemoveBlock(("system", 0)), MoveBlock(("system", 0), ("system", 1))],
        [SetMark(("messages", 0), MARK)],
        [MoveBlock(("system", 0), ("tools", 1))],
        [InsertBlock(("system", 0), b"[]")],
        [InsertBlock(("system", 0), b"{} {}")],
        [SetTop("x", b"")],
        [SetTop("x", b'"\xff"')],
        [SetTop("x", b"[" * 99_999)],
    ],
)
def test_what_cannot_be_meant_is_refused(edits: list[Edit]) -> None:
    """Collisions, marks on messages, moves between lists, and what is not JSON."""
    with pytest.raises(SpliceError):
        planned(edits)


def test_edits_that_do_not_meet_stand_together() -> None:
    """A block can be moved, marked and said anew; pieces put in one place keep their order."""
    at: Place = ("messages", 0, 1)
    root = planned(
        [
            MoveBlock(at, ("messages", 0, 0)),
            SetMark(at, MARK),
            ReplaceText(at, "new"),
            InsertBlock(("messages", 0, 0), b"{}"),
            InsertBlock(("messages", 0, 0), rb'{"half":"\ud800"}'),
        ]
    )
    holder = root.children["messages"].children[0].children["content"]
    assert {0: [1, b"{}", rb'{"half":"\ud800"}']} == holder.landings
    assert {"cache_control", "text"} == holder.children[1].members.keys()
