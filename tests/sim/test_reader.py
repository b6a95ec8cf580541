"""Reading a stream gives back the message it was made of."""

from __future__ import annotations

import json

import pytest

from scrimp.sim.clients import play, scripted_agent
from scrimp.sim.machine import Simulator
from scrimp.sim.reader import read_answer


@pytest.mark.parametrize("seed", range(40))
def test_a_stream_reads_as_its_message(seed: int) -> None:
    """Text, thinking, signatures, tool input and final usage survive the way through the stream."""
    for played in play(scripted_agent(seed), Simulator(seed=seed), 1_790_000_000_000):
        whole = json.dumps(played.answer.body).encode()
        streamed = b"".join(event.encode() for event in played.answer.events)

        assert played.answer.body == read_answer("application/json", whole)
        if streamed:
            assert played.answer.body == read_answer("text/event-stream; charset=utf-8", streamed)
