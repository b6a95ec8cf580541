"""What an answer says of itself as it passes: every byte is handed on, and it ends once."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise

import httpx2
import pytest
from anthropic import APIConnectionError, APITimeoutError
from hypothesis import given
from hypothesis import strategies as st

from scrimp.clock import VirtualClock
from scrimp.core.belief.exchange import Exchange
from scrimp.engine.outside import Outside
from scrimp.sdk.answers import Attempt, Body, unanswered
from scrimp.sdk.desk import Desk
from scrimp.store.ledger import MemoryLedger
from scrimp.upstream.pricefeed import load_book

pytestmark = pytest.mark.xdist_group("sdk")

REQUEST = httpx2.Request("POST", "http://127.0.0.1:1/v1/messages")
ASKED = b'{"model":"claude-opus-5-5","max_tokens":9,"messages":[{"role":"user","content":"Hi."}]}'


def _event(name: str, **fields: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()


MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "model": "claude-opus-5-5",
    "usage": {"input_tokens": 5, "output_tokens": 1},
}
STREAM = (
    _event("message_start", message=MESSAGE)
    + _event("content_block_delta", delta={"type": "text_delta", "text": "Hello."})
    + _event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7})
    + _event("message_stop")
)


class Breaking(VirtualClock):
    """A clock that may break: a fault of ours."""

    is_broken = False

    def now_ms(self) -> int:
        """Return the time, or fail."""
        if self.is_broken:
            raise OSError("no clock")
        return super().now_ms()


class Desked:
    """An attempt at a desk, and what the ledger comes to say of it."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.clock = Breaking(1_790_000_000_000)
        outside = Outside(prices=load_book(), clock=self.clock)
        desk = Desk(outside, self.ledger)
        self.attempt = Attempt(desk, desk.arrive({"x-api-key": "k"}, ASKED))

    @property
    def row(self) -> Exchange:
        """Return the only row."""
        (row,) = self.ledger.exchanges()
        return row

    def answer(self, body: httpx2.SyncByteStream | httpx2.AsyncByteStream, status: int = 200) -> httpx2.Response:
        """Begin a streamed answer."""
        headers = {"content-type": "text/event-stream", "request-id": "req_1"}
        response = httpx2.Response(status, headers=headers, stream=body, request=REQUEST)
        self.attempt.begin()
        self.attempt.answered(response)
        return response


class Pieces(httpx2.SyncByteStream):
    """A body in pieces, which may fail after them."""

    elapsed = "a while"

    def __init__(self, *pieces: bytes, error: BaseException | None = None) -> None:
        self.pieces = pieces
        self.error = error
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        """Yield each piece."""
        yield from self.pieces
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Note it."""
        self.is_closed = True


class AsyncPieces(httpx2.AsyncByteStream):
    """The same for the asynchronous client alone."""

    def __init__(self, *pieces: bytes, error: BaseException | None = None) -> None:
        self.inner = Pieces(*pieces, error=error)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield each piece."""
        for piece in self.inner:
            yield piece

    async def aclose(self) -> None:
        """Note it."""
        self.inner.close()


def _cut(at: list[int]) -> list[bytes]:
    places = sorted({0, *at, len(STREAM)})
    return [STREAM[start:end] for start, end in pairwise(places)]


CUTS = st.lists(st.integers(0, len(STREAM)), max_size=8)


@given(CUTS)
def test_every_piece_is_handed_on_as_it_is(at: list[int]) -> None:
    """However the body is cut, synchronous and asynchronous: the same pieces, and the whole usage."""
    pieces = _cut(at)
    one, other = Desked(), Desked()
    assert pieces == list(one.answer(Pieces(*pieces)).iter_raw())

    async def read() -> list[bytes]:
        return [piece async for piece in other.answer(AsyncPieces(*pieces)).aiter_raw()]

    assert pieces == asyncio.run(read())
    for row in (one.row, other.row):
        assert ("msg_1", "req_1", "end_turn", True) == (
            row.message_id,
            row.request_id,
            row.stop_reason,
            row.usage_complete,
        )
        assert (None, 200) == (row.error_type, row.http_status)
        assert row.usage is not None
        assert (5, 7) == (row.usage.uncached_input_tokens, row.usage.output_tokens)


@given(st.integers(1, len(STREAM)), st.booleans())
def test_leaving_anywhere_is_recorded_once(at: int, is_async: bool) -> None:
    """Closed after any byte: news only before the final usage, and nothing that comes later changes it."""
    desked = Desked()

    async def leave() -> None:
        response = desked.answer(AsyncPieces(STREAM[:at], STREAM[at:]))
        async for _ in response.aiter_raw():
            break
        await response.aclose()

    if is_async:
        asyncio.run(leave())
    else:
        response = desked.answer(Pieces(STREAM[:at], STREAM[at:]))
        next(response.iter_raw(), None)
        response.close()
    row = desked.row
    assert (None if row.usage_complete else "client_gone") == row.error_type
    assert (at >= STREAM.index(b"event: message_stop")) == row.usage_complete
    desked.attempt.finished()
    desked.attempt.cut(OSError())
    desked.attempt.failed(OSError())
    desked.attempt.left()
    assert row == desked.row


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx2.RemoteProtocolError("cut"), "upstream_cut"),
        (httpx2.ReadError("reset"), "upstream_cut"),
        (httpx2.ReadTimeout("silent"), "client_gone"),
        (KeyboardInterrupt(), "client_gone"),
        (asyncio.CancelledError(), "client_gone"),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_how_a_body_breaks_off(error: BaseException, expected: str, is_async: bool) -> None:
    """The upstream's doing or the caller's; the error is raised as it was, and the connection let go."""
    desked, body = Desked(), Pieces(STREAM[:200], error=error)

    async def read() -> None:
        async for _ in desked.answer(AsyncPieces(*body.pieces, error=error)).aiter_raw():
            pass

    with pytest.raises(type(error)):
        asyncio.run(read()) if is_async else list(desked.answer(body).iter_raw())
    assert is_async or body.is_closed
    assert (expected, False) == (desked.row.error_type, desked.row.usage_complete)


def test_a_body_that_is_dropped_is_left() -> None:
    """Nobody read it and nobody closed it."""
    desked = Desked()
    response = desked.answer(Pieces(STREAM))
    del response
    gc.collect()
    assert "client_gone" == desked.row.error_type


@pytest.mark.parametrize("moment", ["first token", "end"])
def test_a_fault_of_ours_is_not_the_reader_s(moment: str, caplog: pytest.LogCaptureFixture) -> None:
    """Every byte still comes, the fault is owned up to once, and the row stays open."""
    desked = Desked()
    desked.attempt.begin()
    body = desked.answer(Pieces(*STREAM.partition(b"event: message_delta")))
    read = body.iter_raw()
    heard = b"" if moment == "first token" else next(read)
    desked.clock.is_broken = True
    assert STREAM == heard + b"".join(read)
    desked.clock.is_broken = False
    assert desked.row.closed_at_ms is None
    assert 1 == caplog.text.count("stays open (OSError in now_ms")


def test_what_else_a_body_knows_is_its_own() -> None:
    """`elapsed`, and whatever the SDK's tracing looks for there; what it does not know is an AttributeError."""
    body = Body(Pieces(), Desked().attempt)
    assert "a while" == body.elapsed
    assert not hasattr(body, "stream_observer")


def test_a_body_that_was_read_is_looked_at_whole() -> None:
    """The SDK has read an answer that is no stream before anybody else sees it, and undone its coding."""
    desked = Desked()
    message = json.dumps({**MESSAGE, "stop_reason": "end_turn"}).encode()
    headers = {"content-type": "application/json", "content-encoding": "identity"}
    response = httpx2.Response(200, headers=headers, content=message, request=REQUEST)
    desked.attempt.answered(response)
    assert ("msg_1", True) == (desked.row.message_id, desked.row.usage_complete)
    assert message == response.content


def test_what_was_never_sent_costs_nothing() -> None:
    """Other middleware may answer by itself."""
    desked = Desked()
    desked.attempt.unsent()
    assert (None, 0, None) == (desked.row.http_status, desked.row.cost_upper_nano_usd, desked.row.usage)


def test_what_was_recorded_elsewhere_has_no_row() -> None:
    """It is settled without one."""
    desked = Desked()
    desked.attempt.recorded_elsewhere()
    assert [] == list(desked.ledger.exchanges())


def test_it_begins_once() -> None:
    """Beginning again is no second row."""
    desked = Desked()
    for is_begun in (False, True, True):
        assert is_begun == desked.attempt.is_begun
        desked.attempt.begin()
    assert desked.row.closed_at_ms is None


def _because(error: Exception, cause: BaseException | None) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (_because(APIConnectionError(request=REQUEST), httpx2.ConnectError("no")), ("upstream_unavailable", False)),
        (_because(APITimeoutError(request=REQUEST), httpx2.ConnectTimeout("no")), ("upstream_unavailable", False)),
        (_because(APITimeoutError(request=REQUEST), httpx2.PoolTimeout("no")), ("upstream_unavailable", False)),
        (_because(APITimeoutError(request=REQUEST), httpx2.ReadTimeout("no")), ("client_gone", True)),
        (_because(APIConnectionError(request=REQUEST), httpx2.ReadError("no")), ("upstream_unavailable", True)),
        (APIConnectionError(request=REQUEST), ("upstream_unavailable", True)),
        (ValueError("of other middleware"), ("client_error", True)),
        (KeyboardInterrupt(), ("client_gone", True)),
        (asyncio.CancelledError(), ("client_gone", True)),
    ],
)
def test_why_there_is_no_answer(error: BaseException, expected: tuple[str, bool]) -> None:
    """Whose doing it was, and whether anything can have been billed."""
    assert expected == unanswered(error)
    desked = Desked()
    desked.attempt.failed(error)
    assert (expected[0], not expected[1]) == (desked.row.error_type, desked.row.cost_upper_nano_usd == 0)
