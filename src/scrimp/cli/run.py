"""`scrimp run -- CLIENT...`: any client through a gateway of its own, and the bill at the end."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from scrimp.cli.child import environment_of, run_child, signals_handed_on
from scrimp.cli.main import tell
from scrimp.cli.switches import Switch, settable
from scrimp.errors import UsageError

if TYPE_CHECKING:
    from scrimp.config import Settings
    from scrimp.core.belief.exchange import Exchange

#: How Claude Code calls itself, and the Agent SDK, which runs it.
_CLAUDE_CODE = "claude-cli/"


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--upstream", metavar="URL", help="Base URL of the Claude API.  [default: $ANTHROPIC_BASE_URL if set]")
@click.option("--db", metavar="PATH", help="The ledger: a path or a URL.")
@click.option("--bill", metavar="FILE", help="Write the bill there, as JSON.")
@click.option("--quiet", is_flag=True, help="Print no bill.")
@click.option("--no-switches", is_flag=True, help="Set none of Claude Code's own switches (see scrimp doctor).")
@click.argument("client", nargs=-1, metavar="CLIENT...", type=click.UNPROCESSED)
def command(
    upstream: str | None,
    db: str | None,
    bill: str | None,
    quiet: bool,
    client: tuple[str, ...],
    *,
    no_switches: bool,
) -> None:
    """Run CLIENT with ANTHROPIC_BASE_URL set to a gateway that lives as long as it does.

    Its exit code is the client's. The bill goes to standard error, so that the client's output stays its own. Where
    ANTHROPIC_BASE_URL already names a gateway of ours, that one goes on keeping the ledger. Of Claude Code's switches
    those that are safe and save are set, unless you set them either way; what was set stands beside its bill.
    """
    from scrimp.config import load_settings
    from scrimp.gateway.build import build
    from scrimp.gateway.probe import is_scrimp
    from scrimp.gateway.server import serving
    from scrimp.upstream.pricefeed import describe_book

    if not client:
        raise UsageError("There is no client to run.", "Name one, as in `scrimp run -- claude -p hello`.")
    settings = load_settings({"upstream": upstream or os.environ.get("ANTHROPIC_BASE_URL"), "db": db}, os.environ)
    chained = is_scrimp(settings.upstream, trust_env=settings.trust_env)
    switches = () if no_switches else settable(os.environ)
    closed: list[Exchange] = []
    priced_at = describe_book()
    with _bill_file(bill) as file, signals_handed_on() as hand_to:
        with serving(build(settings, closed.append, chained=chained)) as url:
            code = run_child(client, {**os.environ, **environment_of(url), **values_of(switches)}, hand_to)
        summed = _bill(closed)
        if not quiet:
            more = [*_told(switches, closed), f"  {_kept(settings, chained=chained)}"]
            tell(_sentences(summed, client[0], priced_at, more))
        if file is not None:
            file.write(json.dumps(summed) + "\n")
    sys.exit(code)


def _bill_file(path: str | None) -> AbstractContextManager[IO[Any] | None]:
    """Open the file for the bill, before a client runs that may cost dollars."""
    if path is None:
        return nullcontext()
    try:
        return click.open_file(path, "w")
    except OSError as error:
        raise UsageError(
            f"The bill cannot be written to {path}: {error.strerror}.",
            "Name a file in a folder that is yours to write.",
        ) from error


def values_of(switches: Iterable[Switch]) -> dict[str, str]:
    """Return switches as a client reads them from its environment."""
    return {switch.name: switch.value for switch in switches}


def _told(switches: Iterable[Switch], closed: Iterable[Exchange]) -> Iterator[str]:
    """Yield what was set for Claude Code and why; no other client reads these, so that none is told of them."""
    if any((exchange.client or "").startswith(_CLAUDE_CODE) for exchange in closed):
        for switch in switches:
            yield f"  Set for this run: {switch.name}={switch.value} ({switch.why}; saves: {switch.saves})."


def _bill(closed: list[Exchange]) -> dict[str, Any]:
    from scrimp.core.belief.exchange import PING
    from scrimp.core.wire.usage import total
    from scrimp.money import usd

    pings = [exchange.cost_nano_usd for exchange in closed if exchange.origin == PING]
    known = [ping for ping in pings if ping is not None]
    used = total(exchange.usage for exchange in closed if exchange.usage is not None)
    priced = [exchange.cost_nano_usd for exchange in closed if exchange.cost_nano_usd is not None]
    cost = sum(priced) if priced or not closed else None
    return {
        "exchanges": len(closed),
        "unpriced_exchanges": len(closed) - len(priced),
        "pings": len(pings),
        "pings_nano_usd": sum(known) if len(known) == len(pings) else None,
        "incomplete_exchanges": sum(not each.usage_complete for each in closed if each.usage is not None),
        "cost_usd": None if cost is None else float(usd(cost)),
        "cost_nano_usd": cost,
        "models": sorted({each.served_model or each.requested_model or "unknown" for each in closed}),
        "usage": {
            "uncached_input_tokens": used.uncached_input_tokens,
            "cache_read_input_tokens": used.cache_read_input_tokens,
            "cache_write_5m_input_tokens": used.cache_write_5m_input_tokens,
            "cache_write_1h_input_tokens": used.cache_write_1h_input_tokens,
            "output_tokens": used.output_tokens,
        },
    }


def _kept(settings: Settings, *, chained: bool) -> str:
    """Return where to read more than the sum."""
    from scrimp.store.ledger import describe
    from scrimp.upstream.address import without_credentials

    if chained:
        return f"The gateway at {without_credentials(settings.upstream)} keeps the ledger of them."
    db = shlex.quote(describe(settings.db))
    return f"`scrimp report --db {db}` shows where it went, `scrimp export --db {db}` each exchange."


def _sentences(bill: dict[str, Any], client: str, priced_at: str, more: Iterable[str]) -> str:
    from scrimp.money import dollars

    if not bill["exchanges"]:
        return (
            f"scrimp: {Path(client).name} sent no request to /v1/messages through Scrimp, so nothing is to be billed.\n"
            "  If it should have: does it honour ANTHROPIC_BASE_URL?"
        )
    usage, incomplete = bill["usage"], bill["incomplete_exchanges"]
    written = usage["cache_write_5m_input_tokens"] + usage["cache_write_1h_input_tokens"]
    cost = f"at least {dollars(bill['cost_nano_usd'])}" if incomplete else dollars(bill["cost_nano_usd"])
    cached = f"{usage['cache_read_input_tokens']:,} read from cache, {written:,} written"
    made = f"{Path(client).name} made {_exchanges(bill['exchanges'])} for {cost}"
    lines = [
        f"scrimp: {made} at {priced_at} ({', '.join(bill['models']) or 'no model'}).",
        f"  input {usage['uncached_input_tokens']:,} uncached, {cached}; output {usage['output_tokens']:,} tokens.",
    ]
    if pings := bill["pings"]:
        lines.append(
            f"  {pings:,} of them Scrimp sent itself, to keep a cache warm, for {dollars(bill['pings_nano_usd'])}."
        )
    if unpriced := bill["unpriced_exchanges"]:
        lines.append(f"  No price for {_exchanges(unpriced)}: failed, or of an unknown model.")
    if incomplete:
        lines.append(f"  {_exchanges(incomplete)} broke off before the final count: the true cost is higher.")
    return "\n".join([*lines, *more])


def _exchanges(count: int) -> str:
    return f"{count:,} exchange" if count == 1 else f"{count:,} exchanges"
