"""The Claude API over the network, on aiohttp with everything that it would do by itself turned off."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator

import aiohttp

from scrimp.errors import UpstreamUnavailable, UpstreamUnreachable
from scrimp.upstream.address import base_of, proxy_from_environment, url_below, verifying
from scrimp.upstream.client import RawHeaders, UpstreamRequest, UpstreamResponse, end_to_end
from scrimp.upstream.outgoing import PiecewiseBody, body_of, headers_of

#: How long the upstream may take to accept a connection, in milliseconds. There is no other timeout: the client
#: decides how long it waits for an answer, and its leaving is passed on.
CONNECT_TIMEOUT_MS = 10_000

#: How many requests may be at the upstream at once; more of them wait their turn.
CONNECTIONS_LIMIT_COUNT = 1_024

#: How long an idle connection is kept for the next request, in milliseconds.
KEEPALIVE_MS = 15_000

#: How much of a response may wait for a slow client before the upstream is made to wait, in bytes.
READ_BUFFER_BYTES = 64 * 1024

#: The longest status line or header field, in bytes, and the most header fields that a response may have.
HEADER_LIMIT_BYTES = 64 * 1024
HEADERS_LIMIT_COUNT = 512

#: Headers that aiohttp adds where they are missing; what the client did not say is not said for it.
UNSAID = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


#: Errors of aiohttp before there was a connection to send on.
_NOT_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


def reason_of(error: Exception) -> str:
    """Return what went wrong in the system's own words."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    code = getattr(cause, "errno", None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, TimeoutError):
        return "it took too long to accept a connection"
    if isinstance(cause, OSError) and isinstance(code, int) and code > 0 and not isinstance(cause, ssl.SSLError):
        return os.strerror(code)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


class _NetworkResponse:
    """A response of aiohttp, as raw bytes."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.reason = response.reason or ""
        self.headers: RawHeaders = end_to_end(response.raw_headers)

    @property
    def is_whole(self) -> bool:
        return self._response.content.at_eof()

    async def chunks(self) -> AsyncIterator[bytes]:
        content = self._response.content
        try:
            async for chunk in content.iter_any():
                yield chunk
        except (aiohttp.ClientError, ConnectionError) as error:
            # What had come before the break belongs to the client, too.
            if rest := content._read_nowait(-1):  # noqa: SLF001 - aiohttp has no other way past its exception
                yield rest
            raise ConnectionResetError(f"the upstream broke off its answer ({error})") from error

    async def aclose(self) -> None:
        self._response.close()


class AiohttpUpstream:
    """An `Upstream` at `base_url`, whose path (if any) goes before each request's own.

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
        self._base = base_of(base_url)
        self._proxy = proxy_from_environment(self._base) if trust_env else None
        self._connect_timeout_ms = connect_timeout_ms
        self._connections_limit_count = connections_limit_count
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send the request as it is and return the response's head; see `Upstream.send`."""
        data = body_of(request.body)
        try:
            response = await self._opened().request(
                request.method,
                url_below(self._base, request.target),
                headers=headers_of(request),
                data=data,
                allow_redirects=False,
                proxy=self._proxy,
            )
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(data, PiecewiseBody) and data.failure is not None:
                raise data.failure from None
            failed = UpstreamUnreachable if isinstance(error, _NOT_CONNECTED) else UpstreamUnavailable
            raise failed(
                f"Nothing answered at {self._base} ({reason_of(error)}).", "Check the address and the network."
            ) from error
        return _NetworkResponse(response)

    def _opened(self) -> aiohttp.ClientSession:
        """Return the session, made on first use because it belongs to the running event loop."""
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=self._connections_limit_count,
                keepalive_timeout=KEEPALIVE_MS / 1000,
                ssl=verifying() if self._base.scheme == "https" else True,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=UNSAID,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_ms / 1000),
                read_bufsize=READ_BUFFER_BYTES,
                max_line_size=HEADER_LIMIT_BYTES,
                max_field_size=HEADER_LIMIT_BYTES,
                max_headers=HEADERS_LIMIT_COUNT,
            )
        return self._session

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None
