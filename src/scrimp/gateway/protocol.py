"""The server's side of a connection: uvicorn's protocol, but for when the head of an answer is written.

uvicorn writes the head as soon as it has it, and each write is a system call that wakes the client. Mostly the first
bytes of the body are known in the same turn of the event loop, so the head waits for them until that turn ends.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.auto import AutoHTTPProtocol

_HEAD = b"HTTP/1.1 "


class HeadHolder:
    """A transport that holds back the head of an answer, for the rest of this turn of the loop at most.

    What only begins like a head is held no longer than one.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        """Be the transport in everything else."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, in order."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.writelines((held, data))
        elif data.startswith(_HEAD):
            self._held = data
            self._loop.call_soon(self._let_go)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Close after what was written."""
        self._let_go()
        self._transport.close()

    def _let_go(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)


class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # which one it is depends on what is installed
    """uvicorn's HTTP/1.1 over a `HeadHolder`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve a client."""
        super().connection_made(cast("asyncio.Transport", HeadHolder(cast("asyncio.Transport", transport))))
