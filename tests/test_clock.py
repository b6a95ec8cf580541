"""Time as an argument."""

from __future__ import annotations

import time
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.clock import SystemClock, VirtualClock


def test_the_system_s_clock_tells_milliseconds_since_the_epoch() -> None:
    """Between two readings of the operating system's own, whatever the speed of this machine."""
    before = time.time_ns() // 1_000_000  # noqa: TID251 - the other witness
    now_ms = SystemClock().now_ms()
    assert before <= now_ms <= time.time_ns() // 1_000_000  # noqa: TID251 - the other witness


@given(st.integers(), st.lists(st.integers(min_value=0)))
def test_a_virtual_clock_moves_only_when_told(start_ms: int, steps: list[int]) -> None:
    """Each reading is the sum of what it was told, and reading it moves nothing."""
    clock = VirtualClock(start_ms)
    readings = [clock.now_ms(), clock.now_ms()]
    for step in steps:
        clock.advance_ms(step)
        readings.append(clock.now_ms())
    assert [start_ms, *accumulate(steps, initial=start_ms)] == readings


@given(st.integers(), st.integers(max_value=-1))
def test_a_virtual_clock_does_not_run_backwards(start_ms: int, step: int) -> None:
    """It refuses, and stays where it was."""
    clock = VirtualClock(start_ms)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance_ms(step)
    assert start_ms == clock.now_ms()
