"""A stage for a story: the simulated API, a gateway before it or none, and time that passes as the story says."""

from __future__ import annotations

import asyncio
import heapq
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from scrimp.clock import SystemClock, VirtualClock

if TYPE_CHECKING:
    from scrimp.core.belief.exchange import Exchange
    from scrimp.sim.machine import Simulator
    from scrimp.upstream.client import Upstream, UpstreamRequest, UpstreamResponse

#: How a story is played: straight against the API, or through a gateway in one of its modes.
Way = Literal["bare", "observe", "safe"]
WAYS: tuple[Way, ...] = ("bare", "observe", "safe")

_MS_PER_SECOND = 1_000
#: Turns of the loop after which whatever needs no thread has come to rest.
_TURNS = 50
#: How long nothing may have been heard of before whoever was woken is taken to be at rest, in seconds.
_REST_SECONDS = 0.03


class StageClock(VirtualClock):
    """Virtual time, whose sleepers wake when it passes; within `running` it passes by itself."""

    def __init__(self, start_ms: int) -> None:
        super().__init__(start_ms)
        self._real = SystemClock()
        self._since_ms: int | None = None
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0

    def now_ms(self) -> int:
        """Return the time of the story."""
        run_ms = 0 if self._since_ms is None else self._real.now_ms() - self._since_ms
        return super().now_ms() + run_ms

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let time pass as it does outside."""
        self._since_ms = self._real.now_ms()
        try:
            yield
        finally:
            run_ms, self._since_ms = max(0, self._real.now_ms() - self._since_ms), None
            self.advance_ms(run_ms)

    async def sleep(self, seconds: float) -> None:
        """Return once the story is so much further."""
        woken = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self.now_ms() + round(seconds * _MS_PER_SECOND), self._count, woken))
        await woken

    async def pass_ms(self, pause_ms: int) -> None:
        """Let time pass, and whoever wakes meanwhile do what it woke for."""
        end_ms = self.now_ms() + pause_ms
        await _at_rest(0)
        while self._sleepers and self._sleepers[0][0] <= end_ms:
            due_ms, _, woken = heapq.heappop(self._sleepers)
            self.advance_ms(max(0, due_ms - self.now_ms()))
            if not woken.done():
                woken.set_result(None)
                await _at_rest(_REST_SECONDS)
        self.advance_ms(end_ms - self.now_ms())


async def _at_rest(seconds: float) -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    if seconds:
        await asyncio.sleep(seconds)


class _Api:
    """The API as the gateway reaches it: answers come at once, or take their time where `is_slow`."""

    def __init__(self, simulator: Simulator, clock: StageClock) -> None:
        from scrimp.sim.app import create_app
        from scrimp.upstream.asgi import AsgiUpstream

        self.is_slow = False
        self._quick = AsgiUpstream(create_app(simulator, clock))
        self._slow = AsgiUpstream(create_app(simulator, clock, realtime=True))

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        return await (self._slow if self.is_slow else self._quick).send(request)


class Stage:
    """Where requests of a story go; `simulator.invoice` is the API's own bill of them."""

    def __init__(self, simulator: Simulator, clock: StageClock, api: _Api, front: Upstream) -> None:
        self.simulator = simulator
        self.clock = clock
        self._api = api
        self._front = front

    async def ask(self, request: dict[str, Any], headers: dict[str, str]) -> Any:
        """Send one request and return its answer, put together again where it was streamed."""
        from scrimp.sim.reader import read_answer
        from scrimp.upstream.client import UpstreamRequest

        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        response = await self._front.send(UpstreamRequest("POST", "/v1/messages", pairs, json.dumps(request).encode()))
        body = b"".join([chunk async for chunk in response.chunks()])
        await response.aclose()
        return read_answer(dict(response.headers)[b"content-type"].decode(), body)

    async def ask_at_once(self, requests: Iterable[dict[str, Any]], headers: dict[str, str]) -> None:
        """Send requests at the same moment, to an API that takes its time."""
        self._api.is_slow = True
        try:
            with self.clock.running():
                await asyncio.gather(*(self.ask(request, headers) for request in requests))
        finally:
            self._api.is_slow = False


@asynccontextmanager
async def staged(way: Way, seed: int, start_ms: int, closed: list[Exchange]) -> AsyncIterator[Stage]:
    """Set a stage; once it is left, `closed` holds what the gateway's ledger does."""
    from scrimp.sim.machine import Simulator
    from scrimp.sim.rules import Rules

    simulator = Simulator(Rules(output_token_ms=1, uncached_ms_per_1000_tokens=0), seed=seed)
    clock = StageClock(start_ms)
    api = _Api(simulator, clock)
    if way == "bare":
        yield Stage(simulator, clock, api, api)
        return
    async with _gateway(way, clock, api, closed) as front:
        yield Stage(simulator, clock, api, front)


@asynccontextmanager
async def _gateway(way: Way, clock: StageClock, api: _Api, closed: list[Exchange]) -> AsyncIterator[Upstream]:
    """Run a gateway with a ledger of its own, at the prices that come with Scrimp."""
    from scrimp.core.levers.hold import Settings
    from scrimp.core.plan.planning import Policy
    from scrimp.gateway.app import create_app
    from scrimp.gateway.services import Services
    from scrimp.store.ledger import SqlLedger
    from scrimp.upstream.asgi import AsgiUpstream
    from scrimp.upstream.pricefeed import load_book

    with TemporaryDirectory(prefix="scrimp-demo-") as folder, SqlLedger(Path(folder) / "ledger.db") as ledger:
        services = Services(
            upstream=api,
            ledger=ledger,
            prices=load_book(),
            clock=clock,
            policy=Policy(mode="safe" if way == "safe" else "observe"),
            holding=Settings(),
            sleep=clock.sleep,
        )
        yield AsgiUpstream(create_app(services))
        await ledger.flush()
        closed += ledger.exchanges()
