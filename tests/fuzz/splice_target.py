"""Edits of a request's bytes, beside the same edits of its decoded value: both say the same, and nothing else moves."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import msgspec

from scrimp.core.wire.blocks import Block, BlockHead, CacheControl
from scrimp.core.wire.request import Request, RequestUnreadable, parse
from scrimp.core.wire.splice import (
    Edit,
    InsertBlock,
    RemoveBlock,
    ReplaceText,
    SetMark,
    SetTop,
    SpliceError,
    place_of,
    splice,
)
from tests.fuzz.inputs import COMPARED_BYTES_MAX, Input

_NEW = {"type": "text", "text": "new"}
_HOUR = {"type": "ephemeral", "ttl": "1h"}


def check_splice(given: Input) -> None:
    """Give one request one edit of each kind, at a place that the input chooses."""
    try:
        request = parse(given.text)
    except RequestUnreadable:
        return
    assert given.text is splice(given.text, [])
    dice = given.dice
    tree = json.loads(given.text)
    blocks = [block for block in request.blocks if _is_plain(block, tree)]
    edits = _EDITS if len(given.text) <= COMPARED_BYTES_MAX else (_mark,)
    for make in edits if blocks else ():
        block = dice.choice(blocks)
        expected = deepcopy(tree)
        edit = make(block, expected, dice)
        try:
            edited = splice(given.text, [edit])
        except SpliceError:
            continue
        assert expected == json.loads(edited), type(edit).__name__
        if isinstance(edit, SetMark):
            _check_mark(request, parse(edited), block, edit)
    _check_top(given.text, tree)


def _is_plain(block: Block, tree: Any) -> bool:
    """Whether a block is text or an object as the API has them, by the types of its members and of its mark's."""
    *way, _ = place_of(block.path)
    if isinstance(tree[way[0]][way[1]]["content"] if len(way) > 1 else tree[way[0]], str):
        return True
    # A text with citations is told apart by its whole JSON, so what a mark says beside its lifetime counts there.
    return has_plain_head(block) and b'"citations"' not in bytes(block.raw) and block.kind != "unknown"


def has_plain_head(block: Block) -> bool:
    """Whether an object's members are of the types that the API has, and those of its mark neither object nor list."""
    try:
        msgspec.json.decode(block.raw, type=BlockHead)
    except msgspec.ValidationError:
        return False
    mark = json.loads(bytes(block.raw)).get("cache_control") or {}
    return not any(isinstance(each, dict | list) for each in mark.values())


def _check_top(body: bytes, tree: dict[str, Any]) -> None:
    try:
        edited = splice(body, [SetTop("cache_control", b'{"type":"ephemeral"}')])
    except SpliceError:
        return
    assert {**tree, "cache_control": {"type": "ephemeral"}} == json.loads(edited)
    parse(edited)


def _check_mark(before: Request, after: Request, block: Block, edit: SetMark) -> None:
    """A mark changes no digest, and stands where it was set."""
    assert [each.path for each in before.blocks] == [each.path for each in after.blocks]
    same = [one.digest == other.digest for one, other in zip(before.blocks, after.blocks, strict=True)]
    assert all(same), "a mark changed a digest"
    if edit.cache_control is not None:
        assert ["1h"] == [each.ttl for each in after.blocks if each.path == block.path]


def _holder(tree: Any, block: Block) -> tuple[list[Any], int]:
    """Return the list that holds a block, and its index; a string becomes the list that it stands for."""
    *way, index = place_of(block.path)
    if way[0] == "messages":
        way.append("content")
    above = tree
    for step in way[:-1]:
        above = above[step]
    if isinstance(above[way[-1]], str):
        above[way[-1]] = [{"type": "text", "text": above[way[-1]]}]
    held: list[Any] = above[way[-1]]
    return held, int(index)


def _mark(block: Block, tree: Any, _dice: random.Random) -> Edit:
    held, index = _holder(tree, block)
    old = held[index].get("cache_control")
    beside = {key: value for key, value in old.items() if key not in _HOUR} if isinstance(old, dict) else {}
    held[index]["cache_control"] = {**_HOUR, **beside}
    return SetMark(place_of(block.path), CacheControl(ttl="1h"))


def _unmark(block: Block, tree: Any, _dice: random.Random) -> Edit:
    *way, _ = place_of(block.path)
    was_text = isinstance(tree[way[0]][way[1]]["content"] if len(way) > 1 else tree[way[0]], str)
    if not was_text:
        held, index = _holder(tree, block)
        held[index].pop("cache_control", None)
    return SetMark(place_of(block.path), None)


def _say(block: Block, tree: Any, _dice: random.Random) -> Edit:
    *way, last = place_of(block.path)
    above = tree[way[0]][way[1]] if len(way) > 1 else tree
    name = "content" if len(way) > 1 else way[0]
    if isinstance(above[name], str):
        above[name] = "other \u2028 words"
    else:
        above[name][last]["text"] = "other \u2028 words"
    return ReplaceText(place_of(block.path), "other \u2028 words")


def _remove(block: Block, tree: Any, _dice: random.Random) -> Edit:
    held, index = _holder(tree, block)
    del held[index]
    return RemoveBlock(place_of(block.path))


def _insert(block: Block, tree: Any, dice: random.Random) -> Edit:
    held, index = _holder(tree, block)
    at = index + dice.randint(0, 1)
    held.insert(at, _NEW)
    return InsertBlock((*place_of(block.path)[:-1], at), json.dumps(_NEW).encode())


_EDITS: tuple[Callable[[Block, Any, random.Random], Edit], ...] = (_mark, _unmark, _say, _remove, _insert)
