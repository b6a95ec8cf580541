"""The whole stack under swarms of faults: what reached the client, the ledger and the invoice tell one story.

Client agents talk through the gateway, which keeps its ledger in a file, to a simulator that fails in every way that
`scrimp.sim.faults` knows; each conversation has a swarm of its own. Time is virtual.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scrimp.clock import VirtualClock
from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage
from scrimp.gateway.app import create_app
from scrimp.gateway.services import Services
from scrimp.sim.app import create_app as create_sim
from scrimp.sim.billing import Classes, Line
from scrimp.sim.clients import Ask, scripted_agent
from scrimp.sim.encodings import DECODERS
from scrimp.sim.faults import KINDS, Fault, Faults, Kind
from scrimp.sim.habits import Traffic
from scrimp.sim.machine import Simulator
from scrimp.sim.reader import read_answer
from scrimp.sim.rules import Rules
from scrimp.store.ledger import SqlLedger
from scrimp.upstream.asgi import AsgiUpstream, Receive, Scope, Send
from scrimp.upstream.client import UpstreamRequest
from scrimp.upstream.pricefeed import load_book

SEEDS = 1000
#: Conversations that share a gateway, a ledger and a simulator.
CROWD = 50
START_MS = 1_790_000_000_000
TRIES = 3
CODINGS = (b"identity", b"gzip", b"br", b"zstd")
ADDED = {b"scrimp-exchange", b"scrimp-plan"}
BOOK = load_book()


@dataclass
class Seen:
    """One exchange as one side saw it: what was asked, what came back, and whether it came to an end."""

    body: bytes
    status: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    answer: bytes = b""
    ended: bool = False


class Noted(Faults):
    """Faults that remember what they did."""

    def __init__(self, seed: int, only: Kind | None = None) -> None:
        weights: dict[Kind, int] | None = {only: 1} if only else None
        super().__init__(seed, weights, permille=1_000 if only else 250)
        self.struck: list[Fault | None] = []

    def next(self) -> Fault | None:
        """Draw a fault and note it."""
        self.struck.append(super().next())
        return self.struck[-1]


@dataclass
class World:
    """One gateway, one ledger and one simulator, and what passed on either side of the gateway."""

    path: Path
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(START_MS))
    front: list[Seen] = field(default_factory=list)
    behind: list[Seen] = field(default_factory=list)
    struck: list[Fault | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Build the stack."""
        self.simulator = Simulator(Rules(), seed=7)
        self.sim = create_sim(self.simulator, self.clock, compress=True)
        self.ledger = SqlLedger(self.path)
        services = Services(AsgiUpstream(self.tap), self.ledger, BOOK, self.clock)
        self.gateway = AsgiUpstream(create_app(services))

    async def tap(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the simulator, and write down every byte of it and of its answer."""
        seen = Seen(b"")
        self.behind.append(seen)

        async def noted_receive() -> MutableMapping[str, Any]:
            message = await receive()
            seen.body += message.get("body", b"")
            return message

        async def noted_send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                seen.status, seen.headers = message["status"], tuple(message["headers"])
            seen.answer += message.get("body", b"")
            await send(message)
            seen.ended = message["type"] == "http.response.body" and not message.get("more_body", False)

        await self.sim(scope, noted_receive, noted_send)

    async def converse(self, seed: int) -> None:
        """Play one conversation under a swarm of faults of its own."""
        faults = self.sim.faults = Noted(seed)
        traffic = Traffic(searches=seed % 3 == 0)
        conversation = scripted_agent(seed, key=f"sk-fake-{seed % 5}", traffic=traffic)
        heard: Any = None
        while True:
            try:
                ask = conversation.send(heard)
            except StopIteration:
                break
            self.clock.advance_ms(ask.pause_ms)
            heard = await self.persevere(ask, seed, faults)
        self.struck += faults.struck

    async def persevere(self, ask: Ask, seed: int, faults: Noted) -> Any:
        """Return the message that the agent hears, after as many tries as clients make; else the last error."""
        message: Any = {}
        for _ in range(TRIES):
            message = await self.exchange(ask, CODINGS[seed % len(CODINGS)])
            struck = faults.struck[-1]
            if message.get("stop_reason") and not (struck and struck.kind == "duplicate"):
                return message
            self.clock.advance_ms(500)
        return message

    async def exchange(self, ask: Ask, coding: bytes) -> Any:
        """Send one request and return the answer as the client reads it; what cannot be read is an error."""
        seen = Seen(json.dumps(ask.request).encode())
        self.front.append(seen)
        headers = [(name.encode(), value.encode()) for name, value in ask.headers.items()]
        headers.append((b"accept-encoding", coding))
        response = await self.gateway.send(UpstreamRequest("POST", "/v1/messages", headers, seen.body))
        seen.status, seen.headers = response.status, tuple(response.headers)
        try:
            async for chunk in response.chunks():
                seen.answer += chunk
            seen.ended = True
        except ConnectionResetError:
            pass
        finally:
            await response.aclose()
        return heard_of(seen)


def heard_of(seen: Seen) -> Any:
    """Return what a client makes of an answer: the message, or an error where there is none to rely on."""
    named = {name.decode(): value.decode() for name, value in seen.headers}
    coding = named.get("content-encoding", "")
    plain = DECODERS[coding]()(seen.answer) if coding else seen.answer
    try:
        message = read_answer(named.get("content-type", ""), plain)
    except ValueError:
        message = {}
    whole = seen.ended and seen.status == 200 and message.get("stop_reason")
    return message if whole else {"type": "error", "error": message.get("error")}


def played(path: Path, seeds: range) -> tuple[World, list[Exchange]]:
    """Play some conversations in one world; return it and what its ledger holds, opened again."""
    world = World(path)

    async def all_of_them() -> None:
        for seed in seeds:
            await world.converse(seed)
        await world.ledger.aclose()

    asyncio.run(all_of_them())
    with SqlLedger(path) as ledger:
        return world, list(ledger.exchanges())


def check_bytes(world: World) -> None:
    """Every request reached the simulator once, as it was; every answer reached the client as far as it was sent."""
    assert [seen.body for seen in world.front] == [seen.body for seen in world.behind]
    for front, behind in zip(world.front, world.behind, strict=True):
        if behind.status is None:
            assert (502, True) == (front.status, front.ended)
            assert b"scrimp: " in front.answer
            continue
        kept = tuple(pair for pair in front.headers if pair[0] not in ADDED)
        assert (behind.status, behind.headers) == (front.status, kept)
        assert (behind.answer, behind.ended) == (front.answer, front.ended)


def exchange_id_of(seen: Seen) -> str:
    """Return the id that the gateway gave the exchange, in its header."""
    return dict(seen.headers)[b"scrimp-exchange"].decode()


def check_exchanges(world: World, exchanges: list[Exchange]) -> None:
    """No exchange is lost, doubled or left open, and each says what became of it."""
    assert len(world.front) == len({exchange.exchange_id for exchange in exchanges}) == len(exchanges)
    assert all(exchange.closed_at_ms is not None for exchange in exchanges)
    by_id = {exchange.exchange_id: exchange for exchange in exchanges}
    for front, behind in zip(world.front, world.behind, strict=True):
        if behind.status is not None:
            exchange = by_id.pop(exchange_id_of(front))
            assert behind.status == exchange.http_status
            assert ("upstream_cut" == exchange.error_type) is (not behind.ended)
    assert {"upstream_unavailable"} >= {exchange.error_type for exchange in by_id.values()}
    assert len(by_id) == sum(behind.status is None for behind in world.behind)


def used(classes: Classes) -> tuple[int, ...]:
    """Return an invoice line's classes in the order of the ledger's."""
    return (
        classes.uncached_input_tokens,
        classes.cache_read_input_tokens,
        classes.cache_write_5m_input_tokens,
        classes.cache_write_1h_input_tokens,
        classes.output_tokens,
        classes.web_search_requests,
    )


def recorded(usage: Usage | None) -> tuple[int, ...]:
    """Return an exchange's classes, nothing for one without any."""
    usage = usage or Usage()
    return (
        usage.uncached_input_tokens,
        usage.cache_read_input_tokens,
        usage.cache_write_5m_input_tokens,
        usage.cache_write_1h_input_tokens,
        usage.output_tokens,
        usage.web_search_requests,
    )


def check_line(line: Line, exchange: Exchange) -> None:
    """Where the final usage arrived the ledger says what the invoice says, elsewhere no more than it."""
    assert line.usage_arrived is exchange.usage_complete
    assert line.message_id == (exchange.message_id or line.message_id)
    if line.usage_arrived:
        assert (line.cost_nano_usd, used(line.classes)) == (exchange.cost_nano_usd, recorded(exchange.usage))
        return
    assert (exchange.cost_nano_usd or 0) <= line.cost_nano_usd
    pairs = zip(recorded(exchange.usage), used(line.classes), strict=True)
    assert all(lower <= billed for lower, billed in pairs)


def check_bills(world: World, exchanges: list[Exchange]) -> None:
    """Hold the ledger against the invoice, line by line; a line without an exchange is an answer that got lost."""
    lines = {line.request_id: line for line in world.simulator.invoice.lines}
    for exchange in exchanges:
        line = lines.pop(exchange.request_id or "", None)
        if line is None:
            assert (None, False) == (exchange.cost_nano_usd, exchange.usage_complete)
        else:
            check_line(line, exchange)
    lost = sum(fault is not None and fault.kind == "lost" for fault in world.struck)
    assert lost == len(lines)
    assert not any(line.usage_arrived for line in lines.values())


def check_all(world: World, exchanges: list[Exchange]) -> None:
    """Hold what the client saw, what the simulator sent, the ledger and the invoice against each other."""
    check_bytes(world)
    check_exchanges(world, exchanges)
    check_bills(world, exchanges)


@pytest.mark.slow
def test_faults_lose_nothing_and_double_nothing(tmp_path: Path, seed_count: int | None) -> None:
    """Under every kind of fault: bytes are the same on both sides, each exchange is there once, both bills agree."""
    kinds: Counter[str] = Counter()
    outcomes: Counter[bool] = Counter()
    searches = 0
    count = seed_count or SEEDS
    for number, start in enumerate(range(0, count, CROWD)):
        seeds = range(start, min(start + CROWD, count))
        world, exchanges = played(tmp_path / f"{number}.db", seeds)
        try:
            check_all(world, exchanges)
        except AssertionError as error:
            error.add_note(f"seeds {seeds}")
            raise
        kinds.update(fault.kind for fault in world.struck if fault)
        outcomes.update(line.usage_arrived for line in world.simulator.invoice.lines)
        searches += sum(len(line.parts) > 1 for line in world.simulator.invoice.lines)
    assert set(KINDS) == set(kinds) or count < SEEDS
    assert 0 < outcomes[False] < outcomes[True]
    assert 0 < searches


def test_a_seed_replays_its_faults(tmp_path: Path) -> None:
    """The same seeds disturb the same requests in the same way and end in the same invoice."""
    first, second = (played(tmp_path / f"{name}.db", range(8))[0] for name in ("first", "second"))
    assert first.struck == second.struck
    assert first.simulator.invoice.lines == second.simulator.invoice.lines
    assert [seen.answer for seen in first.behind] == [seen.answer for seen in second.behind]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_alone(tmp_path: Path, kind: Kind) -> None:
    """Where every request has the same kind of fault, the stories still agree."""
    world = World(tmp_path / "ledger.db")

    async def all_of_them() -> None:
        for seed in range(6):
            faults = world.sim.faults = Noted(seed, kind)
            await world.persevere(next(scripted_agent(seed)), seed, faults)
            world.struck += faults.struck
        await world.ledger.aclose()

    asyncio.run(all_of_them())
    with SqlLedger(world.path) as ledger:
        exchanges = list(ledger.exchanges())
    check_all(world, exchanges)
    assert {kind} == {fault.kind for fault in world.struck if fault}


def _break_bytes(world: World, _exchanges: list[Exchange]) -> None:
    next(seen for seen in world.front if seen.status == 200).answer += b"x"


def _break_body(world: World, _exchanges: list[Exchange]) -> None:
    world.behind[0].body += b" "


def _lose_an_exchange(_world: World, exchanges: list[Exchange]) -> None:
    del exchanges[3]


def _double_an_exchange(_world: World, exchanges: list[Exchange]) -> None:
    exchanges.append(exchanges[3])


def _cost_more(_world: World, exchanges: list[Exchange]) -> None:
    at = next(at for at, exchange in enumerate(exchanges) if exchange.usage_complete)
    exchanges[at] = msgspec.structs.replace(exchanges[at], cost_nano_usd=(exchanges[at].cost_nano_usd or 0) + 1)


def _bound_too_high(_world: World, exchanges: list[Exchange]) -> None:
    at = next(at for at, each in enumerate(exchanges) if each.cost_nano_usd and not each.usage_complete)
    exchanges[at] = msgspec.structs.replace(exchanges[at], cost_nano_usd=10**15)


def _claim_to_know(_world: World, exchanges: list[Exchange]) -> None:
    at = next(at for at, each in enumerate(exchanges) if each.cost_nano_usd and not each.usage_complete)
    exchanges[at] = msgspec.structs.replace(exchanges[at], usage_complete=True)


BREAKS = (
    _break_bytes,
    _break_body,
    _lose_an_exchange,
    _double_an_exchange,
    _cost_more,
    _bound_too_high,
    _claim_to_know,
)


@pytest.mark.parametrize("broken", BREAKS)
def test_the_comparison_can_fail(tmp_path: Path, broken: Callable[[World, list[Exchange]], None]) -> None:
    """A byte, an exchange, a nano-dollar, a bound or a claim that is wrong is noticed."""
    world, exchanges = played(tmp_path / "ledger.db", range(20, 30))
    check_all(world, exchanges)
    broken(world, exchanges)
    with pytest.raises(AssertionError):
        check_all(world, exchanges)
