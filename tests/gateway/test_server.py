"""The listening socket: where it may stand, how it stops, and that a stop loses nothing."""

from __future__ import annotations

import gc
import signal
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from scrimp.errors import ConfigError
from scrimp.gateway.asgi import Receive, Scope, Send, reply
from scrimp.gateway.server import COLLECTED_AFTER, bind, serving, spare_collector, url_of
from scrimp.store.ledger import open_ledger
from tests.processes import children_of, running

if TYPE_CHECKING:
    from tests.gateway.conftest import Conversation, Gateway, Script, Up, Upstream

UpstreamOf = Callable[["Script"], "Upstream"]
GatewayTo = Callable[..., "Gateway"]
UpTo = Callable[..., "Up"]

REQUEST = b'{"model":"claude-opus-5-5","max_tokens":50,"messages":[{"role":"user","content":"hello"}]}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
START = b'event: message_start\ndata: {"message":{"id":"m","model":"claude-opus-5-5","usage":{"input_tokens":7}}}\n\n'
END = b'event: message_delta\ndata: {"delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":42}}\n\n'


def test_a_free_port_is_taken_and_named() -> None:
    """Port 0 asks the system; the address that is said can be used at once."""
    with bind("127.0.0.1", 0) as listening:
        url = urlsplit(url_of(listening))
        with socket.create_connection((url.hostname or "", url.port or 0)):
            pass
    assert "http" == url.scheme


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    """As RFC 3986 has it."""
    with bind("::1", 0) as listening:
        assert f"http://[::1]:{listening.getsockname()[1]}" == url_of(listening)


def test_a_port_in_use_is_named() -> None:
    """One sentence what, one what next."""
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            bind("127.0.0.1", port)
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use." == caught.value.message
    assert "--port" in caught.value.hint


def test_a_port_that_another_socket_holds_without_listening_is_in_use() -> None:
    """Two gateways that start at once: both may bind, only one may listen."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        with bind("127.0.0.1", holder.getsockname()[1]), pytest.raises(OSError, match="in use"):
            holder.listen()


def test_an_address_of_another_machine_is_refused() -> None:
    """It is named, too."""
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1:0: Cannot assign requested address"):
        bind("192.0.2.1", 0)


async def _hello(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    else:
        await reply(send, 200, "text/plain", scope["path"].encode())


def test_an_app_is_served_for_as_long_as_the_context_lasts() -> None:
    """No header of the server's own, and nobody listens afterwards."""
    with serving(_hello) as url:
        where = urlsplit(url)
        with closing(HTTPConnection(where.hostname or "", where.port)) as link:
            link.request("GET", "/a%20b?c")
            answer = link.getresponse()
            assert b"/a b" == answer.read()
    assert [("content-type", "text/plain"), ("content-length", "4")] == answer.getheaders()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((where.hostname or "", where.port or 0))


def test_a_context_left_at_once_still_stops_the_app() -> None:
    """A client that cannot be started ends `scrimp run` before its server is up."""
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])
        await _hello(scope, receive, send)
        seen.append("stopped")

    with serving(app):
        pass
    assert ["lifespan", "stopped"] == seen


def test_a_gateway_of_its_own_collects_rarely() -> None:
    """Sparing the collector leaves it on, with what was there before out of its way."""
    before = gc.get_threshold()
    try:
        spare_collector()
        assert (True, COLLECTED_AFTER) == (gc.isenabled(), gc.get_threshold())
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def test_a_request_that_outlasts_the_patience_of_a_stop_is_cut_and_recorded(
    upstream_of: UpstreamOf, gateway_to: GatewayTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row is closed with what was known: it is not left open, and it does not look complete."""
    monkeypatch.setattr("scrimp.gateway.server.GRACEFUL_SECONDS", 0)

    def script(talk: Conversation) -> None:
        talk.send(HEAD)
        talk.send_chunk(START)
        talk.wait_for_hang_up()

    gateway = gateway_to(upstream_of(script))
    with closing(HTTPConnection("127.0.0.1", gateway.port)) as link:
        link.request("POST", "/v1/messages", REQUEST)
        answer = link.getresponse()
        assert START == answer.read(len(START))
        gateway.stop()
        with pytest.raises(IncompleteRead):
            answer.read()
    (exchange,) = gateway.recorded()
    assert gateway.next_closed() == exchange
    assert ("gateway_stopped", False) == (exchange.error_type, exchange.usage_complete)
    assert exchange.usage is not None
    assert 7 == exchange.usage.uncached_input_tokens


STREAMS = 16


def _begin_streams(up: Up) -> list[HTTPResponse]:
    """Have some clients begin a stream each, and return what they read on."""
    answers = []
    for link in (up.connect() for _ in range(STREAMS)):
        link.request("POST", "/v1/messages", REQUEST)
        answers.append(link.getresponse())
        assert START == answers[-1].read(len(START))
    return answers


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_streams_finish_and_loses_nothing(
    upstream_of: UpstreamOf, up_to: UpTo, number: signal.Signals, workers: int
) -> None:
    """SIGTERM or Ctrl-C within streams: they come whole, their rows are in the ledger, the process ends with 0."""

    def script(talk: Conversation) -> None:
        talk.send(HEAD)
        talk.send_chunk(START)
        upstream.hear()
        talk.send_chunk(END)
        talk.send_chunk(b"")

    upstream = upstream_of(script)
    up = up_to(upstream, workers)
    answers = _begin_streams(up)
    up.process.send_signal(number)
    up.wait_until_refused()
    for _ in answers:
        upstream.news.put("go on")
    assert [END] * STREAMS == [answer.read() for answer in answers]
    assert ("", 0) == (up.process.communicate()[1], up.process.returncode)
    with open_ledger(up.db) as ledger:
        ended = [(exchange.error_type, exchange.usage_complete) for exchange in ledger.exchanges()]
    assert [(None, True)] * STREAMS == ended


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_ctrl_c_does_not_wait(upstream_of: UpstreamOf, up_to: UpTo, workers: int) -> None:
    """What is under way is cut, and recorded as that; nothing is said, and no process is left."""

    def script(talk: Conversation) -> None:
        talk.send(HEAD)
        talk.send_chunk(START)
        talk.wait_for_hang_up()

    up = up_to(upstream_of(script), workers)
    answers = _begin_streams(up)
    family = children_of(up.process.pid)
    up.process.send_signal(signal.SIGINT)
    up.wait_until_refused()
    up.process.send_signal(signal.SIGINT)
    for answer in answers:
        with pytest.raises(IncompleteRead):
            answer.read()
    assert ("", 0) == (up.process.communicate()[1], up.process.returncode)
    assert [] == running(family)
    with open_ledger(up.db) as ledger:
        ended = [(exchange.error_type, exchange.usage_complete) for exchange in ledger.exchanges()]
    assert [("gateway_stopped", False)] * STREAMS == ended


def test_a_ledger_that_cannot_be_written_at_the_end_is_said(upstream_of: UpstreamOf, up_to: UpTo) -> None:
    """What is lost is not lost in silence."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    up = up_to(upstream_of(lambda talk: talk.send(answer)))
    with closing(sqlite3.connect(up.db, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        link = up.connect()
        link.request("POST", "/v1/messages", REQUEST)
        assert b"{}" == link.getresponse().read()
        up.process.send_signal(signal.SIGTERM)
        told = up.process.communicate()[1]
    assert "could not be written to the ledger" in told
    assert "Traceback" not in told
