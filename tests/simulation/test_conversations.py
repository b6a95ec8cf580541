"""The whole stack over seeded conversations: client, gateway, SQLite ledger, simulator, on a virtual clock."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from scrimp.clock import VirtualClock
from scrimp.core.belief.exchange import Exchange
from scrimp.gateway.app import create_app
from scrimp.gateway.services import Services
from scrimp.sim.app import SimApp
from scrimp.sim.app import create_app as create_sim
from scrimp.sim.clients import Ask, scripted_agent
from scrimp.sim.machine import Simulator
from scrimp.store.ledger import SqlLedger
from scrimp.upstream.asgi import AsgiUpstream
from scrimp.upstream.client import UpstreamRequest
from scrimp.upstream.pricefeed import load_book

SEEDS = 1000
START_MS = 1_790_000_000_000


class World:
    """One gateway and one simulator, and every body that was sent between them."""

    def __init__(self, path: Path) -> None:
        self.clock = VirtualClock(START_MS)
        self.sim: SimApp = create_sim(Simulator(seed=7), self.clock, compress=True, record=True)
        self.ledger = SqlLedger(path)
        services = Services(upstream=AsgiUpstream(self.sim), ledger=self.ledger, prices=load_book(), clock=self.clock)
        self.gateway = AsgiUpstream(create_app(services))
        self.sent: list[bytes] = []

    async def converse(self, seed: int) -> None:
        """Play one conversation through the gateway."""
        conversation = scripted_agent(seed, key=f"sk-fake-{seed % 5}")
        heard: Any = None
        while True:
            try:
                ask = conversation.send(heard)
            except StopIteration:
                return
            self.clock.advance_ms(ask.pause_ms)
            heard = await self.exchange(ask, seed)

    async def exchange(self, ask: Ask, seed: int) -> Any:
        """Send one request and return the answer as the client reads it."""
        body = json.dumps(ask.request).encode()
        self.sent.append(body)
        codings = [b"identity", b"gzip", b"br", b"zstd"]
        headers = [(name.encode(), value.encode()) for name, value in ask.headers.items()]
        headers.append((b"accept-encoding", codings[seed % len(codings)]))
        response = await self.gateway.send(UpstreamRequest("POST", "/v1/messages", headers, body))
        async for _ in response.chunks():
            pass
        await response.aclose()
        return self.last_answer(ask)

    def last_answer(self, ask: Ask) -> Any:
        """Return the message that the simulator gave last: the content, not its coding, is what the agent reacts to."""
        model = Simulator(seed=7)
        return model.handle(ask.request, ask.headers, self.clock.now_ms()).body


@pytest.mark.slow
def test_ledger_equals_invoice(tmp_path: Path, seed_count: int | None) -> None:
    """Every conversation's cost and tokens agree to the nano-dollar, and every body arrived byte for byte."""
    world = World(tmp_path / "ledger.db")

    async def all_of_them() -> list[Exchange]:
        for seed in range(seed_count or SEEDS):
            await world.converse(seed)
        await world.ledger.flush()
        exchanges = list(world.ledger.exchanges())
        await world.ledger.aclose()
        return exchanges

    exchanges = asyncio.run(all_of_them())
    lines = {line.request_id: line for line in world.sim.simulator.invoice.lines}
    answered = [exchange for exchange in exchanges if exchange.http_status == 200]

    assert world.sent == [recorded.body for recorded in world.sim.recorded]
    assert len(world.sent) == len(exchanges)
    assert len(lines) == len(answered) > 5 * (seed_count or SEEDS)
    for exchange in answered:
        assert exchange.usage_complete
        assert lines[exchange.request_id or ""].cost_nano_usd == exchange.cost_nano_usd
    assert world.sim.simulator.invoice.cost_nano_usd == sum(exchange.cost_nano_usd or 0 for exchange in exchanges)
    totals = world.sim.simulator.invoice.totals()
    assert totals.cache_read_input_tokens == sum(e.usage.cache_read_input_tokens for e in answered if e.usage)
    assert totals.output_tokens == sum(e.usage.output_tokens for e in answered if e.usage)
