"""The whole stack under swarms of faults: what reached the client, the ledger and the invoice tell one story.

Client agents talk through the gateway, which keeps its ledger in a file, to a simulator that fails in every way that
`scrimp.sim.faults` knows; each conversation has a swarm of its own. Time is virtual.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, MutableMapping, Sequence
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
#: The seeds are dealt out to so many tests, for processes beside each other.
PARTS = 2
#: Worlds that are played at the same time: while one waits for its disk the others go on.
WORLDS = 8
TRIES = 3
#: How many of a thousand answers a client leaves before their end, and after how many pieces at most.
LEAVES_PERMILLE = 60
PIECES_HEARD_MAX = 12
CODINGS = (b"identity", b"gzip", b"br", b"zstd")
#: What a stream says that is refused after its status was sent.
REFUSED_LATE = {"overloaded_error", "upstream_unavailable", "client_gone"}
ADDED = {b"scrimp-exchange", b"scrimp-plan"}
BOOK = load_book()


@dataclass
class Seen:
    """One exchange as one side saw it: what was asked, what came back, whether it came to an end, who left before."""

    body: bytes
    status: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    answer: bytes = b""
    ended: bool = False
    left: bool = False


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


@dataclass(repr=False)
class World:
    """One gateway, one ledger and one simulator, and what passed on either side of the gateway."""

    path: Path
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(START_MS))
    front: list[Seen] = field(default_factory=list)
    behind: list[Seen] = field(default_factory=list)
    struck: list[Fault | None] = field(default_factory=list)
    patience: random.Random = field(default_factory=lambda: random.Random("patience:0"))

    def __post_init__(self) -> None:
        """Build the stack."""
        self.simulator = Simulator(Rules(), seed=7)
        self.sim = create_sim(self.simulator, self.clock, compress=True)
        self.ledger = SqlLedger(self.path)
        services = Services(upstream=AsgiUpstream(self.tap), ledger=self.ledger, prices=BOOK, clock=self.clock)
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
        self.patience = random.Random(f"patience:{seed}")
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
        pieces = self.pieces_heard()
        try:
            async for chunk in response.chunks():
                if pieces == 0:
                    seen.left = True
                    break
                seen.answer += chunk
                pieces -= 1
            seen.ended = not seen.left
        except ConnectionResetError:
            pass
        finally:
            await response.aclose()
        return heard_of(seen)

    def pieces_heard(self) -> int:
        """Return after how many pieces the client leaves; negative where it stays."""
        leaves = self.patience.randrange(1_000) < LEAVES_PERMILLE
        return self.patience.randrange(PIECES_HEARD_MAX) if leaves else -1


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


Played = tuple[World, list[Exchange]]


async def play(path: Path, seeds: range) -> Played:
    """Play some conversations in one world, one after the other; return it and what its ledger holds, opened again."""
    world = World(path)
    for seed in seeds:
        await world.converse(seed)
    await world.ledger.aclose()
    with SqlLedger(path) as ledger:
        return world, list(ledger.exchanges())


def played(path: Path, seeds: range) -> Played:
    """Play one world."""
    return asyncio.run(play(path, seeds))


def played_together(folder: Path, crowds: Sequence[range]) -> list[Played]:
    """Play several worlds at the same time; they share nothing."""

    async def all_of_them() -> list[Played]:
        return await asyncio.gather(*(play(folder / f"{seeds.start}.db", seeds) for seeds in crowds))

    return asyncio.run(all_of_them())


def check_bytes(world: World) -> None:
    """Every request reached the simulator once, as it was; every answer reached the client as far as it was sent."""
    assert [seen.body for seen in world.front] == [seen.body for seen in world.behind]
    for front, behind in zip(world.front, world.behind, strict=True):
        if behind.status is None:
            assert (502, not front.left) == (front.status, front.ended)
            assert front.left or b"scrimp: " in front.answer
            continue
        kept = tuple(pair for pair in front.headers if pair[0] not in ADDED)
        assert (behind.status, behind.headers) == (front.status, kept)
        if front.left:
            assert behind.answer.startswith(front.answer)
            continue
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
            assert exchange.error_type in expected_errors(front, behind, exchange)
    assert {"upstream_unavailable"} >= {exchange.error_type for exchange in by_id.values()}
    assert len(by_id) == sum(behind.status is None for behind in world.behind)


def expected_errors(front: Seen, behind: Seen, exchange: Exchange) -> set[str | None]:
    """Return what may be said of an exchange: how its answer broke off, else what the API said.

    A stream may go over into an error after its final usage, or break off while its client is leaving.
    """
    if not (behind.ended or front.left):
        return {"upstream_cut"}
    if behind.status != 200:
        return {"rate_limit_error", "overloaded_error", "api_error", None}
    if exchange.usage_complete:
        return {None, "overloaded_error", *(() if behind.ended else ("upstream_cut",))}
    broken = "upstream_incomplete" if behind.ended else "upstream_cut"
    return {broken, "overloaded_error", *({"client_gone"} if front.left else ())}


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


def check_line(line: Line, exchange: Exchange, *, left: bool) -> None:
    """Where the final usage arrived the ledger says what the invoice says, elsewhere the interval holds it.

    What a client leaves behind unread was sent, as far as the simulator can see.
    """
    assert line.usage_arrived is exchange.usage_complete or (left and line.usage_arrived)
    assert line.message_id == (exchange.message_id or line.message_id)
    if exchange.usage_complete:
        assert (line.cost_nano_usd, used(line.classes)) == (exchange.cost_nano_usd, recorded(exchange.usage))
        assert exchange.cost_upper_nano_usd == exchange.cost_nano_usd
        return
    assert exchange.cost_upper_nano_usd is not None
    assert (exchange.cost_nano_usd or 0) <= line.cost_nano_usd <= exchange.cost_upper_nano_usd
    pairs = zip(recorded(exchange.usage), used(line.classes), strict=True)
    assert all(lower <= billed for lower, billed in pairs)


def check_bills(world: World, exchanges: list[Exchange]) -> None:
    """Hold the ledger against the invoice, line by line; a line without an exchange is an answer that got lost."""
    lines = {line.request_id: line for line in world.simulator.invoice.lines}
    named = [seen for seen in world.front if b"scrimp-exchange" in dict(seen.headers)]
    left = {exchange_id_of(seen) for seen in named if seen.left}
    unanswered = []
    for exchange in exchanges:
        line = lines.pop(exchange.request_id or "", None)
        if line is not None:
            check_line(line, exchange, left=exchange.exchange_id in left)
            continue
        assert (None, False) == (exchange.cost_nano_usd, exchange.usage_complete)
        assert exchange.cost_upper_nano_usd is not None
        assert exchange.cost_upper_nano_usd == 0 or exchange.error_type in REFUSED_LATE or exchange.http_status == 502
        if exchange.http_status is None:
            unanswered.append(exchange.cost_upper_nano_usd)
    lost = sum(fault is not None and fault.kind == "lost" for fault in world.struck)
    assert lost == len(lines)
    assert not any(line.usage_arrived for line in lines.values())
    check_lost(unanswered, [line.cost_nano_usd for line in lines.values()])


def check_lost(uppers: Sequence[int], billed: Sequence[int]) -> None:
    """Hold exchanges without any answer against the bills that nobody saw: the interval of one has room for each."""
    assert len(billed) <= len(uppers)
    largest = sorted(uppers, reverse=True)[: len(billed)]
    assert all(bill <= upper for upper, bill in zip(largest, sorted(billed, reverse=True), strict=True))


def check_all(world: World, exchanges: list[Exchange]) -> None:
    """Hold what the client saw, what the simulator sent, the ledger and the invoice against each other."""
    check_bytes(world)
    check_exchanges(world, exchanges)
    check_bills(world, exchanges)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_faults_lose_nothing_and_double_nothing(tmp_path: Path, seed_count: int | None, part: int) -> None:
    """Under every kind of fault: bytes are the same on both sides, each exchange is there once, both bills agree."""
    kinds: Counter[str] = Counter()
    outcomes: Counter[bool] = Counter()
    searches = left = 0
    count = seed_count or SEEDS
    crowds = [range(start, min(start + CROWD, count)) for start in range(0, count, CROWD)][part::PARTS]
    if not crowds:
        pytest.skip(f"so few seeds are all in the first of {PARTS} parts")
    for together in (crowds[at : at + WORLDS] for at in range(0, len(crowds), WORLDS)):
        for seeds, (world, exchanges) in zip(together, played_together(tmp_path, together), strict=True):
            try:
                check_all(world, exchanges)
            except AssertionError as error:
                error.add_note(f"seeds {seeds}")
                raise
            kinds.update(fault.kind for fault in world.struck if fault)
            outcomes.update(line.usage_arrived for line in world.simulator.invoice.lines)
            searches += sum(len(line.parts) > 1 for line in world.simulator.invoice.lines)
            left += sum(seen.left for seen in world.front)
    assert set(KINDS) == set(kinds) or count < SEEDS
    assert left > 0
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


def _bound_too_low(_world: World, exchanges: list[Exchange]) -> None:
    at = next(at for at, each in enumerate(exchanges) if each.cost_nano_usd and not each.usage_complete)
    exchanges[at] = msgspec.structs.replace(exchanges[at], cost_upper_nano_usd=(exchanges[at].cost_nano_usd or 0) - 1)


def _know_no_bound(_world: World, exchanges: list[Exchange]) -> None:
    at = next(at for at, each in enumerate(exchanges) if not each.usage_complete)
    exchanges[at] = msgspec.structs.replace(exchanges[at], cost_upper_nano_usd=None)


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
    _bound_too_low,
    _know_no_bound,
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
