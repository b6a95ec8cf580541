"""`scrimp demo`: one agent run against the simulated API, bare and through Scrimp, and both bills.

It needs no key and no network, and it is honest: it fails unless our ledger and the simulator's invoice, which share no
code, agree to the nano-dollar.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from scrimp.core.belief.exchange import Exchange
    from scrimp.replay.report import Report
    from scrimp.sim.billing import Invoice
    from scrimp.sim.clients import Ask
    from scrimp.upstream.client import Upstream

#: A conversation with three subagents, pauses and a tool loop; any other seed tells another story.
SEED = 19
#: When the story begins, 2026-11-25 in milliseconds since the epoch: its prices are those of that day, for ever.
START_MS = 1_795_564_800_000


@click.command()
@click.option("--seed", default=SEED, show_default=True, help="Which conversation is played.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(seed: int, *, as_json: bool) -> None:
    """Play one agent run bare and through Scrimp, and show both bills.

    Exits 1 unless the ledger and the simulator's own invoice agree to the nano-dollar.
    """
    from scrimp.replay.rates import Rates
    from scrimp.replay.report import fold
    from scrimp.upstream.pricefeed import load_book

    bare = _bare(seed)
    observed, exchanges = _observed(seed)
    report = fold(exchanges, Rates(load_book()), "agent")
    story = as_object(bare, observed, report)
    click.echo(json.dumps(story) if as_json else as_text(story, report))
    sys.exit(0 if story["agrees"] else 1)


def _bare(seed: int) -> Invoice:
    """Play the run straight against the API and return the invoice."""
    from scrimp.clock import VirtualClock
    from scrimp.sim.app import create_app
    from scrimp.sim.machine import Simulator
    from scrimp.upstream.asgi import AsgiUpstream

    clock, simulator = VirtualClock(START_MS), Simulator(seed=seed)
    asyncio.run(_converse(seed, clock, AsgiUpstream(create_app(simulator, clock))))
    return simulator.invoice


def _observed(seed: int) -> tuple[Invoice, list[Exchange]]:
    """Play the same run through the gateway; return the invoice and what the ledger holds."""
    from scrimp.clock import VirtualClock
    from scrimp.gateway.app import create_app as create_gateway
    from scrimp.gateway.services import Services
    from scrimp.sim.app import create_app
    from scrimp.sim.machine import Simulator
    from scrimp.store.ledger import SqlLedger
    from scrimp.upstream.asgi import AsgiUpstream
    from scrimp.upstream.pricefeed import load_book

    clock, simulator = VirtualClock(START_MS), Simulator(seed=seed)
    with TemporaryDirectory(prefix="scrimp-demo-") as folder, SqlLedger(Path(folder) / "ledger.db") as ledger:
        services = Services(
            upstream=AsgiUpstream(create_app(simulator, clock)), ledger=ledger, prices=load_book(), clock=clock
        )

        async def run() -> None:
            await _converse(seed, clock, AsgiUpstream(create_gateway(services)))
            await ledger.flush()

        asyncio.run(run())
        return simulator.invoice, list(ledger.exchanges())


async def _converse(seed: int, clock: Any, upstream: Upstream) -> None:
    """Let the scripted agent talk until it is done; virtual time passes as it pauses."""
    from scrimp.sim.clients import scripted_agent

    agent = scripted_agent(seed)
    heard: Any = None
    while True:
        try:
            ask = agent.send(heard)
        except StopIteration:
            return
        clock.advance_ms(ask.pause_ms)
        heard = await _exchange(ask, upstream)


async def _exchange(ask: Ask, upstream: Upstream) -> Any:
    from scrimp.sim.reader import read_answer
    from scrimp.upstream.client import UpstreamRequest

    headers = [(name.encode(), value.encode()) for name, value in ask.headers.items()]
    response = await upstream.send(UpstreamRequest("POST", "/v1/messages", headers, json.dumps(ask.request).encode()))
    body = b"".join([chunk async for chunk in response.chunks()])
    await response.aclose()
    return read_answer(dict(response.headers)[b"content-type"].decode(), body)


def as_object(bare: Invoice, observed: Invoice, report: Report) -> dict[str, Any]:
    """Return the story as `--json` prints it; amounts are in nano-USD."""
    ledger = report.total.cost_nano_usd or 0
    return {
        "exchanges": report.total.exchanges,
        "bare_nano_usd": bare.cost_nano_usd,
        "observed_invoice_nano_usd": observed.cost_nano_usd,
        "ledger_nano_usd": ledger,
        "agrees": observed.cost_nano_usd == ledger == bare.cost_nano_usd,
        "uncached_nano_usd": report.uncached_nano_usd,
        "saved_nano_usd": {"observe": bare.cost_nano_usd - observed.cost_nano_usd},
    }


def _not_used() -> str:
    """Say that the user's own prices are left out, where there are any: the simulator's invoice knows none of them."""
    from scrimp.upstream.pricefeed import user_price_file

    own = user_price_file()
    return f" (your own file, {own}, is left out)" if own.exists() else ""


def as_text(story: dict[str, Any], report: Report) -> str:
    """Return the story as a person reads it."""
    from tabulate import tabulate

    from scrimp.money import dollars
    from scrimp.replay.report import day_at

    classes = [
        (name.removesuffix("_tokens").replace("_", " "), f"{getattr(report.total.usage, name):,}", dollars(cost))
        for name, cost in report.class_cost_nano_usd.items()
    ]
    agents = [
        (group.key, group.exchanges, dollars(group.cost_nano_usd), f"{group.share:.0%}") for group in report.groups
    ]
    verdict = "agree to the nano-dollar" if story["agrees"] else "DO NOT AGREE: this is a defect, please report it"
    return "\n".join(
        [
            f"A coding agent worked for a while: {story['exchanges']} exchanges on a simulated API,",
            f"at the list prices of {day_at(START_MS)} that come with Scrimp{_not_used()}.",
            "",
            f"  bare, the API's invoice       {dollars(story['bare_nano_usd'])}",
            f"  through Scrimp, its invoice   {dollars(story['observed_invoice_nano_usd'])}",
            f"  Scrimp's own ledger           {dollars(story['ledger_nano_usd'])}   ({verdict})",
            "",
            "Where the money went:",
            tabulate(classes, ("tokens", "count", "cost"), colalign=("left", "right", "right"), disable_numparse=True),
            "",
            tabulate(agents, ("agent", "exchanges", "cost", "share"), colalign=("left", *["right"] * 3)),
            "",
            f"Without any caching the same requests would have cost {dollars(story['uncached_nano_usd'])}.",
            f"Saved by observe: {dollars(story['saved_nano_usd']['observe'])}. It changes nothing yet.",
        ]
    )
