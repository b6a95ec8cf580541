"""Edits of a request in its original bytes: what is not edited stays as the client wrote it, byte for byte.

A body that is decoded and written again loses its white space, its escapes, its spelling of numbers and the order of
its keys, and with them the cache. So an edit is a cut: a span of the body, and the bytes that take its place. A place
is where a block stands, as the API names it in its errors: `("tools", 0)`, `("system", 1)`, `("messages", 3)` for a
whole message, `("messages", 3, 0)` for a block of it, `("messages", 3, 0, 2)` for a block inside that block. All edits
of one `splice` are addressed in the body as it came, and applied together.

Content that is a string is a list of one text block; it becomes one where an edit needs that. The cache key does not
change by it: Claude Code moves between both forms with its marks (facts on its requests). For a string inside a
tool_result that is not known, so no mark is set there.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scrimp.core.wire.blocks import UNMARKABLE, CacheControl
from scrimp.core.wire.cuts import Cut, Item, applied, rearranged
from scrimp.core.wire.edits import (
    Edit,
    InsertBlock,
    MoveBlock,
    Node,
    Place,
    RemoveBlock,
    ReplaceBlock,
    ReplaceText,
    SetMark,
    SetTop,
    SpliceError,
    collision,
    object_json,
    place_of,
    planned,
)
from scrimp.core.wire.spans import Document, Member, Span, SpanError

__all__ = [
    "Edit",
    "InsertBlock",
    "MoveBlock",
    "Place",
    "RemoveBlock",
    "ReplaceBlock",
    "ReplaceText",
    "SetMark",
    "SetTop",
    "SpliceError",
    "place_of",
    "splice",
]


def splice(body: bytes, edits: Sequence[Edit]) -> bytes:
    """Return the body with all edits applied; the same object where they change nothing. Raises `SpliceError`."""
    if not edits:
        return body
    root, document = planned(edits), Document(body)
    try:
        cuts = _cuts_of(document, root)
    except (SpanError, msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise SpliceError(str(error)) from error
    return applied(document, (0, len(body)), cuts)


def _cuts_of(document: Document, root: Node) -> list[Cut]:
    try:
        return _cuts(document, document.whole, root)
    except SpanError:
        if not document.mend():
            raise
        return _cuts(document, document.whole, root)


def _cuts(document: Document, at: Span, node: Node) -> list[Cut]:
    """Return the cuts that make of the value that stands there what the node says."""
    match document.starts(at):
        case b"{":
            return _object_cuts(document, at, node)
        case b"[":
            return _list_cuts(document, at, node)
        case b'"':
            return _string_cuts(document, at, node)
    raise SpliceError("a place does not exist")


def _object_cuts(document: Document, at: Span, node: Node) -> list[Cut]:
    found = document.members(at)
    if node.landings or not node.children.keys() <= found.keys():
        raise SpliceError("a place does not exist")
    if node.members.keys() & node.children.keys():
        raise SpliceError("a member is set, and edited inside")
    _check_marks(document, found, node)
    cuts: list[Cut] = []
    for name, child in node.children.items():
        cuts += _cuts(document, found[str(name)].value, child)
    return _member_cuts(document, at, found, node, cuts) if node.members else cuts


def _member_cuts(document: Document, at: Span, found: dict[str, Member], node: Node, cuts: list[Cut]) -> list[Cut]:
    """Add to the cuts inside an object's members those that set, add and remove members."""
    values = {name: _value(document, found.get(name), wanted) for name, wanted in node.members.items()}
    kept = [index for index, name in enumerate(found) if values.get(name, b"") is not None]
    new = [b"%b:%b" % (msgspec.json.encode(name), raw) for name, raw in values.items() if raw and name not in found]
    cuts += [(*found[name].value, raw) for name, raw in values.items() if raw and name in found]
    return rearranged(document, at, [member.span for member in found.values()], [*kept, *new], cuts)


def _list_cuts(document: Document, at: Span, node: Node) -> list[Cut]:
    spans = document.elements(at)
    _check_indices(node, len(spans))
    cuts: list[Cut] = []
    for index, child in node.children.items():
        if isinstance(child.change, ReplaceBlock | RemoveBlock) and child.is_edited:
            raise collision(child.change)
        if isinstance(child.change, ReplaceBlock):
            cuts.append((*spans[int(index)], object_json(child.change.raw)))
        elif child.is_edited:
            cuts += _cuts(document, spans[int(index)], child)
    order = _order(node, len(spans))
    return cuts if isinstance(order, range) else rearranged(document, at, spans, order, cuts)


def _string_cuts(document: Document, at: Span, node: Node) -> list[Cut]:
    """Edit a string as the list of one text block that it stands for; an empty one is the empty list."""
    raw = document.raw(at)
    _check_indices(node, int(raw != b'""'))
    block = node.children.get(0, Node())
    if block.children or block.landings:
        raise SpliceError("a place does not exist")
    if isinstance(block.change, ReplaceBlock | RemoveBlock) and block.is_edited:
        raise collision(block.change)
    text = _value(document, Member(at[0], at), block.members.get("text", raw)) or raw
    order = list(_order(node, int(raw != b'""')))
    if block.mark is None and order == [0] and not isinstance(block.change, ReplaceBlock):
        return [(*at, text)]
    if block.mark is not None and text == b'""':
        raise SpliceError("empty text carries no mark")
    only = object_json(block.change.raw) if isinstance(block.change, ReplaceBlock) else _text_block(text, block.mark)
    return [(*at, b"[%b]" % b",".join(item if isinstance(item, bytes) else only for item in order))]


def _text_block(text: bytes, mark: CacheControl | None) -> bytes:
    marked = b"" if mark is None else b',"cache_control":%b' % _marked(None, mark)
    return b'{"type":"text","text":%b%b}' % (text, marked)


def _check_indices(node: Node, count: int) -> None:
    inside = all(isinstance(index, int) and 0 <= index < count for index in node.children)
    if node.members or not inside or not all(0 <= index <= count for index in node.landings):
        raise SpliceError("a place does not exist")


def _order(node: Node, count: int) -> Sequence[Item]:
    """Return what a list of so many elements will hold."""
    gone = {index for index, child in node.children.items() if isinstance(child.change, RemoveBlock | MoveBlock)}
    if not gone and not node.landings:
        return range(count)
    order: list[Item] = []
    for index in range(count + 1):
        order += node.landings.get(index, ())
        order += [index] if index < count and index not in gone else []
    return order


# --- values and marks -----------------------------------------------------------------------------------------------


#: The members that tell whether a block, or what stands inside it, may carry a mark.
_TELLING = frozenset({"type", "text", "defer_loading", "clear_at"})


def _value(document: Document, member: Member | None, wanted: bytes | SetMark | ReplaceText | None) -> bytes | None:
    """Return what a member will hold, None where it is to be absent."""
    old = document.raw(member.value) if member else None
    match wanted:
        case SetMark(cache_control=CacheControl() as control):
            return _marked(old, control)
        case ReplaceText():
            if old is None or not old.startswith(b'"'):
                raise SpliceError("a block without a text cannot say something else")
            return old if _says(old, wanted.text) else _string(wanted.text)
        case bytes():
            return wanted
    return None


def _marked(old: bytes | None, control: CacheControl) -> bytes:
    """Return a mark, as it stands where that says the same already."""
    found = msgspec.json.decode(old) if old else {}
    standing = found if isinstance(found, dict) else {}
    if old and (standing.get("type"), standing.get("ttl") or "5m") == (control.type, control.ttl):
        return old
    beside = {key: value for key, value in standing.items() if key not in {"type", "ttl"}}
    lifetime = {} if control.ttl == "5m" else {"ttl": control.ttl}
    return msgspec.json.encode({"type": control.type, **lifetime, **beside})


def _says(raw: bytes, text: str) -> bool:
    try:
        return bool(msgspec.json.decode(raw) == text)
    except msgspec.DecodeError:
        return False


def _string(text: str) -> bytes:
    try:
        return msgspec.json.encode(text)
    except UnicodeEncodeError as error:
        raise SpliceError("the new text holds half a character") from error


def _check_marks(document: Document, found: dict[str, Member], node: Node) -> None:
    """Refuse to set a mark where the API refuses one, or where it is not known to do no harm."""
    content = node.children.get("content")
    is_inside = content is not None and any(child.mark is not None for child in content.children.values())
    if node.mark is None and not is_inside:
        return
    raws = {name: document.text[slice(*member.value)] for name, member in found.items() if name in _TELLING}
    kind = str(msgspec.json.decode(raws.get("type", b"null")))
    if node.mark is not None:
        text = _value(document, found.get("text"), node.members.get("text", raws.get("text")))
        is_empty = kind == "text" and text in {None, b"null", b'""'}
        if kind in UNMARKABLE or is_empty or raws.get("defer_loading") == b"true":
            raise SpliceError("this block carries no mark")
    if is_inside:
        is_result = kind == "tool_result" and document.starts(found["content"].value) == b"["
        if raws.get("clear_at", b"null") != b"null" or not (is_result or "role" in found):
            raise SpliceError("what stands inside this carries no mark")
