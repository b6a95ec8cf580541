"""Like objects as tables: keys once, then a row of values for each; and back.

    [{"n": 1, "state": "open", "at": {"east": 1, "up": 2}}, {"n": 2, "state": "open", "at": {"east": 3, "up": 4}}]
    [["#columns", "n", {"every state": "open"}, ["at", "east", "up"]], [1, [1, 2]], [2, [3, 4]]]

A table is a list whose first item is its head: "#columns", then one entry for each key, in the objects' own order.

* "n": the row has a cell for it.
* {"every state": "open"}: the same in every row, so no row has a cell for it. Null and empty values fall away by this.
* ["at", "east", "up"]: the cell is itself a row, of these columns (which may be any of these forms again).
* [["flights"], "number", "price"]: the cell is a list of such rows.

A head that begins with "#lists" stands over lists of such rows, and an object of like objects is a table with names:
{"#columns": [...], "first": [...], "second": [...]}. What does not fit (an object with other keys, a null) stands among
the rows as it is: rows are lists, and values among which lists stand are made no table.

The words of the head stand in the data's own place, so a value that holds them itself (`MARKS`) is not to be folded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

COLUMNS, LISTS, EVERY = "#columns", "#lists", "every "

MARKS = tuple(f'"{mark}"' for mark in (COLUMNS, LISTS))
"""A value whose JSON holds one of these of its own is not to be folded: it could not be told from a table."""

DEEPEST = 32
"""Values nested deeper are not folded: each level takes four frames, and the limit has to bite before Python's does."""

_LEAST_GAIN_CHARS = 16
"""About what the head of a table costs beside its keys."""

_QUOTES_CHARS = 4
"""What a key costs beside its own length: two quotes, a colon, a comma."""

_CONTAINERS = frozenset({dict, list})

_CONSTANT = frozenset({str, int, bool, type(None)})
"""Scalars that are equal only where they are written alike (0.0 and -0.0 are not)."""


class _Table(NamedTuple):
    """Values written as a table: the entries of its head, and a row for each value (or what did not fit, folded)."""

    heads: list[Any]
    rows: list[Any]


class _Column(NamedTuple):
    """One key of a table that is read back, and how its cells are written."""

    key: str
    constant: bool = False
    value: Any = None
    columns: tuple[_Column, ...] = ()
    many: bool = False


def fold(value: Any, room: int = DEEPEST) -> Any:
    """Return the value with its like objects as tables, as JSON is to be made of it: rows are tuples.

    ValueError where it nests deeper than `room`.
    """
    if type(value) is dict:
        _check(room)
        return _fold_dict(value, room)
    if type(value) is list:
        _check(room)
        return _fold_list(value, room)
    return value


def unfold(value: Any) -> Any:
    """Return what was folded; ValueError where a table is not one that `fold` wrote."""
    if type(value) is dict:
        if COLUMNS in value:
            return _unfold_named(value)
        return {key: unfold(item) if type(item) in _CONTAINERS else item for key, item in value.items()}
    if type(value) is list:
        return _unfold_table(value) if _has_head(value) else _unfolded(value)
    return value


# --- folding -----------------------------------------------------------------------------------------------------


def _check(room: int) -> None:
    if room <= 0:
        raise ValueError(f"nested deeper than {DEEPEST}")


def _fold_dict(value: dict[str, Any], room: int) -> dict[str, Any]:
    items = list(value.values())
    kinds = [*map(type, items)]
    table = _tabled(items, room) if kinds.count(dict) > 1 else None
    if table is not None:
        return {COLUMNS: table.heads, **dict(zip(value, table.rows, strict=True))}
    if _CONTAINERS.isdisjoint(kinds):
        return value
    return {key: fold(item, room - 1) if type(item) in _CONTAINERS else item for key, item in value.items()}


def _fold_list(value: list[Any], room: int) -> Sequence[Any]:
    kinds = {*map(type, value)}
    if _CONTAINERS.isdisjoint(kinds):
        return value
    if kinds == {list}:
        table = _tabled(_items(value), room - 1)
        if table is not None:
            return [[LISTS, *table.heads], *_regrouped(table.rows, value)]
    elif len(value) > 1:
        table = _tabled(value, room)
        if table is not None:
            return [[COLUMNS, *table.heads], *table.rows]
    return [fold(item, room - 1) for item in value]


def _folded(values: Sequence[Any], room: int) -> Sequence[Any]:
    return values if _is_flat(values) else [fold(value, room) for value in values]


def _is_flat(values: Sequence[Any]) -> bool:
    """Tell whether these are scalars and lists of scalars only: most values are, and cost no step of ours each."""
    kinds = {*map(type, values)}
    if dict in kinds:
        return False
    return list not in kinds or _CONTAINERS.isdisjoint(map(type, _items(values)))


def _tabled(values: Sequence[Any], room: int) -> _Table | None:
    """Return the values as a table, None where that is hardly shorter or most values would not fit."""
    _check(room)
    keys, count = _shared_keys(values)
    gain = (count - 1) * sum(len(key) + _QUOTES_CHARS for key in keys)
    if gain < _LEAST_GAIN_CHARS or 2 * count < len(values):
        return None
    fits = [type(value) is dict and tuple(value) == keys for value in values] if count < len(values) else None
    like = values if fits is None else [value for value, fit in zip(values, fits, strict=True) if fit]
    columns = zip(keys, zip(*[value.values() for value in like], strict=True), strict=True)
    heads, written = zip(*[_column(key, cells, room - 1) for key, cells in columns], strict=True)
    varying = [cells for cells in written if cells is not None]
    rows = list(zip(*varying, strict=True)) if varying else [()] * count
    if fits is None:
        return _Table(list(heads), rows)
    each = iter(rows)
    rest = zip(values, fits, strict=True)
    return _Table(list(heads), [next(each) if fit else fold(value, room - 1) for value, fit in rest])


def _shared_keys(values: Sequence[Any]) -> tuple[tuple[str, ...], int]:
    """Return the keys that most objects have, in that order, and how many have them; none beside lists."""
    kinds = {*map(type, values)}
    if dict not in kinds or list in kinds:
        return (), 0
    found = [tuple(value) for value in values if type(value) is dict]
    if found.count(found[0]) == len(found):
        return found[0], len(found)
    return Counter(found).most_common(1)[0]


def _column(key: str, cells: Sequence[Any], room: int) -> tuple[Any, Sequence[Any] | None]:
    """Return the head's entry for a key and the cells as they are written, None where rows have none."""
    kinds = {*map(type, cells)}
    if len(kinds) == 1 and kinds <= _CONSTANT and cells.count(cells[0]) == len(cells):
        return {EVERY + key: cells[0]}, None
    if _CONTAINERS.isdisjoint(kinds):
        return key, cells
    if kinds <= {list, type(None)}:
        table = _tabled(_items(cells), room - 1)
        if table is not None:
            return [[key], *table.heads], _regrouped(table.rows, cells)
    elif table := _tabled(cells, room):
        return [key, *table.heads], table.rows
    return key, _folded(cells, room)


def _items(cells: Iterable[Any]) -> list[Any]:
    return list(chain.from_iterable(cell for cell in cells if type(cell) is list))


def _regrouped(items: Iterable[Any], cells: Iterable[Any]) -> list[Any]:
    """Return the cells with these items in place of their own; a cell that is no list stays."""
    each = iter(items)
    return [list(islice(each, len(cell))) if type(cell) is list else cell for cell in cells]


# --- unfolding ---------------------------------------------------------------------------------------------------


def _unfold_named(value: Mapping[str, Any]) -> dict[str, Any]:
    names = list(value)
    if names[0] != COLUMNS or type(value[COLUMNS]) is not list:
        raise ValueError("a table with names begins with its columns")
    columns = _read_heads(value[COLUMNS])
    return dict(zip(names[1:], _objects(list(value.values())[1:], columns), strict=True))


def _has_head(value: list[Any]) -> bool:
    kind = value[0][0] if value and type(value[0]) is list and value[0] else None
    return type(kind) is str and kind in {COLUMNS, LISTS}


def _unfold_table(value: list[Any]) -> list[Any]:
    (kind, *heads), *rows = value
    columns = _read_heads(heads)
    return _object_lists(rows, columns) if kind == LISTS else _objects(rows, columns)


def _read_heads(heads: Sequence[Any]) -> tuple[_Column, ...]:
    if not heads:
        raise ValueError("a table has at least one column")
    return tuple(map(_read_head, heads))


def _read_head(head: Any) -> _Column:
    if type(head) is str:
        return _Column(head)
    if type(head) is dict and len(head) == 1:
        ((key, value),) = head.items()
        return _Column(_after(EVERY, key), constant=True, value=value)
    if type(head) is not list or not head:
        raise ValueError("an entry of a table's head is a key, a key with its value, or a key with its columns")
    name, *heads = head
    many = type(name) is list and len(name) == 1
    key = name[0] if many else name
    if type(key) is not str:
        raise ValueError("a column's name is a string")
    return _Column(key, columns=_read_heads(heads), many=many)


def _after(prefix: str, text: str) -> str:
    if not text.startswith(prefix):
        raise ValueError(f"a value for all rows is named {prefix}...")
    return text.removeprefix(prefix)


def _objects(rows: Sequence[Any], columns: Sequence[_Column]) -> list[Any]:
    keys = [column.key for column in columns]
    if not any(column.constant or column.columns for column in columns) and _is_flat(rows):
        return [dict(zip(keys, row, strict=True)) if type(row) is list else row for row in rows]
    like = rows if {*map(type, rows)} == {list} else [row for row in rows if type(row) is list]
    width = sum(not column.constant for column in columns)
    if not {width}.issuperset(map(len, like)):
        raise ValueError("a row has as many cells as its table has columns")
    cells = iter(zip(*like, strict=True))
    whole = [[column.value] * len(like) if column.constant else _read(next(cells, ()), column) for column in columns]
    objects = [dict(zip(keys, row, strict=True)) for row in zip(*whole, strict=True)]
    if like is rows:
        return objects
    each = iter(objects)
    return [next(each) if type(row) is list else unfold(row) for row in rows]


def _unfolded(values: Sequence[Any]) -> Sequence[Any]:
    return values if _is_flat(values) else [unfold(value) for value in values]


def _read(cells: Sequence[Any], column: _Column) -> Sequence[Any]:
    if not column.columns:
        return _unfolded(cells)
    return _object_lists(cells, column.columns) if column.many else _objects(cells, column.columns)


def _object_lists(cells: Sequence[Any], columns: Sequence[_Column]) -> list[Any]:
    return _regrouped(_objects(_items(cells), columns), cells)
