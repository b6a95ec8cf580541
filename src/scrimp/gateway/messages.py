"""POST /v1/messages: wait where that pays, open the exchange, send it, relay the answer, close the exchange.

The open row is committed before the request is sent, so a gateway that dies never leaves a request without a
trace. Where the pause that follows is to be held, the request is handed to the keeper.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Mapping
from http import HTTPStatus
from typing import TypeVar

from scrimp.core.belief.exchange import Exchange
from scrimp.core.levers.fanout import Wait
from scrimp.core.wire.request import Request
from scrimp.core.wire.response import ResponseMeter
from scrimp.engine.outside import EXCHANGE_HEADER
from scrimp.engine.recorder import Opened, Recorder
from scrimp.errors import UpstreamUnavailable, UpstreamUnreachable
from scrimp.gateway.asgi import ClientGone, Inbound, Receive, Scope, Send, text_headers
from scrimp.gateway.books import Books
from scrimp.gateway.keeper import Keeper
from scrimp.gateway.landings import Landings
from scrimp.gateway.relay import UpstreamCut, relay, send_upstream, unless_gone, upstream_request
from scrimp.gateway.services import Services
from scrimp.upstream.client import RawHeaders, UpstreamRequest

T = TypeVar("T")


async def _read_body(inbound: Inbound, limit: int) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """Read a body up to `limit` bytes; of a larger one, return the start and an iterator over the rest."""
    parts, size, chunks = [], 0, inbound.chunks()
    async for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size > limit:
            return b"".join(parts), chunks
    return b"".join(parts), None


async def _joined(start: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield start
    async for chunk in rest:
        yield chunk


async def _in_turns(turns: Generator[None, None, T]) -> T:
    """Do work whose turns others may come between; return its result."""
    while True:
        try:
            next(turns)
        except StopIteration as done:
            result: T = done.value
            return result
        await asyncio.sleep(0)


class MessagesEndpoint:
    """Records every exchange of POST /v1/messages; its bytes are changed where the mode allows it and it pays."""

    def __init__(self, services: Services, recorder: Recorder, books: Books, keeper: Keeper) -> None:
        self._services = services
        self._recorder = recorder
        self._books = books
        self._keeper = keeper
        self._landings = Landings()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        inbound, headers, read = Inbound(receive), text_headers(scope["headers"]), None
        waited: Wait | None = None
        try:
            body, rest = await _read_body(inbound, self._services.body_limit_bytes)
            if rest is None:
                read = await _in_turns(self._recorder.reading(body))
                waited = await self._warmed(inbound, headers, read, body)
        except ClientGone:
            return
        opened = self._recorder.arrive(headers, read, body if rest is None else b"", waited)
        self._books.begun()
        self._keeper.goes_on(opened.exchange.principal or "", opened.thread, opened.commands)
        sent = (opened.body or body) if rest is None else _joined(body, rest)
        request = upstream_request(scope, sent, chained=self._services.chained, via=self._services.hops.via(scope))
        attempt = _Attempt(self._services, self._recorder, opened, self._landings)
        try:
            await unless_gone(inbound, self._opened_and_sent(attempt, opened, request, send))
            await _in_turns(self._recorder.naming(opened))
        except (ClientGone, OSError):  # a server may raise the latter from `send` (ASGI specification, 2.4)
            attempt.broke_off("client_gone")
        except asyncio.CancelledError:
            attempt.broke_off("gateway_stopped")
            raise
        finally:
            self._books.close(attempt.closed())
            self._landings.landed(opened.exchange.exchange_id)
        if opened.held is not None and attempt.met_another:
            self._recorder.pauses.let_go(opened.held)
        elif opened.held is not None:
            self._keeper.keep(opened.held, request)

    async def _warmed(
        self, inbound: Inbound, headers: Mapping[str, str], read: Request | None, body: bytes
    ) -> Wait | None:
        """Hold a request back while another one is writing what it can then read, once and for a bounded time.

        Returns how it was held, None where it was not. Raises `ClientGone` if the client leaves meanwhile.
        """
        wait = self._recorder.waits(headers, read, body)
        if wait is not None:
            seconds = (wait.until_ms - self._services.clock.now_ms()) / 1_000
            await unless_gone(inbound, self._landings.wait(wait.flight, seconds))
        return wait

    async def _opened_and_sent(self, attempt: _Attempt, opened: Opened, request: UpstreamRequest, send: Send) -> None:
        await self._books.open(opened.exchange)
        await attempt.run(request, send)


class _Attempt:
    """One request sent upstream, and what is known of its answer so far.

    `met_another` says that a gateway of ours answered: holding caches is for the last one before the API.
    """

    def __init__(self, services: Services, recorder: Recorder, opened: Opened, landings: Landings) -> None:
        self._services = services
        self._recorder = recorder
        self._opened = opened
        self._landings = landings
        self._meter = ResponseMeter(None, None)
        self._status: int | None = None
        self._request_id: str | None = None
        self._error_type: str | None = None
        self._delivered = False
        self._was_sent = False
        self.met_another = False

    async def run(self, request: UpstreamRequest, send: Send) -> None:
        """Send the request and relay its answer."""
        self._was_sent = True
        response = await send_upstream(self._services.upstream, request, send, self._unanswered)
        if response is None:
            return
        headers = text_headers(response.headers)
        self._status, self._request_id = response.status, headers.get("request-id")
        self.met_another = EXCHANGE_HEADER in headers
        self._meter = ResponseMeter(
            headers.get("content-type"), headers.get("content-encoding"), listens=bool(self._opened.thread)
        )
        try:
            await relay(response, send, self._added_headers(), self._seen, self._ended)
        except UpstreamCut:
            self._error_type = "upstream_cut"
            raise
        finally:
            await response.aclose()

    def _unanswered(self, error: UpstreamUnavailable) -> None:
        self._error_type = "upstream_unavailable"
        self._was_sent = not isinstance(error, UpstreamUnreachable)

    def _added_headers(self) -> RawHeaders:
        # What went round in a loop passes here many times, and clients take only so many headers.
        if self._services.chained or self._status == HTTPStatus.LOOP_DETECTED:
            return []
        opened = self._opened
        mode = opened.plan.mode if opened.plan else "observe"
        plan = mode if opened.exchange.planned else "unplanned"
        return [(EXCHANGE_HEADER.encode(), opened.exchange.exchange_id.encode()), (b"scrimp-plan", plan.encode())]

    def _seen(self, chunk: bytes) -> None:
        self._meter.feed(chunk)
        begun = self._status == HTTPStatus.OK and self._meter.first_token_seen
        if begun and self._opened.first_token_at_ms is None:
            self._recorder.first_token(self._opened)
            self._landings.landed(self._opened.exchange.exchange_id)

    def _ended(self) -> None:
        self._delivered = True

    def broke_off(self, why: str) -> None:
        """Note why the client gets no more: its own leaving, which is news only before its answer's end, or ours.

        Some clients stop reading once they know how the answer ended, though its last bytes are still to come.
        """
        answer = self._meter.answer()
        if not (self._error_type or self._delivered or answer.usage_complete or answer.error_type):
            self._error_type = why

    def closed(self) -> Exchange:
        """Return the exchange as it ended."""
        return self._recorder.close(
            self._opened,
            self._meter.answer(),
            status=self._status,
            request_id=self._request_id,
            error_type=self._error_type,
            was_sent=self._was_sent,
        )
