"""Answers as the API writes them: valid in themselves, so that no gateway fails for our mistake."""

from __future__ import annotations

import json

import pytest

from scrimp.core.wire.response import ResponseMeter
from scrimp.gateway.conformance.samples import MESSAGE, PROBLEMS, STREAM
from scrimp.gateway.conformance.streams import EVERYTHING


def test_the_message_is_one() -> None:
    """Our own meter reads its usage."""
    meter = ResponseMeter("application/json", None)
    meter.feed(MESSAGE)
    assert meter.answer().usage_complete


@pytest.mark.parametrize("pieces", [STREAM, EVERYTHING])
def test_the_streams_are_streams(pieces: tuple[bytes, ...]) -> None:
    """Our own meter reads their usage, whatever their line ends."""
    meter = ResponseMeter("text/event-stream", None)
    for piece in pieces:
        meter.feed(piece)
    assert meter.answer().usage_complete


@pytest.mark.parametrize("status", PROBLEMS)
def test_the_errors_have_the_apis_shape(status: int) -> None:
    """A type, a message, an id; and a line feed at the end that a gateway may lose."""
    told = json.loads(PROBLEMS[status])
    assert ("error", {"type", "message"}) == (told["type"], {"type", "message"} & set(told["error"]))
    assert PROBLEMS[status].endswith(b"}\n")
