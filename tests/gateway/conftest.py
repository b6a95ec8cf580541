"""Sockets at both ends: an upstream whose every byte a test decides, and a gateway that listens on loopback."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from uvicorn.loops.asyncio import asyncio_loop_factory
from uvicorn.loops.uvloop import uvloop_loop_factory
from uvicorn.protocols.http import h11_impl, httptools_impl

from scrimp.config import Settings
from scrimp.core.belief.exchange import Exchange
from scrimp.gateway.build import build
from scrimp.gateway.server import bind, serving, url_of
from scrimp.store.ledger import open_ledger

#: How long anything may take before a test gives up; no test waits for it when all is well.
PATIENCE_SECONDS = 60

Script = Callable[["Conversation"], None]


@dataclass
class Conversation:
    """One request that reached the upstream, and the socket to answer it on."""

    link: socket.socket
    head: bytes
    body: bytes
    #: Which connection to the upstream it came by, counted from 1.
    connection: int

    @property
    def request_line(self) -> str:
        """Return the first line as it stood on the wire."""
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Return the header lines in their order, names in lower case."""
        pairs = (line.decode("latin-1").split(":", 1) for line in self.head.split(b"\r\n")[1:] if line)
        return [(name.lower(), value.strip()) for name, value in pairs]

    def send(self, raw: bytes) -> None:
        """Write bytes to the gateway."""
        self.link.sendall(raw)

    def send_chunk(self, data: bytes) -> None:
        """Write one chunk of a chunked answer; an empty one ends it."""
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def wait_for_hang_up(self) -> None:
        """Return when the gateway closes its side."""
        with suppress(ConnectionError):
            while self.link.recv(65536):
                pass


def read_head(stream: Any) -> bytes:
    """Read a request's or a response's head; empty where the peer closed instead."""
    lines = []
    while (line := stream.readline()) not in {b"", b"\r\n"}:
        lines.append(line)
    return b"".join(lines)


def _read_body(stream: Any, head: bytes) -> bytes:
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in head.splitlines())}
    if fields.get(b"transfer-encoding") == b"chunked":
        pieces = []
        while size := int(stream.readline(), 16):
            pieces.append(stream.read(size))
            stream.readline()
        stream.readline()
        return b"".join(pieces)
    return bytes(stream.read(int(fields.get(b"content-length", b"0"))))


@dataclass
class Upstream:
    """A server of HTTP/1.1 that answers as its script says; `seen` holds what reached it."""

    script: Script
    url: str = ""
    seen: list[Conversation] = field(default_factory=list)
    #: What scripts want to tell the test, in order.
    news: queue.Queue[Any] = field(default_factory=queue.Queue)
    connections: int = 0

    def hear(self) -> Any:
        """Return the next thing that a script told."""
        return self.news.get(timeout=PATIENCE_SECONDS)

    def serve(self, listening: socket.socket) -> None:
        """Take connections until the socket is closed, each in a thread of its own."""
        with suppress(OSError):
            while True:
                link, _ = listening.accept()
                link.settimeout(PATIENCE_SECONDS)
                self.connections += 1
                threading.Thread(target=self._converse, args=(link, self.connections), daemon=True).start()

    def _converse(self, link: socket.socket, connection: int) -> None:
        with link, link.makefile("rb") as stream, suppress(ConnectionError):
            while head := read_head(stream):
                conversation = Conversation(link, head, _read_body(stream, head), connection)
                self.seen.append(conversation)
                self.script(conversation)


@dataclass
class Gateway:
    """A gateway that listens on loopback, with its ledger on disk and every exchange that it closed."""

    url: str
    db: Path
    closed: queue.Queue[Exchange]
    #: Closes what was connected, before the gateway stops.
    stack: ExitStack

    @property
    def port(self) -> int:
        """Return the port it listens on."""
        return urlsplit(self.url).port or 0

    def connect(self) -> HTTPConnection:
        """Return a connection of the standard library's client."""
        link = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        return self.stack.enter_context(closing(link))

    def dial(self) -> socket.socket:
        """Return a bare socket, connected."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)

    def next_closed(self) -> Exchange:
        """Return the next exchange that ended, once it has."""
        return self.closed.get(timeout=PATIENCE_SECONDS)

    def stop(self) -> None:
        """Hang up and stop the gateway."""
        self.stack.close()

    def recorded(self) -> list[Exchange]:
        """Return what the ledger's file holds; meaningful once the gateway has stopped."""
        with open_ledger(self.db) as ledger:
            return list(ledger.exchanges())


@pytest.fixture
def upstream_of() -> Iterator[Callable[[Script], Upstream]]:
    """Start upstreams from scripts; they stop with the test."""
    with ExitStack() as stack:

        def start(script: Script) -> Upstream:
            listening = stack.enter_context(bind("127.0.0.1", 0))
            upstream = Upstream(script, url_of(listening))
            thread = threading.Thread(target=upstream.serve, args=(listening,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(listening.shutdown, socket.SHUT_RDWR)
            return upstream

        yield start


@pytest.fixture
def running() -> Iterator[ExitStack]:
    """Hold the gateways that a test starts; `close` stops them, so that their ledgers can be read."""
    with ExitStack() as stack:
        yield stack


#: install -> uvicorn's parts that it runs on: a plain one has neither httptools nor uvloop.
PARTS = {
    "core": (h11_impl.H11Protocol, asyncio_loop_factory),
    "fast": (httptools_impl.HttpToolsProtocol, uvloop_loop_factory),
}


@pytest.fixture(params=PARTS)
def gateway_to(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, running: ExitStack, tmp_path: Path
) -> Callable[..., Gateway]:
    """Start a gateway to an upstream, as `scrimp up` builds it; more settings may be given by name."""
    protocol, loop_factory = PARTS[request.param]
    monkeypatch.setattr("uvicorn.protocols.http.auto.AutoHTTPProtocol", protocol)
    monkeypatch.setattr("uvicorn.loops.auto.auto_loop_factory", loop_factory)

    def start(upstream: Upstream | str, **settings: Any) -> Gateway:
        url = upstream if isinstance(upstream, str) else upstream.url
        closed: queue.Queue[Exchange] = queue.Queue()
        db = tmp_path / "ledger.db"
        app = build(Settings(upstream=url, db=str(db), trust_env=False, **settings), closed.put)
        return Gateway(running.enter_context(serving(app)), db, closed, running)

    return start


@dataclass
class Up:
    """`scrimp up` in a process of its own."""

    process: subprocess.Popen[str]
    port: int
    db: Path
    stack: ExitStack

    def connect(self) -> HTTPConnection:
        """Return a connection of the standard library's client."""
        return self.stack.enter_context(closing(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)))

    def get(self, path: str, patience_s: float = PATIENCE_SECONDS) -> str:
        """Return what it answers to one GET on a connection of its own."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=patience_s)) as link:
            link.request("GET", path)
            return link.getresponse().read().decode()

    def wait_until_refused(self) -> None:
        """Return when nobody listens any more: the stop has begun."""
        with suppress(ConnectionError):
            while True:
                socket.create_connection(("127.0.0.1", self.port)).close()


@pytest.fixture
def starting_up(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `scrimp up` to an upstream, with so many workers; what still runs at the end is killed."""
    with ExitStack() as stack:

        def start(upstream: Upstream, workers: int = 1) -> subprocess.Popen[str]:
            db = str(tmp_path / "ledger.db")
            options = ["--port", "0", "--db", db, "--upstream", upstream.url, "--workers", str(workers)]
            process = subprocess.Popen(
                [sys.executable, "-m", "scrimp", "up", *options],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "NO_PROXY": "*", "PYTHONWARNINGS": "error"},
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def up_to(starting_up: Callable[..., subprocess.Popen[str]], running: ExitStack, tmp_path: Path) -> Callable[..., Up]:
    """Run `scrimp up` to an upstream, with so many workers, until it answers."""

    def start(upstream: Upstream, workers: int = 1) -> Up:
        process = starting_up(upstream, workers)
        assert process.stdout is not None
        port = urlsplit(process.stdout.readline().split()[3]).port or 0
        up = Up(process, port, tmp_path / "ledger.db", running)
        assert '{"status":"ok"}' == up.get("/healthz")
        return up

    return start
