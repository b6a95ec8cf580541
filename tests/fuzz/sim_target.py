"""The simulator on any body: it answers, never fails; and what it takes, we can read, as it bills it."""

from __future__ import annotations

import json

import msgspec

from scrimp.core.wire.request import RequestUnreadable, parse
from scrimp.core.wire.response import ResponseMeter
from scrimp.sim.machine import Answer, Simulator
from scrimp.sim.reader import read_answer
from tests.fuzz.inputs import Input, pieces
from tests.fuzz.request_target import NOW_MS

_HEADERS = {"x-api-key": "fake-key", "anthropic-version": "2023-06-01", "content-type": "application/json"}
_NEWER = _HEADERS | {"anthropic-version": "2026-10-21", "anthropic-beta": "context-management-2025-06-27"}
_OK = 200


def check_sim(given: Input) -> None:
    """Send one body twice, so that the second may read what the first wrote."""
    simulator = Simulator(seed=given.ways[0])
    headers = _NEWER if given.ways[1] % 2 else _HEADERS
    for turn in range(2):
        answer = simulator.handle(given.text, headers, NOW_MS + turn * 60_000)
        assert 200 <= answer.status < 600
        if answer.status == _OK:
            _check_read(given, answer)
            _check_metered(given, simulator, answer)
    simulator.count_tokens(given.text, headers, NOW_MS)


def _check_read(given: Input, answer: Answer) -> None:
    try:
        request = parse(given.text)
    except RequestUnreadable as error:
        # The simulator asks for the type of what it reads only; the API asks for every member's.
        assert isinstance(error.__cause__, msgspec.ValidationError), f"the simulator took what we cannot read: {error}"
        return
    assert bool(answer.events) == request.stream


def _check_metered(given: Input, simulator: Simulator, answer: Answer) -> None:
    """The answer's bytes, put together again, are the answer; their usage is what was billed."""
    kind = "text/event-stream" if answer.events else "application/json"
    body = b"".join(event.encode() for event in answer.events) if answer.events else answer.encode()
    assert json.loads(json.dumps(answer.body)) == read_answer(kind, body)
    meter = ResponseMeter(kind, None)
    for chunk in pieces(body, given.dice):
        meter.feed(chunk)
    metered = meter.answer().metered(None)
    assert metered is not None
    assert meter.answer().usage_complete
    assert simulator.invoice.requests
