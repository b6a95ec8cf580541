"""Gateways with one fault each: ours with something done to what passes, and a bare proxy that knows no rules."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from scrimp.gateway.asgi import App, Message, Receive, Scope, Send, reply
from scrimp.gateway.conformance.codings import decoded
from scrimp.gateway.conformance.wire import Head, Wire, is_chunked, request_body, status_of, written
from scrimp.gateway.server import bind, url_of

#: Makes a gateway worse.
Fault = Callable[[App], App]
RawHeaders = list[tuple[bytes, bytes]]


def sound(app: App) -> App:
    """Leave the gateway as it is."""
    return app


async def _whole(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives this body, then what the client does next."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def bodies(change: Callable[[bytes], bytes]) -> Fault:
    """Change the body of each POST."""

    def fault(app: App) -> App:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["method"] != "POST":
                await app(scope, receive, send)
                return
            body = change(await _whole(receive))
            length = (b"content-length", str(len(body)).encode())
            headers = [*(pair for pair in scope["headers"] if pair[0] != b"content-length"), length]
            await app({**scope, "headers": headers}, _again(body, receive), send)

        return broken

    return fault


def scopes(change: Callable[[Scope], Scope]) -> Fault:
    """Change the target or the headers of each request."""

    def fault(app: App) -> App:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, **change(scope)} if scope["type"] == "http" else scope, receive, send)

        return broken

    return fault


def headers(change: Callable[[RawHeaders], RawHeaders]) -> Fault:
    """Change the headers of each request."""
    return scopes(lambda scope: {"headers": change(scope["headers"])})


def without(*prefixes: bytes) -> Fault:
    """Drop the headers of each request whose names begin so."""
    return headers(lambda pairs: [pair for pair in pairs if not pair[0].startswith(prefixes)])


def valued(name: bytes, change: Callable[[bytes], bytes]) -> Fault:
    """Change the value of one header of each request."""
    return headers(lambda pairs: [(key, change(value) if key == name else value) for key, value in pairs])


def refusing(refused: Callable[[Scope], bool]) -> Fault:
    """Answer some requests with a 400 of the gateway's own."""

    def fault(app: App) -> App:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and refused(scope):
                await reply(send, 400, "text/plain", b"no")
            else:
                await app(scope, receive, send)

        return broken

    return fault


def starts(change: Callable[[int, RawHeaders], tuple[int, RawHeaders]]) -> Fault:
    """Change the status and headers of each answer."""

    def fault(app: App) -> App:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            async def sending(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["status"], message["headers"] = change(message["status"], message["headers"])
                await send(message)

            await app(scope, receive, sending)

        return broken

    return fault


def unsaid(*prefixes: bytes) -> Fault:
    """Drop the headers of each answer whose names begin so."""
    return starts(lambda status, pairs: (status, [pair for pair in pairs if not pair[0].lower().startswith(prefixes)]))


@dataclass
class Whole:
    """An answer that was gathered before any of it is sent; `cut` where it broke off."""

    status: int = 0
    headers: RawHeaders | None = None
    body: bytes = b""
    cut: Exception | None = None

    def header(self, name: bytes) -> bytes:
        """Return a header's value, empty where it is absent."""
        return next((value for key, value in self.headers or [] if key.lower() == name), b"")


async def gathered(app: App, scope: Scope, receive: Receive) -> Whole:
    """Run the gateway and gather its answer."""
    whole = Whole()

    async def gather(message: Message) -> None:
        if message["type"] == "http.response.start":
            whole.status, whole.headers = message["status"], message["headers"]
        whole.body += message.get("body", b"")

    try:
        await app(scope, receive, gather)
    except Exception as error:  # noqa: BLE001 - whatever broke off is passed on by `give`
        whole.cut = error
    return whole


async def give(whole: Whole, send: Send) -> None:
    """Send an answer that was gathered."""
    kept = [pair for pair in whole.headers or [] if pair[0].lower() != b"content-length"]
    await send({"type": "http.response.start", "status": whole.status, "headers": kept})
    await send({"type": "http.response.body", "body": whole.body, "more_body": whole.cut is not None})
    if whole.cut:
        raise whole.cut


def answers(change: Callable[[Whole], None], *, streams: bool = False) -> Fault:
    """Change answers once they are whole: messages and errors, or (`streams`) those too that are streams."""

    def fault(app: App) -> App:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            body = await _whole(receive) if scope["type"] == "http" else b""
            if scope["type"] != "http" or (b'"stream":true' in body) != streams:
                await app(scope, _again(body, receive) if scope["type"] == "http" else receive, send)
                return
            whole = await gathered(app, scope, _again(body, receive))
            if whole.headers is None and whole.cut:
                raise whole.cut
            change(whole)
            await give(whole, send)

        return broken

    return fault


def decode(whole: Whole) -> None:
    """Take an answer's encoding off."""
    whole.body = decoded(whole.header(b"content-encoding").decode(), whole.body)
    whole.headers = [pair for pair in whole.headers or [] if pair[0].lower() != b"content-encoding"]


def events(change: Callable[[bytes], bytes]) -> Fault:
    """Change each piece of an answer's body as it passes."""

    def fault(app: App) -> App:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            async def sending(message: Message) -> None:
                if message["type"] == "http.response.body":
                    message["body"] = change(message.get("body", b""))
                await send(message)

            await app(scope, receive, sending)

        return broken

    return fault


def dropping(pattern: bytes) -> Fault:
    """Drop what matches from each piece of an answer."""
    return events(lambda piece: re.sub(pattern, b"", piece, flags=re.DOTALL))


def swallowing(app: App) -> App:
    """End an answer in order where the upstream broke it off."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        begun: list[Message] = []

        async def sending(message: Message) -> None:
            begun.append(message)
            if message["type"] == "http.response.start":
                message["headers"] = [pair for pair in message["headers"] if pair[0] != b"content-length"]
            await send(message)

        try:
            await app(scope, receive, sending)
        except Exception:
            if not begun:
                raise
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return broken


def retrying(app: App) -> App:
    """Send a request again after a 429 or a 5xx."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await app(scope, receive, send)
            return
        body = await _whole(receive)
        again = False

        async def trying(message: Message) -> None:
            nonlocal again
            again = again or message.get("status") in {429, 500, 502, 529}
            if not again:
                await send(message)

        await app(scope, _again(body, receive), trying)
        if again:
            await app(scope, _again(body, receive), send)

    return broken


def staying(app: App) -> App:
    """Go on when the client left."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        async def receiving() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                await asyncio.Event().wait()
            return message

        async def sending(message: Message) -> None:
            with suppress(Exception):
                await send(message)

        await app(scope, receiving if scope["type"] == "http" else receive, sending)

    return broken


def one_by_one(app: App) -> App:
    """Serve one request at a time."""
    lock = asyncio.Lock()

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            async with lock:
                await app(scope, receive, send)
        else:
            await app(scope, receive, send)

    return broken


@dataclass
class BareProxy:
    """A proxy that passes heads on as they are, each request on a connection of its own; it is no HTTP proxy at all.

    `retries`: it asks again where the upstream hangs up; `mute`: it closes requests of this method without an answer.
    """

    upstream: str
    retries: bool = False
    mute: str = ""

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve in threads until the context ends."""
        listening = bind("127.0.0.1", 0)
        thread = threading.Thread(target=self._accept, args=(listening,), daemon=True)
        thread.start()
        try:
            yield url_of(listening)
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
            listening.close()

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                link, _ = listening.accept()
                threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        wire = Wire(link)
        with link, suppress(OSError):
            while True:
                head = wire.head()
                body = request_body(wire, head)
                if self.mute and head.first.startswith(self.mute):
                    return
                self._pass_on(link, head, body)

    def _pass_on(self, link: socket.socket, head: Head, body: bytes) -> None:
        address = urlsplit(self.upstream)
        for _ in range(1 + self.retries):
            with suppress(OSError), socket.create_connection((address.hostname or "", address.port or 0)) as back:
                back.sendall(written(head.first, head.headers, body))
                answer = Wire(back)
                self._relay(answer.head(), answer, link, head)
                return
        link.sendall(b"HTTP/1.1 502 \r\ncontent-length: 0\r\n\r\n")

    def _relay(self, answer: Head, back: Wire, link: socket.socket, asked: Head) -> None:
        link.sendall(written(answer.first, answer.headers))
        if asked.first.startswith("HEAD") or status_of(answer) == 304:
            return
        if not is_chunked(answer):
            for piece in back.counted(int(answer.get("content-length") or 0)):
                link.sendall(piece)
            return
        for piece in back.chunked():
            link.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        link.sendall(b"0\r\n\r\n")
