"""Who is held and with which bytes: within its limits, one task each, and nothing left behind at the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from scrimp.core.belief.account import MINUTES_PING_MS
from scrimp.core.belief.exchange import Exchange
from scrimp.core.levers.hold import DEFAULTS
from scrimp.core.plan.planning import Policy
from scrimp.core.plan.threads import Command, Forget, SetAside
from scrimp.core.wire.response import ResponseMeter
from scrimp.engine.pauses import Held
from scrimp.engine.recorder import Recorder
from scrimp.errors import UpstreamUnavailable
from scrimp.gateway import keeper as keepers
from scrimp.gateway.books import Books
from scrimp.gateway.keeper import Keeper
from scrimp.gateway.metrics import Metrics
from scrimp.gateway.services import Services
from scrimp.store.ledger import MemoryLedger
from scrimp.upstream.client import RawHeaders, UpstreamRequest
from scrimp.upstream.pricefeed import load_book
from tests.simulation.timeline import Timeline, settle

NOW_MS = 1_790_000_000_000
MODEL = "claude-opus-5-5"
MARK = {"cache_control": {"type": "ephemeral"}}
TOOL = {"name": "Read", "description": "Reads.", "input_schema": {"type": "object"}}
HEADERS: RawHeaders = [
    (b"x-api-key", b"sk-fake"),
    (b"Content-Length", b"99"),
    (b"Idempotency-Key", b"once"),
    (b"X-Client-Request-Id", b"once"),
    (b"anthropic-beta", b"b"),
]


def message(**usage: int) -> bytes:
    """Return a whole answer that waits for a tool."""
    counts = {"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0, **usage}
    said = {"type": "message", "id": "m", "model": MODEL, "stop_reason": "tool_use", "usage": counts, "content": []}
    return json.dumps(said).encode()


class Reply:
    """An answer to a ping."""

    reason = "OK"
    headers: RawHeaders = [(b"content-type", b"application/json"), (b"request-id", b"req_1")]  # noqa: RUF012 - not changed
    is_whole = False

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self._body = body
        self.closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body."""
        yield self._body

    async def aclose(self) -> None:
        """Note that it was let go of."""
        self.closed = True


class Api:
    """An API that hears pings; `answer` may wait or fail."""

    def __init__(self) -> None:
        self.requests: list[UpstreamRequest] = []
        self.replies: list[Reply] = []
        self.answer: Callable[[], Awaitable[Reply]] = self.read

    async def read(self) -> Reply:
        """Say that all was read."""
        return Reply(200, message(cache_read_input_tokens=16_000))

    async def send(self, request: UpstreamRequest) -> Reply:
        """Answer."""
        self.requests.append(request)
        self.replies.append(await self.answer())
        return self.replies[-1]


class Bench:
    """A keeper with an engine, in virtual time, and an API of its own."""

    def __init__(self, limit_bytes: int = keepers.KEPT_BYTES_MAX) -> None:
        self.clock, self.api, self.closed = Timeline(NOW_MS), Api(), list[Exchange]()
        services = Services(
            upstream=self.api,
            ledger=MemoryLedger(),
            prices=load_book(),
            clock=self.clock,
            policy=Policy(mode="safe"),
            on_closed=self.closed.append,
            holding=DEFAULTS,
            sleep=self.clock.sleep,
        )
        self.recorder = Recorder(services)
        self.commands: list[Command] = []
        self.metrics = Metrics()
        self.keeper = Keeper(services, self.recorder, Books(services, self.metrics), limit_bytes)

    def held(self, session: str = "s", **fields: Any) -> tuple[Held, UpstreamRequest]:
        """Return an exchange that is to be held, and the request that it sent."""
        content = [{"type": "text", "text": f"{session} A long manual. " * 4_000} | MARK]
        body = {"model": MODEL, "max_tokens": 50, "tools": [TOOL], "messages": [{"role": "user", "content": content}]}
        raw = json.dumps(body | fields).encode()
        headers = {"x-api-key": "sk-fake", "x-claude-code-session-id": session}
        opened = self.recorder.arrive(headers, raw, raw)
        self.commands = opened.commands
        meter = ResponseMeter("application/json", None, listens=True)
        meter.feed(message(cache_creation_input_tokens=16_000))
        self.recorder.close(opened, meter.answer(), status=200)
        assert opened.held is not None
        return opened.held, UpstreamRequest("POST", "/v1/messages?beta=true", HEADERS, raw)

    def reserved(self, held: Held) -> int:
        """Return what is set aside for a principal's pings."""
        return self.recorder._states.of(held.principal).account.reserved_pico_usd

    async def rest(self, pings: int = 1) -> None:
        """Let the time of so many pings pass."""
        await self.clock.pass_ms(pings * MINUTES_PING_MS)
        await settle()


def live(story: Callable[[Bench], Awaitable[None]], bench: Bench | None = None) -> Bench:
    """Live through a story; at its end nobody sleeps and no task is left."""
    bench = bench or Bench()

    async def through() -> None:
        await story(bench)
        await bench.keeper.aclose()
        assert 1 == len(asyncio.all_tasks())

    asyncio.run(through())
    assert (0, 0, {}) == (bench.metrics.in_flight, bench.keeper._bytes, dict(bench.keeper._kept))
    return bench


def test_a_thread_is_pinged_for_as_long_as_it_is_held() -> None:
    """Each ping is the same body, with the client's headers less those of one request; answers are let go of."""

    async def story(bench: Bench) -> None:
        bench.keeper.keep(*bench.held(stream=True))
        await bench.rest(3)

    bench = live(story)
    assert 3 == len(bench.api.requests) == len(bench.closed)
    assert 1 == len({request.body for request in bench.api.requests})
    first = bench.api.requests[0]
    assert ("POST", "/v1/messages?beta=true") == (first.method, first.target)
    assert [(b"x-api-key", b"sk-fake"), (b"anthropic-beta", b"b")] == first.headers
    assert isinstance(first.body, bytes)
    assert 0 == json.loads(first.body)["max_tokens"]
    assert all(reply.closed for reply in bench.api.replies)
    assert {("ping", "req_1", 200, 0)} == {
        (each.origin, each.request_id, each.http_status, each.baseline_cost_nano_usd) for each in bench.closed
    }


def test_who_is_released_is_not_pinged() -> None:
    """Nobody sleeps for it, and its bytes are free."""

    async def story(bench: Bench) -> None:
        held, request = bench.held()
        bench.keeper.keep(held, request)
        await settle()
        assert 1 == bench.clock.sleeping
        bench.keeper.release(held.principal, held.thread)
        bench.keeper.release(held.principal, "never seen")
        await bench.rest()
        assert (0, 0) == (bench.clock.sleeping, bench.keeper._bytes)

    assert [] == live(story).api.requests


def test_what_is_set_aside_is_kept_by_its_new_name() -> None:
    """Its pings go on as they would have, beside those of the thread, until it is forgotten."""

    async def story(bench: Bench) -> None:
        held, request = bench.held(thinking={"type": "adaptive"})
        bench.keeper.keep(held, request)
        await bench.clock.pass_ms(MINUTES_PING_MS // 2)
        again, other = bench.held(thinking={"type": "disabled"})
        aside = f"{held.thread}/{held.exchange.exchange_id}"
        assert [SetAside(held.thread, aside)] == bench.commands
        bench.keeper.goes_on(held.principal, held.thread, bench.commands)
        bench.keeper.keep(again, other)
        assert {(held.principal, aside), (held.principal, held.thread)} == set(bench.keeper._kept)
        await settle()
        assert len(bench.keeper._kept) == bench.clock.sleeping
        await bench.rest()
        bench.keeper.goes_on(held.principal, "another", [Forget(aside), SetAside("never seen", "never/seen")])
        assert ([(held.principal, held.thread)], 1) == (list(bench.keeper._kept), bench.clock.sleeping)
        await bench.rest()

    bodies = [request.body for request in live(story).api.requests if isinstance(request.body, bytes)]
    assert ["adaptive", "disabled", "disabled"] == [json.loads(body)["thinking"]["type"] for body in bodies]


def test_a_ping_under_way_ends_by_itself() -> None:
    """Whoever goes on meanwhile does not cut it off, and it does not count against who is held then."""

    async def story(bench: Bench) -> None:
        held, request = bench.held()
        released = asyncio.Event()

        async def slow() -> Reply:
            await released.wait()
            return await bench.api.read()

        bench.api.answer = slow
        bench.keeper.keep(held, request)
        await bench.rest()
        assert 1 == len(bench.api.requests)
        bench.keeper.release(held.principal, held.thread)
        again, request = bench.held()
        assert held.thread == again.thread
        bench.keeper.keep(again, request)
        released.set()
        await settle()
        assert [None] == [each.error_type for each in bench.closed]
        await bench.rest()

    assert 2 == len(live(story).api.requests)


def test_a_ping_that_is_cut_off_by_the_end_is_recorded() -> None:
    """As one that a stop of the gateway ended, with what it may have cost."""

    async def story(bench: Bench) -> None:
        async def never() -> Reply:
            await asyncio.Event().wait()
            raise AssertionError

        bench.api.answer = never
        bench.keeper.keep(*bench.held())
        await bench.rest()
        assert 1 == bench.metrics.in_flight

    (ping,) = live(story).closed
    assert ("gateway_stopped", None, False) == (ping.error_type, ping.cost_nano_usd, ping.usage_complete)
    assert ping.cost_upper_nano_usd


def test_nobody_is_held_after_the_end() -> None:
    """What would come late is let go at once."""

    async def story(bench: Bench) -> None:
        await bench.keeper.aclose()
        held, request = bench.held()
        bench.keeper.keep(held, request)
        assert 0 == bench.reserved(held)
        await bench.rest()

    assert [] == live(story).api.requests


@pytest.mark.parametrize(
    ("failure", "error_type"),
    [
        (UpstreamUnavailable("away"), "upstream_unavailable"),
        (ConnectionResetError("cut"), "upstream_cut"),
        (TimeoutError(), "upstream_cut"),
    ],
)
def test_a_ping_that_fails_is_not_sent_again(failure: Exception, error_type: str) -> None:
    """Its thread is let go, and its bytes are free."""

    async def story(bench: Bench) -> None:
        async def fail() -> Reply:
            raise failure

        bench.api.answer = fail
        held, request = bench.held()
        bench.keeper.keep(held, request)
        await bench.rest(3)
        assert (0, 0) == (bench.reserved(held), bench.keeper._bytes)

    bench = live(story)
    assert [error_type] == [each.error_type for each in bench.closed]


def test_an_error_of_the_api_ends_the_pings() -> None:
    """Too many requests, or an overload: no second one, and nothing to pay."""

    async def story(bench: Bench) -> None:
        async def overloaded() -> Reply:
            return Reply(529, b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}')

        bench.api.answer = overloaded
        bench.keeper.keep(*bench.held())
        await bench.rest(3)

    (ping,) = live(story).closed
    assert (529, "overloaded_error", 0) == (ping.http_status, ping.error_type, ping.cost_upper_nano_usd)


def test_memory_is_bounded() -> None:
    """The oldest is let go for the newest, and what alone is too long is not kept at all."""
    size = len(Bench().held()[1].body)  # type: ignore[arg-type]

    async def story(bench: Bench) -> None:
        kept = [bench.held(f"s{number}") for number in range(3)]
        before = bench.reserved(kept[0][0])
        for held, request in kept:
            bench.keeper.keep(held, request)
        assert bench.keeper._bytes <= 3 * size
        assert [held.thread for held, _ in kept[1:]] == [thread for _, thread in bench.keeper._kept]
        assert 0 < bench.reserved(kept[0][0]) < before
        await bench.rest()

    assert 2 == len(live(story, Bench(limit_bytes=size * 5 // 2)).api.requests)
    small = Bench(limit_bytes=size - 1)

    async def too_long(bench: Bench) -> None:
        held, request = bench.held()
        bench.keeper.keep(held, request)
        assert (0, 0) == (bench.reserved(held), len(bench.keeper._kept))

    live(too_long, small)


def test_pings_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than so many are under way at once; the others follow."""

    async def story(bench: Bench) -> None:
        released = asyncio.Event()

        async def slow() -> Reply:
            await released.wait()
            return await bench.api.read()

        bench.api.answer = slow
        for number in range(5):
            bench.keeper.keep(*bench.held(f"s{number}"))
        await bench.rest()
        assert (2, 2) == (len(bench.api.requests), bench.metrics.in_flight)
        released.set()
        await settle()

    monkeypatch.setattr(keepers, "PINGS_AT_ONCE_MAX", 2)
    assert 5 == len(live(story).api.requests)


def test_a_fault_of_ours_holds_nobody(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is owned up to, without a word of the request; a body that cannot be edited is one, too."""

    def broken(*_: object) -> bytes:
        raise ValueError("A long manual")

    async def story(bench: Bench) -> None:
        held, request = bench.held()
        bench.keeper.keep(held, request)
        await bench.rest(2)
        assert 0 == bench.reserved(held)

    monkeypatch.setattr(keepers, "splice", broken)
    assert [] == live(story).api.requests
    assert "a cache is not held any more (ValueError in broken" in caplog.text
    assert "long manual" not in caplog.text
