"""`scrimp demo`: one story against the simulated API, bare, observed and in safe mode, and every bill.

It needs no key and no network, and it is honest: it fails unless our ledger and the simulator's invoice, which share no
code, agree to the nano-dollar, and unless safe mode is no dearer than doing nothing.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from scrimp.cli.stage import Way
    from scrimp.core.belief.exchange import Exchange
    from scrimp.replay.report import Report

#: A conversation with three subagents, pauses and a tool loop; any other seed tells another story.
SEED = 19
#: When the story begins, 2026-11-25 in milliseconds since the epoch: its prices are those of that day, for ever.
START_MS = 1_795_564_800_000


class Told(NamedTuple):
    """One way in which the story was played; amounts are nano-USD.

    `scenes` is the API's invoice by scene. `closed` is what the ledger holds, nothing where there was no gateway.
    """

    scenes: dict[str, int]
    closed: list[Exchange]

    @property
    def invoice(self) -> int:
        """The whole invoice."""
        return sum(self.scenes.values())

    @property
    def ledger(self) -> int:
        """The whole ledger."""
        return sum(exchange.cost_nano_usd or 0 for exchange in self.closed)


@click.command()
@click.option("--seed", default=SEED, show_default=True, help="Which conversation is played.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(seed: int, *, as_json: bool) -> None:
    """Play one story bare, observed and in safe mode, and show every bill.

    Exits 1 unless ledger and the simulator's own invoice agree to the nano-dollar, and safe mode is not dearer.
    """
    from scrimp.cli.stage import WAYS
    from scrimp.replay.rates import Rates
    from scrimp.replay.report import fold
    from scrimp.upstream.pricefeed import load_book

    told = {way: asyncio.run(_told(way, seed)) for way in WAYS}
    report = fold(told["observe"].closed, Rates(load_book()), "agent")
    story = as_object(told, report)
    click.echo(json.dumps(story) if as_json else as_text(story, report))
    sys.exit(0 if story["agrees"] and story["saved_nano_usd"]["safe"] >= 0 else 1)


async def _told(way: Way, seed: int) -> Told:
    """Play every scene in one way."""
    from scrimp.cli.scenes import SCENES
    from scrimp.cli.stage import staged

    told = Told({}, [])
    async with staged(way, seed, START_MS, told.closed) as stage:
        for scene in SCENES:
            before = stage.simulator.invoice.cost_nano_usd
            await scene.play(stage, seed)
            told.scenes[scene.name] = stage.simulator.invoice.cost_nano_usd - before
    return told


def as_object(told: dict[Way, Told], report: Report) -> dict[str, Any]:
    """Return the story as `--json` prints it; amounts are in nano-USD."""
    bare, observed, safe = told["bare"], told["observe"], told["safe"]
    return {
        "exchanges": report.total.exchanges,
        "bare_nano_usd": bare.invoice,
        "observed_invoice_nano_usd": observed.invoice,
        "ledger_nano_usd": observed.ledger,
        "safe_invoice_nano_usd": safe.invoice,
        "safe_ledger_nano_usd": safe.ledger,
        "agrees": bare.invoice == observed.invoice == observed.ledger and safe.invoice == safe.ledger,
        "pings": sum(exchange.origin == "ping" for exchange in safe.closed),
        "scenes": [{"name": name, **{way: each.scenes[name] for way, each in told.items()}} for name in bare.scenes],
        "uncached_nano_usd": report.uncached_nano_usd,
        "saved_nano_usd": {"observe": bare.invoice - observed.invoice, "safe": bare.invoice - safe.invoice},
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
    return "\n".join(
        [
            f"A coding agent and three other clients worked for a while: {story['exchanges']} exchanges on a simulated",
            f"API, at the list prices of {day_at(START_MS)} that come with Scrimp{_not_used()}.",
            "",
            _bills(story),
            "",
            "Where the money went, observed:",
            tabulate(classes, ("tokens", "count", "cost"), colalign=("left", "right", "right"), disable_numparse=True),
            "",
            tabulate(agents, ("agent", "exchanges", "cost", "share"), colalign=("left", *["right"] * 3)),
            "",
            *_saved(story),
        ]
    )


def _bills(story: dict[str, Any]) -> str:
    from tabulate import tabulate

    from scrimp.money import dollars

    ways = ("bare", "observe", "safe")
    rows = [(scene["name"], *(dollars(scene[way]) for way in ways), _share(scene)) for scene in story["scenes"]]
    whole = {
        "bare": story["bare_nano_usd"],
        "observe": story["observed_invoice_nano_usd"],
        "safe": story["safe_invoice_nano_usd"],
    }
    rows += [
        ("the API's invoice", *map(dollars, whole.values()), _share(whole)),
        ("Scrimp's own ledger", "", dollars(story["ledger_nano_usd"]), dollars(story["safe_ledger_nano_usd"]), ""),
    ]
    verdict = "agree to the nano-dollar" if story["agrees"] else "DO NOT AGREE: this is a defect, please report it"
    table = tabulate(rows, ("", *ways, "saved"), colalign=("left", *["right"] * 4), disable_numparse=True)
    return f"{table}\nInvoice and ledger {verdict}."


def _share(amounts: dict[str, Any]) -> str:
    return f"{1 - amounts['safe'] / amounts['bare']:.0%}" if amounts["bare"] else ""


def _saved(story: dict[str, Any]) -> list[str]:
    from scrimp.money import dollars

    saved, bare = story["saved_nano_usd"], story["bare_nano_usd"]
    safe = f"Saved by safe: {dollars(saved['safe'])} of {dollars(bare)}, {story['pings']} pings included."
    if saved["safe"] < 0:
        safe = f"Safe was dearer by {dollars(-saved['safe'])}: that must not be, please report it."
    return [
        f"Without any caching the same requests would have cost {dollars(story['uncached_nano_usd'])}.",
        f"Saved by observe: {dollars(saved['observe'])}. It changes nothing.",
        safe,
    ]
