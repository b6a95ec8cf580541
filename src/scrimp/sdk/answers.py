"""What each answer says of itself while the caller reads it, and how the reading ended.

The bytes of a body pass through `Body` or `AsyncBody` as they come and are handed on at once; a body that the SDK has
read already is looked at as a whole.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import msgspec
from anthropic import APIConnectionError

from scrimp.core.wire.response import Answer, ResponseMeter
from scrimp.engine.faults import own_up
from scrimp.engine.recorder import Opened
from scrimp.sdk.desk import Desk, Ending

#: Before these nothing of the request was sent.
_UNSENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
)


#: How the API calls a refusal that the SDK does not read, because it asks again (API docs, errors).
_REFUSALS = {
    409: "conflict_error",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def unanswered(error: BaseException) -> tuple[str, bool]:
    """Return how an attempt without an answer is recorded: the error's type, and whether anything was sent.

    A caller that gave up, by its own timeout too, has gone; what it may have cost is not known.
    """
    cause = error.__cause__
    if isinstance(cause, _UNSENT):
        return "upstream_unavailable", False
    if _gave_up(error) or _gave_up(cause):
        return "client_gone", True
    return "upstream_unavailable" if isinstance(error, APIConnectionError) else "client_error", True


def _gave_up(error: BaseException | None) -> bool:
    return error is not None and (not isinstance(error, Exception) or isinstance(error, httpx2.TimeoutException))


class Attempt:
    """One request sent, and what is known of its answer so far; it ends once, whatever is said of it afterwards."""

    def __init__(self, desk: Desk, opened: Opened) -> None:
        self._desk = desk
        self._opened = opened
        self._meter = ResponseMeter(None, None)
        self._status: int | None = None
        self._request_id: str | None = None
        self._is_over = False
        self.is_begun = False

    def begin(self) -> None:
        """Put it into the ledger, once."""
        if not self.is_begun:
            self.is_begun = True
            self._desk.begin(self._opened)

    def failed(self, error: BaseException) -> None:
        """Note that there is no answer."""
        kind, was_sent = unanswered(error)
        self._end(kind, was_sent=was_sent)

    def unsent(self) -> None:
        """Note that nothing was sent."""
        self._end(None, was_sent=False)

    def recorded_elsewhere(self) -> None:
        """Note that a gateway of ours has recorded this."""
        self._end(None, is_recorded=False)

    def answered(self, response: httpx2.Response) -> None:
        """Read the head of an answer, and from now on its body as it passes."""
        headers = response.headers
        self._status, self._request_id = response.status_code, headers.get("request-id")
        if response.is_closed:
            self._meter = self._listening(headers.get("content-type"), None)
            self.feed(response.content)
            self.finished()
        else:
            self._meter = self._listening(headers.get("content-type"), headers.get("content-encoding"))
            response.stream = _passing(response.stream, self)

    def _listening(self, content_type: str | None, content_encoding: str | None) -> ResponseMeter:
        """Return what hears, too, how the answer ends where its pause is learnt from."""
        return ResponseMeter(content_type, content_encoding, listens=bool(self._opened.thread))

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        if self._is_over:
            return
        with self._owning_up():
            self._meter.feed(chunk)
            begun = self._status == httpx2.codes.OK and self._meter.first_token_seen
            if begun and self._opened.first_token_at_ms is None:
                self._desk.first_token(self._opened)

    def _unread(self, answer: Answer) -> Answer:
        """Name a refusal of the API's own, which its id shows; any other server may stand before one that works on."""
        if answer.error_type or self._request_id is None:
            return answer
        return msgspec.structs.replace(answer, error_type=_REFUSALS.get(self._status or 0))

    @contextmanager
    def _owning_up(self) -> Iterator[None]:
        """Keep a fault of ours from whoever reads the answer: it ends here, and its row stays open."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - it must never become the caller's
            self._is_over = True
            own_up("an answer is read no further and its exchange stays open", error)

    def finished(self) -> None:
        """Note that the body came to its end."""
        self._end(None)

    def cut(self, error: BaseException) -> None:
        """Note that reading the body failed, or was given up."""
        if _gave_up(error):
            self.left()
        else:
            self._end("upstream_cut")

    def left(self) -> None:
        """Note that the caller reads no further, which is news only before the answer's end."""
        if not self._is_over:
            with self._owning_up():
                answer = self._unread(self._meter.answer())
                self._end(None if answer.usage_complete or answer.error_type else "client_gone", answer)

    def _end(
        self, error_type: str | None, answer: Answer | None = None, *, was_sent: bool = True, is_recorded: bool = True
    ) -> None:
        if self._is_over or sys.is_finalizing():  # the ledger is written and closed by then: the row stays open
            return
        self._is_over = True
        ending = Ending(self._status, self._request_id, error_type, was_sent, is_recorded)
        with self._owning_up():
            self._desk.close(self._opened, answer or self._meter.answer(), ending)


def _passing(body: Any, attempt: Attempt) -> httpx2.SyncByteStream | httpx2.AsyncByteStream:
    return Body(body, attempt) if isinstance(body, httpx2.SyncByteStream) else AsyncBody(body, attempt)


class _Wrapped:
    """A body that is looked at; what else is known of it, such as `elapsed`, is the body's own."""

    def __init__(self, body: Any, attempt: Attempt) -> None:
        self._body = body
        self._attempt = attempt

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_body"], name)

    def __del__(self) -> None:
        self._attempt.left()


class Body(_Wrapped, httpx2.SyncByteStream):
    """The body of an answer to the synchronous client."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield each chunk as it comes."""
        try:
            for chunk in self._body:
                self._attempt.feed(chunk)
                yield chunk
        except BaseException as error:
            self._attempt.cut(error)
            raise
        self._attempt.finished()

    def close(self) -> None:
        """Let go of the connection."""
        try:
            self._body.close()
        finally:
            self._attempt.left()


class AsyncBody(_Wrapped, httpx2.AsyncByteStream):
    """The body of an answer to the asynchronous client."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield each chunk as it comes."""
        chunks = aiter(self._body)
        try:
            async for chunk in chunks:
                self._attempt.feed(chunk)
                yield chunk
        except BaseException as error:
            self._attempt.cut(error)
            raise
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
        self._attempt.finished()

    async def aclose(self) -> None:
        """Let go of the connection."""
        try:
            await self._body.aclose()
        finally:
            self._attempt.left()
