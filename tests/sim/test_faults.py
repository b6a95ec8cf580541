"""Faults as data: seeded, in swarms, each of them what its line in the table says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scrimp.sim.delivery import Delivery, deliver
from scrimp.sim.faults import (
    HTML,
    INSTEAD,
    KINDS,
    MEANINGS,
    SERVED,
    SILENCE_MS,
    Fault,
    Faults,
    Kind,
    Script,
    as_event,
    disturb,
    swarm,
)
from scrimp.sim.machine import Answer, Simulator
from scrimp.sim.models import day_ms

NOW = day_ms("2026-11-22")
HEADERS = {"x-api-key": "sk-a", "anthropic-version": "2023-06-01"}


def _answer(*, stream: bool = True) -> Answer:
    messages: list[Any] = [{"role": "user", "content": "hello"}]
    request = {"model": "claude-opus-5-5", "max_tokens": 500, "messages": messages, "stream": stream}
    return Simulator().handle(request, HEADERS, NOW)


def _sent(delivery: Delivery) -> bytes:
    return b"".join(data for _, data in delivery.wire())


def test_a_seed_is_a_sequence_of_faults() -> None:
    """The same seed draws the same; another seed does not; none are drawn where no kind is on."""
    drawn = [[Faults(seed, {"cut": 1}).next() for _ in range(1)] for seed in (1, 1)]
    assert drawn[0] == drawn[1]
    longer = [[faults.next() for _ in range(200)] for faults in (Faults(1), Faults(1), Faults(2))]
    assert longer[0] == longer[1] != longer[2]
    assert {None} == {Faults(1, {}).next() for _ in range(50)}


def test_as_many_as_asked_for() -> None:
    """None at 0, all at 1,000, about a quarter by default."""
    counts = []
    for permille in (0, 250, 1_000):
        faults = Faults(3, {"cut": 1}, permille)
        counts.append(sum(faults.next() is not None for _ in range(1_000)))
    assert 0 == counts[0] < 150 < counts[1] < 350 < counts[2] == 1_000


def test_swarms_switch_kinds_off() -> None:
    """Each run lacks some kinds, and over many runs every kind is both on and off."""
    swarms = [swarm(seed) for seed in range(100)]
    for kind in KINDS:
        assert {True, False} == {kind in weights for weights in swarms}
    assert all(0 < weight <= 10 for weights in swarms for weight in weights.values())


@pytest.mark.parametrize(
    ("kind", "status", "error", "retry_after"),
    [
        ("rate_limit", 429, "rate_limit_error", "2"),
        ("spend_limit", 429, "rate_limit_error", None),
        ("overloaded", 529, "overloaded_error", None),
        ("server_error", 500, "api_error", None),
        ("error_first", 529, "overloaded_error", None),
    ],
)
def test_refusals(kind: Kind, status: int, error: str, retry_after: str | None) -> None:
    """In the API's envelope, and only a limit that passes says when to come back."""
    refusal = Fault(kind).refusal
    assert refusal is not None
    answer = Simulator().refuse(refusal)
    assert (status, error) == (answer.status, answer.body["error"]["type"])
    assert retry_after == dict(answer.headers).get("retry-after")
    assert kind != "spend_limit" or answer.body["error"]["details"] == {"error_code": "enforced_spend_limit_reached"}


def test_what_stands_before_the_api() -> None:
    """A reset says nothing at all, a proxy says it in HTML."""
    assert INSTEAD["reset"].is_headless
    assert (502, HTML) == (INSTEAD["bad_gateway"].status, _sent(INSTEAD["bad_gateway"]))
    assert [] == [kind for kind in KINDS if kind in INSTEAD and Fault(kind).refusal]


@pytest.mark.parametrize("where_ppm", [0, 1, 300_000, 999_999])
def test_a_cut_breaks_and_an_end_does_not(where_ppm: int) -> None:
    """At the same byte, which is never the last."""
    whole = deliver(_answer())
    cut, end = (disturb(whole, Fault(kind, where_ppm)) for kind in ("cut", "end"))
    assert _sent(cut) == _sent(end) == _sent(whole)[: len(_sent(whole)) * where_ppm // 1_000_000]
    assert (True, False) == (cut.breaks, end.breaks)


def test_a_stream_goes_over_into_an_error() -> None:
    """After message_start at the earliest, and before its end; an answer that is no stream is left alone."""
    answer = _answer()
    for where_ppm in (0, 999_999):
        sent = _sent(disturb(deliver(answer), Fault("error_later", where_ppm)))
        *before, last = sent.strip().split(b"\n\n")
        assert before[0].startswith(b"event: message_start")
        assert last.startswith(b"event: error")
        assert b"message_stop" not in sent
    whole = deliver(_answer(stream=False))
    assert whole == disturb(whole, Fault("error_later"))


def test_an_error_can_be_the_first_event() -> None:
    """With status 200 and the refusal's own request id."""
    refusal = Fault("error_first").refusal
    assert refusal is not None
    refused = Simulator().refuse(refusal)
    said = as_event(deliver(refused))
    assert (200, True) == (said.status, said.is_stream)
    assert ("request-id", refused.body["request_id"]) in said.headers
    name, data = _sent(said).decode().strip().split("\n")
    assert ("event: error", "overloaded_error") == (name, json.loads(data.removeprefix("data: "))["error"]["type"])


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", ["slow", "silent", "pings"])
def test_late_answers_are_whole(kind: Kind, stream: bool) -> None:
    """Every piece is there, later; pings come in between where it is a stream, and nothing else does."""
    whole = deliver(_answer(stream=stream))
    late = disturb(whole, Fault(kind))
    assert [piece.data for piece in whole.pieces] == [piece.data for piece in late.pieces if piece.is_answer]
    times = [piece.at_ms for piece in late.pieces]
    assert times == sorted(times)
    gaps = [later - before for before, later in zip([0, *times], times, strict=False)]
    assert (max(gaps) >= SILENCE_MS) is (kind == "silent" or (kind == "pings" and not stream))
    between = {piece.data for piece in late.pieces if not piece.is_answer}
    assert between == ({b'event: ping\ndata: {"type":"ping"}\n\n'} if kind == "pings" and stream else set())


def test_errors_stay_as_they_are() -> None:
    """A refusal by the API itself is neither cut nor delayed, and a duplicate is no fault of the answer."""
    refused = deliver(Simulator().handle(b"{", HEADERS, NOW))
    assert all(refused == disturb(refused, Fault(kind)) for kind in KINDS)
    whole = deliver(_answer())
    assert whole == disturb(whole, Fault("duplicate"))


def test_what_is_lost_has_no_head() -> None:
    """The work was begun, and nothing of it is sent."""
    lost = disturb(deliver(_answer()), Fault("lost"))
    assert (True, b"") == (lost.is_headless, _sent(lost))


def test_a_script_is_played_once() -> None:
    """Each step for one request, then none."""
    script = Script([None, Fault("cut", 10), Fault("overloaded")])
    assert [None, Fault("cut", 10), Fault("overloaded"), None, None] == [script.next() for _ in range(5)]


def test_each_kind_is_explained() -> None:
    """In the order of the kinds; all but a client's own doing can be served."""
    assert list(KINDS) == list(MEANINGS)
    assert {"duplicate"} == set(KINDS) - set(SERVED)
