"""Items of streams: that nothing waits, nothing is lost or added, and that each ends as it ended upstream."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

from scrimp.gateway.conformance.codings import gzip_so_far, is_accepted
from scrimp.gateway.conformance.item import (
    API,
    CLIENTS,
    PROTOCOL,
    Finding,
    Item,
    difference,
    failed,
    judged,
    not_applicable,
    passed,
)
from scrimp.gateway.conformance.recorder import Conversation
from scrimp.gateway.conformance.samples import (
    BLOCK_STOP,
    DELTA,
    ERROR_EVENT,
    EVENT_TYPE,
    FINAL_USAGE,
    MESSAGE,
    PING,
    REQUEST_ID,
    START,
    STOP,
    STREAM,
    TEXT_START,
    event,
    streamed,
    text,
    whole,
)
from scrimp.gateway.conformance.shapes import CLAUDE_CODE_HEADERS, plain_request
from scrimp.gateway.conformance.trial import Answer, Handshake, OnBody, Trial
from scrimp.gateway.conformance.wire import Headers

_HEADERS: Headers = (EVENT_TYPE, REQUEST_ID)


def _streaming(trial: Trial, script: Callable[[Conversation], None], on_body: OnBody | None = None) -> Answer:
    request = plain_request(trial.model, CLAUDE_CODE_HEADERS, stream=True)
    exchanged = trial.exchange(request, script, on_body) if on_body else trial.exchange(request, script)
    return exchanged.answer


def _events_in(body: bytes) -> int:
    return body.replace(b"\r\n", b"\n").count(b"\n\n")


def _held_back(trial: Trial, pieces: Sequence[bytes], headers: Headers = _HEADERS) -> tuple[int | None, Answer]:
    """Send each event only when the one before is at the client; return the index of the first that never came."""
    handed = Handshake()
    held: list[int] = []

    def script(conversation: Conversation) -> None:
        conversation.begin(200, headers)
        for index, piece in enumerate(pieces):
            conversation.chunk(piece)
            if not held and not handed.reaches(index + 1, trial.patience_s):
                held.append(index)
        conversation.chunk(b"")

    answer = _streaming(trial, script, lambda body: handed.saw(_events_in(gzip_so_far(body))))
    return (held[0] if held else None), answer


def _first_event(trial: Trial) -> Finding:
    held, answer = _held_back(trial, STREAM)
    if held == 0:
        return failed(f"the second event had to be sent before the first arrived; the client got {answer}")
    return judged(answer.status == 200, "it arrived before the second was sent", str(answer))  # noqa: PLR2004 - HTTP's OK


def _each_event(trial: Trial) -> Finding:
    held, answer = _held_back(trial, STREAM)
    if held is not None:
        return failed(f"event {held + 1} was held back; the client got {answer}")
    return passed(f"each of {len(STREAM)} events arrived before the next was sent")


def _pings(trial: Trial) -> Finding:
    pieces = (START, PING, PING, TEXT_START, text("a"), PING, BLOCK_STOP, DELTA, STOP)
    answer = _streaming(trial, streamed(*pieces))
    got = answer.body.count(b"event: ping")
    return judged(got == pieces.count(PING), f"{got} pings", f"{got} of {pieces.count(PING)} pings; {answer}")


def _gzip(trial: Trial) -> Finding:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    pieces = [packer.compress(each) + packer.flush(zlib.Z_SYNC_FLUSH) for each in STREAM]
    pieces[-1] += packer.flush()
    asked = trial.exchange(plain_request(trial.model, CLAUDE_CODE_HEADERS), whole()).arrived
    if asked and not is_accepted(asked.head.get("accept-encoding"), "gzip"):
        return not_applicable("the gateway did not ask the upstream for it")
    held, answer = _held_back(trial, pieces, (*_HEADERS, ("content-encoding", "gzip")))
    if held is not None:
        return failed(f"event {held + 1} was held back; the client got {answer}")
    if answer.body == b"".join(STREAM):
        return failed("decoded by the gateway, event by event")
    return judged(b"".join(pieces) == answer.body, "the same bytes, event by event", f"the client got {answer}")


_TOOL_USE = {"type": "tool_use", "id": "toolu_01", "name": "Look", "input": {}}
_OTHER_LINE_ENDS = (
    b'event: content_block_start\r\ndata: {"type":"content_block_start","index":2,\r\n'
    b'data: "content_block":{"type":"text","text":""}}\r\n\r\n'
)
_OTHER_SPACES = (
    b'event:content_block_delta\ndata:{"index":2, "type":"content_block_delta",'
    b'"delta":{"type":"text_delta","text":"caf\\u00e9 \xe4\xb8\xad"}}\n\n'
)
#: Everything that stands in a stream today, with spaces and line ends of every allowed kind.
EVERYTHING = (
    START,
    event("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}),
    event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "Hm.", "estimated_tokens": 3}),
    event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "EqQBCkYIARgC"}),
    BLOCK_STOP,
    PING,
    event("content_block_start", index=1, content_block=_TOOL_USE),
    event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": '{"path": "a'}),
    event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": '\\u00e9"}'}),
    event("content_block_stop", index=1),
    _OTHER_LINE_ENDS,
    _OTHER_SPACES,
    event("content_block_stop", index=2),
    event("message_delta", delta={"stop_reason": "tool_use"}, usage=FINAL_USAGE, context_management={"applied": []}),
    STOP,
)


def _relayed(trial: Trial, pieces: Sequence[bytes]) -> Finding:
    answer = _streaming(trial, streamed(*pieces))
    sent = b"".join(pieces)
    said = difference(sent, answer.body)
    return judged(sent == answer.body and answer.end == "whole", said, f"{said}; {answer}")


def _identical(trial: Trial) -> Finding:
    return _relayed(trial, EVERYTHING)


def _contains(trial: Trial, pieces: Sequence[bytes], wanted: Sequence[bytes]) -> Finding:
    answer = _streaming(trial, streamed(*pieces))
    lost = [each for each in wanted if each not in answer.body]
    return judged(not lost, "relayed", f"lost: {lost[0].decode()!r}; {answer}" if lost else "")


def _unknown(trial: Trial) -> Finding:
    odd = (b": a comment\n\n", b"id: 7\nretry: 3000\nevent: future_event\n", b'data: {"type":"future_event","n":1}\n\n')
    return _contains(trial, (START, b"".join(odd), *STREAM[1:]), odd)


def _safeguards(trial: Trial) -> Finding:
    results = {"dangerous_tool_use": {"verdict": "allow"}}
    final = event("message_delta", delta={"stop_reason": "end_turn"}, usage=FINAL_USAGE, safeguard_results=results)
    return _contains(
        trial, (*STREAM[:-2], final, STOP), [b'"safeguard_results":{"dangerous_tool_use":{"verdict":"allow"}}']
    )


def _error_first(trial: Trial) -> Finding:
    return _relayed(trial, (ERROR_EVENT,))


def _error_later(trial: Trial) -> Finding:
    return _relayed(trial, (*STREAM[:4], ERROR_EVENT))


def _clean_end(trial: Trial) -> Finding:
    """End a stream in order and yet without its last events: the client has to see just that."""
    answer = _streaming(trial, streamed(*STREAM[:-2]))
    if answer.end != "whole":
        return failed(f"the upstream ended in order, the client saw {answer}")
    return judged(
        b"".join(STREAM[:-2]) == answer.body, "ended in order", difference(b"".join(STREAM[:-2]), answer.body)
    )


def _cut(pieces: Sequence[bytes], trial: Trial, *, reset: bool = False) -> Finding:
    """Break a stream off once the client has all that was sent; `pieces` may end within an event."""
    sent = b"".join(pieces)
    handed = Handshake()

    def script(conversation: Conversation) -> None:
        conversation.begin(200, _HEADERS)
        for piece in pieces:
            conversation.chunk(piece)
        handed.reaches(_events_in(sent), trial.patience_s)
        conversation.reset() if reset else conversation.hang_up()

    answer = _streaming(trial, script, lambda body: handed.saw(_events_in(body)))
    if answer.end == "whole" and answer.status:
        return failed(f"the upstream broke off, the client saw an end in order: {answer}")
    if answer.end == "closed":
        return failed("the gateway's framing cannot tell a cut from an end")
    return judged(sent == answer.body, "cut, after every byte that came", f"cut, but {difference(sent, answer.body)}")


def _cut_between(trial: Trial) -> Finding:
    return _cut(STREAM[:4], trial)


def _cut_within(trial: Trial) -> Finding:
    return _cut((*STREAM[:4], STREAM[4][:30]), trial)


def _cut_late(trial: Trial) -> Finding:
    return _cut(STREAM[:-1], trial)


def _reset(trial: Trial) -> Finding:
    return _cut(STREAM[:4], trial, reset=True)


def _short_message(trial: Trial) -> Finding:
    """Promise a whole message, send half of it."""

    def script(conversation: Conversation) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(MESSAGE)}\r\n\r\n"
        conversation.link.sendall(head.encode() + MESSAGE[: len(MESSAGE) // 2])
        conversation.hang_up()

    answer = trial.exchange(plain_request(trial.model), script).answer
    in_order = answer.end != "cut" and 0 < answer.status < 500  # noqa: PLR2004 - a server error is no message
    return judged(not in_order, f"the client saw {answer}", f"half a message was passed off as a whole one: {answer}")


_LATENCY = "A client shows words as they come, and gives up on a stream that is silent for too long."
_RESUME = "Claude Code keeps what came before a cut and asks for the rest; to the SDKs a clean end is a whole answer."

ITEMS = (
    Item(
        "stream-first-event",
        PROTOCOL,
        "one event; the second only once the client has the first",
        "it arrives",
        _LATENCY,
        _first_event,
    ),
    Item(
        "stream-each-event",
        PROTOCOL,
        "eight events, each only once the client has the one before",
        "each arrives",
        _LATENCY,
        _each_event,
    ),
    Item(
        "stream-pings", PROTOCOL, "three pings", "three pings", "Without them Claude Code aborts after 300 s.", _pings
    ),
    Item(
        "stream-gzip",
        API,
        "a stream in gzip, flushed at each event, sent as above",
        "each event arrives; the same bytes",
        "The clients ask for compression.",
        _gzip,
    ),
    Item(
        "stream-identical",
        PROTOCOL,
        "thinking, signature, tool input, pings, unusual spaces and line ends",
        "the same bytes in the same order",
        "The client rebuilds the turn from them and sends it back: what differs breaks the prefix.",
        _identical,
    ),
    Item(
        "stream-unknown-events",
        CLIENTS,
        "a comment, id and retry lines, an event of an unknown type",
        "relayed",
        "Clients skip what they do not know; the next kind of event must not need a new gateway.",
        _unknown,
    ),
    Item(
        "stream-safeguards",
        PROTOCOL,
        "safeguard_results in message_delta",
        "relayed",
        "Without them Claude Code falls back to classifier requests that are billed.",
        _safeguards,
    ),
    Item(
        "stream-error-first", CLIENTS, "an error as the only event", "relayed", "Clients retry after it.", _error_first
    ),
    Item(
        "stream-error-later",
        CLIENTS,
        "an error after some words",
        "relayed, after every byte before it",
        "Claude Code then asks anew without streaming.",
        _error_later,
    ),
    Item("stream-cut-between", CLIENTS, "a stream that breaks off after an event", "a cut", _RESUME, _cut_between),
    Item("stream-cut-within", CLIENTS, "a stream that breaks off within an event", "a cut", _RESUME, _cut_within),
    Item("stream-cut-late", CLIENTS, "a stream that breaks off before message_stop", "a cut", _RESUME, _cut_late),
    Item("stream-reset", CLIENTS, "a connection reset within a stream", "a cut", _RESUME, _reset),
    Item(
        "answer-cut", CLIENTS, "half a message, then a cut", "a cut or a 5xx", "Half a message is none.", _short_message
    ),
    Item(
        "stream-clean-end",
        CLIENTS,
        "a stream that ends in order without message_delta and message_stop",
        "the same end",
        "The SDKs return it as a message without stop_reason; a cut would raise instead.",
        _clean_end,
    ),
)
