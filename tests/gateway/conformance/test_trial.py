"""A request through a gateway: what is added to it, and how both ends' view comes back. Here nothing is between."""

from __future__ import annotations

import socket
import threading

import pytest

from scrimp.gateway.conformance.recorder import Conversation, Recorder
from scrimp.gateway.conformance.samples import MESSAGE, STREAM, streamed, whole
from scrimp.gateway.conformance.shapes import plain_request
from scrimp.gateway.conformance.trial import FAKE_KEY, PROBE, Handshake, Request, Trial


def _direct(recorder: Recorder, key: str | None = None, patience_s: float = 30) -> Trial:
    return Trial(f"{recorder.url}/base/", recorder, model="m", key=key, patience_s=patience_s)


@pytest.mark.parametrize(("key", "expected"), [(None, FAKE_KEY), ("sk-of-the-gateway", "sk-of-the-gateway")])
def test_what_is_added_to_a_request(key: str | None, expected: str) -> None:
    """Host, length, key and token; the gateway's own path goes before the target."""
    with Recorder() as recorder:
        exchanged = _direct(recorder, key).exchange(plain_request("m", ()), whole())
    arrived = exchanged.arrived
    assert arrived is not None
    assert "/base/v1/messages" == arrived.target
    assert ["host", "x-api-key", "x-conformance-probe", "content-length"] == [name for name, _ in arrived.head.headers]
    assert expected == arrived.head.get("x-api-key")
    assert exchanged.sent.body == arrived.body
    assert PROBE.encode() not in arrived.body
    assert (200, MESSAGE, "whole") == (exchanged.answer.status, exchanged.answer.body, exchanged.answer.end)


def test_a_credential_of_the_requests_own_is_the_only_one() -> None:
    """Two would be another request."""
    with Recorder() as recorder:
        trial = _direct(recorder, "sk-of-the-gateway")
        arrived = trial.exchange(Request(headers=(("authorization", "Bearer x"),)), whole()).arrived
    assert arrived is not None
    assert (None, "Bearer x") == (arrived.head.get("x-api-key"), arrived.head.get("authorization"))


def test_each_request_has_a_token_of_its_own() -> None:
    """So that a late retry is not taken for the next request."""
    with Recorder() as recorder:
        trial = _direct(recorder)
        first, second = (trial.exchange(plain_request("m"), whole()) for _ in range(2))
    assert [1, 1] == [len(first.arrivals), len(second.arrivals)]
    assert first.sent.body != second.sent.body


def test_how_an_answer_ended() -> None:
    """Whole, cut, or no answer at all."""

    def nothing(conversation: Conversation) -> None:
        conversation.hang_up()

    with Recorder() as recorder:
        trial = _direct(recorder)
        scripts = (streamed(*STREAM), streamed(*STREAM, ends=False), nothing)
        found = [trial.exchange(plain_request("m"), script).answer for script in scripts]
    assert [(200, "whole"), (200, "cut"), (0, "cut")] == [(each.status, each.end) for each in found]
    assert "no answer: the connection was closed" == str(found[2])


def test_silence_ends_with_the_patience() -> None:
    """Before the head, and within the body."""
    over = threading.Event()

    def silent(conversation: Conversation) -> None:
        if b"talk" in conversation.arrival.body:
            conversation.begin(200, ())
        over.wait(30)

    with Recorder() as recorder:
        trial = _direct(recorder, patience_s=0.01)
        found = [trial.exchange(Request(body), silent).answer for body in (b"", b"talk")]
        over.set()
    assert [(0, "silent"), (200, "silent")] == [(each.status, each.end) for each in found]
    assert "no answer in time" == str(found[0])


def test_an_interim_answer_is_passed_over() -> None:
    """103 Early Hints comes before the answer (RFC 9110 section 15.2)."""

    def script(conversation: Conversation) -> None:
        conversation.link.sendall(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
        whole(529)(conversation)

    with Recorder() as recorder:
        assert 529 == _direct(recorder).exchange(plain_request("m"), script).answer.status


def test_pieces_are_shown_as_they_come() -> None:
    """Each time the body so far."""
    seen: list[bytes] = []
    with Recorder() as recorder:
        _direct(recorder).exchange(plain_request("m"), streamed(b"a", b"b"), seen.append)
    assert b"ab" == seen[-1]
    assert sorted(seen, key=len) == seen


def test_two_requests_on_one_connection() -> None:
    """As clients that keep it do."""
    with Recorder() as recorder:
        trial = _direct(recorder)
        with trial.connected() as link:
            both = [trial.exchange_on(link, plain_request("m"), whole()).arrived for _ in range(2)]
    assert [1, 1] == [arrived.connection for arrived in both if arrived]


def test_a_gateway_that_is_not_there_raises() -> None:
    """As a socket does."""
    with Recorder() as recorder:
        trial = _direct(recorder)
    with pytest.raises(ConnectionRefusedError):
        trial.exchange(plain_request("m"), whole())


def test_both_ends_count_the_same_events() -> None:
    """What was seen is never unseen; what is not reached in time is not reached."""
    handed = Handshake()
    threading.Thread(target=handed.saw, args=(2,)).start()
    assert handed.reaches(2, 30)
    handed.saw(1)
    assert handed.reaches(2, 0)
    assert not handed.reaches(3, 0)


def test_an_answer_that_comes_before_the_request_was_read() -> None:
    """A gateway may refuse early and close: what it said is read."""
    with socket.create_server(("127.0.0.1", 0)) as listening, Recorder() as recorder:

        def refuse() -> None:
            link, _ = listening.accept()
            link.sendall(b"HTTP/1.1 413 X\r\ncontent-length: 0\r\n\r\n")
            link.shutdown(socket.SHUT_WR)
            while link.recv(65536):
                pass
            link.close()

        threading.Thread(target=refuse, daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        trial = Trial(url, recorder, model="m", key=None, patience_s=30)
        assert 413 == trial.exchange(Request(b"x" * 10**6), whole()).answer.status
