"""Holding caches through pauses: who is held, with which bytes, and the pings that do it.

`core.plan.machine` says when to ping; here is the time that passes, and the request that is repeated::

    keep --> sleep until the ping is due --> ping --> sleep ... --> forget
      ^          |                            |
      '----------'-- goes_on: the client goes on, and a ping under way ends by itself; what is set aside stays

What is kept of a thread is the body that was sent last, with its headers: in memory alone, within `KEPT_BYTES_MAX`,
never logged and never written anywhere. One task per thread owns its time; all of them end with `aclose`. With several
workers each keeps what it served itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from scrimp.core.belief.exchange import Exchange
from scrimp.core.plan.pinging import PING_EDITS
from scrimp.core.plan.threads import Command, Forget, Ping, SetAside, SetTimer
from scrimp.core.wire.response import Answer, ResponseMeter
from scrimp.core.wire.splice import Edit, SpliceError, splice
from scrimp.engine.faults import own_up
from scrimp.engine.pauses import Held
from scrimp.engine.recorder import Opened, Recorder
from scrimp.errors import UpstreamUnavailable, UpstreamUnreachable
from scrimp.gateway.asgi import text_headers
from scrimp.gateway.books import Books
from scrimp.gateway.services import Services
from scrimp.upstream.client import UpstreamRequest

#: Bytes of bodies that are kept; beyond it the least recently used are let go.
KEPT_BYTES_MAX = 64 * 1024 * 1024
#: A longer body is not kept, in bytes: it would push out many others, and editing it takes the loop's time.
BODY_BYTES_MAX = 4 * 1024 * 1024
#: Pings under way at once; more of them wait, so that clients find free connections.
PINGS_AT_ONCE_MAX = 4
#: How long a ping may take, in seconds.
PING_SECONDS_MAX = 60

#: Headers of one request alone: what they name was sent already.
_ONCE = frozenset({b"idempotency-key", b"x-client-request-id", b"content-length"})

_Key = tuple[str, str]


@dataclass(eq=False)
class _Kept:
    """A thread that is held: the request that is repeated, and the task that does it."""

    held: Held
    request: UpstreamRequest
    body: bytes
    task: asyncio.Task[None] | None = None
    is_pinging: bool = False


class Keeper:
    """Keeps the threads that are held, and pings them."""

    def __init__(self, services: Services, recorder: Recorder, books: Books, limit_bytes: int = KEPT_BYTES_MAX) -> None:
        self._services = services
        self._recorder = recorder
        self._books = books
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(PINGS_AT_ONCE_MAX)
        self._is_closed = False

    def keep(self, held: Held, request: UpstreamRequest) -> None:
        """Hold a thread from now on by repeating this request, which was the last one sent for it."""
        self.release(held.principal, held.thread)
        body = request.body
        if self._is_closed or not isinstance(body, bytes) or len(body) > min(BODY_BYTES_MAX, self._limit_bytes):
            self._recorder.pauses.let_go(held)
            return
        headers = [(name, value) for name, value in request.headers if name.lower() not in _ONCE]
        kept = _Kept(held, UpstreamRequest(request.method, request.target, headers), body)
        self._kept[held.principal, held.thread] = kept
        self._bytes += len(body)
        kept.task = asyncio.create_task(self._hold(kept))
        self._tasks.add(kept.task)
        kept.task.add_done_callback(self._tasks.discard)
        while self._bytes > self._limit_bytes:
            oldest = next(iter(self._kept.values()))
            self.release(oldest.held.principal, oldest.held.thread)
            self._recorder.pauses.let_go(oldest.held)

    def goes_on(self, principal: str, thread: str, commands: Sequence[Command]) -> None:
        """Forget what is kept of a thread whose client goes on, or keep it by another name where it is set aside."""
        for command in commands:
            if isinstance(command, SetAside):
                self._rename(principal, command)
            elif isinstance(command, Forget):
                self.release(principal, command.thread)
        self.release(principal, thread)

    def _rename(self, principal: str, command: SetAside) -> None:
        kept = self._kept.pop((principal, command.thread), None)
        if kept is not None:
            kept.held = replace(kept.held, thread=command.name)
            self._kept[principal, command.name] = kept

    def release(self, principal: str, thread: str) -> None:
        """Forget a thread. A ping that is under way ends by itself."""
        kept = self._forgotten((principal, thread))
        if kept is not None and kept.task is not None and not kept.is_pinging:
            kept.task.cancel()

    def _forgotten(self, key: _Key) -> _Kept | None:
        kept = self._kept.pop(key, None)
        self._bytes -= len(kept.body) if kept else 0
        return kept

    async def aclose(self) -> None:
        """Ping no more; pings under way are cut off and recorded as that."""
        self._is_closed = True
        self._kept.clear()
        self._bytes = 0
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- one thread ---

    async def _hold(self, kept: _Kept) -> None:
        """Sleep and ping for as long as that is asked for."""
        at_ms: int | None = kept.held.at_ms
        try:
            while at_ms is not None:
                await self._services.sleep(max(0, at_ms - self._services.clock.now_ms()) / 1_000)
                at_ms = await self._due(kept)
        except Exception as error:  # noqa: BLE001 - holding is a saving: losing it fails nobody
            own_up("a cache is not held any more", error)
            self._recorder.pauses.let_go(kept.held)
        finally:
            key = kept.held.principal, kept.held.thread
            if self._kept.get(key) is kept:
                self._forgotten(key)

    async def _due(self, kept: _Kept) -> int | None:
        """Do what a timer asks for; returns when the next one is due, None for never."""
        async with self._turns:
            command = self._recorder.pauses.due(kept.held)
            if isinstance(command, SetTimer):
                return command.at_ms
            if not isinstance(command, Ping):
                return None
            kept.is_pinging = True
            try:
                return await self._ping(kept, kept.held.upgrade_edits if command.upgrade else ())
            finally:
                kept.is_pinging = False

    async def _ping(self, kept: _Kept, more: tuple[Edit, ...]) -> int | None:
        try:
            body = splice(kept.body, (*PING_EDITS, *more))
        except SpliceError as error:
            own_up("a request cannot be made a ping", error)
            self._recorder.pauses.let_go(kept.held)
            return None
        sending = _Sending(self._services, self._recorder, self._recorder.pauses.row(kept.held))
        self._books.begun()
        try:
            await self._books.open(sending.row)
            await sending.run(UpstreamRequest(kept.request.method, kept.request.target, kept.request.headers, body))
        except asyncio.CancelledError:
            sending.error_type = sending.error_type or "gateway_stopped"
            raise
        finally:
            closed = sending.closed()
            self._books.close(closed)
            next_ms = self._recorder.pauses.pinged(kept.held, closed)
        return next_ms


class _Sending:
    """One ping, and what is known of its answer so far."""

    def __init__(self, services: Services, recorder: Recorder, row: Exchange) -> None:
        self.row = row
        self.error_type: str | None = None
        self._services = services
        self._recorder = recorder
        self._answer = Answer()
        self._status: int | None = None
        self._request_id: str | None = None
        self._was_sent = False

    async def run(self, request: UpstreamRequest) -> None:
        """Send the ping and read its answer; whatever goes wrong is noted, and nothing is sent twice."""
        self._was_sent = True
        try:
            async with asyncio.timeout(PING_SECONDS_MAX):
                await self._exchange(request)
        except UpstreamUnavailable as error:
            self.error_type = "upstream_unavailable"
            self._was_sent = not isinstance(error, UpstreamUnreachable)
        except (ConnectionError, TimeoutError):
            self.error_type = "upstream_cut"

    async def _exchange(self, request: UpstreamRequest) -> None:
        response = await self._services.upstream.send(request)
        headers: dict[str, str] = text_headers(response.headers)
        self._status, self._request_id = response.status, headers.get("request-id")
        meter = ResponseMeter(headers.get("content-type"), headers.get("content-encoding"))
        try:
            async for chunk in response.chunks():
                meter.feed(chunk)
        finally:
            self._answer = meter.answer()
            await response.aclose()

    def closed(self) -> Exchange:
        """Return the exchange as it ended. Without us there would have been none, so that would have cost nothing."""
        closed = self._recorder.close(
            Opened(self.row),
            self._answer,
            status=self._status,
            request_id=self._request_id,
            error_type=self.error_type,
            was_sent=self._was_sent,
        )
        return msgspec.structs.replace(closed, baseline_cost_nano_usd=0, task_type=self.row.task_type)
