"""Cuts in a list: its parts in any order, with what stands between untouched parts untouched."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire.cuts import Cut, Item, applied, rearranged
from scrimp.core.wire.spans import Document

GAPS = st.sampled_from([",", ", ", " ,\n", ",\t"])


@st.composite
def lists(draw: st.DrawFn) -> bytes:
    """Return a list of distinct numbers in some style, which may be empty."""
    count = draw(st.integers(0, 6))
    gaps = [draw(GAPS) for _ in range(count)]
    inside = "".join((gaps[at] if at else "") + str(at + 100) for at in range(count))
    return f"[{draw(st.sampled_from(['', ' ']))}{inside}{draw(st.sampled_from(['', ' ']))}]".encode()


def ordered(body: bytes, order: Sequence[Item], cuts: list[Cut]) -> bytes:
    """Return the list with its parts in this order, after the cuts inside them."""
    document = Document(body)
    at = (0, len(body))
    return applied(document, at, rearranged(document, at, document.elements(at), order, cuts))


@given(lists(), st.data())
def test_any_order_can_be_had(body: bytes, data: st.DataObject) -> None:
    """Some parts go, some move, some are new, some are cut themselves; the result is that list."""
    document = Document(body)
    spans = document.elements((0, len(body)))
    kept = data.draw(st.permutations(range(len(spans))))[: data.draw(st.integers(0, len(spans)))]
    order: list[Item] = list(kept)
    for at in data.draw(st.lists(st.integers(0, len(kept)), max_size=3)):
        order.insert(at, b'"new"')
    cut = data.draw(st.sets(st.sampled_from(kept))) if kept else set()
    values: list[object] = [7 if at in cut else number for at, number in enumerate(json.loads(body))]
    result = ordered(body, order, [(*spans[at], b"7") for at in cut])
    assert ["new" if isinstance(item, bytes) else values[item] for item in order] == json.loads(result)


@given(lists(), st.data())
def test_a_new_part_can_be_taken_out_again(body: bytes, data: st.DataObject) -> None:
    """Put in and taken out, it leaves the list byte for byte as it was."""
    count = len(json.loads(body))
    at = data.draw(st.integers(0, count))
    longer = ordered(body, [*range(at), b"1", *range(at, count)], [])
    assert body == ordered(longer, [each for each in range(count + 1) if each != at], [])


@given(lists())
def test_the_same_order_is_no_cut(body: bytes) -> None:
    """Nothing is rewritten for nothing: it is the same object."""
    assert body is ordered(body, list(range(len(json.loads(body)))), [])


def test_what_stands_between_goes_with_what_follows() -> None:
    """A removed part takes its comma along; the first one leaves its own."""
    body = b"[ 1,  2 ,3\n]"
    assert b"[ 1 ,3\n]" == ordered(body, [0, 2], [])
    assert b"[ 2 ,3\n]" == ordered(body, [1, 2], [])
    assert b"[ \n]" == ordered(body, [], [])
    assert b"[ 1,9,  2 ,3\n]" == ordered(body, [0, b"9", 1, 2], [])
    assert b"[ 2 ,3,1\n]" == ordered(body, [1, 2, 0], [])
