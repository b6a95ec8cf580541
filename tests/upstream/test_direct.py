"""What is special to the direct way; that it keeps everything else, `test_network` shows."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from scrimp.errors import UpstreamUnavailable, UpstreamUnreachable
from scrimp.upstream import direct
from scrimp.upstream.client import UpstreamRequest
from scrimp.upstream.direct import DirectUpstream
from scrimp.upstream.network import HEADER_LIMIT_BYTES, HEADERS_LIMIT_COUNT, READ_BUFFER_BYTES

CERTIFICATE = Path(__file__).with_name("localhost.pem")
ASKED = UpstreamRequest("POST", "/v1/messages", [], b"{}")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers each request by the next of its answers; counts its connections and keeps what it heard."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = iter(answers)
        self.connections = 0
        self.heard: list[bytes] = []
        self.open: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        self.open.append(writer)
        while data := await reader.read(1 << 20):
            self.heard.append(data)
            if data.endswith((b"{}", b"\r\n\r\n")):
                writer.write(next(self._answers))

    async def started(self, tls: ssl.SSLContext | None = None) -> str:
        """Listen, and return the base URL."""
        self._server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=tls)
        return f"{'https' if tls else 'http'}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stopped(self) -> None:
        """Close every connection."""
        self._server.close()
        for writer in self.open:
            writer.close()
        await asyncio.sleep(0)


def with_server(server: Server, scenario: Callable[[DirectUpstream], object], **limits: int) -> None:
    """Run a scenario against a server."""

    async def run() -> None:
        upstream = DirectUpstream(await server.started(), trust_env=False, **limits)
        try:
            await scenario(upstream)  # type: ignore[misc]
        finally:
            await upstream.aclose()
            await server.stopped()

    asyncio.run(run())


async def answered(upstream: DirectUpstream, request: UpstreamRequest = ASKED) -> bytes:
    """Return the whole body of an answer."""
    response = await upstream.send(request)
    body = b"".join([chunk async for chunk in response.chunks()])
    await response.aclose()
    return body


async def refused(upstream: DirectUpstream) -> None:
    """Send a request that nothing answers."""
    with pytest.raises(UpstreamUnavailable):
        await upstream.send(ASKED)


def test_header_values_are_sent_as_the_bytes_that_they_are() -> None:
    """Other than aiohttp, which writes text, this way loses nothing of a value that is no UTF-8."""
    server = Server(OK)

    async def scenario(upstream: DirectUpstream) -> None:
        await answered(upstream, UpstreamRequest("POST", "/v1/messages", [(b"x", b"\xff\xe9")], b"{}"))

    with_server(server, scenario)
    assert b"\r\nx: \xff\xe9\r\n" in server.heard[0]


@pytest.mark.parametrize(
    "request_",
    [
        UpstreamRequest("GET", "/v1/models", []),
        UpstreamRequest("POST", "/v1/caf\xe9", [], b"{}"),
        UpstreamRequest("POST", "/a b", [], b"{}"),
    ],
)
def test_the_rest_is_left_to_aiohttp(request_: UpstreamRequest) -> None:
    """Another method, or a target that a request line cannot hold as it stands, is sent all the same."""
    server = Server(OK)

    async def scenario(upstream: DirectUpstream) -> None:
        assert b"ok" == await answered(upstream, request_)
        assert not upstream._idle

    with_server(server, scenario)
    assert server.heard[0].startswith(request_.method.encode())


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (OK, True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
        (OK + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", False),
    ],
)
def test_a_connection_is_kept_where_both_sides_want_that(answer: bytes, kept: bool) -> None:
    """After an answer with an end, and nothing after it, the next request takes the same connection."""
    server = Server(answer, OK)

    async def scenario(upstream: DirectUpstream) -> None:
        await answered(upstream)
        assert b"ok" == await answered(upstream)

    with_server(server, scenario)
    assert (1 if kept else 2) == server.connections


def test_a_connection_that_was_idle_for_long_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be about to be closed by the other side, and a request must not be lost to that."""
    monkeypatch.setattr(direct, "KEEPALIVE_MS", -1)
    server = Server(OK, OK)

    async def scenario(upstream: DirectUpstream) -> None:
        await answered(upstream)
        await answered(upstream)

    with_server(server, scenario)
    assert 2 == server.connections


def test_a_connection_that_the_upstream_closed_is_forgotten() -> None:
    """The next request makes one of its own."""
    server = Server(OK, OK)

    async def scenario(upstream: DirectUpstream) -> None:
        await answered(upstream)
        server.open[0].close()
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert not upstream._idle
        assert b"ok" == await answered(upstream)

    with_server(server, scenario)
    assert 2 == server.connections


def test_more_requests_than_places_wait_their_turn() -> None:
    """A place is free again when its answer was let go of, and when there was none."""
    server = Server(OK, b"nothing of HTTP", OK, OK)

    async def scenario(upstream: DirectUpstream) -> None:
        first = await upstream.send(ASKED)
        async with asyncio.TaskGroup() as group:
            second = group.create_task(refused(upstream))
            await asyncio.sleep(0.01)
            assert not second.done()
            await first.aclose()
            await first.aclose()
        assert b"ok" == await answered(upstream)
        assert b"ok" == await answered(upstream)

    with_server(server, scenario, connections_limit_count=1)


def test_a_slow_client_makes_the_upstream_wait() -> None:
    """No more of an answer is kept than a little above the limit, and all of it arrives."""
    size = 8 * 1024 * 1024
    server = Server(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)

    async def scenario(upstream: DirectUpstream) -> None:
        response = await upstream.send(ASKED)
        await asyncio.sleep(0.05)
        connection = response._connection  # type: ignore[attr-defined]
        assert READ_BUFFER_BYTES < connection._buffered < 16 * READ_BUFFER_BYTES
        assert size == sum([len(chunk) async for chunk in response.chunks()])
        await response.aclose()

    with_server(server, scenario)


@pytest.mark.parametrize(
    "head",
    [
        b"".join(b"x-%d: 1\r\n" % number for number in range(HEADERS_LIMIT_COUNT + 1)),
        b"x: %b\r\n" % (b"x" * HEADER_LIMIT_BYTES),
        b"x: " + b"x" * direct.HEAD_BYTES_MAX,
    ],
)
def test_a_head_without_end_is_no_answer(head: bytes) -> None:
    """Too many headers, one too long, or one that never ends."""
    server = Server(b"HTTP/1.1 200 OK\r\n" + head + b"y: 1\r\nz: 1\r\n")

    async def scenario(upstream: DirectUpstream) -> None:
        with pytest.raises(UpstreamUnavailable):
            await upstream.send(ASKED)

    with_server(server, scenario)


def over_tls(run: Callable[[Coroutine[Any, Any, bytes]], bytes], count: int) -> bytes:
    """Send requests one after another over TLS, in the event loop of `run`; return the last answer."""

    async def scenario() -> bytes:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        server = Server(*[OK] * count)
        url = await server.started(context)
        upstream = DirectUpstream(url, trust_env=False)
        try:
            bodies = [await answered(upstream) for _ in range(count)]
        finally:
            await upstream.aclose()
            await server.stopped()
        assert server.connections == 1
        return bodies[-1]

    return run(scenario())


RUNS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run])


@RUNS
def test_a_private_authority_is_trusted_by_name(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[Coroutine[Any, Any, bytes]], bytes]
) -> None:
    """With SSL_CERT_FILE an upstream behind a private certificate is reached over TLS, on one connection."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    assert b"ok" == over_tls(run, 3)


@RUNS
def test_an_unknown_authority_is_refused(run: Callable[[Coroutine[Any, Any, bytes]], bytes]) -> None:
    """Without it the certificate is not trusted, and the sentence says so."""
    with pytest.raises(UpstreamUnreachable, match="its certificate is not trusted: self-signed certificate"):
        over_tls(run, 1)


def test_a_path_of_the_base_goes_before_the_target() -> None:
    """And a target is sent as the client wrote it."""
    server = Server(OK)

    async def scenario() -> None:
        upstream = DirectUpstream(f"{await server.started()}/base/", trust_env=False)
        await answered(upstream, UpstreamRequest("POST", "/v1/%7Ea?b=%20&c", [], b"{}"))
        await upstream.aclose()
        await server.stopped()

    asyncio.run(scenario())
    assert server.heard[0].startswith(b"POST /base/v1/%7Ea?b=%20&c HTTP/1.1\r\nHost: 127.0.0.1:")


def test_a_proxy_is_aiohttp_s_business(monkeypatch: pytest.MonkeyPatch) -> None:
    """With HTTP_PROXY the request goes to the proxy, in absolute form."""
    proxy = Server(OK)

    async def scenario() -> None:
        monkeypatch.setenv("http_proxy", await proxy.started())
        upstream = DirectUpstream("http://api.example")
        await answered(upstream)
        await upstream.aclose()
        await proxy.stopped()

    asyncio.run(scenario())
    assert proxy.heard[0].startswith(b"POST http://api.example/v1/messages HTTP/1.1\r\n")
