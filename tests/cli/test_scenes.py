"""The scenes of the demo: each shows what it is there to show."""

from __future__ import annotations

import asyncio

import pytest

from scrimp.cli.scenes import SCENES, Scene
from scrimp.cli.stage import WAYS, Way, staged
from scrimp.core.belief.exchange import Exchange
from scrimp.sim.billing import Invoice

START_MS = 1_795_564_800_000
SEED = 19


def played(scene: Scene, way: Way) -> tuple[Invoice, list[Exchange]]:
    """Play one scene alone; return the invoice and what the ledger holds."""
    closed: list[Exchange] = []

    async def play() -> Invoice:
        async with staged(way, SEED, START_MS, closed) as stage:
            await scene.play(stage, SEED)
            return stage.simulator.invoice

    return asyncio.run(play()), closed


@pytest.mark.parametrize("scene", SCENES, ids=[scene.name for scene in SCENES])
def test_each_scene_is_cheaper_in_safe_mode_and_the_same_observed(scene: Scene) -> None:
    """And the ledger has every exchange of it at its cost, pings included."""
    bare, observed, safe = ((*played(scene, way), way) for way in WAYS)
    assert bare[0].cost_nano_usd == observed[0].cost_nano_usd > safe[0].cost_nano_usd > 0
    for invoice, closed, _ in (observed, safe):
        assert invoice.cost_nano_usd == sum(exchange.cost_nano_usd or 0 for exchange in closed)
        assert {200} == {exchange.http_status for exchange in closed}


def test_the_unmarked_client_reads_nothing_and_writes_nothing() -> None:
    """Until its marks are set for it."""
    scene = SCENES[1]
    assert 0 == played(scene, "bare")[0].totals().cache_read_input_tokens
    assert played(scene, "safe")[0].totals().cache_read_input_tokens > 50_000


def test_the_long_tool_is_held_by_pings() -> None:
    """Bare the prefix is written twice, held once."""
    scene = SCENES[2]
    bare, (safe, closed) = played(scene, "bare")[0], played(scene, "safe")
    written = bare.totals().cache_write_5m_input_tokens
    assert safe.totals().cache_write_5m_input_tokens < 0.6 * written
    assert [exchange for exchange in closed if exchange.origin == "ping"]


def test_the_agents_write_their_prompt_once() -> None:
    """Bare each of the five writes it."""
    scene = SCENES[3]
    bare, safe = (played(scene, way)[0].totals().cache_write_5m_input_tokens for way in ("bare", "safe"))
    assert 4.5 * safe < bare
