"""The recorder: a request goes to the script of its token, what came is noted, and every way to end is real."""

from __future__ import annotations

import http.client
import queue
import socket
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

import pytest

from scrimp.errors import ConfigError
from scrimp.gateway.conformance.recorder import Conversation, Recorder, Script


def _answering(words: bytes) -> Script:
    return lambda conversation: conversation.answer(200, (("x-said", "1"),), words)


def _asked(
    recorder: Recorder, body: bytes = b"", headers: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, bytes]:
    address = urlsplit(recorder.url)
    link = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    try:
        link.request("POST", "/v1/messages?x=1", body, dict(headers))
        answer = link.getresponse()
        return answer.status, answer.read()
    finally:
        link.close()


def test_a_request_goes_to_the_script_of_its_token() -> None:
    """Found in its body or in a header's value; without one, to the newest."""
    with Recorder() as recorder:
        first = recorder.expect(b"probe-1-end", _answering(b"one"))
        second = recorder.expect(b"probe-2-end", _answering(b"two"))
        assert (200, b"one") == _asked(recorder, b"say probe-1-end please")
        assert (200, b"one") == _asked(recorder, headers={"x-probe": "probe-1-end"})
        assert (200, b"two") == _asked(recorder, b"nothing")
        assert (2, 1) == (len(first.arrivals), len(second.arrivals))


def test_what_nobody_expects_is_not_found() -> None:
    """Such as a health check of the gateway's own."""
    with Recorder() as recorder:
        assert 404 == _asked(recorder)[0]


def test_what_arrived_is_noted_as_it_stood() -> None:
    """Method, target, headers, body, and the connection."""
    with Recorder() as recorder:
        route = recorder.expect(b"t", _answering(b""))
        _asked(recorder, b"\x00t", {"X-Odd": "Value"})
        _asked(recorder, b"t")
    arrival = route.arrivals[0]
    assert ("POST", "/v1/messages?x=1", b"\x00t") == (arrival.method, arrival.target, arrival.body)
    assert "Value" == arrival.head.get("x-odd")
    assert [1, 2] == [each.connection for each in route.arrivals]
    assert 2 == recorder.connections


def test_one_that_waits_before_its_body_is_told_to_go_on() -> None:
    """Expect: 100-continue (RFC 9110 section 10.1.1)."""
    with Recorder() as recorder:
        recorder.expect(b"t", _answering(b"ok"))
        address = urlsplit(recorder.url)
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=30) as link:
            link.sendall(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n")
            assert link.recv(100).startswith(b"HTTP/1.1 100 ")
            link.sendall(b"t")
            assert link.recv(1000).startswith(b"HTTP/1.1 200 ")


ENDS: dict[str, tuple[Callable[[Conversation], None], type[Exception]]] = {
    "hung up": (Conversation.hang_up, ConnectionError),
    "reset": (Conversation.reset, ConnectionResetError),
}


@pytest.mark.parametrize("name", ENDS)
def test_an_answer_that_never_comes(name: str) -> None:
    """The peer sees the end that was meant."""
    end, expected = ENDS[name]
    with Recorder() as recorder:
        recorder.expect(b"t", end)
        with pytest.raises(expected):
            _asked(recorder, b"t")


def test_a_stream_and_its_end() -> None:
    """Chunks, the empty one last."""

    def script(conversation: Conversation) -> None:
        conversation.begin(200, ())
        for each in (b"a", b"bc", b""):
            conversation.chunk(each)

    with Recorder() as recorder:
        recorder.expect(b"t", script)
        assert (200, b"abc") == _asked(recorder, b"t")


@pytest.mark.parametrize("leaves", [True, False])
def test_whether_the_peer_left(leaves: bool) -> None:
    """True as soon as it does, False once the patience is over."""
    told: queue.Queue[bool] = queue.Queue()
    arrived = threading.Event()

    def script(conversation: Conversation) -> None:
        arrived.set()
        told.put(conversation.left(30 if leaves else 0.01))

    with Recorder() as recorder:
        recorder.expect(b"t", script)
        address = urlsplit(recorder.url)
        with socket.create_connection((address.hostname or "", address.port or 0)) as link:
            link.sendall(b"POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\nt")
            arrived.wait(30)
            if leaves:
                link.close()
            assert leaves is told.get(timeout=30)


def test_once_closed_nothing_listens() -> None:
    """And closing twice is no fault."""
    with Recorder() as recorder:
        recorder.close()
        with pytest.raises(ConnectionRefusedError):
            _asked(recorder)


def test_a_port_in_use_is_named() -> None:
    """The caller's fault, in one sentence."""
    with Recorder() as recorder, pytest.raises(ConfigError, match="in use"):
        Recorder(urlsplit(recorder.url).port or 0)
