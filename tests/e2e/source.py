"""An upstream that follows a script to the byte, endings of a connection too: what the simulator cannot be told to do.

::

    client  ------------------------------>  source          directly
    client  --tap-->  gateway  ----------->  source          through the gateway

Each request to the Messages API takes the script's next step; after the script, and for all else, the source is an API
in good health.
"""

from __future__ import annotations

import asyncio
import json
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from socket import SO_LINGER, SOL_SOCKET
from types import TracebackType
from typing import Any, Self

from tests.e2e.stand import Headers, Seen

_JSON: Headers = [("content-type", "application/json"), ("request-id", "req_source")]
_EVENTS: Headers = [("content-type", "text/event-stream; charset=utf-8"), ("request-id", "req_source")]
_START_SECONDS_MAX = 10
#: Between the last byte and a cut. Where both come at once, it is chance how much a client has read by then.
PAUSE_SECONDS = 0.5
#: Closing with unsent bytes thrown away: TCP's reset.
_NO_LINGER = struct.pack("ii", 1, 0)


class Ending(Enum):
    """What becomes of the connection.

    The answer is whole, or ends within its body, or is a reset in place of a byte, or falls silent until the asking
    side has had enough.
    """

    WHOLE = auto()
    CUT = auto()
    RESET = auto()
    SILENT = auto()


@dataclass(frozen=True)
class Answer:
    """What one step sends. A body of several pieces is sent in chunks, a body of one with its length."""

    status: int
    headers: Headers
    pieces: Sequence[bytes]
    ending: Ending = Ending.WHOLE

    @property
    def body(self) -> bytes:
        """Return the body as a client reads it."""
        return b"".join(self.pieces)

    @property
    def _chunked(self) -> bool:
        return len(self.pieces) > 1 or self.ending is not Ending.WHOLE

    @property
    def all_headers(self) -> Headers:
        """Return the headers with the one that says where the body ends."""
        length = ("transfer-encoding", "chunked") if self._chunked else ("content-length", str(len(self.body)))
        return [*self.headers, length]

    def encode(self) -> bytes:
        """Return the answer as HTTP/1.1 sends it."""
        if not self.pieces:
            return b""
        head = [f"HTTP/1.1 {self.status} As-Scripted", *(f"{name}: {value}" for name, value in self.all_headers)]
        body = self.body
        if self._chunked:
            body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in self.pieces)
            body += b"0\r\n\r\n" if self.ending is Ending.WHOLE else b""
        return "\r\n".join([*head, "", ""]).encode("latin-1") + body


Step = Callable[[Seen], Answer]

# --- an API in good health ----------------------------------------------------------------------------------------

USAGE = {"input_tokens": 1000, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 20}


def text(words: str) -> dict[str, Any]:
    """Return a text block."""
    return {"type": "text", "text": words}


def tool_use(name: str, **given: Any) -> dict[str, Any]:
    """Return a use of a tool."""
    return {"type": "tool_use", "id": "toolu_source", "name": name, "input": given}


def message(asked: Seen, *content: dict[str, Any]) -> dict[str, Any]:
    """Return a whole message of the model that was asked for."""
    return {
        "id": "msg_source",
        "type": "message",
        "role": "assistant",
        "model": json.loads(asked.body)["model"],
        "content": list(content),
        "stop_reason": "tool_use" if content[-1]["type"] == "tool_use" else "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
    }


def event(kind: str, **fields: Any) -> bytes:
    """Return one server-sent event."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def events(asked: Seen, *content: dict[str, Any]) -> list[bytes]:
    """Return the same message as server-sent events: start, three for each block, delta, stop."""
    whole = message(asked, *content)
    started = {**whole, "content": [], "stop_reason": None, "usage": {**USAGE, "output_tokens": 1}}
    ended = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    return [
        event("message_start", message=started),
        *(piece for index, block in enumerate(content) for piece in _block_events(index, block)),
        event("message_delta", delta=ended, usage=USAGE),
        event("message_stop"),
    ]


def _block_events(index: int, block: dict[str, Any]) -> list[bytes]:
    if block["type"] == "text":
        empty, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
    else:
        empty = {**block, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    return [
        event("content_block_start", index=index, content_block=empty),
        event("content_block_delta", index=index, delta=delta),
        event("content_block_stop", index=index),
    ]


def is_stream(asked: Seen) -> bool:
    """Tell whether a request asks for a stream."""
    return bool(json.loads(asked.body).get("stream"))


def say(*content: dict[str, Any]) -> Step:
    """Answer with these blocks, in the form that was asked for."""

    def step(asked: Seen) -> Answer:
        if is_stream(asked):
            return Answer(200, _EVENTS, events(asked, *content))
        return Answer(200, _JSON, [json.dumps(message(asked, *content)).encode()])

    return step


def stream(pieces: Callable[[list[bytes]], list[bytes]], *content: dict[str, Any], ending: Ending) -> Step:
    """Answer with what `pieces` makes of the events of these blocks."""
    return lambda asked: Answer(200, _EVENTS, pieces(events(asked, *content)), ending)


def error(status: int, kind: str, words: str, **headers: str) -> Step:
    """Answer with an error in the API's envelope."""
    envelope = {"type": "error", "error": {"type": kind, "message": words}, "request_id": "req_source"}
    more = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return lambda _: Answer(status, [*_JSON, *more], [json.dumps(envelope).encode()])


def html(status: int) -> Step:
    """Answer as a proxy on the way would, in HTML."""
    return lambda _: Answer(status, [("content-type", "text/html")], [b"<html><body>Bad gateway</body></html>"])


def nothing(ending: Ending) -> Step:
    """Send not a byte, then end so."""
    return lambda _: Answer(200, [], [], ending)


# --- the server ---------------------------------------------------------------------------------------------------


class Source:
    """The scripted upstream, in a thread of its own; `seen` holds each request with what was sent for it."""

    def __init__(self, script: Sequence[Step], otherwise: Step) -> None:
        self.seen: list[Seen] = []
        self._script = list(script)
        self._otherwise = otherwise
        self._started = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), name="source", daemon=True)

    def __enter__(self) -> Self:
        """Start to listen; `url` is the address."""
        self._thread.start()
        assert self._started.wait(_START_SECONDS_MAX)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening and close every connection."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def messages(self) -> list[Seen]:
        """Return the requests to the Messages API, in the order in which they came."""
        return [seen for seen in self.seen if seen.is_messages]

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._started.set()
        await self._stop.wait()
        server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while seen := await _read(reader):
                self.seen.append(seen)
                answer = self._answer(seen)
                _note(seen, answer)
                writer.write(answer.encode())
                await writer.drain()
                if answer.ending is not Ending.WHOLE:
                    await _end(answer.ending, reader, writer)
                    seen.left = answer.ending is Ending.SILENT
                    return
        except (ConnectionError, asyncio.CancelledError):
            pass  # the asking side went first, or the test is over
        finally:
            writer.close()

    def _answer(self, seen: Seen) -> Answer:
        if not seen.is_messages:
            return Answer(200, _JSON, [b"" if seen.method == "HEAD" else b"{}"])
        return (self._script.pop(0) if self._script else self._otherwise)(seen)


async def _end(ending: Ending, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Prepare a connection for being closed; of a silent one wait for the end that the other side makes."""
    if ending is Ending.RESET:
        writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, _NO_LINGER)
    elif ending is Ending.CUT:
        await asyncio.sleep(PAUSE_SECONDS)
    else:
        with suppress(ConnectionError):
            await reader.read()


def _note(seen: Seen, answer: Answer) -> None:
    """Write an answer down; one without a byte has no status."""
    if answer.pieces:
        seen.status, seen.answer_headers, seen.answer = answer.status, answer.all_headers, answer.body


async def _read(reader: asyncio.StreamReader) -> Seen | None:
    """Return the next request of a connection, or None where it ends."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = head[0].split(" ")
    pairs = [line.partition(":") for line in head[1:] if line]
    headers = [(name.lower(), value.strip()) for name, _, value in pairs]
    return Seen(method, target, headers, await reader.readexactly(int(dict(headers).get("content-length", "0"))))
