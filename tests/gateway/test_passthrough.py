"""Every other path over sockets: what is asked is what arrives, what is answered is what comes back."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from http.client import IncompleteRead
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.gateway.conftest import Conversation, Gateway, Script, Upstream

UpstreamOf = Callable[["Script"], "Upstream"]
GatewayTo = Callable[..., "Gateway"]

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/v1/models?limit=2&after_id=a%2Fb&x=%zz",
        "/v1/files/a%20b%2Fc/content",
        "/v1/./files/../models//x",
        "//v1/models",
        "/v1/models;v=1",
        "/v1/models?q=a+b&q=%C3%A9&empty=",
        "/v1/caf%C3%A9",
        "/v1/messages/",
        "/v1/messages/batches/b1/results",
        "/v1/x?next=http://other/?y",
        "/v1/'(a)*!$&,;=:@~_-.",
        '/v1/"<>{}|\\^`[]',
    ],
)
def test_targets_arrive_as_they_were_written(upstream_of: UpstreamOf, gateway_to: GatewayTo, target: str) -> None:
    """Nothing is encoded, decoded or tidied: a signature over the URL stays good."""
    upstream = upstream_of(lambda talk: talk.send(OK))
    with gateway_to(upstream).dial() as link:
        link.sendall(f"GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        assert b"HTTP/1.1 200 OK" == link.recv(15)
    assert f"GET {target} HTTP/1.1" == upstream.seen[0].request_line


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("body", [None, b"", b"x" * 300_000])
def test_methods_and_bodies_arrive(
    upstream_of: UpstreamOf, gateway_to: GatewayTo, method: str, body: bytes | None
) -> None:
    """A body of known length is sent under it; where there is none, none is invented (a length of 0 says the same)."""
    upstream = upstream_of(lambda talk: talk.send(OK))
    link = gateway_to(upstream).connect()
    link.putrequest(method, "/v1/files", skip_accept_encoding=True)
    if body is not None:
        link.putheader("content-length", str(len(body)))
    link.endheaders(body or None)
    assert b"ok" == link.getresponse().read()
    (talk,) = upstream.seen
    assert (method, body or b"") == (talk.request_line.split()[0], talk.body)
    sizes = [value for name, value in talk.headers if name == "content-length"]
    assert sizes == [str(len(body or b""))] or (body is None and not sizes)
    assert "transfer-encoding" not in dict(talk.headers)


def test_a_chunked_body_is_streamed_on(gateway_to: GatewayTo) -> None:
    """An upload need not fit into memory: its first piece is upstream before its second is sent."""
    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as stack:
        gateway = gateway_to(f"http://127.0.0.1:{listening.getsockname()[1]}")
        link = stack.enter_context(gateway.dial())
        link.sendall(b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        peer = stack.enter_context(listening.accept()[0])
        stream = stack.enter_context(peer.makefile("rb"))
        while stream.readline() != b"\r\n":
            pass
        assert b"5\r\nfirst\r\n" == stream.read(10)
        link.sendall(b"6\r\nsecond\r\n0\r\n\r\n")
        assert b"6\r\nsecond\r\n0\r\n\r\n" == stream.read(16)
        peer.sendall(OK)
        assert b"HTTP/1.1 200 OK" == link.recv(15)


def test_head_and_204_have_no_body_and_keep_the_connection(upstream_of: UpstreamOf, gateway_to: GatewayTo) -> None:
    """HEAD says the length of what GET would bring; 204 and 304 say none; the connection serves all of them."""
    answers = {
        "HEAD": b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n",
        "DELETE": b"HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n",
        "GET": b"HTTP/1.1 304 Not Modified\r\netag: e\r\n\r\n",
    }
    upstream = upstream_of(lambda talk: talk.send(answers[talk.request_line.split()[0]]))
    link = gateway_to(upstream).connect()
    seen = []
    for method in answers:
        link.request(method, "/v1/files/f1")
        answer = link.getresponse()
        seen.append((answer.status, answer.read(), answer.getheaders()))
    expected = [[("content-length", "1234")], [("x-a", "b")], [("etag", "e")]]
    assert [(status, b"", headers) for status, headers in zip((200, 204, 304), expected, strict=True)] == seen
    assert {1} == {talk.connection for talk in upstream.seen}


def test_a_304_that_says_a_length_costs_no_connection(upstream_of: UpstreamOf, gateway_to: GatewayTo) -> None:
    """It is the length that a 200 would have had (RFC 9110 section 15.4.5); nobody waits for that body."""
    upstream = upstream_of(lambda talk: talk.send(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"))
    link = gateway_to(upstream).connect()
    for _ in range(2):
        link.request("GET", "/v1/files/f1")
        answer = link.getresponse()
        assert (304, b"") == (answer.status, answer.read())
    assert {1} == {talk.connection for talk in upstream.seen}


def test_answers_are_relayed_chunk_by_chunk(upstream_of: UpstreamOf, gateway_to: GatewayTo) -> None:
    """Batch results are streamed, too; nothing of ours is added to them."""

    def script(talk: Conversation) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ntransfer-encoding: chunked\r\n\r\n")
        for part in (b"one", b"two"):
            talk.send_chunk(part)
            upstream.hear()
        talk.send_chunk(b"")

    upstream = upstream_of(script)
    link = gateway_to(upstream).connect()
    link.request("GET", "/v1/messages/batches/b1/results")
    answer = link.getresponse()
    for part in (b"one", b"two"):
        assert part == answer.read(3)
        upstream.news.put("seen")
    assert b"" == answer.read()
    headers = [(name.lower(), value) for name, value in answer.getheaders()]
    assert [("content-encoding", "br"), ("transfer-encoding", "chunked")] == headers


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_client_that_leaves_cancels_the_upstream(upstream_of: UpstreamOf, gateway_to: GatewayTo, method: str) -> None:
    """A download that nobody waits for is not drawn to its end."""

    def script(talk: Conversation) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nstart")
        talk.wait_for_hang_up()
        upstream.news.put("hung up")

    upstream = upstream_of(script)
    link = gateway_to(upstream).connect()
    link.request(method, "/v1/files/f1/content", b"{}" if method == "POST" else None)
    answer = link.getresponse()
    assert b"start" == answer.read(5)
    answer.close()
    link.close()
    assert "hung up" == upstream.hear()


def test_a_client_that_leaves_within_its_upload_cancels_it(gateway_to: GatewayTo) -> None:
    """Half a file never looks like a whole one upstream."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        gateway = gateway_to(f"http://127.0.0.1:{listening.getsockname()[1]}")
        with gateway.dial() as link:
            link.sendall(
                b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n"
            )
            peer = listening.accept()[0]
            peer.recv(1)
        with peer, peer.makefile("rb") as stream:
            assert not stream.read().endswith(b"0\r\n\r\n")


def test_an_upstream_that_breaks_off_breaks_off_here(upstream_of: UpstreamOf, gateway_to: GatewayTo) -> None:
    """The client sees no clean end."""

    def script(talk: Conversation) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        talk.send_chunk(b"some")
        upstream.hear()
        talk.link.shutdown(socket.SHUT_RDWR)

    upstream = upstream_of(script)
    link = gateway_to(upstream).connect()
    link.request("GET", "/v1/files/f1/content")
    answer = link.getresponse()
    assert b"some" == answer.read(4)
    upstream.news.put("seen")
    with pytest.raises(IncompleteRead):
        answer.read()


def test_an_outage_with_an_unread_body_leaves_the_connection_usable(gateway_to: GatewayTo) -> None:
    """The 502 comes although nobody read the upload, and the next request is answered, too."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    link = gateway_to(url).connect()
    for _ in range(2):
        link.request("POST", "/v1/files", b"x" * 3_000_000)
        answer = link.getresponse()
        assert (502, b"api_error") == (answer.status, answer.read()[33:42])
