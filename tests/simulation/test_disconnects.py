"""Clients that leave before anything of theirs was sent: within the body, in the queue for a warm cache, at the ledger.

What a client asked for and nobody will read must not be paid for. A client here is an ASGI server's half of a
connection: what it sends, and the moment at which it leaves.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from scrimp.clock import SystemClock
from scrimp.core.belief.exchange import Exchange
from scrimp.core.plan.planning import Policy
from scrimp.gateway.app import create_app
from scrimp.gateway.asgi import Message, Receive, Scope, Send, reply
from scrimp.gateway.services import Services
from scrimp.store.ledger import MemoryLedger
from scrimp.upstream.asgi import AsgiUpstream
from scrimp.upstream.pricefeed import load_book

#: How long a story may take before the test gives up; none waits for it when all is well.
PATIENCE_SECONDS = 60

HEADERS = [(b"x-api-key", b"sk-fake"), (b"content-type", b"application/json")]
SHARED = "The same long manual for every one of these agents. " * 4_000
ANSWER = json.dumps(
    {"type": "message", "id": "m", "model": "claude-opus-5-5", "usage": {"input_tokens": 3, "output_tokens": 4}}
).encode()


class Api:
    """An upstream whose answers begin when they are let go; `bodies` reached it whole, those in `cut` broke off."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.cut: list[bytes] = []
        self.free = asyncio.Event()
        self.asked = asyncio.Event()

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Take a body whole, and answer once answers are let go, unless whoever asked is gone by then."""
        got, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.cut.append(got)
                return
            got, more = got + message.get("body", b""), message.get("more_body", False)
        self.bodies.append(got)
        self.asked.set()
        waiting = {asyncio.ensure_future(each) for each in (self.free.wait(), receive())}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
        if self.free.is_set():
            await reply(send, 200, "application/json", ANSWER)


class SlowLedger(MemoryLedger):
    """A ledger whose open rows are committed when they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()
        self.asked = asyncio.Event()

    async def open(self, exchange: Exchange) -> None:
        """Wait, then keep the row."""
        self.asked.set()
        await self.free.wait()
        await super().open(exchange)


class Client:
    """One connection: the pieces of a body that come, and the end that it makes when it is told to leave."""

    def __init__(self, *pieces: bytes, is_whole: bool = True) -> None:
        last = len(pieces) - 1
        self._messages = [
            {"type": "http.request", "body": piece, "more_body": not (is_whole and number == last)}
            for number, piece in enumerate(pieces)
        ]
        self.leaving = asyncio.Event()
        self.heard: list[Message] = []

    async def receive(self) -> Message:
        """Give the next piece; then nothing until the client leaves."""
        if self._messages:
            return self._messages.pop(0)
        await self.leaving.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take a part of the answer."""
        self.heard.append(message)


class House:
    """A gateway in safe mode with its ledger, and the requests that it serves."""

    def __init__(self, ledger: MemoryLedger | None = None, *, limit: int = 1 << 20) -> None:
        self.api = Api()
        self.ledger = ledger or MemoryLedger()
        self.closed: list[Exchange] = []
        services = Services(
            upstream=AsgiUpstream(self.api),
            ledger=self.ledger,
            prices=load_book(),
            clock=SystemClock(),
            policy=Policy(mode="safe"),
            on_closed=self.closed.append,
            body_limit_bytes=limit,
        )
        self._app = create_app(services)

    def serve(self, client: Client) -> asyncio.Task[None]:
        """Serve one request of a client as a server does."""
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/messages",
            "raw_path": b"/v1/messages",
            "query_string": b"",
            "headers": HEADERS,
        }
        return asyncio.create_task(_awaited(self._app(scope, client.receive, client.send)))

    def rows(self) -> list[tuple[str | None, bool]]:
        """Return of each row why it ended, and whether it is closed."""
        return [(each.error_type, each.closed_at_ms is not None) for each in self.ledger.exchanges()]


async def _awaited(work: Awaitable[None]) -> None:
    await work


def played(play: Callable[[], Awaitable[Any]]) -> tuple[Any, int]:
    """Play one story in an event loop; return what it returns, and how many tasks are left beside it."""

    async def run() -> tuple[Any, int]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            result = await play()
        return result, len(asyncio.all_tasks()) - 1

    return asyncio.run(run())


def sibling(number: int) -> bytes:
    """Return one of several agents' first requests: a long shared prompt, and a task of its own."""
    system = [{"type": "text", "text": SHARED, "cache_control": {"type": "ephemeral"}}]
    messages = [{"role": "user", "content": f"Task {number}: say hello."}]
    return json.dumps({"model": "claude-opus-5-5", "max_tokens": 50, "system": system, "messages": messages}).encode()


def test_a_body_that_breaks_off_is_not_sent() -> None:
    """Nothing upstream, no row, no answer, no task: however much of the body had come."""

    async def play() -> tuple[int, list[Any], list[Message]]:
        house, client = House(), Client(sibling(1), is_whole=False)
        client.leaving.set()
        await house.serve(client)
        return len(house.api.bodies), house.rows(), client.heard

    assert ((0, [], []), 0) == played(play)


def test_a_long_body_that_breaks_off_while_it_is_streamed_on_is_cut_upstream() -> None:
    """What is longer than the limit is on its way already: it never looks whole, and its row says who left."""

    async def play() -> tuple[list[bytes], list[bytes], list[Any]]:
        house, client = House(limit=10), Client(b"x" * 11, b"y", is_whole=False)
        client.leaving.set()
        await house.serve(client)
        return house.api.bodies, house.api.cut, house.rows()

    assert (([], [b"x" * 11 + b"y"], [("client_gone", True)]), 0) == played(play)


def test_a_client_that_leaves_in_the_queue_for_a_warm_cache_is_let_go() -> None:
    """It waits for the first token of another request; nothing of its own is sent or recorded, the others go on."""

    async def play() -> tuple[list[bytes], list[Any], list[int]]:
        house = House()
        writer, leaver, stayer = (Client(sibling(number)) for number in range(3))
        first = house.serve(writer)
        await house.api.asked.wait()
        second, third = house.serve(leaver), house.serve(stayer)
        await asyncio.wait({second, third}, timeout=0.2)  # both are held back
        assert 1 == len(house.api.bodies)
        leaver.leaving.set()
        await second
        assert 1 == len(house.api.bodies)
        house.api.free.set()
        await asyncio.gather(first, third)
        heard = [len(client.heard) for client in (writer, leaver, stayer)]
        return house.api.bodies, house.rows(), heard

    (bodies, rows, heard), tasks = played(play)
    assert [b"Task 0", b"Task 2"] == [body[body.index(b"Task") :][:6] for body in bodies]
    assert ([(None, True), (None, True)], 0) == (rows, tasks)
    assert (True, 0, True) == (heard[0] > 0, heard[1], heard[2] > 0)


def test_a_client_that_leaves_while_its_row_is_opened_costs_nothing() -> None:
    """The ledger may be slow. Nothing is sent, the row is closed and says who left, and that it cost nothing."""

    async def play() -> tuple[int, list[tuple[str | None, int | None, bool]]]:
        ledger = SlowLedger()
        house, client = House(ledger), Client(sibling(1))
        served = house.serve(client)
        await ledger.asked.wait()
        client.leaving.set()
        await served
        rows = [(each.error_type, each.cost_upper_nano_usd, each.closed_at_ms is not None) for each in house.closed]
        return len(house.api.bodies), rows

    assert ((0, [("client_gone", 0, True)]), 0) == played(play)


def test_a_client_that_leaves_before_its_answer_begins_cancels_the_request() -> None:
    """It was sent and may be billed: its row is closed, and what it cost is not claimed to be known."""

    async def play() -> tuple[list[tuple[str | None, bool, bool]], int]:
        house, client = House(), Client(sibling(1))
        served = house.serve(client)
        await house.api.asked.wait()
        client.leaving.set()
        await served
        rows = [(each.error_type, each.cost_nano_usd is None, bool(each.cost_upper_nano_usd)) for each in house.closed]
        return rows, len(client.heard)

    assert (([("client_gone", True, True)], 0), 0) == played(play)
