"""What aiohttp is given to send: the client's headers and body, nothing added but a length that was missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.upstream.client import RawHeaders, UpstreamRequest
from scrimp.upstream.outgoing import BODY_PIECE_BYTES, PiecewiseBody, body_of, headers_of

NAMES = st.from_regex(rb"[Xx]-[A-Za-z0-9_-]{1,8}", fullmatch=True)
VALUES = st.text(st.characters(min_codepoint=0x21, exclude_categories=["Cs", "Cc"]), max_size=12).map(str.encode)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=12))
def test_headers_keep_their_order_and_their_bytes(pairs: RawHeaders) -> None:
    """Any names in any order, repeated or not, with any UTF-8 value; a repeated one in the case of its first."""
    spelling: dict[bytes, bytes] = {}
    expected = [(spelling.setdefault(name.lower(), name), value) for name, value in pairs]
    found = headers_of(UpstreamRequest("GET", "/", pairs))
    assert expected == [(name.encode(), value.encode()) for name, value in found]


def test_a_value_that_is_no_utf_8_is_read_as_latin_1() -> None:
    """Aiohttp writes UTF-8 only: other bytes keep their characters, and the request goes on."""
    assert [("x", "caf\xe9")] == headers_of(UpstreamRequest("GET", "/", [(b"x", b"caf\xe9")]))


def test_headers_of_the_clients_own_connection_stay_there() -> None:
    """Host, Expect and whatever Connection lists are said anew for this hop."""
    pairs = [(b"HOST", b"h"), (b"Expect", b"100-continue"), (b"connection", b"X-A"), (b"x-a", b"1"), (b"B", b"2")]
    assert [("B", "2")] == headers_of(UpstreamRequest("GET", "/", pairs))


@pytest.mark.parametrize(
    ("given_pairs", "body", "expected"),
    [
        ([], b"", []),
        ([], b"abc", [("Content-Length", "3")]),
        ([(b"content-length", b"77"), (b"A", b"1")], b"abc", [("content-length", "3"), ("A", "1")]),
        ([(b"Content-Length", b"0")], b"", [("Content-Length", "0")]),
        ([(b"Transfer-Encoding", b"chunked")], b"abc", [("Content-Length", "3")]),
    ],
)
def test_a_body_of_known_length_says_its_true_length(
    given_pairs: RawHeaders, body: bytes, expected: list[tuple[str, str]]
) -> None:
    """In the client's place for it where there is one; a request without a body gets no length."""
    assert expected == headers_of(UpstreamRequest("POST", "/", given_pairs, body))


def test_a_streamed_body_keeps_the_clients_length() -> None:
    """Of a body that is still arriving only the client knows the length."""
    body = PiecewiseBody(_pieces()).__aiter__()
    assert [("content-length", "77")] == headers_of(UpstreamRequest("POST", "/", [(b"content-length", b"77")], body))


async def _pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def _all(body: PiecewiseBody) -> list[bytes]:
    return [piece async for piece in body]


@given(st.integers(0, 3 * BODY_PIECE_BYTES))
def test_a_body_is_whole_or_in_pieces_of_the_limit(size: int) -> None:
    """A short body is one value, a long one pieces that are no longer than the limit; joined they are the body."""
    body = bytes(size)
    data = body_of(body)
    pieces = asyncio.run(_all(data)) if isinstance(data, PiecewiseBody) else [data or b""]
    assert (body, True) == (b"".join(pieces), all(len(piece) <= BODY_PIECE_BYTES for piece in pieces))


def test_an_empty_body_is_no_body() -> None:
    """Nothing is sent for nothing: a GET stays without a payload."""
    assert body_of(b"") is None


def test_a_body_remembers_why_it_broke_off() -> None:
    """The iterator's own error is kept, for the one who sent it."""

    async def breaking() -> AsyncIterator[bytes]:
        yield b"half"
        raise ZeroDivisionError

    body = PiecewiseBody(breaking())
    with pytest.raises(ZeroDivisionError):
        asyncio.run(_all(body))
    assert isinstance(body.failure, ZeroDivisionError)
