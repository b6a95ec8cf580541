"""The simulator as a raw ASGI application: the only part of it that does I/O.

    POST /v1/messages, POST /v1/messages/count_tokens, GET /v1/models[/ID], HEAD / and /api/hello,
    GET /__sim/invoice

A query such as `?beta=true` does not matter. Every other path is the API's own 404.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from typing import Any

import msgspec

from scrimp.clock import Clock
from scrimp.sim.delivery import Delivery, deliver
from scrimp.sim.encodings import choose
from scrimp.sim.errors import ApiError
from scrimp.sim.faults import INSTEAD, Fault, Source, as_event, disturb
from scrimp.sim.machine import Answer, Simulator

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_PROBES = frozenset({"/", "/api/hello"})


class Recorded(msgspec.Struct, frozen=True):
    """One request as it came: for tests that compare bytes."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    sha256: str


class SimApp:
    """The ASGI application around one simulator.

    `recorded` grows only if it was created with `record`, and then without bound. `faults` may be exchanged between
    requests.
    """

    def __init__(
        self,
        simulator: Simulator,
        clock: Clock,
        *,
        realtime: bool,
        compress: bool,
        record: bool,
        faults: Source | None = None,
    ) -> None:
        self.simulator = simulator
        self.faults = faults
        self.recorded: list[Recorded] = []
        self._clock = clock
        self._realtime = realtime
        self._compress = compress
        self._record = record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await _serve_lifespan(receive, send)
        elif scope["type"] == "http":
            await self._serve_http(scope, receive, send)

    async def _serve_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        body = await _read(receive)
        if self._record:
            digest = sha256(body).hexdigest()
            self.recorded.append(Recorded(scope["method"], scope["path"], headers, body, digest))
        is_message = (scope["method"], scope["path"].rstrip("/")) == ("POST", "/v1/messages")
        fault = self.faults.next() if self.faults is not None and is_message else None
        if fault is not None and fault.kind in INSTEAD:
            await self._send(INSTEAD[fault.kind], receive, send, bytearray())
            return
        refusal = fault.refusal if fault is not None else None
        answer = (
            self.simulator.refuse(refusal)
            if refusal is not None
            else self._answer(scope["method"], scope["path"], dict(headers), body)
        )
        encoding = choose(dict(headers).get("accept-encoding", "")) if self._compress else None
        delivery = deliver(answer, encoding)
        if fault is not None:
            delivery = as_event(delivery) if _speaks_late(fault, body) else disturb(delivery, fault)
        if scope["method"] == "HEAD":
            delivery = msgspec.structs.replace(delivery, pieces=())
        sent, ended = bytearray(), False
        try:
            ended = await self._send(delivery, receive, send, sent)
        finally:
            if fault is not None or not ended:
                self.simulator.cut_off(answer, delivery.seen_bytes(bytes(sent)))

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        now_ms = self._clock.now_ms()
        simulator = self.simulator
        match method, path.rstrip("/").split("/")[1:]:
            case "POST", ["v1", "messages"]:
                return simulator.handle(body, headers, now_ms, instant=not self._realtime)
            case "POST", ["v1", "messages", "count_tokens"]:
                return simulator.count_tokens(body, headers, now_ms)
            case "GET", ["v1", "models"]:
                return simulator.list_models(headers, now_ms)
            case "GET", ["v1", "models", name]:
                return simulator.list_models(headers, now_ms, name)
            case "GET", ["__sim", "invoice"]:
                return Answer(status=200, headers=(), body=simulator.invoice.as_json())
            case "HEAD", _ if path in _PROBES:
                return Answer(status=200, headers=(), body={})
        return simulator.refuse(ApiError(404, f"Not found: {path}"))

    async def _send(self, delivery: Delivery, receive: Receive, send: Send, sent: bytearray) -> bool:
        """Send the answer, add to `sent` what went out of its body, and end as the delivery says.

        Returns False where the client left before the end.
        """
        if delivery.is_headless:
            _abort(send)
            raise ConnectionResetError("the connection breaks before an answer")
        headers = [(name.encode(), value.encode()) for name, value in delivery.headers]
        await send({"type": "http.response.start", "status": delivery.status, "headers": headers})
        async with _watching(receive) as client:
            now_ms = 0
            for at_ms, data in delivery.wire():
                if self._realtime and at_ms > now_ms:
                    await client.keep_waiting((at_ms - now_ms) / 1_000)
                    now_ms = at_ms
                if client.is_gone():
                    return False
                await send({"type": "http.response.body", "body": data, "more_body": True})
                sent += data
        if delivery.breaks:
            raise ConnectionResetError("the connection breaks within the answer")
        await send({"type": "http.response.body", "body": b""})
        return True


def _abort(send: Send) -> None:
    """Close the connection without a word: an error raised before the status would make uvicorn answer 500."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()


class _Client:
    """Who asked: whether it has gone, which servers tell only to who listens."""

    def __init__(self, listening: asyncio.Future[MutableMapping[str, Any]]) -> None:
        self._listening = listening

    def is_gone(self) -> bool:
        return self._listening.done() and self._listening.result()["type"] == "http.disconnect"

    async def keep_waiting(self, seconds: float) -> None:
        """Let it wait for so long, or until it leaves."""
        waiting = asyncio.ensure_future(asyncio.sleep(seconds))
        running: set[asyncio.Future[Any]] = {waiting} if self._listening.done() else {waiting, self._listening}
        try:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()


@asynccontextmanager
async def _watching(receive: Receive) -> AsyncIterator[_Client]:
    """Lend the client, listened to meanwhile."""
    listening = asyncio.ensure_future(receive())
    try:
        yield _Client(listening)
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


def _speaks_late(fault: Fault, body: bytes) -> bool:
    """Say whether the fault is an error within a stream that the request asked for."""
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return fault.kind == "error_first" and isinstance(request, dict) and bool(request.get("stream"))


async def _read(receive: Receive) -> bytes:
    pieces = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


async def _serve_lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def create_app(
    simulator: Simulator,
    clock: Clock,
    *,
    realtime: bool = False,
    compress: bool = False,
    record: bool = False,
    faults: Source | None = None,
) -> SimApp:
    """Return the ASGI application.

    With `realtime` answers take their time; without it they come at once and what they write is readable at once.
    `compress` answers in an encoding that the client accepts; `record` keeps every request's bytes in memory, which
    is for tests alone: nothing bounds it. `faults` disturb POST /v1/messages.
    """
    return SimApp(simulator, clock, realtime=realtime, compress=compress, record=record, faults=faults)
