"""Loops of gateways are refused, chains of them are not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from scrimp.errors import UpstreamUnavailable
from scrimp.gateway.hops import CROWD_COUNT, HOPS_MAX, VIA, Hops


def scope(*passed: bytes) -> dict[str, Any]:
    """Return a request that has passed these gateways."""
    return {"headers": [(b"host", b"x"), (VIA, b" ".join(passed))] if passed else [(b"host", b"x")]}


def test_a_gateway_knows_its_own_name_and_names_itself_to_ours_alone() -> None:
    """What went past it comes back refused; to an upstream that is not ours nothing is said."""
    ours, api = Hops(next_is_ours=True), Hops()
    via = ours.via(scope(b"first"))
    assert via is not None
    assert via.startswith(b"first ")
    assert ours.came_back(scope(*via.split()))
    assert not ours.came_back(scope(b"first"))
    assert not api.came_back(scope(*via.split()))
    assert api.via(scope(b"first")) is None


@pytest.mark.parametrize(("count", "expected"), [(0, False), (HOPS_MAX - 1, False), (HOPS_MAX, True)])
def test_nobody_needs_so_many_gateways(count: int, expected: bool) -> None:
    """A request that has passed too many gateways goes round, whatever their names."""
    assert expected == Hops().came_back(scope(*(b"g%d" % number for number in range(count))))


def answered(ask: Any, crowd: int) -> bool:
    """Return whether the next gateway is known to be ours after so many requests at once."""

    async def play() -> bool:
        hops = Hops(ask)
        for _ in range(crowd):
            hops.begins()
        await asyncio.sleep(0)
        for _ in range(crowd):
            hops.ends()
        await hops.aclose()
        return hops.next_is_ours

    return asyncio.run(play())


async def _yes() -> bool:
    return True


async def _fails() -> bool:
    raise UpstreamUnavailable("gone", "wait")


def test_a_crowd_makes_it_ask_once() -> None:
    """With so much under way the upstream is asked whether it is one of ours; one that cannot say is not."""
    assert answered(_yes, CROWD_COUNT)
    assert not answered(_yes, CROWD_COUNT - 1)
    assert not answered(_fails, CROWD_COUNT)


def test_a_loop_is_answered_by_a_status_that_nobody_retries() -> None:
    """508, said not to be worth a retry, in the API's own envelope."""
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    asyncio.run(Hops().refuse(send))
    assert (508, b"false") == (said[0]["status"], dict(said[0]["headers"])[b"x-should-retry"])
    assert b'"api_error"' in said[1]["body"]
