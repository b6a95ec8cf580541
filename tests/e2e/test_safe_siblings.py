"""Concurrent requests over one cold prefix, on sockets, through `scrimp up --mode safe`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import aiohttp

from scrimp.gateway.asgi import App, Receive, Scope, Send
from tests.e2e.billed import PACED, Bills, ShiftedClock
from tests.e2e.stand import MESSAGES

SIBLINGS = 8
#: Some 50,000 tokens.
MANUAL = "The same long manual for every one of these agents. " * 3_200
HEADERS = {"x-api-key": "sk-ant-fake-sibling", "anthropic-version": "2023-06-01"}
#: How long the first request is held before it fails, so that the others are there by then.
HELD_SECONDS = 0.5
#: How long the others may then take to come: far more than they need, and less than a request would wait for a sibling.
GATHERED_SECONDS = 4
OVERLOADED = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'


def _sibling(number: int) -> dict[str, Any]:
    """Return one of several agents' first requests: a long shared prompt, and a task of its own."""
    system = [{"type": "text", "text": MANUAL, "cache_control": {"type": "ephemeral"}}]
    messages = [{"role": "user", "content": f"Task {number}: say hello."}]
    return {"model": "claude-opus-5-5", "max_tokens": 50, "system": system, "messages": messages}


async def _ask(session: aiohttp.ClientSession, url: str, number: int) -> tuple[int, Any]:
    async with session.post(f"{url}{MESSAGES}", json=_sibling(number), headers=HEADERS) as answer:
        return answer.status, (await answer.json()).get("content")


async def _ask_at_once(url: str) -> list[tuple[int, Any]]:
    async with aiohttp.ClientSession() as session:
        return await asyncio.gather(*(_ask(session, url, number) for number in range(SIBLINGS)))


def siblings(url: str, _clock: ShiftedClock) -> Any:
    """Ask all of them at once."""
    return asyncio.run(_ask_at_once(url))


def test_eight_cold_siblings_pay_for_one_prefix(bills: Bills) -> None:
    """One of eight writes the prefix and seven read it: at most a fifth of the bill, for the same answers."""
    billed = bills.make()
    billed.run(siblings, **PACED)

    billed.check_bills()
    assert billed.direct.bare() == billed.through.bare()
    assert billed.direct.told == billed.through.told
    assert 5 * billed.through.input_nano_usd <= billed.direct.input_nano_usd


class FirstFails:
    """An app that fails the first message, and holds the others until all of them are there.

    `came` says of each of the others whether it came before the time for that was over.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._all = asyncio.Event()
        self._arrived = 0
        self._until = 0.0
        self.came: list[bool] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope["path"] != MESSAGES:
            await self._app(scope, receive, send)
            return
        self._arrived += 1
        if self._arrived == 1:
            await self._fail(send)
            return
        if self._arrived == SIBLINGS:
            self._all.set()
        self.came.append(asyncio.get_running_loop().time() < self._until)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._until):
                await self._all.wait()
        await self._app(scope, receive, send)

    async def _fail(self, send: Send) -> None:
        """Answer that there is no room, a while later."""
        self._until = asyncio.get_running_loop().time() + HELD_SECONDS + GATHERED_SECONDS
        await asyncio.sleep(HELD_SECONDS)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 529, "headers": headers})
        await send({"type": "http.response.body", "body": OVERLOADED})


def test_nobody_waits_when_the_first_one_fails(bills: Bills) -> None:
    """The first of eight is overloaded while seven wait for it: all seven go at once, none waits for another."""
    billed, apps = bills.make(), []

    def failing(app: App) -> App:
        apps.append(FirstFails(app))
        return apps[-1]

    billed.run(siblings, **(PACED | {"disturbed": failing}))

    billed.check_bills()
    assert [529] == billed.through.refusals()
    assert [True] * (SIBLINGS - 1) == apps[-1].came
