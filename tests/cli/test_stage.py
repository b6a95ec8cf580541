"""The stage of the demo: time passes as the story says, and sleepers wake in their order."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.cli.stage import StageClock, staged
from scrimp.core.belief.exchange import Exchange

START_MS = 1_795_564_800_000


@given(st.lists(st.integers(0, 100), max_size=5), st.integers(0, 100))
def test_sleepers_wake_when_their_time_has_come(seconds: list[int], pause_s: int) -> None:
    """Those whose time is within the pause, in order, each at its own time; the others sleep on."""
    woken: list[int] = []

    async def story() -> int:
        clock = StageClock(START_MS)

        async def wake(after: int) -> None:
            await clock.sleep(after)
            assert START_MS + after * 1_000 == clock.now_ms()
            woken.append(after)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(wake(after)) for after in seconds]
            await clock.pass_ms(pause_s * 1_000)
            for task in tasks:
                task.cancel()
        return clock.now_ms()

    assert START_MS + pause_s * 1_000 == asyncio.run(story())
    assert sorted(after for after in seconds if after <= pause_s) == woken


def test_a_sleeper_that_was_cancelled_is_passed_over() -> None:
    """Whoever it was does not need to be woken, and holds nobody up."""

    async def story() -> int:
        clock = StageClock(START_MS)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(clock.sleep(1))
            await asyncio.sleep(0)
            task.cancel()
            await clock.pass_ms(2_000)
        return clock.now_ms()

    assert START_MS + 2_000 == asyncio.run(story())


def test_time_runs_only_where_it_is_let() -> None:
    """Within `running` as outside, and not before or after."""
    clock = StageClock(START_MS)
    time.sleep(0.01)
    assert START_MS == clock.now_ms()
    with clock.running():
        time.sleep(0.01)
        assert START_MS < clock.now_ms()
    ended = clock.now_ms()
    time.sleep(0.01)
    assert (ended, True) == (clock.now_ms(), ended > START_MS)


@pytest.mark.parametrize("way", ["bare", "observe", "safe"])
def test_what_is_asked_is_answered_and_billed(way: str) -> None:
    """Bare or through a gateway: the same answer, and the ledger holds it where there is one."""
    closed: list[Exchange] = []
    request = {"model": "claude-opus-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Say ok."}]}
    headers = {"x-api-key": "sk-fake", "anthropic-version": "2023-06-01", "content-type": "application/json"}

    async def story() -> tuple[str, int]:
        async with staged(way, 1, START_MS, closed) as stage:  # type: ignore[arg-type]
            answer = await stage.ask(request, headers)
            return answer["id"], stage.simulator.invoice.cost_nano_usd

    message_id, cost = asyncio.run(story())
    expected = [] if way == "bare" else [(message_id, cost)]
    assert expected == [(exchange.message_id, exchange.cost_nano_usd) for exchange in closed]
