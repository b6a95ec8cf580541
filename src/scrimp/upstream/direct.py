"""The Claude API over the network in as few steps as there are: one protocol object between the socket and the relay.

A Messages request is one POST with its body at hand, and that is all that is sent this way. aiohttp keeps the rest
(other methods, bodies still arriving, proxies): it does what this does, in several times as many steps.

::

    idle --request--> waiting --head--> answering --last byte--> idle, or closed where either side wants that
                         |                  |
                         '---- cut off -----'--> failed
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import cast

import httptools

from scrimp.errors import UpstreamUnavailable, UpstreamUnreachable
from scrimp.upstream.address import base_of, proxy_from_environment, verifying
from scrimp.upstream.client import (
    SAID_ANEW,
    RawHeaders,
    UpstreamRequest,
    UpstreamResponse,
    end_to_end,
)
from scrimp.upstream.network import (
    CONNECT_TIMEOUT_MS,
    CONNECTIONS_LIMIT_COUNT,
    HEADER_LIMIT_BYTES,
    HEADERS_LIMIT_COUNT,
    KEEPALIVE_MS,
    READ_BUFFER_BYTES,
    AiohttpUpstream,
    reason_of,
)
from scrimp.upstream.outgoing import BODY_PIECE_BYTES

#: An answer whose head has no end within so many bytes is none.
HEAD_BYTES_MAX = 1024 * 1024

_NO_BODY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


class Cut(ConnectionError):
    """The upstream closed its connection, or said something that is no answer."""


class _Connection(asyncio.Protocol):
    """One connection, and the answer that is on its way; httptools calls its `on_` methods."""

    def __init__(self, pool: deque[_Connection]) -> None:
        self._loop = asyncio.get_running_loop()
        self._pool = pool
        self._parts: list[bytes] = []
        #: httptools hands each piece of a body to this, of a stream every event: nothing is as short as the list's own.
        self.on_body = self._parts.append
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[None] | None = None
        self._write_paused = self._read_paused = False
        self._failure: Exception | None = None
        self.idle_since = 0.0
        self._busy = self._sent_whole = False
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.reason = b""
        self.headers: RawHeaders = []
        self._head_bytes = 0
        self._has_head = self._until_close = self._complete = self._keeps_alive = False
        self._parts.clear()
        self._buffered = 0

    # --- what asyncio says ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by name

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            self._fail(Cut("it spoke without being asked"))
            return
        if not self._has_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX and b"\r\n\r\n" not in data:
                self._fail(Cut("its head is too long"))
                return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(Cut(str(error)))
        else:
            self._hold(len(data))

    def _hold(self, size: int) -> None:
        """Tell of the parts that have just come, `size` bytes on the wire, and stop reading where too many wait."""
        if not self._parts:
            return
        self._buffered += size
        if self._buffered > READ_BUFFER_BYTES and not self._read_paused:
            self._read_paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._until_close and exc is None:
            self._complete = True
        elif not self._complete:
            self._failure = self._failure or exc or Cut("it closed the connection")
        if self in self._pool:
            self._pool.remove(self)
        self._busy = False
        self._wake()

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake()

    # --- what httptools says ---

    def on_message_begin(self) -> None:
        if self._complete:
            raise Cut("it answered more than it was asked")

    def on_status(self, status: bytes) -> None:
        self.reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))
        if len(self.headers) > HEADERS_LIMIT_COUNT or len(name) + len(value) > HEADER_LIMIT_BYTES:
            raise Cut("its head is too long")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < HTTPStatus.OK:
            return
        self.status, self._has_head = status, True
        framed = any(
            name.lower() == b"content-length" or (name.lower() == b"transfer-encoding" and b"chunked" in value.lower())
            for name, value in self.headers
        )
        self._until_close = not framed and status not in _NO_BODY
        self._wake()

    def on_message_complete(self) -> None:
        if not self._has_head:  # only informational so far
            self._begin()
            return
        self._complete = True
        self._keeps_alive = self._parser.should_keep_alive() and not self._until_close
        self._busy = False
        self._wake()

    # --- what the relay asks for ---

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._busy = False
        self._transport.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _news(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def exchange(self, head: bytes, body: bytes) -> None:
        """Send a request and wait for the head of its answer, which may come before the last of the body is sent."""
        self._begin()
        self._busy, self._sent_whole = True, False
        self._transport.writelines([head, body[:BODY_PIECE_BYTES]])
        sent = BODY_PIECE_BYTES
        while not (self._has_head or self._failure):
            if sent < len(body) and not self._write_paused:
                self._transport.write(body[sent : sent + BODY_PIECE_BYTES])
                sent += BODY_PIECE_BYTES
                await asyncio.sleep(0)
            else:
                self._sent_whole = sent >= len(body)
                await self._news()
        self._sent_whole = sent >= len(body)
        if not self._has_head:
            raise self._failure or Cut("it closed the connection")

    async def chunk(self) -> bytes:
        """Return what has arrived of the body, nothing after its end; raise `ConnectionError` where it breaks off."""
        while not self._parts:
            if self._complete:
                return b""
            if self._failure:
                raise ConnectionResetError(f"the upstream broke off its answer ({self._failure})") from self._failure
            await self._news()
        arrived = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._buffered = 0
        if self._read_paused and not self._failure:
            self._read_paused = False
            self._transport.resume_reading()
        return arrived

    @property
    def is_whole(self) -> bool:
        """Whether `chunk` has returned all there is."""
        return self._complete and not self._parts

    @property
    def is_open(self) -> bool:
        """Whether another request may be sent."""
        return not self._transport.is_closing()

    def release(self) -> None:
        """Let go of the answer: the connection serves the next request if its answer came to an end, else it is cut."""
        whole = self._complete and self._keeps_alive and self._sent_whole and not self._parts
        if whole and not self._read_paused and self.is_open:
            self.idle_since = self._loop.time()
            self._pool.append(self)
        else:
            self._transport.abort()

    def close(self) -> None:
        """Close an idle connection."""
        self._transport.abort()


class _DirectResponse:
    """An answer on its connection, as raw bytes."""

    def __init__(self, connection: _Connection, places: asyncio.Semaphore) -> None:
        self._connection: _Connection | None = connection
        self._places = places
        self.status = connection.status
        self.reason = connection.reason.decode("latin-1")
        self.headers: RawHeaders = end_to_end(connection.headers)

    @property
    def is_whole(self) -> bool:
        return self._connection is not None and self._connection.is_whole

    def chunks(self) -> AsyncIterator[bytes]:
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._connection is not None and (chunk := await self._connection.chunk()):
            return chunk
        raise StopAsyncIteration

    async def aclose(self) -> None:
        if self._connection is not None:
            self._connection.release()
            self._connection = None
            self._places.release()


class DirectUpstream:
    """An `Upstream` at `base_url` as `AiohttpUpstream` is one, which it asks for what is not a plain POST.

    Raises `ConfigError` for an address or a proxy that cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        trust_env: bool = True,
        connect_timeout_ms: int = CONNECT_TIMEOUT_MS,
        connections_limit_count: int = CONNECTIONS_LIMIT_COUNT,
    ) -> None:
        base = base_of(base_url)
        self._others = AiohttpUpstream(
            base_url,
            trust_env=trust_env,
            connect_timeout_ms=connect_timeout_ms,
            connections_limit_count=connections_limit_count,
        )
        self._base = base
        self._is_direct = not trust_env or proxy_from_environment(base) is None
        self._path = base.raw_path.rstrip("/")
        self._host = f"Host: {base.host_port_subcomponent}\r\n".encode()
        self._connect_timeout_ms = connect_timeout_ms
        self._places = asyncio.Semaphore(connections_limit_count)
        self._idle: deque[_Connection] = deque()
        self._tls: ssl.SSLContext | None = None

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send the request as it is and return the response's head; see `Upstream.send`."""
        if not (self._is_direct and request.method == "POST" and isinstance(request.body, bytes)):
            return await self._others.send(request)
        head = self._head_of(request, request.body)
        if head is None:
            return await self._others.send(request)
        await self._places.acquire()
        try:
            connection = await self._answered(head, request.body)
        except BaseException:
            self._places.release()
            raise
        return _DirectResponse(connection, self._places)

    def _head_of(self, request: UpstreamRequest, body: bytes) -> bytes | None:
        """Return the request's head as it is sent, None where a line cannot hold it."""
        target = request.target if request.target.startswith("/") else f"/{request.target}"
        if not (target.isascii() and target.isprintable()) or " " in target:
            return None
        length = str(len(body)).encode()
        lines = [f"POST {self._path}{target} HTTP/1.1\r\n".encode(), self._host]
        said = False
        for name, value in end_to_end(request.headers, without=SAID_ANEW):
            if name.lower() == b"content-length":
                said, value = True, length  # noqa: PLW2901 - the body's true length in the client's place for it
            lines += (name, b": ", value, b"\r\n")
        if body and not said:
            lines += (b"Content-Length: ", length, b"\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    async def _answered(self, head: bytes, body: bytes) -> _Connection:
        failed: type[UpstreamUnavailable] = UpstreamUnreachable
        try:
            connection = self._kept() or await self._connected()
            failed = UpstreamUnavailable
            try:
                await connection.exchange(head, body)
            except BaseException:
                connection.close()
                raise
        except OSError as error:
            raise failed(
                f"Nothing answered at {self._base} ({reason_of(error)}).", "Check the address and the network."
            ) from error
        return connection

    def _kept(self) -> _Connection | None:
        """Return the connection that was used last, and close those that nobody needed for a while."""
        oldest = asyncio.get_running_loop().time() - KEEPALIVE_MS / 1000
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.popleft().close()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _connected(self) -> _Connection:
        if self._base.scheme == "https" and self._tls is None:
            self._tls = verifying()
        made = asyncio.get_running_loop().create_connection(
            lambda: _Connection(self._idle), self._base.raw_host or "", self._base.port or 0, ssl=self._tls
        )
        async with asyncio.timeout(self._connect_timeout_ms / 1000):
            _, connection = await made
        return connection

    async def aclose(self) -> None:
        """Close every connection."""
        while self._idle:
            self._idle.popleft().close()
        await self._others.aclose()
