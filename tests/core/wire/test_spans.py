"""Where the parts of a JSON text stand: always what Python's own decoder finds there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire.spans import Document, SpanError

WHITE = st.text(" \t\r\n", max_size=2)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def texts(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> bytes:
    """Return a value written in some style, with white space around it."""
    comma, colon = draw(WHITE) + "," + draw(WHITE), draw(WHITE) + ":" + draw(WHITE)
    indent, ascii_only = draw(st.none() | st.integers(0, 2)), draw(st.booleans())
    text = json.dumps(draw(values), indent=indent, separators=(comma, colon), ensure_ascii=ascii_only)
    return (draw(st.sampled_from(["", "\ufeff"])) + draw(WHITE) + text + draw(WHITE)).encode()


@given(texts(st.dictionaries(st.text(max_size=6), VALUES, max_size=5)))
def test_members_stand_where_they_say(body: bytes) -> None:
    """Names come in order, and each value's bytes are the value; a member begins with its own key."""
    document = Document(body)
    members = document.members(document.whole)
    assert list(json.loads(body).items()) == [
        (name, json.loads(document.raw(member.value))) for name, member in members.items()
    ]
    whole = [b"{%b}" % document.raw(member.span) for member in members.values()]
    assert [{name: value} for name, value in json.loads(body).items()] == [json.loads(each) for each in whole]


@given(texts(st.lists(VALUES, max_size=5)))
def test_elements_stand_where_they_say(body: bytes) -> None:
    """Each element's bytes are the element, whatever stands between them."""
    document = Document(body)
    assert json.loads(body) == [json.loads(document.raw(at)) for at in document.elements(document.whole)]


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"a":1,"b":1,"a":1}',
        b'{"a":1,"a":12}',
        b'{"a":"b","a":"b","b":"b"}',
        rb'{"a":1,"\u0061":1}',
        b'{"a":{},"a":{"b":1}}',
        b'{":k":1,"b":",",":123":2222222222,":k":1234567}',  # lengths alone lead through this one
    ],
)
def test_a_key_that_comes_twice_is_refused(body: bytes) -> None:
    """Readers differ in which value they take, so we take none."""
    document = Document(body)
    with pytest.raises(SpanError, match="twice"):
        document.members(document.whole)


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", "12", '"b"', '{"a":1}'])), max_size=5)
)
def test_every_double_is_found(pairs: list[tuple[str, str]]) -> None:
    """An object is read exactly if no key comes twice."""
    document = Document(("{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}").encode())
    names = [name for name, _ in pairs]
    try:
        assert names == list(document.members(document.whole))
    except SpanError:
        assert len(names) != len(set(names))


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"null", b'{"a":1} x', b'{"a":NaN}', b"{" * 9, b'{"a":' * 9_999])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    """One error for whatever cannot be read."""
    document = Document(body)
    with pytest.raises(SpanError):
        document.members(document.whole)


@pytest.mark.parametrize("body", [b"", b"[", b"{}", b"[1,]", b"[" * 99_999])
def test_what_is_no_list_is_refused(body: bytes) -> None:
    """As for objects."""
    document = Document(body)
    with pytest.raises(SpanError):
        document.elements(document.whole)


def test_half_surrogates_are_mended_in_place() -> None:
    """What is read is mended, what is returned is the original, and places agree."""
    document = Document(rb'{"a":"\ud83d","b\\ud800":[1]}')
    assert document.mend()
    members = document.members(document.whole)
    assert [rb'"\ud83d"', b"[1]"] == [document.raw(member.value) for member in members.values()]
    assert not Document(b'{"a":1}').mend()
    assert b"{" == document.starts(document.whole)
