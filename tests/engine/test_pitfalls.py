"""What the owner is told of a line that changes in every request: its place, its price, its fix, and no word of it."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from scrimp.clock import VirtualClock
from scrimp.core.belief.session import Belief
from scrimp.core.plan.planning import Policy, plan
from scrimp.core.wire.request import parse
from scrimp.engine.outside import Outside
from scrimp.engine.pitfalls import TOLD_MAX, Pitfalls
from scrimp.engine.recorder import Recorder
from scrimp.upstream.pricefeed import load_book

START_MS = 1_795_564_800_000
HEADERS = {"x-api-key": "sk-fake"}
MANUAL = "\n".join(f"{number}. Read the file, mend it, run the tests." for number in range(1_000))


def body(number: int, tool: str = "read") -> bytes:
    """Return a request whose system prompt begins with the time, with its tail marked."""
    said: dict[str, Any] = {
        "model": "claude-opus-5-5",
        "max_tokens": 9,
        "tools": [{"name": tool, "description": "reads", "input_schema": {"type": "object"}}],
        "system": [{"type": "text", "text": f"Current time: 12:01:{number:02} on a private matter\n{MANUAL}"}],
        "messages": [{"role": "user", "content": f"Question {number}"}],
        "cache_control": {"type": "ephemeral"},
    }
    return json.dumps(said).encode()


def told(caplog: pytest.LogCaptureFixture, policy: Policy, bodies: list[bytes]) -> list[str]:
    """Return what is logged while a recorder plans these."""
    clock = VirtualClock(START_MS)
    recorder = Recorder(Outside(prices=load_book(), clock=clock, policy=policy))
    with caplog.at_level(logging.WARNING, "scrimp.engine"):
        for each in bodies:
            clock.advance_ms(20_000)
            recorder.arrive(HEADERS, each, each)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("mode", ["observe", "safe"])
def test_it_is_told_once_with_place_price_and_fix(caplog: pytest.LogCaptureFixture, mode: Any) -> None:
    """Whatever the mode, as long as nothing may be moved; a word of the prompt is never among it."""
    (line,) = told(caplog, Policy(mode=mode), [body(number) for number in range(5)])
    assert line.startswith("order: date in system.0 at byte 0 costs 0.")
    assert "put it behind the last mark" in line
    assert line.endswith("Or let Scrimp move it: order = true, in safe mode.")
    assert [] == [word for word in ("private", "12:01", "mend it") if word in line]


def test_each_application_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """Those that offer other tools are others."""
    bodies = [body(number, tool) for number in range(3) for tool in ("read", "write")]
    assert 2 == len(told(caplog, Policy(), bodies))


def test_nothing_volatile_is_nothing_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    """The same prompt again and again."""
    still = body(1).replace(b"Current time: 12:01:01", b"You are an agent.")
    assert [] == told(caplog, Policy(), [still] * 5)


def test_an_owner_who_allows_moving_is_offered_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """What is moved is no pitfall; what may not be moved, here because of thinking, has its price and no offer."""
    thinks = [
        each.replace(b'"max_tokens"', b'"thinking": {"type": "adaptive"}, "max_tokens"')
        for each in (body(number) for number in range(4))
    ]
    (line,) = told(caplog, Policy(mode="safe", order=True), thinks)
    assert "Or let Scrimp" not in line


def test_a_log_cannot_be_filled(caplog: pytest.LogCaptureFixture) -> None:
    """Past a limit nothing more is told."""
    request = parse(body(1))
    planned = plan(request, Belief(), Policy(), load_book(), START_MS)
    assert planned.pitfall is not None
    pitfalls = Pitfalls()
    with caplog.at_level(logging.WARNING, "scrimp.engine"):
        for number in range(TOLD_MAX + 50):
            pitfalls.tell(f"principal {number}", planned, Policy())
    assert TOLD_MAX == len(caplog.records)
