"""The relay by itself: order, ends, cuts, and a client that may leave at any moment."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.errors import UpstreamUnavailable
from scrimp.gateway.asgi import ClientGone, Inbound, Message
from scrimp.gateway.relay import (
    CONSUMED,
    UpstreamCut,
    relay,
    send_upstream,
    unavailable,
    unless_gone,
    upstream_request,
)
from scrimp.upstream.client import RawHeaders, UpstreamRequest, UpstreamResponse


class Answer:
    """An answer of given chunks that may break off after them."""

    reason = "OK"
    is_whole = False

    def __init__(self, chunks: list[bytes], *, cut: bool = False, status: int = 200) -> None:
        self.status = status
        self.headers: RawHeaders = [(b"a", b"1"), (b"A", b"2"), (b"b", b"\xff")]
        self._chunks = chunks
        self._cut = cut

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give each chunk."""
        for chunk in self._chunks:
            yield chunk
        if self._cut:
            raise ConnectionResetError

    async def aclose(self) -> None:
        """Have nothing to close."""


class Client:
    """Whoever is answered: keeps every message and every word of the relay, in their order."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    async def send(self, message: Message) -> None:
        """Take one message."""
        await asyncio.sleep(0)
        body = (message.get("body"), message.get("more_body"))
        self.heard.append((message["status"], message["headers"]) if "status" in message else body)

    def on_chunk(self, chunk: bytes) -> None:
        """Note that a chunk was looked at."""
        self.heard.append(chunk)

    def on_end(self) -> None:
        """Note the end."""
        self.heard.append("end")


def relayed(answer: UpstreamResponse) -> list[object]:
    """Return what a client hears of an answer."""
    client = Client()
    asyncio.run(relay(answer, client.send, [(b"ours", b"4")], client.on_chunk, client.on_end))
    return client.heard


HEAD = (200, [(b"a", b"1"), (b"A", b"2"), (b"b", b"\xff"), (b"ours", b"4")])


@given(st.lists(st.binary(min_size=1)))
def test_each_chunk_is_sent_before_it_is_looked_at(chunks: list[bytes]) -> None:
    """Head, each chunk as it is and then our look at it, the end, the last word."""
    expected = [item for chunk in chunks for item in ((chunk, True), chunk)]
    assert [HEAD, *expected, "end", (b"", False)] == relayed(Answer(chunks))


class Whole(Answer):
    """An answer that knows its last chunk."""

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give each chunk."""
        for number, chunk in enumerate(self._chunks, 1):
            self.is_whole = number == len(self._chunks)
            yield chunk


@given(st.lists(st.binary(min_size=1), min_size=1))
def test_an_end_that_is_known_goes_with_the_last_chunk(chunks: list[bytes]) -> None:
    """The last word is the last chunk, and the end is heard after it."""
    *most, last = chunks
    expected = [item for chunk in most for item in ((chunk, True), chunk)]
    assert [HEAD, *expected, (last, False), last, "end"] == relayed(Whole(chunks))


@given(st.lists(st.binary(min_size=1)))
def test_a_cut_answer_has_no_end(chunks: list[bytes]) -> None:
    """What came is sent and looked at; nobody hears an end."""
    client = Client()
    with pytest.raises(UpstreamCut):
        asyncio.run(relay(Answer(chunks, cut=True), client.send, (), client.on_chunk, client.on_end))
    assert [item for chunk in chunks for item in ((chunk, True), chunk)] == client.heard[1:]


NAMES = st.sampled_from([b"x-api-key", b"Accept", b"anthropic-beta", *CONSUMED, b"Scrimp-Task", b"connection", b"te"])


@given(st.lists(st.tuples(NAMES, st.binary(max_size=5).filter(lambda value: b"," not in value))))
def test_a_request_keeps_its_headers_but_ours_and_its_connection_s(headers: RawHeaders) -> None:
    """In their order and spelling, repeats included."""
    scope = {"method": "POST", "path": "/x", "raw_path": b"/x", "query_string": b"a=b", "headers": headers}
    listed = {value.strip().lower() for name, value in headers if name == b"connection"}
    gone = CONSUMED | {b"connection", b"te"} | listed
    request = upstream_request(scope, b"body", chained=False)
    assert [(name, value) for name, value in headers if name.lower() not in gone] == request.headers
    assert ("POST", "/x?a=b", b"body") == (request.method, request.target, request.body)


class Line:
    """The client's end of a connection: it leaves when it is told to."""

    def __init__(self) -> None:
        self.leave = asyncio.Event()
        self.inbound = Inbound(self._receive)
        self.inbound.skip_body()

    async def _receive(self) -> Message:
        await self.leave.wait()
        return {"type": "http.disconnect"}


def test_work_that_is_done_is_done() -> None:
    """The watch over the client ends with it."""

    async def run() -> int:
        async def work() -> None:
            await asyncio.sleep(0)

        await unless_gone(Line().inbound, work())
        return len(asyncio.all_tasks())

    assert 1 == asyncio.run(run())


def test_work_that_is_done_at_once_is_not_watched() -> None:
    """Whoever leaves while the answer is already there has had it; nobody looks."""

    async def run() -> bool:
        line = Line()
        line.leave.set()
        done = False

        async def work() -> None:
            nonlocal done
            for _ in range(10):
                await asyncio.sleep(0)
            done = True

        await unless_gone(line.inbound, work())
        return done

    assert asyncio.run(run())


def test_whoever_stops_us_is_not_taken_for_the_client() -> None:
    """A cancellation from outside stays one, whether the client is there or not."""

    async def run(*, leaves: bool) -> None:
        line = Line()
        if leaves:
            line.leave.set()
        working = asyncio.gather(unless_gone(line.inbound, asyncio.sleep(60)))
        await asyncio.sleep(0)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working

    asyncio.run(run(leaves=False))
    asyncio.run(run(leaves=True))


def test_a_client_that_leaves_stops_the_work() -> None:
    """The work sees its cancellation, has time to tidy up, and no task is left behind."""
    steps = []

    async def run() -> int:
        line = Line()

        async def work() -> None:
            try:
                line.leave.set()
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                steps.append("tidied up")

        with pytest.raises(ClientGone):
            await unless_gone(line.inbound, work())
        return len(asyncio.all_tasks())

    assert (1, ["tidied up"]) == (asyncio.run(run()), steps)


def test_what_the_work_raises_is_raised() -> None:
    """A fault of the work is no leaving of the client."""

    async def work() -> None:
        await asyncio.sleep(0)
        raise UpstreamCut

    async def run() -> None:
        await unless_gone(Line().inbound, work())

    with pytest.raises(UpstreamCut):
        asyncio.run(run())


def test_a_stop_from_outside_reaches_the_work() -> None:
    """A server that loses its patience cancels the request, and what it was waiting for."""
    steps = []
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            steps.append("stopped")

    async def run() -> int:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(unless_gone(Line().inbound, work()))
            await started.wait()
            task.cancel()
        assert task.cancelled()
        return len(asyncio.all_tasks())

    assert (1, ["stopped"]) == (asyncio.run(run()), steps)


class Down:
    """An upstream that nothing answers at."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Refuse."""
        raise UpstreamUnavailable(f"Nothing answered for {request.target}.", "Check it.")


def test_nothing_upstream_is_told_in_the_api_s_own_words() -> None:
    """A 502 of JSON, and no response to relay."""
    client = Client()
    response = asyncio.run(send_upstream(Down(), UpstreamRequest("GET", "/x", []), client.send))
    told = unavailable("Nothing answered for /x. Check it.")
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(told))]
    assert response is None
    assert [(502, headers), (told, None)] == client.heard


@given(st.text())
def test_the_envelope_is_json_whatever_the_message(message: str) -> None:
    """Quotes and line breaks in a system's own words do no harm."""
    body = unavailable(message.encode("utf-8", "replace").decode())
    error = {"type": "api_error", "message": "scrimp: " + message.encode("utf-8", "replace").decode()}
    assert {"type": "error", "error": error} == json.loads(body)
