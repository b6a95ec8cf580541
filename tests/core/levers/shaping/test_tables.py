"""Like objects as tables: the forms of a table's head, what is left alone, and the way back."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scrimp.core.levers.shaping.tables import COLUMNS, DEEPEST, LISTS, fold, unfold

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
)
KEYS = st.sampled_from(["id", "name", "every id", "", COLUMNS, LISTS])
VALUES = st.recursive(
    SCALARS | st.sampled_from([COLUMNS, LISTS]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=30,
)


@st.composite
def alike(draw: st.DrawFn) -> list[Any]:
    """Draw a list of objects that mostly share keys, with cells of every kind, among them objects and lists of such."""
    keys = draw(st.lists(st.text("abcdef#", min_size=4, max_size=9), min_size=1, max_size=4, unique=True))
    cells = {key: draw(st.sampled_from([SCALARS, st.just("same"), VALUES])) for key in keys}
    row = st.fixed_dictionaries(cells)
    nested = st.fixed_dictionaries({**cells, "inner": row, "inner list": st.lists(row, max_size=3) | st.none()})
    kind = draw(st.sampled_from([row, nested, st.lists(row, max_size=3)]))
    return draw(st.lists(kind | draw(st.sampled_from([kind, VALUES])), max_size=6))


MIXED = [{"a long key": 1}, {"a long key": 2}, {"a long key": 3}, None, None, None, None]
"""Most of it would not fit into a table."""


def exact(value: Any) -> bytes:
    """Return the value so that 1, 1.0 and True are three things, and the order of keys counts."""
    return msgspec.json.encode(value)


def is_reserved(value: Any) -> bool:
    """Tell whether the words of a table's head stand somewhere in the value."""
    return any(mark in exact(value) for mark in (COLUMNS.encode(), LISTS.encode()))


@given(VALUES | alike())
def test_unfolding_gives_back_what_was_folded(value: Any) -> None:
    """Every value without our words comes back to the type; one with them does, or is refused by name."""
    folded = msgspec.json.decode(exact(fold(value)))
    try:
        restored = exact(unfold(folded))
    except ValueError:
        restored = b""
    assert restored == exact(value) or is_reserved(value)


@given(VALUES)
@example({COLUMNS: [], "first": []})
@example([[LISTS, "number"], [[1]], None])
@example([[COLUMNS], None, []])
def test_unfolding_anything_gives_a_value_or_says_why_not(value: Any) -> None:
    """Whatever looks like a table of ours or does not: a value that is JSON, or a ValueError."""
    with suppress(ValueError):
        assert exact(unfold(value))


@given(VALUES | alike())
def test_folding_leaves_its_argument_alone(value: Any) -> None:
    """Folding twice gives the same, and the value is what it was."""
    before = exact(value)
    assert exact(fold(value)) == exact(fold(value))
    assert before == exact(value)


@pytest.mark.parametrize(
    ("value", "folded"),
    [
        (
            [{"number": 1, "state": "open"}, {"number": 2, "state": "shut"}],
            [[COLUMNS, "number", "state"], [1, "open"], [2, "shut"]],
        ),
        (
            [{"number": 1, "closed_at": None, "is_new": True}, {"number": 2, "closed_at": None, "is_new": False}],
            [[COLUMNS, "number", {"every closed_at": None}, "is_new"], [1, True], [2, False]],
        ),
        (
            [{"number": 1, "at": {"east": 1, "north": 2}}, {"number": 2, "at": {"east": 3, "north": 4}}],
            [[COLUMNS, "number", ["at", "east", "north"]], [1, [1, 2]], [2, [3, 4]]],
        ),
        (
            [{"order": 1, "items": [{"item": "a", "count": 1}]}, {"order": 2, "items": [{"item": "b", "count": 2}]}],
            [[COLUMNS, "order", [["items"], "item", "count"]], [1, [["a", 1]]], [2, [["b", 2]]]],
        ),
        (
            [[{"origin": "LAS", "target": "DEN"}], [{"origin": "DEN", "target": "ATL"}], []],
            [[LISTS, "origin", "target"], [["LAS", "DEN"]], [["DEN", "ATL"]], []],
        ),
        (
            {"card_1": {"source": "card", "amount": 1}, "card_2": {"source": "bank", "amount": 2}},
            {COLUMNS: ["source", "amount"], "card_1": ["card", 1], "card_2": ["bank", 2]},
        ),
        (
            [{"number": 1, "state": "open"}, None, {"number": 2, "state": "shut"}, {"error": "gone"}],
            [[COLUMNS, "number", "state"], [1, "open"], None, [2, "shut"], {"error": "gone"}],
        ),
    ],
    ids=["rows", "constant", "object", "list", "lists", "named", "unlike"],
)
def test_each_form_of_a_table(value: Any, folded: Any) -> None:
    """Like objects become rows under one head, in each form that the module names, and come back."""
    assert exact(folded) == exact(fold(value))
    assert exact(value) == exact(unfold(folded))


@pytest.mark.parametrize(
    "value",
    [
        [{"a": 1}, {"a": 2}],
        [{"number": 1}],
        [1, 2],
        {"a": {"b": 1}},
        [],
        {},
        [[], []],
        [{"number": 1}, [1]],
        "text",
        MIXED,
    ],
)
def test_what_no_table_would_shorten_is_left_alone(value: Any) -> None:
    """Short keys, single objects, scalars and objects among lists stay as they are."""
    assert exact(value) == exact(fold(value))


def test_equal_values_of_two_types_are_no_constant() -> None:
    """1, 1.0 and True are equal to Python, yet three things in JSON; 0.0 and -0.0 likewise."""
    value = [{"number": 1, "zero": 0.0}, {"number": True, "zero": -0.0}, {"number": 1.0, "zero": 0.0}]
    assert exact([[COLUMNS, "number", "zero"], [1, 0.0], [True, -0.0], [1.0, 0.0]]) == exact(fold(value))


def test_too_deep_is_refused() -> None:
    """Nesting beyond the limit is an error by name; at the limit it is folded."""

    def nested(depth: int) -> Any:
        value: Any = 1
        for _ in range(depth):
            value = [value]
        return value

    assert nested(DEEPEST) == fold(nested(DEEPEST))
    with pytest.raises(ValueError, match="nested deeper"):
        fold(nested(DEEPEST + 1))


@pytest.mark.parametrize(
    "table",
    [
        [[COLUMNS, "a", "b"], [1]],
        [[COLUMNS, 1], [1]],
        [[COLUMNS, {"a": 1}], []],
        [[COLUMNS, {"every a": 1, "every b": 1}], []],
        [[COLUMNS, ["a"]], [1]],
        [[COLUMNS, [1, "b"]], [[1]]],
        {"first": [1], COLUMNS: ["a"]},
        {COLUMNS: "a"},
    ],
)
def test_what_is_no_table_of_ours_is_refused(table: Any) -> None:
    """A head or row that `fold` does not write is a ValueError, never a wrong value."""
    with pytest.raises(ValueError):  # noqa: PT011 - which of the rules is broken is the example's business
        unfold(table)
