"""HTTP/1.1 as bytes: what is written is read back, in whatever pieces it comes, and every end is told apart."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.gateway.conformance.wire import (
    Cut,
    Head,
    Wire,
    answer_pieces,
    is_chunked,
    request_body,
    status_of,
    written,
)

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True).filter(
    lambda name: name not in {"content-length", "transfer-encoding"}
)
VALUES = st.from_regex(r"([!-~]([ -~]{0,20}[!-~])?)?", fullmatch=True)


@contextmanager
def hearing(*pieces: bytes, closed: bool = True) -> Iterator[Wire]:
    """Return a wire on which these pieces come, and then the end or nothing more."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for piece in pieces:
            theirs.sendall(piece)
        if closed:
            theirs.shutdown(socket.SHUT_WR)
        ours.settimeout(0.01 if not closed else 30)
        yield Wire(ours)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8), st.binary(max_size=300), st.integers(1, 50))
def test_what_is_written_is_read_back(pairs: list[tuple[str, str]], body: bytes, step: int) -> None:
    """Head and body, in whatever pieces they come."""
    raw = written("POST / HTTP/1.1", (*pairs, ("content-length", str(len(body)))), body)
    with hearing(*[raw[at : at + step] for at in range(0, len(raw), step)]) as wire:
        head = wire.head()
        assert ("POST / HTTP/1.1", (*pairs, ("content-length", str(len(body))))) == (head.first, head.headers)
        assert body == request_body(wire, head)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=6))
def test_chunks_are_read_back(chunks: list[bytes]) -> None:
    """With an extension, and trailers after the last."""
    raw = b"".join(b"%x;a=b\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    with hearing(raw + b"0\r\nx-trailer: 1\r\n\r\nnext") as wire:
        assert b"".join(chunks) == b"".join(wire.chunked())
        assert b"next" == wire.some(100)


ENDS = {
    "chunked": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"3\r\nabc\r\n", "cut"),
    "counted": (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"abc", "cut"),
    "neither": (b"HTTP/1.1 200 OK\r\n\r\n", b"abc", "closed"),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_body_that_breaks_off_gives_what_came(name: str) -> None:
    """Then it raises, and its framing says what that means."""
    head, body, expected = ENDS[name]
    with hearing(head + body) as wire:
        pieces, end = answer_pieces(wire, wire.head(), "POST")
        assert (b"abc", expected) == (next(pieces), end)
        with pytest.raises(Cut):
            next(pieces)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 204), ("GET", 304)])
def test_an_answer_without_a_body_ends_with_its_head(method: str, status: int) -> None:
    """Whatever length it names (RFC 9110 section 6.4.1)."""
    with hearing(b"HTTP/1.1 %d X\r\ncontent-length: 9\r\n\r\n" % status) as wire:
        pieces, _ = answer_pieces(wire, wire.head(), method)
        assert [] == list(pieces)


def test_silence_is_no_cut() -> None:
    """It raises as a socket does."""
    with hearing(b"HTTP/1.1 200 OK\r\n", closed=False) as wire, pytest.raises(TimeoutError):
        wire.head()


@pytest.mark.parametrize(
    ("first", "expected"),
    [("HTTP/1.1 529 ", 529), ("HTTP/1.1 200 OK", 200), ("", 0), ("HTTP/1.1 x", 0), ("nonsense", 0)],
)
def test_the_status_of_a_first_line(first: str, expected: int) -> None:
    """0 where there is none."""
    assert expected == status_of(Head(first, ()))


def test_lines_of_one_name() -> None:
    """All of them, or joined; None where there is none."""
    head = Head("", (("a", "1"), ("b", "2"), ("a", "3")))
    assert (["1", "3"], "1, 3", None) == (head.all("a"), head.get("a"), head.get("c"))


@pytest.mark.parametrize(("value", "expected"), [("chunked", True), ("gzip, Chunked", True), ("gzip", False)])
def test_chunks_are_the_last_coding(value: str, expected: bool) -> None:
    """RFC 9112 section 6.1."""
    assert expected == is_chunked(Head("", (("transfer-encoding", value),)))


def test_lines_may_end_in_a_line_feed_alone() -> None:
    """And an empty one may come before a head (RFC 9112 section 2.2)."""
    with hearing(b"\r\nGET / HTTP/1.1\nx: 1\n\n") as wire:
        assert Head("GET / HTTP/1.1", (("x", "1"),)) == wire.head()
