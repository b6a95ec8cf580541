"""The edits that a request can be given, and all of them as one tree that is shaped as the request is.

`splice` makes them; its docstring says what a place is.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from scrimp.core.wire.blocks import CacheControl
from scrimp.core.wire.cuts import Item
from scrimp.core.wire.surrogates import decode_mended

#: Where something stands in a request; see `splice`.
Place = tuple[str | int, ...]


class SetMark(msgspec.Struct, frozen=True):
    """Let a block carry this mark, None: none. What a standing mark says beside type and ttl is kept."""

    at: Place
    cache_control: CacheControl | None


class SetTop(msgspec.Struct, frozen=True):
    """Let the request's own member `key` hold this JSON, None: let it be absent. A new member comes last."""

    key: str
    raw: bytes | None


class ReplaceText(msgspec.Struct, frozen=True):
    """Let the block, which has a text, say something else."""

    at: Place
    text: str


class ReplaceBlock(msgspec.Struct, frozen=True):
    """Put this JSON object in the place of a block, a tool or a message."""

    at: Place
    raw: bytes


class RemoveBlock(msgspec.Struct, frozen=True):
    """Take a block, a tool or a message out."""

    at: Place


class InsertBlock(msgspec.Struct, frozen=True):
    """Put this JSON object in front of what stands at a place, or at the end; several at one place keep their order."""

    at: Place
    raw: bytes


class MoveBlock(msgspec.Struct, frozen=True):
    """Put a block in front of what stands at another place of the same list, or at its end."""

    at: Place
    to: Place


Edit = SetMark | SetTop | ReplaceText | ReplaceBlock | RemoveBlock | InsertBlock | MoveBlock


class SpliceError(ValueError):
    """The body cannot be edited so; it is to be sent as it came.

    Raised where the body is not JSON, a place does not exist, edits collide, an object on the way to an edit holds a
    key twice, or the API would refuse a mark that is to be set (API docs, prompt caching: what can be cached).
    """


def place_of(path: str) -> Place:
    """Return the place that `Block.path` names."""
    kind, *rest = path.replace(".content", "").split(".")
    return kind, *map(int, rest)


# --- the tree ---------------------------------------------------------------------------------------------------------


class Node(msgspec.Struct):
    """What is to happen at one value of the body and inside it. `landings` is what comes in front of an index."""

    change: ReplaceBlock | RemoveBlock | MoveBlock | None = None
    members: dict[str, bytes | SetMark | ReplaceText | None] = msgspec.field(default_factory=dict)
    children: dict[str | int, Node] = msgspec.field(default_factory=dict)
    landings: dict[int, list[Item]] = msgspec.field(default_factory=dict)

    @property
    def is_edited(self) -> bool:
        """Whether anything happens inside the value."""
        return bool(self.members or self.children or self.landings)

    @property
    def mark(self) -> CacheControl | None:
        """The mark that is to be set."""
        edit = self.members.get("cache_control")
        return edit.cache_control if isinstance(edit, SetMark) else None


def planned(edits: Iterable[Edit]) -> Node:
    """Return the edits as a tree. Raises `SpliceError` for a place or a piece of JSON that no body could take."""
    root = Node()
    for edit in edits:
        _plan(root, edit)
    return root


def _plan(root: Node, edit: Edit) -> None:
    match edit:
        case SetTop():
            _claim(root, edit.key, edit.raw if edit.raw is None else _json(edit.raw))
        case SetMark():
            _claim(_block(root, edit.at), "cache_control", edit)
        case ReplaceText():
            _claim(_block(root, edit.at), "text", edit)
        case InsertBlock():
            _land(root, edit.at, object_json(edit.raw))
        case ReplaceBlock() | RemoveBlock() | MoveBlock():
            node = _standing(root, edit.at)
            if node.change is not None:
                raise collision(edit)
            node.change = edit
            if isinstance(edit, MoveBlock):
                (holder, index), (other, _) = _steps(edit.at), _steps(edit.to)
                if holder != other:
                    raise SpliceError("a block can only be moved inside its list")
                _land(root, edit.to, index)


def _steps(at: Place) -> tuple[tuple[str | int, ...], int]:
    """Return the keys and indices that lead to the list that holds a place, and the place's index in it."""
    match at:
        case ("tools" | "system" | "messages" as name, int(index)):
            return (name,), index
        case ("messages", int(message), int(index)):
            return ("messages", message, "content"), index
        case ("messages", int(message), int(block), int(index)):
            return ("messages", message, "content", block, "content"), index
    raise SpliceError(f"there is no place {at}")


def _reached(node: Node, steps: Iterable[str | int]) -> Node:
    for step in steps:
        node = node.children.setdefault(step, Node())
    return node


def _standing(root: Node, at: Place) -> Node:
    holder, index = _steps(at)
    return _reached(root, (*holder, index))


def _block(root: Node, at: Place) -> Node:
    if at[:-1] == ("messages",):
        raise SpliceError("a message is no block")
    return _standing(root, at)


def _claim(node: Node, name: str, value: bytes | SetMark | ReplaceText | None) -> None:
    if name in node.members:
        raise SpliceError(f"two edits set {name} of one object")
    node.members[name] = value


def _land(root: Node, at: Place, item: Item) -> None:
    holder, index = _steps(at)
    _reached(root, holder).landings.setdefault(index, []).append(item)


def collision(edit: object) -> SpliceError:
    """Return the error that says that this edit does not go with another one."""
    return SpliceError(f"another edit collides with {type(edit).__name__}")


_READ_RAW = msgspec.json.Decoder(msgspec.Raw)


def _json(raw: bytes) -> bytes:
    try:
        raw.decode()
        decode_mended(_READ_RAW, raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise SpliceError(f"what is to be put in is not JSON: {error}") from error
    return raw.strip()


def object_json(raw: bytes) -> bytes:
    """Return the JSON object that a block, tool or message is to be. Raises `SpliceError` where it is none."""
    given = _json(raw)
    if not given.startswith(b"{"):
        raise SpliceError("what is to be put in is no object")
    return given
