"""The simulator as a raw ASGI application: the only part of it that does I/O.

    POST /v1/messages, POST /v1/messages/count_tokens, GET /v1/models[/ID], HEAD / and /api/hello,
    GET /__sim/invoice

A query such as `?beta=true` does not matter. Every other path is the API's own 404.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from hashlib import sha256
from typing import Any

import msgspec

from scrimp.clock import Clock
from scrimp.sim.encodings import ENCODERS, Encoder, Identity, choose
from scrimp.sim.errors import ApiError
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
    """The ASGI application around one simulator; `recorded` grows only if it was created with `record`."""

    def __init__(self, simulator: Simulator, clock: Clock, *, realtime: bool, compress: bool, record: bool) -> None:
        self.simulator = simulator
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
        answer = self._answer(scope["method"], scope["path"], dict(headers), body)
        encoding = choose(dict(headers).get("accept-encoding", "")) if self._compress else None
        await self._send(answer, encoding, send, with_body=scope["method"] != "HEAD")

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
        return simulator.refuse(ApiError(404, f"Not found: {path}"), now_ms)

    async def _send(self, answer: Answer, encoding: str | None, send: Send, *, with_body: bool) -> None:
        await send({"type": "http.response.start", "status": answer.status, "headers": _headers(answer, encoding)})
        encoder: Encoder = ENCODERS[encoding]() if encoding else Identity()
        begun_ms = 0
        for at_ms, piece in _pieces(answer) if with_body else ():
            if self._realtime and at_ms > begun_ms:
                await asyncio.sleep((at_ms - begun_ms) / 1_000)
                begun_ms = at_ms
            await send({"type": "http.response.body", "body": encoder.feed(piece), "more_body": True})
        await send({"type": "http.response.body", "body": encoder.end() if with_body else b""})


def _headers(answer: Answer, encoding: str | None) -> list[tuple[bytes, bytes]]:
    kind = "text/event-stream; charset=utf-8" if answer.events else "application/json"
    named = [("content-type", kind), *answer.headers, *([("content-encoding", encoding)] if encoding else [])]
    return [(name.encode(), value.encode()) for name, value in named]


def _pieces(answer: Answer) -> Iterable[tuple[int, bytes]]:
    """Yield the body's pieces, each with the time it is due, in milliseconds after the request's start."""
    if not answer.events:
        yield answer.duration_ms, json.dumps(answer.body, separators=(",", ":"), ensure_ascii=False).encode()
    for event in answer.events:
        yield event.at_ms, event.encode()


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
    simulator: Simulator, clock: Clock, *, realtime: bool = False, compress: bool = False, record: bool = False
) -> SimApp:
    """Return the ASGI application.

    With `realtime` answers take their time; without it they come at once and what they write is readable at once.
    `compress` answers in an encoding that the client accepts; `record` keeps every request's bytes in memory.
    """
    return SimApp(simulator, clock, realtime=realtime, compress=compress, record=record)
