"""The seam into an app of this process keeps the promises of the seam over the network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.errors import UpstreamUnavailable
from scrimp.upstream.asgi import App, AsgiUpstream, Message, Receive, Scope, Send
from scrimp.upstream.client import UpstreamRequest


def _start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def _body(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def _read_body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


async def _read_all(app: App, request: UpstreamRequest) -> tuple[int, str, list[tuple[bytes, bytes]], list[bytes]]:
    response = await AsgiUpstream(app).send(request)
    chunks = [chunk async for chunk in response.chunks()]
    await response.aclose()
    return response.status, response.reason, response.headers, chunks


async def _pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def _drain(chunks: AsyncIterator[bytes], into: list[bytes]) -> None:
    async for chunk in chunks:
        into.append(chunk)  # noqa: PERF401 - what came before an error has to stay


async def _echo(_scope: Scope, receive: Receive, send: Send) -> None:
    await send(_start())
    await send(_body(await _read_body(receive)))


def test_the_app_sees_the_request_as_a_server_would_give_it() -> None:
    """Raw target, lower-case header names in order, Host first, no header of the connection."""
    seen: dict[str, Any] = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.update(scope)
        await _echo(scope, receive, send)

    headers = [(b"X-B", b"1"), (b"Host", b"other"), (b"x-b", b"2"), (b"Connection", b"close"), (b"A", b"3")]
    asyncio.run(_read_all(app, UpstreamRequest("POST", "/v1/a%2Fb?x=%20", headers)))
    assert {
        "type": "http",
        "method": "POST",
        "path": "/v1/a/b",
        "raw_path": b"/v1/a%2Fb",
        "query_string": b"x=%20",
        "headers": [(b"host", b"asgi.invalid"), (b"x-b", b"1"), (b"x-b", b"2"), (b"a", b"3")],
    }.items() <= seen.items()


@given(st.binary(max_size=40), st.lists(st.binary(min_size=1, max_size=9), max_size=4))
def test_bodies_are_identical(whole: bytes, parts: list[bytes]) -> None:
    """A body of bytes and a body that streams both arrive as they are and come back as they are."""
    for body in (whole, b"".join(parts)):
        assert body == b"".join(asyncio.run(_read_all(_echo, UpstreamRequest("POST", "/", [], body)))[3])
    assert b"".join(parts) == b"".join(
        asyncio.run(_read_all(_echo, UpstreamRequest("POST", "/", [], _pieces(*parts))))[3]
    )


def test_a_response_comes_out_as_the_app_gave_it() -> None:
    """Status with its reason, headers in their order less those of the connection, chunks as they were sent."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(_start(529, (b"request-id", b"r"), (b"transfer-encoding", b"chunked"), (b"A", b"1"), (b"a", b"2")))
        await send(_body(b"one", more=True))
        await send(_body(b"", more=True))
        await send(_body(b"two"))

    headers = [(b"request-id", b"r"), (b"A", b"1"), (b"a", b"2")]
    assert (529, "", headers, [b"one", b"two"]) == asyncio.run(_read_all(app, UpstreamRequest("GET", "/", [])))


def test_a_known_status_has_its_reason() -> None:
    """ASGI carries no reason; the usual one is given."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(_start(429))
        await send(_body(b""))

    assert "Too Many Requests" == asyncio.run(_read_all(app, UpstreamRequest("GET", "/", [])))[1]


def test_a_head_request_has_no_body() -> None:
    """What an app sends as the body of HEAD is dropped, as a server drops it."""
    assert [] == asyncio.run(_read_all(_echo, UpstreamRequest("HEAD", "/", [], b"x")))[3]


def test_chunks_come_as_they_are_sent() -> None:
    """Each chunk is here before the next is sent: the app waits until it has been seen."""
    events = [b"one", b"two", b"three"]

    async def scenario() -> list[bytes]:
        seen = asyncio.Queue[bytes]()

        async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
            await send(_start())
            for event in events:
                await send(_body(event, more=True))
                assert event == await seen.get()
            await send(_body(b""))

        response = await AsgiUpstream(app).send(UpstreamRequest("POST", "/", []))
        chunks = []
        async for chunk in response.chunks():
            chunks.append(chunk)
            seen.put_nowait(chunk)
        await response.aclose()
        return chunks

    assert events == asyncio.run(scenario())


def test_a_slow_reader_holds_the_app_back() -> None:
    """An app cannot run far ahead of its reader: at most one chunk waits."""

    async def scenario() -> int:
        sent: list[int] = []

        async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
            await send(_start())
            for number in range(100):
                await send(_body(b"x", more=True))
                sent.append(number)

        response = await AsgiUpstream(app).send(UpstreamRequest("POST", "/", []))
        for _ in range(500):
            await asyncio.sleep(0)
        await response.aclose()
        return len(sent)

    assert asyncio.run(scenario()) <= 2


@pytest.mark.parametrize("crash", [True, False])
def test_an_app_that_ends_before_its_answer_is_unavailable(*, crash: bool) -> None:
    """A crash, or an end without an answer, before the head is an upstream that does not answer; the cause is kept."""

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        if crash:
            raise ZeroDivisionError("boom")

    with pytest.raises(UpstreamUnavailable, match="boom" if crash else "without an answer") as caught:
        asyncio.run(_read_all(app, UpstreamRequest("GET", "/", [])))
    assert isinstance(caught.value.__cause__, ZeroDivisionError) is crash


@pytest.mark.parametrize("crash", [True, False])
def test_an_app_that_ends_within_its_answer_breaks_it_off(*, crash: bool) -> None:
    """Every chunk that was sent arrives, then `ConnectionError`."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(_start())
        await send(_body(b"first", more=True))
        if crash:
            raise ZeroDivisionError("boom")

    async def scenario() -> list[bytes]:
        response = await AsgiUpstream(app).send(UpstreamRequest("GET", "/", []))
        seen: list[bytes] = []
        with pytest.raises(ConnectionError, match="broke off its answer"):
            await _drain(response.chunks(), seen)
        await response.aclose()
        return seen

    assert [b"first"] == asyncio.run(scenario())


def test_a_client_that_leaves_is_told_to_the_app() -> None:
    """Letting go of a response gives the app `http.disconnect`, and its next send raises, as ASGI 2.4 says."""

    async def scenario() -> list[str]:
        seen: list[str] = []

        async def app(_scope: Scope, receive: Receive, send: Send) -> None:
            await send(_start())
            await send(_body(b"x", more=True))
            await _read_body(receive)
            seen.append((await receive())["type"])
            try:
                await send(_body(b"y", more=True))
            except OSError:
                seen.append("OSError")

        response = await AsgiUpstream(app).send(UpstreamRequest("GET", "/", []))
        assert b"x" == await anext(response.chunks())
        await response.aclose()
        return seen

    assert ["http.disconnect", "OSError"] == asyncio.run(scenario())


def test_an_app_that_does_not_listen_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app that goes on for ever after its client left ends all the same."""
    monkeypatch.setattr("scrimp.upstream.asgi.FAREWELL_MS", 1)

    async def scenario() -> bool:
        cancelled = False

        async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
            nonlocal cancelled
            await send(_start())
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled = True
                raise

        response = await AsgiUpstream(app).send(UpstreamRequest("GET", "/", []))
        await response.aclose()
        return cancelled

    assert asyncio.run(scenario())


def test_giving_up_on_a_request_ends_the_app() -> None:
    """A `send` that is cancelled while it waits for a head is told to the app, too."""

    async def scenario() -> str:
        told = asyncio.get_running_loop().create_future()

        async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
            await _read_body(receive)
            told.set_result((await receive())["type"])

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await AsgiUpstream(app).send(UpstreamRequest("GET", "/", []))
        return str(await told)

    assert "http.disconnect" == asyncio.run(scenario())


def test_a_body_that_breaks_off_is_raised_as_it_is() -> None:
    """When the client leaves in the middle of its body the app is told, and the client's own error comes back."""

    class LeftError(Exception):
        pass

    async def leaving() -> AsyncIterator[bytes]:
        yield b"half"
        raise LeftError

    seen: list[str] = []

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        seen.extend([(await receive())["type"], (await receive())["type"]])

    with pytest.raises(LeftError):
        asyncio.run(_read_all(app, UpstreamRequest("POST", "/", [], leaving())))
    assert ["http.request", "http.disconnect"] == seen
