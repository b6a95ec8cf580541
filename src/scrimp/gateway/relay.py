"""Sends a request upstream and relays the answer chunk by chunk, to a client that may leave at any moment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec

from scrimp.errors import UpstreamUnavailable
from scrimp.gateway.asgi import ClientGone, Inbound, Scope, Send, reply, target_of
from scrimp.upstream.client import Upstream, UpstreamRequest, UpstreamResponse, end_to_end

#: Headers that only the gateway reads.
CONSUMED = frozenset({b"scrimp-task", b"scrimp-session", b"scrimp-deadline", b"scrimp-mode"})

#: status -> what its answer does not repeat: a 304 may name a length that no body follows (RFC 9110 section 15.4.5),
#: and uvicorn waits for that body.
_UNSAID = {304: frozenset({b"content-length"})}

#: How long an answer may still take to end after its client left, in seconds.
LAST_BYTE_SECONDS = 0.05

OnChunk = Callable[[bytes], None]
OnEnd = Callable[[], None]


class UpstreamCut(Exception):
    """The upstream's answer broke off; the client's connection has to be cut the same way."""


def _unseen(_chunk: bytes) -> None:
    """Look at no chunk."""


def _unheard() -> None:
    """Note no end."""


def upstream_request(scope: Scope, body: bytes | AsyncIterator[bytes], *, chained: bool) -> UpstreamRequest:
    """Return the client's own request, less what belongs to its connection or, unless `chained`, to us."""
    headers = end_to_end(scope["headers"], without=frozenset() if chained else CONSUMED)
    return UpstreamRequest(scope["method"], target_of(scope), headers, body)


async def relay(
    response: UpstreamResponse,
    send: Send,
    added: Sequence[tuple[bytes, bytes]] = (),
    on_chunk: OnChunk = _unseen,
    on_end: OnEnd = _unheard,
) -> None:
    """Send the answer on, unbuffered.

    `on_chunk` sees each chunk after the client was given it, `on_end` hears that there are no more: a client that
    leaves from then on has had its whole answer.
    """
    unsaid = _UNSAID.get(response.status, frozenset())
    headers = [*end_to_end(response.headers, without=unsaid), *added]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    try:
        async for chunk in response.chunks():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            on_chunk(chunk)
    except ConnectionError as error:
        raise UpstreamCut from error
    on_end()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def unless_gone(inbound: Inbound, work: Awaitable[None]) -> None:
    """Do `work`, and stop it when the client leaves. Raises `ClientGone` in that case.

    A client may close its connection right after the last byte of its answer; then `work` is as good as done, and gets
    a moment to let go of the upstream in order.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(inbound.until_gone())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await asyncio.wait({working}, timeout=LAST_BYTE_SECONDS)
        if not working.done():
            raise ClientGone
        await working
    finally:
        for task in (working, watching):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


async def send_upstream(upstream: Upstream, request: UpstreamRequest, send: Send) -> UpstreamResponse | None:
    """Send the request; if nothing answers, tell the client so in the API's own envelope and return None."""
    try:
        return await upstream.send(request)
    except UpstreamUnavailable as error:
        await reply(send, 502, "application/json", unavailable(str(error)))
        return None


def unavailable(message: str) -> bytes:
    """Return the API's error envelope for an upstream that cannot be reached; clients retry it as an outage."""
    return msgspec.json.encode({"type": "error", "error": {"type": "api_error", "message": f"scrimp: {message}"}})
