"""Reads what tools gave back in Claude Code sessions: the texts, with the tool's name and what it was asked.

Texts are kept only as long as the caller holds them: this is for measuring on one's own files (`scrimp shape`), and
nothing of it goes into a ledger. Only pieces of text are read; pictures and references are passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from scrimp.core.wire.surrogates import UNREADABLE, decode_mended
from scrimp.replay.traces.lines import Complaints, numbered_lines
from scrimp.replay.traces.trace import Problem, Source

_EMPTY = msgspec.Raw(b"")


class Result(msgspec.Struct, frozen=True, gc=False):
    """What one use of a tool gave back; `tool` is None where the session does not say what was asked.

    `input` is the tool's input as JSON, empty where it is unknown.
    """

    use_id: str
    tool: str | None
    input: bytes
    texts: tuple[str, ...]


class _Piece(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None


class _Block(msgspec.Struct, gc=False):
    type: str = ""
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = _EMPTY
    tool_use_id: str | None = None
    content: msgspec.Raw = _EMPTY


class _Message(msgspec.Struct, gc=False):
    content: str | list[_Block] | None = None


class _Row(msgspec.Struct, gc=False):
    type: str = ""
    message: _Message | None = None


_decoder = msgspec.json.Decoder(_Row)
_contents = msgspec.json.Decoder(str | list[_Piece] | None)


def read_results(source: Source) -> tuple[list[Result], list[Problem]]:
    """Return the results of one session file in its order, and what could not be read of it."""
    complaints = Complaints(source.path)
    try:
        rows = _decoder.decode_lines(source.data)
    except UNREADABLE:
        rows = [row for _, row in numbered_lines(source.data, _decoder, complaints, lambda _kind: None)]
    return list(_results(rows)), complaints.problems()


def _results(rows: Iterable[_Row]) -> Iterator[Result]:
    asked: dict[str, _Block] = {}
    nothing = _Block()
    for row in rows:
        content = row.message.content if row.message else None
        for block in content if isinstance(content, list) else ():
            if block.type == "tool_use" and block.id is not None:
                asked[block.id] = block
            elif block.type == "tool_result" and block.tool_use_id is not None:
                use = asked.get(block.tool_use_id, nothing)
                yield Result(block.tool_use_id, use.name, bytes(use.input), _texts(bytes(block.content)))


def _texts(content: bytes) -> tuple[str, ...]:
    """Return the pieces of text of a result's content; what is of another shape holds none."""
    try:
        found = decode_mended(_contents, content) if content else None
    except UNREADABLE:
        return ()
    if isinstance(found, str):
        return (found,)
    return tuple(piece.text for piece in found or () if piece.type == "text" and piece.text is not None)
