"""Reads what the API answered while the bytes pass by: served model, stop reason and usage.

`ResponseMeter` is fed copies of the raw chunks and never raises: a body that cannot be read leaves
`usage_complete` False, and the client's bytes are none of its business.
"""

from __future__ import annotations

import msgspec

from scrimp.core.wire.encoding import CodingError, decoder
from scrimp.core.wire.labels import clip
from scrimp.core.wire.spoken import SPEAKING, Listener, Spoken
from scrimp.core.wire.sse import SseEvent, SseScanner
from scrimp.core.wire.surrogates import UNREADABLE
from scrimp.core.wire.usage import TOKENS_MAX, ApiUsage, Metered, meter, read_usage

#: A plain JSON answer larger than this is not metered (128,000 output tokens are about 1 MB).
JSON_BYTES_MAX = 64 * 1024 * 1024


class ApiError(msgspec.Struct, frozen=True):
    """The inner object of the API's error envelope."""

    type: str | None = None


class ApiMessage(msgspec.Struct, frozen=True):
    """The fields of a Message, or of the error envelope, that are recorded."""

    type: str | None = None
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    diagnostics: msgspec.Raw = msgspec.Raw()
    content: msgspec.Raw = msgspec.Raw()
    error: ApiError | None = None


class CacheMiss(msgspec.Struct, frozen=True):
    """The API's own word for why less was read than the request before had cached (API docs, cache diagnostics).

    `missed_input_tokens` is its approximate count of what could not be read, None where it says none.
    """

    reason: str
    missed_input_tokens: int | None = None


class _MissReason(msgspec.Struct, frozen=True):
    type: str | None = None
    cache_missed_input_tokens: int | None = None


class _Diagnostics(msgspec.Struct, frozen=True):
    cache_miss_reason: _MissReason | None = None


class _Delta(msgspec.Struct, frozen=True):
    stop_reason: str | None = None


class _StreamEvent(msgspec.Struct, frozen=True):
    message: ApiMessage | None = None
    delta: _Delta | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: ApiError | None = None


class Answer(msgspec.Struct, frozen=True):
    """What one response said. `usage_complete` is False when the final usage never arrived: a lower bound.

    `is_readable` is False where the body is in a coding that we do not know, corrupt, or too large to be read.
    `cache_miss` is set where the client asked for cache diagnostics and the API names a reason. `spoken` is what it
    says, None where nobody listened.
    """

    message_id: str | None = None
    served_model: str | None = None
    stop_reason: str | None = None
    error_type: str | None = None
    usage: ApiUsage | None = None
    usage_complete: bool = False
    is_readable: bool = True
    cache_miss: CacheMiss | None = None
    spoken: Spoken | None = None

    def metered(self, requested_model: str | None) -> Metered | None:
        """Return the billing lines, or None where no usage was seen at all."""
        return meter(self.usage, self.served_model or requested_model) if self.usage else None


_READ_MESSAGE = msgspec.json.Decoder(ApiMessage)
_READ_EVENT = msgspec.json.Decoder(_StreamEvent)
_READ_DIAGNOSTICS = msgspec.json.Decoder(_Diagnostics | None)
#: Events whose data is read; content deltas and pings pass unread.
_READ_NAMES = frozenset({b"message_start", b"message_delta", b"error"})
#: The event by which an answer begins, and how it looks where the API writes it.
_FIRST_NAME = b"message_start"
_BEGINNING = b"event: message_start\n"
#: How much of a stream may wait to be looked at together, in bytes.
UNREAD_BYTES_MAX = 16 * 1024
#: What one of the names of events that are read holds: a long answer is searched once for each.
_WORDS = (b"message_", b"error")


def _usage(raw: msgspec.Raw) -> ApiUsage | None:
    if not bytes(raw):
        return None
    try:
        return read_usage(msgspec.json.decode(raw))
    except UNREADABLE:
        return None


def _cache_miss(raw: msgspec.Raw) -> CacheMiss | None:
    """Read `diagnostics`; absent, null and pending (a null reason) say nothing."""
    try:
        said = _READ_DIAGNOSTICS.decode(raw) if bytes(raw) else None
    except UNREADABLE:
        return None
    found = said.cache_miss_reason if said else None
    reason = clip(found.type) if found else None
    if found is None or reason is None:
        return None
    missed = found.cache_missed_input_tokens
    return CacheMiss(reason, missed if missed is not None and 0 <= missed <= TOKENS_MAX else None)


def _read_event(data: bytes) -> _StreamEvent:
    try:
        return _READ_EVENT.decode(data)
    except UNREADABLE:
        return _StreamEvent()


def _started(message: ApiMessage) -> Answer:
    return Answer(
        message_id=clip(message.id),
        served_model=clip(message.model),
        stop_reason=clip(message.stop_reason),
        usage=_usage(message.usage),
        cache_miss=_cache_miss(message.diagnostics),
    )


def _moved(answer: Answer, read: _StreamEvent) -> Answer:
    """Fold a `message_delta`: its counts are cumulative, and final once it says why the model stopped."""
    stop = clip(read.delta.stop_reason if read.delta else None) or answer.stop_reason
    later = _usage(read.usage)
    merged = answer.usage.merge(later) if answer.usage and later else later or answer.usage
    final = stop is not None and later is not None and merged is not None and merged.is_complete
    return msgspec.structs.replace(
        answer, stop_reason=stop, usage=merged, usage_complete=answer.usage_complete or final
    )


def apply_event(answer: Answer, event: SseEvent) -> Answer:
    """Fold one stream event into what is known of the answer."""
    if event.name not in _READ_NAMES:
        return answer
    read = _read_event(event.data)
    if event.name == b"message_start":
        return _started(read.message or ApiMessage())
    if event.name == b"message_delta":
        return _moved(answer, read)
    if event.name == b"error":
        return msgspec.structs.replace(answer, error_type=_type_of(read.error))
    return answer


def _type_of(error: ApiError | None) -> str:
    return clip(error.type if error else None) or "unknown"


def read_json(body: bytes, listener: Listener | None = None) -> Answer:
    """Read a whole JSON answer: a Message or an error envelope. A listener hears what it says."""
    try:
        message = _READ_MESSAGE.decode(body)
    except UNREADABLE:
        return Answer()
    if message.error is not None:
        return Answer(error_type=_type_of(message.error))
    answer = _started(message)
    if listener is not None:
        listener.hear_content(message.content)
    return msgspec.structs.replace(answer, usage_complete=answer.usage is not None and answer.usage.is_complete)


class ResponseMeter:
    """Fed the raw chunks of one response, in order; `answer()` says what it held so far.

    `first_token_seen` turns True with the first part of an answer; of an error it means nothing. With `listens` it
    hears, too, what the answer says (`Answer.spoken`), which costs some time for each event.
    """

    def __init__(self, content_type: str | None, content_encoding: str | None, *, listens: bool = False) -> None:
        self._is_stream = (content_type or "").lower().startswith("text/event-stream")
        self._listener = Listener() if listens else None
        self._sse = SseScanner((*_WORDS, *SPEAKING) if listens else _WORDS)
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head = b""
        self._unread: list[bytes] = []
        self._unread_bytes = 0
        self._streamed = Answer()
        self._whole: Answer | None = None
        self.first_token_seen = False
        try:
            self._decode = decoder(content_encoding)
            self._readable = True
        except CodingError:
            self._readable = False

    def feed(self, chunk: bytes) -> None:
        """Take the next raw chunk; corrupt or oversized bodies stop the metering, never the response."""
        if not self._readable:
            return
        try:
            plain = self._decode(chunk)
        except CodingError:
            self._readable = False
            return
        if self._is_stream:
            self._feed_stream(plain)
        elif plain:
            self._feed_json(plain)

    def _feed_stream(self, plain: bytes) -> None:
        """Look at a part of a stream now, or together with more: an answer comes in hundreds of small ones.

        What is not looked at yet is no secret for long: its first event shows by how it begins, and whoever asks for
        the `answer` has all of it looked at.
        """
        if not self.first_token_seen:
            self._head = (self._head + plain)[: len(_BEGINNING)]
            self.first_token_seen = self._head == _BEGINNING
        self._unread.append(plain)
        self._unread_bytes += len(plain)
        if not self.first_token_seen or self._unread_bytes > UNREAD_BYTES_MAX:
            self._read_on()

    def _read_on(self) -> None:
        plain, self._unread, self._unread_bytes = b"".join(self._unread), [], 0
        for event in self._sse.feed(plain):
            self.first_token_seen = self.first_token_seen or event.name == _FIRST_NAME
            self._streamed = apply_event(self._streamed, event)
            if self._listener is not None:
                self._listener.hear(event)
        self._readable = self._readable and not self._sse.overflowed

    def _feed_json(self, plain: bytes) -> None:
        self.first_token_seen = True
        self._whole = None
        self._body_bytes += len(plain)
        if self._body_bytes > JSON_BYTES_MAX:
            self._readable, self._body = False, []
        else:
            self._body.append(plain)

    def answer(self) -> Answer:
        """Return what is known now; after the last chunk this is all there is."""
        if self._is_stream and self._unread:
            self._read_on()
        elif not self._is_stream and self._whole is None:
            self._whole = self._read_whole()
        known = self._whole or self._streamed
        if self._is_stream and self._listener is not None:
            known = msgspec.structs.replace(known, spoken=self._listener.spoken())
        return known if self._readable else msgspec.structs.replace(known, is_readable=False)

    def _read_whole(self) -> Answer:
        if self._listener is None:
            return read_json(b"".join(self._body))
        self._listener = Listener()
        read = read_json(b"".join(self._body), self._listener)
        return msgspec.structs.replace(read, spoken=self._listener.spoken())
