"""The server's messages as plain values."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.gateway.asgi import ClientGone, Inbound, Message, Receive, reply, target_of, text_headers

BYTES = st.binary(max_size=8)
GONE: Message = {"type": "http.disconnect"}


def receive_of(messages: Iterable[Message]) -> Receive:
    """Return a `receive` that gives these messages, then that the client is gone."""
    waiting = iter(messages)

    async def receive() -> Message:
        await asyncio.sleep(0)
        return next(waiting, GONE)

    return receive


def body_of(pieces: list[bytes]) -> list[Message]:
    """Return a body as a server delivers it."""
    last = len(pieces) - 1
    return [{"type": "http.request", "body": piece, "more_body": at < last} for at, piece in enumerate(pieces)]


@given(st.binary(min_size=1), st.binary())
def test_a_target_is_what_stood_on_the_wire(path: bytes, query: bytes) -> None:
    """Path and query come back byte for byte; an empty query is none."""
    target = target_of({"path": "?", "raw_path": path, "query_string": query})
    assert path + (b"?" + query if query else b"") == target.encode("latin-1")


def test_a_target_without_its_raw_path_is_made_of_the_path() -> None:
    """Not every server keeps it."""
    assert "/v1/models" == target_of({"path": "/v1/models"})


@given(st.lists(st.tuples(BYTES, BYTES)))
def test_headers_as_text_keep_the_last_of_each_name(pairs: list[tuple[bytes, bytes]]) -> None:
    """Names are in lower case; any bytes can be read, and read back."""
    expected = {name.decode("latin-1").lower(): value for name, value in pairs}
    assert expected == {name: value.encode("latin-1") for name, value in text_headers(pairs).items()}


@given(st.lists(BYTES, min_size=1))
def test_a_body_comes_as_it_was_cut(pieces: list[bytes]) -> None:
    """Empty pieces are left out, nothing else changes."""

    async def read() -> list[bytes]:
        return [chunk async for chunk in Inbound(receive_of(body_of(pieces))).chunks()]

    assert [piece for piece in pieces if piece] == asyncio.run(read())


@given(st.lists(BYTES, min_size=2), st.data())
def test_a_client_that_leaves_within_its_body_is_told(pieces: list[bytes], data: st.DataObject) -> None:
    """What came before is given; the body never looks complete."""
    kept = data.draw(st.integers(0, len(pieces) - 1))
    got = []

    async def read() -> None:
        inbound = Inbound(receive_of(body_of(pieces)[:kept]))
        got.extend([chunk async for chunk in inbound.chunks()])

    with pytest.raises(ClientGone):
        asyncio.run(read())
    assert [] == got


def test_whoever_waits_for_the_leaving_takes_nothing_of_the_body() -> None:
    """The body is read by its reader alone; only then is the connection watched."""

    async def both() -> bytes:
        inbound = Inbound(receive_of(body_of([b"a", b"b", b"c"])))

        async def read() -> bytes:
            return b"".join([chunk async for chunk in inbound.chunks()])

        _, body = await asyncio.gather(inbound.until_gone(), read())
        return body

    assert b"abc" == asyncio.run(both())


def test_a_body_that_nobody_reads_does_not_hide_the_leaving() -> None:
    """Its messages are passed over."""

    async def wait() -> None:
        inbound = Inbound(receive_of(body_of([b"a", b"b"])))
        inbound.skip_body()
        await inbound.until_gone()

    asyncio.run(wait())


@given(st.binary())
def test_an_answer_of_ours_says_its_length(body: bytes) -> None:
    """One head, one body, and no more."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    asyncio.run(reply(send, 502, "application/json", body))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    assert [
        {"type": "http.response.start", "status": 502, "headers": headers},
        {"type": "http.response.body", "body": body},
    ] == sent
