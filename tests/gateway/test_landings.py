"""Who waits for whose first token."""

from __future__ import annotations

import asyncio

from scrimp.gateway.landings import Landings


def test_all_who_wait_are_let_go_at_once() -> None:
    """Several that wait for one exchange go on when it lands, and nothing of it is kept."""

    async def play() -> tuple[int, dict[str, set[asyncio.Future[None]]]]:
        landings, done = Landings(), 0

        async def waiter() -> None:
            nonlocal done
            await landings.wait("a", 60)
            done += 1

        async def lander() -> None:
            await asyncio.sleep(0)
            landings.landed("b")
            assert done == 0
            landings.landed("a")

        await asyncio.gather(*(waiter() for _ in range(5)), lander())
        return done, landings._waiting

    assert (5, {}) == asyncio.run(play())


def test_a_wait_ends_by_itself() -> None:
    """Who waits for an exchange that never lands goes on when the time is over, at once where it is over already."""

    async def play() -> bool:
        landings = Landings()
        await landings.wait("a", 0.01)
        await landings.wait("a", -1.0)
        landings.landed("a")
        return True

    assert asyncio.run(play())


def test_whoever_gives_up_leaves_the_others_waiting() -> None:
    """One whose time is over and one that is stopped take nothing from a third; of all of them nothing is kept."""

    async def play() -> tuple[bool, bool, dict[str, set[asyncio.Future[None]]]]:
        landings = Landings()
        async with asyncio.TaskGroup() as group:
            patient, stopped, alone = (group.create_task(landings.wait(name, 60)) for name in "aab")
            await landings.wait("a", 0.0)
            stopped.cancel()
            alone.cancel()
            await asyncio.wait({stopped, alone})
            still = not patient.done()
            landings.landed("a")
        return still, stopped.cancelled(), landings._waiting

    assert (True, True, {}) == asyncio.run(play())
