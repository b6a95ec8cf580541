"""Byte for byte in both directions, against a server that is nothing but a socket."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import uvloop

from scrimp.errors import UpstreamUnavailable, UpstreamUnreachable
from scrimp.upstream.client import RawHeaders, UpstreamRequest
from scrimp.upstream.direct import DirectUpstream
from scrimp.upstream.network import AiohttpUpstream, reason_of
from tests.upstream.stand import OK, Recorder, pieces, read_request, serving, until

#: Both upstreams keep all of this; `made` is the one under test.
made: type[AiohttpUpstream | DirectUpstream] = AiohttpUpstream


@pytest.fixture(autouse=True, params=["aiohttp", "direct", "direct on uvloop"])
def _each_upstream(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test over either, and over the faster of the two event loops."""
    monkeypatch.setitem(globals(), "made", AiohttpUpstream if request.param == "aiohttp" else DirectUpstream)
    if "uvloop" in request.param:
        monkeypatch.setattr(asyncio, "run", uvloop.run)


@asynccontextmanager
async def upstream_at(url: str, *, connect_timeout_ms: int = 10_000) -> AsyncIterator[AiohttpUpstream | DirectUpstream]:
    """Give an upstream that is closed afterwards."""
    upstream = made(url, trust_env=False, connect_timeout_ms=connect_timeout_ms)
    try:
        yield upstream
    finally:
        await upstream.aclose()


async def read_all(
    upstream: AiohttpUpstream | DirectUpstream, request: UpstreamRequest
) -> tuple[int, str, RawHeaders, bytes]:
    """Send a request and read its whole response."""
    response = await upstream.send(request)
    body = b"".join([chunk async for chunk in response.chunks()])
    await response.aclose()
    return response.status, response.reason, response.headers, body


def sent(request: UpstreamRequest) -> tuple[bytes, bytes]:
    """Return the bytes that arrive at a server: head and body; its port is written PORT."""

    async def scenario() -> tuple[bytes, bytes]:
        recorder = Recorder()
        async with serving(recorder) as url, upstream_at(url) as upstream:
            await read_all(upstream, request)
        head, body = recorder.requests[0]
        return head.replace(url.rpartition(":")[2].encode(), b"PORT"), body

    return asyncio.run(scenario())


def answered(answer: bytes, method: str = "POST") -> tuple[int, str, RawHeaders, bytes]:
    """Return what comes out of the seam when a server answers these bytes."""

    async def scenario() -> tuple[int, str, RawHeaders, bytes]:
        async with serving(Recorder(answer)) as url, upstream_at(url) as upstream:
            return await read_all(upstream, UpstreamRequest(method, "/v1/messages", []))

    return asyncio.run(scenario())


async def drain(chunks: AsyncIterator[bytes], into: list[bytes]) -> None:
    """Read a body to its end, keeping what came before an error."""
    async for chunk in chunks:
        into.append(chunk)  # noqa: PERF401 - what came before an error has to stay


# --- the request -----------------------------------------------------------------------------------------------------


def test_a_request_arrives_as_it_was_written() -> None:
    """Order, case, repeated headers, target and body are the client's; only Host is ours, and nothing is added."""
    headers = [
        (b"x-api-key", b"fake"),
        (b"Host", b"gateway.example"),
        (b"Anthropic-Beta", b"b"),
        (b"content-length", b"9"),
        (b"Anthropic-Beta", b"a"),
        (b"X-Name", "é漢".encode()),
        (b"Connection", b"keep-alive, x-hop"),
        (b"x-hop", b"dropped"),
        (b"TE", b"trailers"),
        (b"Expect", b"100-continue"),
        (b"x-empty", b""),
    ]
    head = (
        "POST /v1/messages?beta=true HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nx-api-key: fake\r\nAnthropic-Beta: b\r\n"
        "content-length: 9\r\nAnthropic-Beta: a\r\nX-Name: é漢\r\nx-empty: \r\n\r\n"
    )
    body = b'{"a": 1}\xff'
    assert (head.encode(), body) == sent(UpstreamRequest("POST", "/v1/messages?beta=true", headers, body))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_request_without_headers_has_none_but_host(method: str) -> None:
    """No User-Agent, Accept, Accept-Encoding, Content-Type or Connection of our own."""
    assert f"{method} / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n".encode() == sent(UpstreamRequest(method, "/", []))[0]


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 3 * 1024 * 1024])
def test_a_body_of_any_size_is_identical_and_has_its_length(size: int) -> None:
    """Small bodies and large ones arrive whole under their true length, whatever length the headers claim."""
    body = bytes(index % 251 for index in range(size))
    head, arrived = sent(UpstreamRequest("POST", "/v1/messages", [(b"Content-Length", b"77")], body))
    assert (body, True) == (arrived, f"Content-Length: {size}\r\n".encode() in head)


@pytest.mark.parametrize(
    ("headers", "framing", "wire"),
    [
        ([(b"content-length", b"5")], b"content-length: 5", b"abcde"),
        ([], b"Transfer-Encoding: chunked", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
    ],
)
def test_a_streamed_body_is_sent_as_it_comes(headers: RawHeaders, framing: bytes, wire: bytes) -> None:
    """Under the client's Content-Length an iterator is sent as it is, else its pieces are chunks."""
    head, arrived = sent(UpstreamRequest("POST", "/", headers, pieces(b"abc", b"de")))
    assert (wire, b"POST / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n" + framing + b"\r\n\r\n") == (arrived, head)


def test_a_body_that_breaks_off_is_cut_upstream_and_raised() -> None:
    """When the client leaves in the middle of its body, its own error comes back, and upstream sees no whole body."""

    class LeftError(Exception):
        pass

    async def leaving() -> AsyncIterator[bytes]:
        yield b"half"
        raise LeftError

    async def scenario() -> bytes:
        seen: list[bytes] = []
        ended = asyncio.Event()

        async def script(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            seen.append(await reader.read())
            ended.set()

        async with serving(script) as url, upstream_at(url) as upstream:
            with pytest.raises(LeftError):
                await upstream.send(UpstreamRequest("POST", "/", [], leaving()))
            await ended.wait()
        return b"".join(seen)

    assert not asyncio.run(scenario()).endswith(b"0\r\n\r\n")


def test_an_answer_may_come_before_the_body_is_sent() -> None:
    """An upstream that refuses a body early is heard while the body still waits."""

    async def scenario() -> tuple[int, bytes]:
        more = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            yield b"start"
            await more.wait()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"start")
            writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
            await reader.read()

        async with serving(script) as url, upstream_at(url) as upstream:
            status, _, _, body = await read_all(upstream, UpstreamRequest("POST", "/", [], endless()))
        return status, body

    assert (413, b"big") == asyncio.run(scenario())


# --- the response ----------------------------------------------------------------------------------------------------


def test_a_response_comes_out_as_it_was_written() -> None:
    """Status, reason, headers in order and case, repeated ones too; only those of the connection are gone."""
    body = gzip.compress(b'{"type": "message"}')
    answer = (
        b"HTTP/1.1 529 Overloaded Again\r\nrequest-id: r1\r\nSet-Cookie: a=1\r\nContent-Encoding: gzip\r\n"
        b"set-cookie: b=2\r\nX-Bytes: \xff\xc3\xa9\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    headers = [
        (b"request-id", b"r1"),
        (b"Set-Cookie", b"a=1"),
        (b"Content-Encoding", b"gzip"),
        (b"set-cookie", b"b=2"),
        (b"X-Bytes", b"\xff\xc3\xa9"),
        (b"Content-Length", str(len(body)).encode()),
    ]
    assert (529, "Overloaded Again", headers, body) == answered(answer)


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"zstd", b"deflate", b"unheard-of"])
def test_an_encoded_body_is_not_decoded(encoding: bytes) -> None:
    """Whatever the encoding says, the bytes pass, even where they are not of that encoding at all."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: 4\r\n\r\n\x00\x01\x02\x03" % encoding
    assert b"\x00\x01\x02\x03" == answered(answer)[3]


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_a_response_without_a_body_has_none(method: str, answer: bytes) -> None:
    """HEAD, 204, 304 and an empty body end at once and leave the connection to the next request."""

    async def scenario() -> tuple[list[bytes], int]:
        recorder = Recorder(answer)
        async with serving(recorder) as url, upstream_at(url) as upstream:
            bodies = [(await read_all(upstream, UpstreamRequest(method, "/", [])))[3] for _ in range(2)]
        return bodies, recorder.connections

    assert ([b"", b""], 1) == asyncio.run(scenario())


def test_redirects_and_cookies_are_the_clients_business() -> None:
    """A redirect is passed on instead of followed, and its cookie is not sent with the next request."""

    async def scenario() -> tuple[list[int], list[bool]]:
        recorder = Recorder(
            b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /else\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n"
        )
        async with serving(recorder) as url, upstream_at(url) as upstream:
            statuses = [(await read_all(upstream, UpstreamRequest("GET", "/", [])))[0] for _ in range(2)]
        return statuses, [b"ookie" in head for head, _ in recorder.requests]

    assert ([307, 307], [False, False]) == asyncio.run(scenario())


def test_informational_responses_are_passed_over() -> None:
    """103 before the real answer does not become the answer."""
    assert 200 == answered(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)[0]


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_chunks_come_as_they_are_sent(framing: str) -> None:
    """The head is here before the body, and each chunk before the next: the server waits until it was seen."""
    events = [b"event: a\ndata: 1\n\n", b"event: b\ndata: 2\n\n", b"event: c\ndata: 3\n\n"]
    head = {
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(b"".join(events)),
        "close": b"HTTP/1.1 200 OK\r\n\r\n",
    }[framing]

    async def scenario() -> list[bytes]:
        seen = asyncio.Queue[bytes]()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(head)
            assert b"head" == await seen.get()
            for event in events:
                writer.write(b"%x\r\n%b\r\n" % (len(event), event) if framing == "chunked" else event)
                assert event == await seen.get()
            writer.write(b"0\r\n\r\n" if framing == "chunked" else b"")

        async with serving(script) as url, upstream_at(url) as upstream:
            response = await upstream.send(UpstreamRequest("POST", "/", [], b"{}"))
            seen.put_nowait(b"head")
            chunks = []
            async for chunk in response.chunks():
                chunks.append(chunk)
                seen.put_nowait(chunk)
            await response.aclose()
        return chunks

    assert events == asyncio.run(scenario())


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a RST, as a crashed peer does."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _state_of(response: Any) -> tuple[bool, bool]:
    """Return whether bytes of an answer wait to be read, and whether it was cut off."""
    if made is DirectUpstream:
        return bool(response._connection._parts), response._connection._failure is not None
    content = response._response.content
    return bool(content._buffer), content.exception() is not None


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("framing", ["chunked", "length"])
@pytest.mark.parametrize("slow", [False, True])
def test_an_answer_that_breaks_off_raises_after_its_last_byte(how: str, framing: str, *, slow: bool) -> None:
    """Cut in the middle, a body gives every byte that came, then `ConnectionError`, for a slow reader, too."""
    answer = {
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst",
    }[framing]

    async def scenario() -> list[bytes]:
        cut = asyncio.Event()
        read = asyncio.Event()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(answer)
            await read.wait()
            _reset(writer) if how == "reset" else writer.close()
            cut.set()

        async with serving(script) as url, upstream_at(url) as upstream:
            response = await upstream.send(UpstreamRequest("POST", "/", [], b"{}"))
            chunks = response.chunks()
            seen: list[bytes] = []
            if slow:
                await until(lambda: _state_of(response)[0])
            else:
                seen.append(await anext(chunks))
            read.set()
            await cut.wait()
            if slow:
                await until(lambda: _state_of(response)[1])
            with pytest.raises(ConnectionError, match="broke off its answer"):
                await drain(chunks, seen)
            await response.aclose()
        return seen

    assert [b"first"] == asyncio.run(scenario())


def test_letting_go_of_a_response_cuts_it_off_upstream() -> None:
    """A client that leaves in the middle is seen by the upstream, which then stops writing its answer."""

    async def scenario() -> bytes:
        gone: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
            gone.set_result(await reader.read())

        async with serving(script) as url, upstream_at(url) as upstream:
            response = await upstream.send(UpstreamRequest("POST", "/", [], b"{}"))
            assert b"a" == await anext(response.chunks())
            await response.aclose()
            return await gone

    assert b"" == asyncio.run(scenario())


def test_giving_up_on_a_request_cuts_it_off_upstream() -> None:
    """A `send` that is cancelled while it waits for headers closes its connection."""

    async def scenario() -> bytes:
        arrived = asyncio.Event()
        gone: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def script(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            arrived.set()
            gone.set_result(await reader.read())

        async with serving(script) as url, upstream_at(url) as upstream, asyncio.TaskGroup() as group:
            sending = group.create_task(upstream.send(UpstreamRequest("POST", "/", [], b"{}")))
            await arrived.wait()
            sending.cancel()
            return await gone

    assert b"" == asyncio.run(scenario())


def test_a_connection_serves_the_next_request() -> None:
    """Requests one after another share one connection."""

    async def scenario() -> int:
        recorder = Recorder(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        async with serving(recorder) as url, upstream_at(url) as upstream:
            for _ in range(5):
                assert b"ok" == (await read_all(upstream, UpstreamRequest("POST", "/", [], b"{}")))[3]
        return recorder.connections

    assert 1 == asyncio.run(scenario())


# --- no answer -------------------------------------------------------------------------------------------------------


async def _unavailable(
    url: str, kind: type[UpstreamUnavailable] = UpstreamUnreachable, *, connect_timeout_ms: int = 10_000
) -> str:
    async with upstream_at(url, connect_timeout_ms=connect_timeout_ms) as upstream:
        with pytest.raises(UpstreamUnavailable) as caught:
            await upstream.send(UpstreamRequest("POST", "/v1/messages", [], b"{}"))
    assert kind is type(caught.value)
    return caught.value.message


def test_a_refused_connection_is_one_sentence() -> None:
    """A port where nobody listens is named, with the system's reason; nothing was sent there."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    expected = f"Nothing answered at http://127.0.0.1:{port} (Connection refused)."
    assert expected == asyncio.run(_unavailable(f"http://127.0.0.1:{port}"))


def test_an_unknown_name_is_named_as_such() -> None:
    """A name that does not resolve gives the resolver's own words, and not a stack of wrappers."""
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    key = aiohttp.client_reqrep.ConnectionKey("nowhere.invalid", 443, True, True, None, None, None)
    assert "Name or service not known" == reason_of(aiohttp.ClientConnectorDNSError(key, error))


def test_a_host_that_does_not_accept_is_given_up() -> None:
    """A connection that nobody accepts ends at the connect timeout, in one sentence."""
    with socket.socket() as deaf, socket.socket() as waiting:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        waiting.connect(deaf.getsockname())
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        message = asyncio.run(_unavailable(url, connect_timeout_ms=50))
    assert f"Nothing answered at {url} (it took too long to accept a connection)." == message


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-"])
def test_what_is_no_answer_is_unavailable(answer: bytes) -> None:
    """A peer that closes at once, speaks something else, or stops within its head may have heard us."""

    async def scenario() -> str:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(answer)

        async with serving(script) as url:
            return await _unavailable(url, UpstreamUnavailable)

    assert asyncio.run(scenario()).startswith("Nothing answered at http://127.0.0.1:")
