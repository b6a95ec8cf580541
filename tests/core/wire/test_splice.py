"""Edits of a request in its original bytes, against the same edits of the decoded request."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire.blocks import CacheControl, Ttl
from scrimp.core.wire.splice import (
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
    splice,
)

FIVE, HOUR = CacheControl(), CacheControl(ttl="1h")
MARKED = b'[{"type":"text","text":%b,"cache_control":%b}]'
SHORT, LONG = b'{"type":"ephemeral"}', b'{"type":"ephemeral","ttl":"1h"}'
MARKS = st.sampled_from([FIVE, HOUR])
GAPS = ("", "", " ", "\r\n", "\t \n")
STYLES = st.lists(st.integers(0, 29), min_size=1, max_size=7).map(cycle)

# --- requests, written in every style ------------------------------------------------------------------------------


class Spelled(str):
    """JSON that is to be written just so."""

    __slots__ = ()


def written(style: Iterator[int], value: Any) -> str:
    """Return a value as JSON, with white space and escapes as they come."""

    def gap() -> str:
        return GAPS[next(style) % len(GAPS)]

    if isinstance(value, dict):
        pairs = [f"{written(style, key)}{gap()}:{gap()}{written(style, each)}" for key, each in value.items()]
        return "{" + gap() + f"{gap()},{gap()}".join(pairs) + gap() + "}"
    if isinstance(value, list):
        return "[" + gap() + f"{gap()},{gap()}".join(written(style, each) for each in value) + gap() + "]"
    if isinstance(value, Spelled):
        return str(value)
    text = json.dumps(value, ensure_ascii=bool(next(style) % 2))
    is_odd = isinstance(value, str) and "\\" not in text and next(style) % 3 == 0
    return text.replace("e", "\\u0065") if is_odd else text


TEXT = st.sampled_from(["a", 'say "[{,}]:"', "\\", "line\nline", "\u00e9\u20ac\U0001f600", "cache_control", '","x":{'])
ODD = st.sampled_from([Spelled(each) for each in ("1e400", "-0.0", "9" * 40, "[ ]", "{ }", '{"a":1,"a":2}', "null")])
MARK = st.sampled_from(
    [
        None,
        {"type": "ephemeral"},
        {"ttl": "1h", "type": "ephemeral"},
        {"type": "ephemeral", "ttl": "5m", "scope": "global"},
    ]
)


@st.composite
def objects(draw: st.DrawFn, fields: dict[str, Any]) -> dict[str, Any]:
    """Return an object with these members, perhaps a mark, and unknown ones, in any order."""
    marked = {"cache_control": draw(MARK)} if draw(st.booleans()) else {}
    more = draw(
        st.dictionaries(st.sampled_from(["x", "zz", 'qu"ote']), ODD | TEXT | st.lists(TEXT, max_size=2), max_size=2)
    )
    drawn = {name: draw(each) if isinstance(each, st.SearchStrategy) else each for name, each in fields.items()}
    return dict(draw(st.permutations(list({**drawn, **marked, **more}.items()))))


TEXTS = objects({"type": "text", "text": TEXT})
INNER = st.lists(TEXTS, max_size=3)
RESULTS = objects({"type": "tool_result", "tool_use_id": "t", "content": TEXT | INNER})
USES = objects({"type": "tool_use", "input": st.dictionaries(TEXT, ODD, max_size=2)})
BLOCKS = st.lists(TEXTS | RESULTS | USES, max_size=4)
MESSAGES = objects({"role": "user", "content": st.just("") | TEXT | BLOCKS})
TOOLS = objects({"name": TEXT, "input_schema": ODD})
REQUESTS = objects(
    {
        "model": "m",
        "tools": st.lists(TOOLS, max_size=3),
        "system": TEXT | st.lists(TEXTS, max_size=3),
        "messages": st.lists(MESSAGES, max_size=4),
        "max_tokens": ODD,
    }
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Return a request as somebody wrote it, a byte order mark in front of some."""
    front = draw(st.sampled_from(["", "", "\ufeff", " \r\n"]))
    return (front + written(draw(STYLES), draw(REQUESTS)) + draw(st.sampled_from(GAPS))).encode()


# --- what is to come out, said another way -------------------------------------------------------------------------


def as_list(value: Any) -> list[Any]:
    """Return content as a list; a string is one text block."""
    if isinstance(value, str):
        return [{"type": "text", "text": value}] if value else []
    return value if isinstance(value, list) else []


def places(request: Any) -> dict[Place, Any]:
    """Return every place of a request, and what stands there."""
    found: dict[Place, Any] = {}

    def walk(at: Place, value: Any) -> None:
        for index, each in enumerate(as_list(value)):
            found[(*at, index)] = each
            if at[0] == "messages" and len(at) < 3 and isinstance(each, dict):
                walk((*at, index), each.get("content"))

    for name in ("tools", "system", "messages"):
        walk((name,), request[name])
    return found


def holder(request: Any, at: Place) -> tuple[Any, str]:
    """Return the object, and the key in it, under which the list stands that holds a place."""
    if len(at) == 2:
        return request, str(at[0])
    message = request["messages"][at[1]]
    return (message if len(at) == 3 else as_list(message["content"])[int(at[2])]), "content"


def marked(old: Any, mark: CacheControl) -> Any:
    """Return what a mark becomes."""
    standing = old if isinstance(old, dict) else {}
    if standing and (standing["type"], standing.get("ttl", "5m")) == (mark.type, mark.ttl):
        return old
    more = {"ttl": mark.ttl} if mark.ttl == "1h" else {}
    return {"type": mark.type, **more, **{key: each for key, each in standing.items() if key not in {"type", "ttl"}}}


def opened(request: Any, at: Place) -> list[Any]:
    """Return the list that holds a place, made one where it is a string."""
    owner, key = holder(request, at)
    owner[key] = as_list(owner[key])
    held: list[Any] = owner[key]
    return held


def apply_inside(request: Any, edit: Edit) -> None:
    """Apply an edit that leaves every place where it is."""
    match edit:
        case SetTop(key, raw):
            request.pop(key, None) if raw is None else request.update({key: json.loads(raw)})
        case SetMark(at, None):
            owner, key = holder(request, at)
            if isinstance(owner[key], list):
                owner[key][at[-1]].pop("cache_control", None)
        case SetMark(at, CacheControl() as mark):
            block = opened(request, at)[int(at[-1])]
            block["cache_control"] = marked(block.get("cache_control"), mark)
        case ReplaceText(at, text):
            owner, key = holder(request, at)
            if isinstance(owner[key], str):
                owner[key] = text
            else:
                owner[key][at[-1]]["text"] = text
        case ReplaceBlock(at, raw):
            opened(request, at)[int(at[-1])] = json.loads(raw)


def expected(body: bytes, edits: list[Edit]) -> Any:
    """Return the decoded request after the edits: sorted by where each piece wants to be."""
    request = json.loads(body)
    for edit in sorted(edits, key=lambda each: isinstance(each, ReplaceText), reverse=True):
        apply_inside(request, edit)
    keys: dict[int, tuple[list[Any], list[tuple[tuple[int, int, int], Any]], set[int]]] = {}
    for number, edit in enumerate(edits):
        if isinstance(edit, InsertBlock | RemoveBlock | MoveBlock):
            held = opened(request, edit.at)
            start = [((index, 1, 0), each) for index, each in enumerate(held)]
            _, items, gone = keys.setdefault(id(held), (held, start, set()))
            if isinstance(edit, InsertBlock):
                items.append(((int(edit.at[-1]), 0, number), json.loads(edit.raw)))
            else:
                gone.add(int(edit.at[-1]))
            if isinstance(edit, MoveBlock):
                items.append(((int(edit.to[-1]), 0, number), held[int(edit.at[-1])]))
    for held, items, gone in keys.values():
        kept = [(key, each) for key, each in items if key[1] == 0 or key[0] not in gone]
        held[:] = [each for _, each in sorted(kept, key=lambda item: item[0])]
    return request


def can_mark(request: Any, at: Place) -> bool:
    """Whether a mark may be set at a place: a message is no block, and blocks inside others stand in tool results."""
    owner, key = holder(request, at)
    if len(at) < 4:
        return at[:-1] != ("messages",)
    return owner.get("type") == "tool_result" and isinstance(owner[key], list)


@st.composite
def inside_edits(draw: st.DrawFn, body: bytes) -> list[Edit]:
    """Return edits that do not meet, and leave everything where it is."""
    request, edits = json.loads(body), list[Edit]()
    for at, each in places(request).items():
        kind = draw(st.sampled_from(["", "", "mark", "unmark", "text", "block"]))
        inner = [edit.at for edit in edits if isinstance(edit, ReplaceBlock)]
        if any(at[: len(taken)] == taken for taken in inner):
            continue
        if kind == "mark" and can_mark(request, at):
            edits.append(SetMark(at, draw(MARKS)))
        if kind == "unmark" and at[:-1] != ("messages",):
            edits.append(SetMark(at, None))
        if kind == "text" and each.get("type") == "text":
            edits.append(ReplaceText(at, draw(TEXT)))
        if kind == "block":
            edits.append(ReplaceBlock(at, written(draw(STYLES), draw(TEXTS)).encode()))
    for key in draw(st.sets(st.sampled_from(["cache_control", "max_tokens", "model", "x", "new"]))):
        edits.append(SetTop(key, draw(st.none() | st.sampled_from([b'{"a" : 1}', b"0", b'"\xc3\xa9"']))))
    return edits


@st.composite
def moving_edits(draw: st.DrawFn, body: bytes) -> list[Edit]:
    """Return edits that bring pieces in, take them out and move them, with marks on what moves."""
    request, edits, gone = json.loads(body), list[Edit](), set[Place]()
    for at in places(request):
        if any(at[: len(each)] == each for each in gone):
            continue
        owner, key = holder(request, at)
        place = st.tuples(*map(st.just, at[:-1]), st.integers(0, len(as_list(owner[key]))))
        match draw(st.sampled_from(["", "", "remove", "insert", "move", "mark"])):
            case "remove":
                edits.append(RemoveBlock(at))
                gone.add(at)
            case "insert":
                edits.append(InsertBlock(draw(place), draw(st.sampled_from([b"{}", b'{"type":"text","text":"new"}']))))
            case "move" if isinstance(owner[key], list):
                edits.append(MoveBlock(at, draw(place)))
            case "mark" if can_mark(request, at):
                edits.append(SetMark(at, draw(MARKS)))
            case _:
                pass
    return edits


# --- properties -----------------------------------------------------------------------------------------------------


@given(st.data())
def test_edits_inside_are_those_of_the_decoded_request(data: st.DataObject) -> None:
    """Marks, members, texts and whole blocks: what comes out decodes to the edited request; done twice, it stays."""
    body = data.draw(bodies())
    edits = data.draw(inside_edits(body))
    result = splice(body, edits)
    assert expected(body, edits) == json.loads(result)
    assert result is splice(result, edits)


@given(st.data())
def test_pieces_come_go_and_move_as_in_the_decoded_request(data: st.DataObject) -> None:
    """All places are those of the body as it came, however many edits there are."""
    body = data.draw(bodies())
    edits = data.draw(moving_edits(body))
    assert expected(body, edits) == json.loads(splice(body, edits))


def spans(body: bytes) -> dict[Place, tuple[int, int]]:
    """Return where each block, tool and message stands, found by Python's decoder in the decoded body."""
    text, decoder, found = body.decode(), json.JSONDecoder(), dict[Place, tuple[int, int]]()

    def skip(at: int, more: str = "") -> int:
        while text[at] in " \t\r\n\ufeff" + more:
            at += 1
        return at

    def visit(start: int, at: Place) -> None:
        if text[start] == "{":
            end = skip(start + 1)
            while text[end] != "}":
                key, end = decoder.raw_decode(text, end)
                value = skip(end, ":")
                if key in ({"tools", "system", "messages"} if not at else {"content"} if at[0] == "messages" else ()):
                    visit(value, at or (key,))
                end = skip(decoder.raw_decode(text, value)[1], ",")
        elif text[start] == "[" and len(at) < 4:
            index, end = 0, skip(start + 1)
            while text[end] != "]":
                here, (_, stop) = (*at, index), decoder.raw_decode(text, end)
                found[here] = (len(text[:end].encode()), len(text[:stop].encode()))
                visit(end, here)
                index, end = index + 1, skip(stop, ",")

    visit(skip(0), ())
    return found


@given(st.data())
def test_what_is_not_edited_keeps_its_bytes(data: st.DataObject) -> None:
    """Taken apart at the edited blocks, the body's other pieces are all there, in order, with nothing beside them."""
    body = data.draw(bodies())
    where = spans(body)
    edits = [each for each in data.draw(inside_edits(body)) if not isinstance(each, SetTop) and each.at in where]
    cuts = sorted(where[each.at] for each in edits if not isinstance(each, SetTop))
    outer = [cut for cut in cuts if not any(one[0] <= cut[0] and cut[1] <= one[1] for one in cuts if one != cut)]
    ends = [0, *(end for _, end in dict.fromkeys(outer))]
    begins = [*(begin for begin, _ in dict.fromkeys(outer)), len(body)]
    kept = [re.escape(body[begin:end]) for begin, end in zip(ends, begins, strict=True)]
    assert re.fullmatch(b".*".join(kept), splice(body, edits), re.DOTALL)


@given(st.data())
def test_a_mark_set_and_removed_leaves_no_trace(data: st.DataObject) -> None:
    """On blocks of lists; a string that had to become a list stays one, which renders alike."""
    body = data.draw(bodies())
    found = places(json.loads(body))
    listed = [at for at in spans(body) if can_mark(json.loads(body), at) and "cache_control" not in found[at]]
    chosen = data.draw(st.sets(st.sampled_from(listed))) if listed else set()
    there: list[Edit] = [SetMark(at, data.draw(MARKS)) for at in chosen]
    back: list[Edit] = [SetMark(at, None) for at in chosen]
    assert body == splice(splice(body, there), back)


@given(bodies(), st.sampled_from([b"0", b'{"type":"ephemeral"}']))
def test_a_member_set_and_put_back_leaves_no_trace(body: bytes, raw: bytes) -> None:
    """Whether it was there before or not."""
    assert body == splice(splice(body, [SetTop("new", raw)]), [SetTop("new", None)])
    changed = splice(body, [SetTop("model", raw)])
    assert raw == json.dumps(json.loads(changed)["model"], separators=(",", ":")).encode()
    spelling = splice(changed, [SetTop("model", b'"m"')])
    assert json.loads(body) == json.loads(spelling)


@given(st.data())
def test_a_block_put_in_and_taken_out_leaves_no_trace(data: st.DataObject) -> None:
    """In any list, at any of its places."""
    body = data.draw(bodies())
    listed = [at for at in spans(body) if len(at) != 4]
    for at in data.draw(st.sets(st.sampled_from(listed))) if listed else set():
        assert body == splice(splice(body, [InsertBlock(at, b"{}")]), [RemoveBlock(at)])


@given(bodies())
def test_no_edit_is_no_change(body: bytes) -> None:
    """No edit, and edits that say what stands there, return the same object."""
    request = json.loads(body)
    same: list[Edit] = [
        ReplaceText(at, each["text"]) for at, each in places(request).items() if each.get("type") == "text"
    ]
    assert (body, body) == (splice(body, []), splice(body, same))
    assert splice(body, same) is body is splice(body, [])


def test_a_move_to_its_own_place_is_no_change() -> None:
    """A string stays a string."""
    assert BODY is splice(BODY, [MoveBlock(("system", 0), ("system", 1)), MoveBlock(("tools", 1), ("tools", 1))])


@given(st.binary(max_size=60))
def test_random_bytes_are_edited_or_refused(body: bytes) -> None:
    """Whatever comes, only a `SpliceError` escapes."""
    with contextlib.suppress(SpliceError):
        assert 1 == json.loads(splice(body, [SetTop("a", b"1")]))["a"]


# --- examples -------------------------------------------------------------------------------------------------------

BODY = b"""{
  "model": "m", "model_note": 1e400, "system": "be \\u0062rief",\r
  "tools": [{"name": "A"}, {"name": "B", "defer_loading": true}],
  "messages": [
    {"role": "user", "content": "hi \\ud83d"},
    {"role": "assistant", "content": [{"type": "thinking", "thinking": "t"}, {"type": "text", "text": ""}]},
    {"role": "user", "content": [{"type": "tool_result", "content": "ok"},
      {"type": "document", "content": [{"type": "text", "text": "d"}]},
      {"type": "tool_result", "content": [{"text": "x", "type": "text"}, {"type": "text", "text": "y"}],
       "cache_control": null}]},
    {"role": "system", "clear_at": "next_user_message", "content": "now"}
  ]
}"""


@pytest.mark.parametrize(
    ("edit", "old", "new"),
    [
        (SetMark(("system", 0), HOUR), b'"be \\u0062rief"', MARKED % (b'"be \\u0062rief"', LONG)),
        (SetMark(("tools", 0), FIVE), b'"A"}', b'"A","cache_control":{"type":"ephemeral"}}'),
        (SetMark(("messages", 0, 0), FIVE), b'"hi \\ud83d"', MARKED % (b'"hi \\ud83d"', SHORT)),
        (SetMark(("messages", 2, 2), FIVE), b'"cache_control": null', b'"cache_control": {"type":"ephemeral"}'),
        (SetMark(("messages", 2, 2), None), b',\n       "cache_control": null', b""),
        (SetMark(("messages", 2, 2, 1), FIVE), b'"y"}', b'"y","cache_control":{"type":"ephemeral"}}'),
        (SetMark(("messages", 2, 0), FIVE), b'"ok"}', b'"ok","cache_control":{"type":"ephemeral"}}'),
        (ReplaceText(("messages", 2, 0, 0), "[cut]"), b'"ok"', b'"[cut]"'),
        (ReplaceText(("messages", 0, 0), "\u00e9"), b'"hi \\ud83d"', b'"\xc3\xa9"'),
        (InsertBlock(("messages", 0, 1), b" {} "), b'"hi \\ud83d"', b'[{"type":"text","text":"hi \\ud83d"},{}]'),
        (SetTop("model", None), b'"model": "m", ', b""),
        (SetTop("max_tokens", b"0"), b"\n  ]\n}", b'\n  ],"max_tokens":0\n}'),
    ],
)  # fmt: skip
def test_an_edit_is_one_cut(edit: Edit, old: bytes, new: bytes) -> None:
    """All bytes beside the cut are the client's, half characters and numbers beyond any type included."""
    assert 1 == BODY.count(old)
    assert BODY.replace(old, new) == splice(BODY, [edit])


@pytest.mark.parametrize(
    "edits",
    [
        [SetMark(("messages", 1, 0), FIVE)],
        [SetMark(("messages", 1, 1), FIVE)],
        [SetMark(("system", 0), FIVE), ReplaceText(("system", 0), "")],
        [SetMark(("tools", 1), FIVE)],
        [SetMark(("messages", 3, 0), FIVE)],
        [SetMark(("messages", 2, 0, 0), FIVE)],
        [SetMark(("messages", 2, 1, 0), FIVE)],
    ],
)
def test_a_mark_that_the_api_refuses_is_not_set(edits: list[Edit]) -> None:
    """Thinking, empty text, deferred tools, messages that are cleared, and text inside other blocks than results."""
    with pytest.raises(SpliceError, match="mark"):
        splice(BODY, edits)


@pytest.mark.parametrize(
    "edits",
    [
        [SetMark(("system", 1), FIVE)],
        [SetMark(("system", -1), FIVE)],
        [SetMark(("tools", 2), None)],
        [RemoveBlock(("messages", 4))],
        [RemoveBlock(("messages", 0, 0, 0))],
        [InsertBlock(("messages", 1, 3), b"{}")],
        [InsertBlock(("tools", 0, 0), b"{}")],
        [InsertBlock(("messages", 1, 0, 0), b"{}")],
        [ReplaceText(("tools", 0), "x")],
        [ReplaceText(("messages", 2, 0), "x")],
        [ReplaceText(("system", 0), "\ud800")],
        [RemoveBlock(("messages", 1)), SetMark(("messages", 1, 1), None)],
        [ReplaceBlock(("system", 0), b"{}"), SetMark(("system", 0), None)],
        [SetTop("system", b"[]"), SetMark(("system", 0), FIVE)],
    ],
)
def test_what_cannot_be_done_is_refused(edits: list[Edit]) -> None:
    """Places that do not exist, blocks without a text, and edits that collide."""
    with pytest.raises(SpliceError):
        splice(BODY, edits)


@pytest.mark.parametrize(
    ("body", "edit"),
    [
        (b'{"system":"a","system":"b"}', SetMark(("system", 0), FIVE)),
        (b'{"a":1,"a":1}', SetTop("b", b"1")),
        (b'{"system":[{"type":"text","text":"a","text":"b"}]}', SetMark(("system", 0), FIVE)),
        (b'{"system":[{"type":"text","text":"a","cache_control":{"type":1e400}}]}', SetMark(("system", 0), FIVE)),
        (b'{"system":null}', InsertBlock(("system", 0), b"{}")),
        (b"[]", SetTop("a", b"1")),
        (b'{"a":1} {}', SetTop("a", b"1")),
        (b"", SetTop("a", b"1")),
        (b"[" * 99_999, SetTop("a", b"1")),
        (b'{"a":' + b"[" * 99_999, SetTop("a", b"1")),
    ],
)
def test_bodies_that_cannot_be_edited_are_refused(body: bytes, edit: Edit) -> None:
    """Keys that come twice on the way to the edit, and what is no request."""
    with pytest.raises(SpliceError):
        splice(body, [edit])


def test_keys_that_come_twice_elsewhere_do_no_harm() -> None:
    """They are the client's own bytes."""
    body = b'{"x":{"a":1,"a":2},"system":[{"type":"text","text":"a","y":[{"b":1,"b":1}]}]}'
    marked_body = splice(body, [SetMark(("system", 0), FIVE)])
    assert body.replace(b"1}]}]", b'1}],"cache_control":{"type":"ephemeral"}}]') == marked_body


@pytest.mark.parametrize(("ttl", "mark"), [("5m", {"type": "ephemeral"}), ("1h", {"type": "ephemeral", "ttl": "1h"})])
def test_what_a_mark_says_besides_is_kept(ttl: Ttl, mark: dict[str, str]) -> None:
    """A scope stays when the lifetime changes."""
    other = '"1h"' if ttl == "5m" else '"5m"'
    body = b'{"system":[{"cache_control":{"ttl":%b,"scope":"global","type":"ephemeral"}}]}' % other.encode()
    changed = json.loads(splice(body, [SetMark(("system", 0), CacheControl(ttl=ttl))]))
    assert {**mark, "scope": "global"} == changed["system"][0]["cache_control"]
    assert body is splice(body, [SetMark(("system", 0), CacheControl(ttl="1h" if ttl == "5m" else "5m"))])
