"""Answers on their way: every byte, every coding, every cut."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.sim.delivery import MILLION, STREAM, deliver
from scrimp.sim.encodings import DECODERS, ENCODERS
from scrimp.sim.machine import Answer, Simulator
from scrimp.sim.models import day_ms

NOW = day_ms("2026-11-22")
HEADERS = {"x-api-key": "sk-a", "anthropic-version": "2023-06-01"}
CODINGS = [None, *sorted(ENCODERS)]


def _answer(*, stream: bool) -> Answer:
    messages: list[Any] = [{"role": "user", "content": "hello"}]
    request = {"model": "claude-opus-5-5", "max_tokens": 500, "messages": messages, "stream": stream}
    return Simulator().handle(request, HEADERS, NOW)


ANSWERS = {stream: _answer(stream=stream) for stream in (True, False)}
PLAIN = {
    True: b"".join(event.encode() for event in ANSWERS[True].events),
    False: ANSWERS[False].encode(),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("coding", CODINGS)
def test_a_whole_answer_arrives(stream: bool, coding: str | None) -> None:
    """The wire decodes to the plain body, in order of time, and all of it is seen."""
    delivery = deliver(ANSWERS[stream], coding)
    sent = b"".join(data for _, data in delivery.wire())
    assert PLAIN[stream] == (DECODERS[coding]()(sent) if coding else sent)
    assert len(PLAIN[stream]) == delivery.seen_bytes(sent)
    times = [at_ms for at_ms, _ in delivery.wire()]
    assert times == sorted(times)
    assert stream is delivery.is_stream
    named = dict(delivery.headers)
    assert (coding, STREAM if stream else "application/json") == (named.get("content-encoding"), named["content-type"])


@given(st.booleans(), st.sampled_from(CODINGS), st.integers(0, MILLION))
def test_a_cut_is_a_prefix_of_the_wire(stream: bool, coding: str | None, cut_ppm: int) -> None:
    """To the byte, and what is seen of it is what a client decodes."""
    whole = deliver(ANSWERS[stream], coding)
    cut = msgspec.structs.replace(whole, cut_ppm=cut_ppm)
    sent, full = (b"".join(data for _, data in each.wire()) for each in (cut, whole))
    assert full[: len(full) * cut_ppm // MILLION] == sent
    plain = DECODERS[coding]()(sent) if coding else sent
    assert PLAIN[stream].startswith(plain)
    assert len(plain) == cut.seen_bytes(sent)


@given(st.sampled_from(CODINGS), st.integers(0, 5))
def test_what_a_fault_puts_between_is_not_the_answers(coding: str | None, at: int) -> None:
    """It goes over the wire but is not counted as seen."""
    whole = deliver(ANSWERS[True], coding)
    between = msgspec.structs.replace(whole.pieces[0], data=b"event: ping\n\n", is_answer=False)
    delivery = msgspec.structs.replace(whole, pieces=(*whole.pieces[:at], between, *whole.pieces[at:]))
    sent = b"".join(data for _, data in delivery.wire())
    assert len(PLAIN[True]) == delivery.seen_bytes(sent)
    plain = DECODERS[coding]()(sent) if coding else sent
    assert len(PLAIN[True]) + len(between.data) == len(plain)
