"""The three types of ASGI, and its messages as plain values."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class ClientGone(Exception):
    """The client closed its connection before it had its whole answer."""


def target_of(scope: Scope) -> str:
    """Return the request target as the client wrote it, query included."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    return (path + b"?" + query if query else path).decode("latin-1")


def text_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers as a mapping of lower-case names; of repeated ones the last wins."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


class Inbound:
    """What one client sends: its body, then nothing until it closes its connection."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read = asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives. Raises `ClientGone` if the client leaves within it."""
        try:
            more = True
            while more:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                if chunk := message.get("body", b""):
                    yield chunk
                more = message.get("more_body", False)
        finally:
            self._read.set()

    def skip_body(self) -> None:
        """Say that nobody will read `chunks`."""
        self._read.set()

    async def until_gone(self) -> None:
        """Return when the client closes its connection, which shows only after its body was read."""
        await self._read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def reply(send: Send, status: int, content_type: str, body: bytes) -> None:
    """Send one whole answer of our own."""
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
