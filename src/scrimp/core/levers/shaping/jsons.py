r"""JSON, and JSON by the line, written shorter: no blanks between tokens, and like objects as tables.

The first line of what comes out is the mark: "#json" and, in words, how the text was written, which is all that
restoring needs. Nothing stands there for the form that most tools write (`json.dumps` with its default separators):

    #json                     {"a": [1, 2]}
    #json compact             {"a":[1,2]}
    #json indent=2            over many lines
    #json ascii               "\u00e9" where the table shows "é"
    #json lines               one value on each line
    #json end="\n"            what stands behind the last bracket

Two ways lead back. Where only blanks went (no table, no "ascii", no "lines"), blanks are put back between tokens, and
the tokens themselves were never read: 1e5, 1.0, doubled keys and "\/" stay as they are. Else the values are parsed,
unfolded (`tables`) and written in the form named; a text that this would write otherwise is left as it came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from scrimp.core.levers.shaping.contract import Hint, Shaper
from scrimp.core.levers.shaping.tables import MARKS, fold, unfold

MARK = "#json"

WIDEST_INDENT = 8
"""Wider indents than any tool writes are not looked for."""

_BLANKS = " \t\r\n"
_COMPACT, _SPACED = -1, 0
"""Forms of `msgspec.json.format`: no blanks at all; one behind each comma and colon; n > 0: lines, indented by n."""

_MARK = re.compile(
    rf'{MARK}( tables)?(?: (compact)| indent=([1-{WIDEST_INDENT}]))?( ascii)?( lines)?(?: end=("[ \\trn]+"))?\n'
)

_FAULTS = (msgspec.DecodeError, msgspec.EncodeError, OverflowError, RecursionError)
"""What the codec raises for a text that is no JSON, or JSON beyond it; beside ValueError."""

_compact_ascii = json.JSONEncoder(separators=(",", ":")).encode


class _Form(NamedTuple):
    """How a text was written, and whether it now has tables: what the mark says."""

    tables: bool = False
    indent: int = _SPACED
    ascii: bool = False
    lines: bool = False
    end: str = ""


def _shape(text: str, _hint: Hint) -> str | None:
    if text[:1] not in {"{", "["}:
        return None
    body = text.rstrip(_BLANKS)
    try:
        form = _sniff(body, text[len(body) :])
        return _lines_shaped(body, form) if form.lines else _one_shaped(body, form)
    except (ValueError, *_FAULTS):
        return None


def _one_shaped(body: str, form: _Form) -> str | None:
    """Return one value written shorter, None where putting the blanks back would not give the body."""
    tokens = _blanked(body, _COMPACT)
    if tokens == body:
        form = form._replace(indent=_COMPACT)
    elif _blanked(tokens, form.indent) != body:
        return None
    value = msgspec.json.decode(tokens)
    by_values = _folded(value, form)
    by_tokens = _mark(form._replace(ascii=False) if form.ascii else form) + tokens
    if len(by_tokens) <= len(by_values) or _is_reserved(tokens) or _written(value, form) != tokens:
        return by_tokens
    return by_values


def _lines_shaped(body: str, form: _Form) -> str | None:
    """Return a value for each line written shorter, None where the lines would not come back."""
    values = msgspec.json.decode(f"[{body.replace(chr(10), ',')}]")
    return None if _is_reserved(body) or _lined(values, form) != body else _folded(values, form)


def _folded(value: Any, form: _Form) -> str:
    folded = fold(value)
    return _mark(form if folded == value else form._replace(tables=True)) + _compact(folded)


def _is_reserved(tokens: str) -> bool:
    return any(mark in tokens for mark in MARKS)


def _restore(text: str) -> str:
    mark = _MARK.match(text)
    if mark is None:
        raise ValueError(f"a text shaped as JSON begins with {MARK}")
    try:
        return _unshaped(_read(mark), text[mark.end() :])
    except _FAULTS as error:
        raise ValueError(f"this was not shaped as JSON: {error}") from error


def _unshaped(form: _Form, body: str) -> str:
    if form.lines:
        return _lined(unfold(msgspec.json.decode(body, type=list[Any])), form) + form.end
    if form.ascii or form.tables:
        body = _written(unfold(msgspec.json.decode(body)), form)
    return _blanked(body, form.indent) + form.end


# --- forms -------------------------------------------------------------------------------------------------------


def _sniff(body: str, end: str) -> _Form:
    """Return the form that the body seems to have; whether it has it is seen when it is written so again."""
    first, broken, rest = body.partition("\n")
    is_ascii = "\\u" in body and body.isascii()
    if broken and len(first) == 1:
        return _Form(indent=_width(rest), ascii=is_ascii, end=end)
    if not broken:
        return _Form(ascii=is_ascii, end=end)
    is_compact = _blanked(first, _COMPACT) == first and (len(first) > len("[]") or '": ' not in rest)
    return _Form(indent=_COMPACT if is_compact else _SPACED, ascii=is_ascii, lines=True, end=end)


def _width(line: str) -> int:
    width = len(line) - len(line.lstrip(" "))
    if not 0 < width <= WIDEST_INDENT:
        raise ValueError(f"an indent of {width} is written by no tool we know")
    return width


def _mark(form: _Form) -> str:
    indent = {_COMPACT: " compact", _SPACED: ""}.get(form.indent, f" indent={form.indent}")
    end = f" end={_compact(form.end)}" if form.end else ""
    return f"{MARK}{' tables' * form.tables}{indent}{' ascii' * form.ascii}{' lines' * form.lines}{end}\n"


def _read(mark: re.Match[str]) -> _Form:
    tables, compact, indent, is_ascii, lines, end = mark.groups()
    width = _COMPACT if compact else int(indent or _SPACED)
    return _Form(bool(tables), width, bool(is_ascii), bool(lines), msgspec.json.decode(end) if end else "")


def _blanked(text: str, indent: int) -> str:
    """Return the JSON text with other blanks between its tokens, each token as it stands."""
    return msgspec.json.format(text, indent=indent)


def _lined(values: Iterable[Any], form: _Form) -> str:
    return "\n".join(_blanked(_written(value, form), form.indent) for value in values)


def _compact(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _written(value: Any, form: _Form) -> str:
    return _compact_ascii(value) if form.ascii else _compact(value)


SHAPER = Shaper("json", 1, _shape, _restore)
