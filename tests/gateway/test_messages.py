"""POST /v1/messages over sockets: unbuffered, cut where the upstream was cut, recorded whoever leaves first."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.gateway.conftest import Conversation, Gateway, Script, Upstream

UpstreamOf = Callable[["Script"], "Upstream"]
GatewayTo = Callable[..., "Gateway"]

REQUEST = b'{"model": "claude-opus-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}'
HEADERS = {"x-api-key": "sk-fake", "anthropic-version": "2023-06-01", "content-type": "application/json"}
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(name: str, **fields: Any) -> bytes:
    """Return one server-sent event."""
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()


START = event(
    "message_start",
    message={"id": "msg_1", "model": "claude-opus-5-5", "usage": {"input_tokens": 7, "output_tokens": 1}},
)
END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 42})
STOP = event("message_stop")


def message(usage: dict[str, int]) -> bytes:
    """Return a whole Message."""
    return json.dumps({"type": "message", "id": "msg_1", "model": "claude-opus-5-5", "usage": usage}).encode()


def plain(body: bytes, *more: bytes) -> bytes:
    """Return a whole answer of JSON."""
    length = b"content-length: %d" % len(body)
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"content-type: application/json", length, *more, b"", body])


def ask(link: HTTPConnection, body: bytes = REQUEST, headers: dict[str, str] | None = None) -> HTTPResponse:
    """Send one request and return the answer's head."""
    link.request("POST", "/v1/messages?beta=true", body, {**HEADERS, **(headers or {})})
    return link.getresponse()


def test_each_chunk_arrives_before_the_next_is_sent(upstream_of: UpstreamOf, gateway_to: GatewayTo) -> None:
    """Nothing is gathered: the upstream sends its next chunk only after the client said that it has the last."""
    parts = [START, event("ping"), END, STOP]

    def script(talk: Conversation) -> None:
        talk.send(STREAM_HEAD)
        for part in parts:
            talk.send_chunk(part)
            upstream.hear()
        talk.send_chunk(b"")

    upstream = upstream_of(script)
    gateway = gateway_to(upstream)
    answer = ask(gateway.connect())
    for part in parts:
        assert part == answer.read(len(part))
        upstream.news.put("seen")
    assert b"" == answer.read()
    exchange = gateway.next_closed()
    assert (True, None, "end_turn") == (exchange.usage_complete, exchange.error_type, exchange.stop_reason)
    assert exchange.usage is not None
    assert (7, 42) == (exchange.usage.uncached_input_tokens, exchange.usage.output_tokens)


def test_the_head_arrives_before_the_first_byte_of_the_body(upstream_of: UpstreamOf, gateway_to: GatewayTo) -> None:
    """A client that shows "connected" does so at once, and can abort a long think."""

    def script(talk: Conversation) -> None:
        talk.send(STREAM_HEAD)
        upstream.hear()
        talk.send_chunk(START + END + STOP)
        talk.send_chunk(b"")

    upstream = upstream_of(script)
    answer = ask(gateway_to(upstream).connect())
    upstream.news.put("the head is here")
    assert START + END + STOP == answer.read()


def test_connections_are_kept_at_both_ends(upstream_of: UpstreamOf, gateway_to: GatewayTo) -> None:
    """Three requests of one client need one connection here and one upstream."""
    upstream = upstream_of(lambda talk: talk.send(plain(message({"input_tokens": 1, "output_tokens": 1}))))
    link = gateway_to(upstream).connect()
    for _ in range(3):
        ask(link).read()
        assert link.sock is not None
    assert [1, 1, 1] == [talk.connection for talk in upstream.seen]


def test_headers_of_the_answer_come_once_and_unchanged(upstream_of: UpstreamOf, gateway_to: GatewayTo) -> None:
    """Values, order and repeats are the API's own; uvicorn adds no Server and no Date."""
    sent = [
        (b"request-id", b"req_1"),
        (b"retry-after", b"7"),
        (b"anthropic-ratelimit-requests-remaining", b"0"),
        (b"Set-Cookie", b"a=1; Path=/"),
        (b"Set-Cookie", b"b=2"),
        (b"x-note", b"caf\xe9 \t tab"),
        (b"x-empty", b""),
    ]
    lines = [name + b": " + value for name, value in sent]
    upstream = upstream_of(lambda talk: talk.send(plain(b"{}", *lines, b"connection: x-hop", b"x-hop: mine")))
    gateway = gateway_to(upstream)
    answer = ask(gateway.connect())
    answer.read()
    exchange = gateway.next_closed()
    expected = [(name.decode().lower(), value.decode("latin-1")) for name, value in sent]
    ours = [("scrimp-exchange", exchange.exchange_id), ("scrimp-plan", "observe")]
    length = [("content-type", "application/json"), ("content-length", "2")]
    assert [*length, *expected, *ours] == [(name.lower(), value) for name, value in answer.getheaders()]
    assert "req_1" == exchange.request_id


def test_headers_of_the_request_arrive_once_and_unchanged(upstream_of: UpstreamOf, gateway_to: GatewayTo) -> None:
    """No header of ours leaks, none of the client's is lost, none is added: not even an Accept or a User-Agent."""
    upstream = upstream_of(lambda talk: talk.send(plain(b"{}")))
    gateway = gateway_to(upstream)
    lines = [
        b"POST /v1/messages?beta=true HTTP/1.1",
        b"Host: gateway.localhost",
        b"authorization: Bearer fake",
        b"anthropic-beta: a",
        b"anthropic-beta: b",
        b"X-Stainless-Lang: js",
        b"scrimp-task: nightly",
        b"Scrimp-Session: s1",
        b"scrimp-deadline: 60",
        b"scrimp-mode: observe",
        b"connection: keep-alive, x-private",
        b"x-private: 1",
        b"content-length: %d" % len(REQUEST),
    ]
    with gateway.dial() as link:
        link.sendall(b"\r\n".join([*lines, b"", REQUEST]))
        link.recv(1)
        gateway.next_closed()
    (talk,) = upstream.seen
    assert [
        ("host", upstream.url.removeprefix("http://")),
        ("authorization", "Bearer fake"),
        ("anthropic-beta", "a"),
        ("anthropic-beta", "b"),
        ("x-stainless-lang", "js"),
        ("content-length", str(len(REQUEST))),
    ] == talk.headers
    assert (REQUEST, "POST /v1/messages?beta=true HTTP/1.1") == (talk.body, talk.request_line)


def test_a_chunked_request_is_read_and_recorded(upstream_of: UpstreamOf, gateway_to: GatewayTo) -> None:
    """Its body arrives whole, however it was cut."""
    upstream = upstream_of(lambda talk: talk.send(plain(message({"input_tokens": 3, "output_tokens": 4}))))
    gateway = gateway_to(upstream)
    link = gateway.connect()
    pieces = (REQUEST[at : at + 7] for at in range(0, len(REQUEST), 7))
    link.request("POST", "/v1/messages", pieces, HEADERS, encode_chunked=True)
    link.getresponse().read()
    assert REQUEST == upstream.seen[0].body
    assert gateway.next_closed().planned


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(upstream_of: UpstreamOf, gateway_to: GatewayTo) -> None:
    """Curl does so with bodies over a megabyte; the upstream is not asked again."""
    upstream = upstream_of(lambda talk: talk.send(plain(b"{}")))
    with gateway_to(upstream).dial() as link, link.makefile("rb") as stream:
        link.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n")
        link.sendall(b"content-length: %d\r\n\r\n" % len(REQUEST))
        assert b"HTTP/1.1 100 Continue\r\n" == stream.readline()
        stream.readline()
        link.sendall(REQUEST)
        assert b"HTTP/1.1 200 OK\r\n" == stream.readline()
    assert "expect" not in dict(upstream.seen[0].headers)


def test_a_body_of_40_mb_passes_through_unplanned(upstream_of: UpstreamOf, gateway_to: GatewayTo) -> None:
    """It is more than the API takes (32 MB): the API says so, not we, and the exchange is recorded."""
    upstream = upstream_of(lambda talk: talk.send(plain(message({"input_tokens": 3, "output_tokens": 4}))))
    gateway = gateway_to(upstream)
    large = REQUEST.replace(b"hello", b"hello " * (40_000_000 // 6))
    answer = ask(gateway.connect(), large)
    answer.read()
    exchange = gateway.next_closed()
    assert large == upstream.seen[0].body
    assert (200, "unplanned", False) == (answer.status, answer.headers["scrimp-plan"], exchange.planned)
    assert exchange.cost_nano_usd


def _leave(answer: HTTPResponse, link: HTTPConnection) -> None:
    answer.close()
    link.close()


@pytest.mark.parametrize("limit", [1 << 20, 10])
def test_a_client_that_leaves_cancels_the_upstream(upstream_of: UpstreamOf, gateway_to: GatewayTo, limit: int) -> None:
    """The tokens that nobody reads are not paid for; what was billed until then is a lower bound in the ledger.

    A body over the limit, which is streamed through, makes no difference.
    """

    def script(talk: Conversation) -> None:
        talk.send(STREAM_HEAD)
        talk.send_chunk(START)
        talk.wait_for_hang_up()
        upstream.news.put("hung up")

    upstream = upstream_of(script)
    gateway = gateway_to(upstream, body_limit_bytes=limit)
    link = gateway.connect()
    answer = ask(link)
    assert START == answer.read(len(START))
    _leave(answer, link)
    assert "hung up" == upstream.hear()
    exchange = gateway.next_closed()
    assert ("client_gone", False, 200) == (exchange.error_type, exchange.usage_complete, exchange.http_status)
    assert exchange.usage is not None
    assert (7, 1) == (exchange.usage.uncached_input_tokens, exchange.usage.output_tokens)
    gateway.stop()
    assert [exchange] == gateway.recorded()


def test_a_client_that_leaves_before_the_answer_cancels_the_upstream(
    upstream_of: UpstreamOf, gateway_to: GatewayTo
) -> None:
    """It may have sat in a queue; nothing is known of its usage, and nothing is claimed."""

    def script(talk: Conversation) -> None:
        upstream.news.put("asked")
        talk.wait_for_hang_up()
        upstream.news.put("hung up")

    upstream = upstream_of(script)
    gateway = gateway_to(upstream)
    link = gateway.connect()
    link.request("POST", "/v1/messages", REQUEST, HEADERS)
    assert "asked" == upstream.hear()
    link.close()
    assert "hung up" == upstream.hear()
    exchange = gateway.next_closed()
    assert ("client_gone", None, None, False) == (
        exchange.error_type,
        exchange.http_status,
        exchange.usage,
        exchange.usage_complete,
    )


def test_a_client_that_leaves_within_its_body_leaves_no_trace(upstream_of: UpstreamOf, gateway_to: GatewayTo) -> None:
    """Nothing was sent, so nothing can have been billed; the next client is served as ever."""
    upstream = upstream_of(lambda talk: talk.send(plain(b"{}")))
    gateway = gateway_to(upstream)
    with gateway.dial() as link:
        link.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
    ask(gateway.connect(), b"{}").read()
    gateway.next_closed()
    assert [b"{}"] == [talk.body for talk in upstream.seen]
    assert gateway.closed.empty()


def test_a_client_that_leaves_after_the_final_usage_has_had_its_answer(
    upstream_of: UpstreamOf, gateway_to: GatewayTo
) -> None:
    """Clients may stop reading at message_stop; that is no error, though the last chunk was still to come."""

    def script(talk: Conversation) -> None:
        talk.send(STREAM_HEAD)
        talk.send_chunk(START + END + STOP)
        talk.wait_for_hang_up()

    gateway = gateway_to(upstream_of(script))
    link = gateway.connect()
    answer = ask(link)
    assert START + END + STOP == answer.read(len(START + END + STOP))
    _leave(answer, link)
    exchange = gateway.next_closed()
    assert (None, True) == (exchange.error_type, exchange.usage_complete)


CUTS = {
    "chunked": (STREAM_HEAD, b"%x\r\n" % (len(START) + 1) + START),
    "sized": (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9999\r\n\r\n", START),
}


@pytest.mark.parametrize("how", CUTS)
def test_an_upstream_that_breaks_off_breaks_off_here(upstream_of: UpstreamOf, gateway_to: GatewayTo, how: str) -> None:
    """The client sees what came and no clean end; the ledger holds a lower bound."""
    head, some = CUTS[how]

    def script(talk: Conversation) -> None:
        talk.send(head + some)
        upstream.hear()
        talk.link.shutdown(socket.SHUT_RDWR)

    upstream = upstream_of(script)
    gateway = gateway_to(upstream)
    answer = ask(gateway.connect())
    assert START == answer.read(len(START))
    upstream.news.put("seen")
    with pytest.raises((IncompleteRead, ConnectionError)):
        answer.read()
    exchange = gateway.next_closed()
    assert ("upstream_cut", False) == (exchange.error_type, exchange.usage_complete)
    assert exchange.usage is not None
    assert 7 == exchange.usage.uncached_input_tokens


def test_an_upstream_that_is_down_is_an_outage_and_the_connection_lives_on(gateway_to: GatewayTo) -> None:
    """A 502 in the API's own envelope that says where nothing answered; the same connection serves the next try."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    gateway = gateway_to(url)
    link = gateway.connect()
    for _ in range(2):
        answer = ask(link)
        told = json.loads(answer.read())
        assert (502, "error", "api_error") == (answer.status, told["type"], told["error"]["type"])
        assert url in told["error"]["message"]
        assert "upstream_unavailable" == gateway.next_closed().error_type


def test_an_upstream_that_closes_without_an_answer_is_an_outage(upstream_of: UpstreamOf, gateway_to: GatewayTo) -> None:
    """The request is not sent a second time: whether it was billed is not ours to guess."""
    upstream = upstream_of(lambda talk: talk.link.shutdown(socket.SHUT_RDWR))
    gateway = gateway_to(upstream)
    assert 502 == ask(gateway.connect()).status
    assert 1 == len(upstream.seen)
    assert "upstream_unavailable" == gateway.next_closed().error_type


def test_a_refusal_before_the_body_was_read_reaches_the_client(gateway_to: GatewayTo) -> None:
    """A proxy in front of the API may answer 413 and close at once."""
    refusal = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"
    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as stack:
        gateway = gateway_to(f"http://127.0.0.1:{listening.getsockname()[1]}")
        link = gateway.connect()
        link.request("POST", "/v1/messages", b"x" * 1_000_000, HEADERS)
        peer = stack.enter_context(listening.accept()[0])
        peer.recv(1000)
        peer.sendall(refusal)
        peer.shutdown(socket.SHUT_WR)
        answer = link.getresponse()
        assert (413, b"no") == (answer.status, answer.read())


@pytest.mark.parametrize("status", [b"429 Too Many Requests", b"529 ", b"500 Internal Server Error"])
def test_errors_of_the_api_come_through_as_they_are(
    upstream_of: UpstreamOf, gateway_to: GatewayTo, status: bytes
) -> None:
    """Same status, same bytes; never retried here, because the client has its own patience."""
    error = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    upstream = upstream_of(lambda talk: talk.send(plain(error).replace(b"200 OK", status)))
    gateway = gateway_to(upstream)
    answer = ask(gateway.connect())
    exchange = gateway.next_closed()
    assert (int(status[:3]), error) == (answer.status, answer.read())
    assert (int(status[:3]), "overloaded_error", None) == (
        exchange.http_status,
        exchange.error_type,
        exchange.cost_nano_usd,
    )
    assert 1 == len(upstream.seen)


def test_an_error_within_a_stream_is_recorded(upstream_of: UpstreamOf, gateway_to: GatewayTo) -> None:
    """The stream ends cleanly and says why; the count until then is a lower bound."""

    def script(talk: Conversation) -> None:
        talk.send(STREAM_HEAD)
        talk.send_chunk(START + event("error", error={"type": "overloaded_error", "message": "Overloaded"}))
        talk.send_chunk(b"")

    gateway = gateway_to(upstream_of(script))
    ask(gateway.connect()).read()
    exchange = gateway.next_closed()
    assert ("overloaded_error", False) == (exchange.error_type, exchange.usage_complete)
