"""Sends a request upstream and relays the answer chunk by chunk, to a client that may leave at any moment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec

from scrimp.errors import UpstreamUnavailable
from scrimp.gateway.asgi import ClientGone, Inbound, Scope, Send, reply, target_of
from scrimp.gateway.hops import VIA
from scrimp.upstream.client import Upstream, UpstreamRequest, UpstreamResponse, end_to_end

#: Headers that only the gateway reads.
CONSUMED = frozenset({b"scrimp-task", b"scrimp-session", b"scrimp-deadline", b"scrimp-mode", VIA})
_ONE_HOP = frozenset({VIA})

#: status -> what its answer does not repeat: a 304 may name a length that no body follows (RFC 9110 section 15.4.5),
#: and uvicorn waits for that body.
_UNSAID = {304: frozenset({b"content-length"})}

#: How long a request is served before anybody looks whether its client is still there, in seconds.
UNWATCHED_SECONDS = 0.05

#: How long an answer may still take to end after its client left, in seconds.
LAST_BYTE_SECONDS = 0.05

OnChunk = Callable[[bytes], None]
OnEnd = Callable[[], None]
OnFailure = Callable[[UpstreamUnavailable], None]


class UpstreamCut(Exception):
    """The upstream's answer broke off; the client's connection has to be cut the same way."""


def _unseen(_chunk: bytes) -> None:
    """Look at no chunk."""


def _unheard() -> None:
    """Note no end."""


def _unknown(_error: UpstreamUnavailable) -> None:
    """Note no failure."""


def upstream_request(
    scope: Scope, body: bytes | AsyncIterator[bytes], *, chained: bool, via: bytes | None = None
) -> UpstreamRequest:
    """Return the client's own request, less what belongs to its connection or, unless `chained`, to us.

    `via` is what a next gateway of ours is told (see `gateway.hops`), None where the next is none.
    """
    headers = end_to_end(scope["headers"], without=_ONE_HOP if chained else CONSUMED)
    if via is not None:
        headers.append((VIA, via))
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
    unsaid = _UNSAID.get(response.status)
    headers = [*(end_to_end(response.headers, without=unsaid) if unsaid else response.headers), *added]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    ended = False
    try:
        async for chunk in response.chunks():
            ended = response.is_whole
            await send({"type": "http.response.body", "body": chunk, "more_body": not ended})
            on_chunk(chunk)
    except ConnectionError as error:
        raise UpstreamCut from error
    on_end()
    if not ended:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def unless_gone(inbound: Inbound, work: Awaitable[None]) -> None:
    """Do `work`, and stop it when the client leaves. Raises `ClientGone` in that case.

    A client may close its connection right after the last byte of its answer; then `work` is as good as done, and gets
    a moment to let go of the upstream in order. Whoever is answered at once is not watched at all.
    """
    watch = _Watch(inbound)
    try:
        await work
    except asyncio.CancelledError:
        if watch.gone and watch.task.uncancel() == 0:
            raise ClientGone from None
        raise
    finally:
        await watch.end()


class _Watch:
    """Cancels the task that it is made in once the client is gone."""

    def __init__(self, inbound: Inbound) -> None:
        self._inbound = inbound
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(UNWATCHED_SECONDS, self._begin)
        self._watching: asyncio.Task[None] | None = None
        self.task: asyncio.Task[None] = asyncio.current_task(self._loop)  # type: ignore[assignment]
        self.gone = False

    def _begin(self) -> None:
        self._watching = asyncio.ensure_future(self._inbound.until_gone())
        self._watching.add_done_callback(self._left)

    def _left(self, watching: asyncio.Task[None]) -> None:
        if not watching.cancelled() and watching.exception() is None:
            self._timer = self._loop.call_later(LAST_BYTE_SECONDS, self._stop)

    def _stop(self) -> None:
        self.gone = True
        self.task.cancel()

    async def end(self) -> None:
        """Watch no longer."""
        self._timer.cancel()
        if self._watching is not None:
            self._watching.remove_done_callback(self._left)
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._watching


async def send_upstream(
    upstream: Upstream, request: UpstreamRequest, send: Send, on_failure: OnFailure = _unknown
) -> UpstreamResponse | None:
    """Send the request; if nothing answers, tell the client so in the API's own envelope and return None."""
    try:
        return await upstream.send(request)
    except UpstreamUnavailable as error:
        on_failure(error)
        await reply(send, 502, "application/json", unavailable(str(error)))
        return None


def unavailable(message: str) -> bytes:
    """Return the API's error envelope for an upstream that cannot be reached; clients retry it as an outage."""
    return msgspec.json.encode({"type": "error", "error": {"type": "api_error", "message": f"scrimp: {message}"}})
