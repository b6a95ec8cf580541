"""`scrimp run -- CLIENT...`: any client through a gateway of its own, and the bill at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from scrimp.errors import UsageError

if TYPE_CHECKING:
    from scrimp.core.belief.exchange import Exchange

#: What a shell adds to the number of the signal that ended a command.
_BY_SIGNAL = 128


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--upstream", metavar="URL", help="Base URL of the Claude API.  [default: $ANTHROPIC_BASE_URL if set]")
@click.option("--db", metavar="PATH", help="The ledger: a path or an sqlite:/// URL.")
@click.option("--bill", metavar="FILE", type=click.File("w", lazy=False), help="Write the bill there, as JSON.")
@click.option("--quiet", is_flag=True, help="Print no bill.")
@click.argument("client", nargs=-1, required=True, type=click.UNPROCESSED)
def command(upstream: str | None, db: str | None, bill: TextIO | None, quiet: bool, client: tuple[str, ...]) -> None:
    """Run CLIENT with ANTHROPIC_BASE_URL set to a gateway that lives as long as it does.

    Its exit code is the client's. The bill goes to standard error, so that the client's output stays its own. Where
    ANTHROPIC_BASE_URL already names a gateway of ours, that one goes on keeping the ledger.
    """
    from scrimp.config import load_settings
    from scrimp.gateway.build import build
    from scrimp.gateway.probe import is_scrimp
    from scrimp.gateway.server import serving
    from scrimp.store.ledger import MemoryLedger

    settings = load_settings({"upstream": upstream or os.environ.get("ANTHROPIC_BASE_URL"), "db": db}, os.environ)
    chained = is_scrimp(settings.upstream, trust_env=settings.trust_env)
    closed: list[Exchange] = []
    with serving(build(settings, closed.append, MemoryLedger() if chained else None)) as url:
        code = _run_client(client, {**os.environ, **client_environment(url)})
    summed = _bill(closed)
    if bill is not None:
        bill.write(json.dumps(summed) + "\n")
    if not quiet:
        kept = f"The gateway at {settings.upstream} has" if chained else f"`scrimp report --db {settings.db}` shows"
        click.echo(_sentences(summed, client[0], f"{kept} each of them."), err=True)
    sys.exit(code)


def client_environment(url: str) -> dict[str, str]:
    """Return what a client needs: where the gateway is, and Claude Code's own hints on what each request is for."""
    known = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    hosts = known if known == "*" else ",".join(filter(None, (known, "127.0.0.1")))
    return {"ANTHROPIC_BASE_URL": url, "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1", "NO_PROXY": hosts, "no_proxy": hosts}


def _run_client(client: tuple[str, ...], environment: dict[str, str]) -> int:
    try:
        process = subprocess.Popen(client, env=environment)  # noqa: S603 - running the user's own command is the task
    except OSError as error:
        raise UsageError(f"Cannot run {client[0]}: {error.strerror}.", "Is it installed and on the PATH?") from error
    with _signals_to(process):
        code = process.wait()
    return _BY_SIGNAL - code if code < 0 else code


@contextmanager
def _signals_to(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave Ctrl-C to the client, and pass a termination on to it: the bill is still printed."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.terminate()),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _bill(closed: list[Exchange]) -> dict[str, Any]:
    from scrimp.core.wire.usage import total
    from scrimp.money import usd

    used = total(exchange.usage for exchange in closed if exchange.usage is not None)
    priced = [exchange.cost_nano_usd for exchange in closed if exchange.cost_nano_usd is not None]
    cost = sum(priced) if priced or not closed else None
    return {
        "exchanges": len(closed),
        "unpriced_exchanges": len(closed) - len(priced),
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


def _sentences(bill: dict[str, Any], client: str, kept: str) -> str:
    from scrimp.money import dollars

    usage, incomplete = bill["usage"], bill["incomplete_exchanges"]
    written = usage["cache_write_5m_input_tokens"] + usage["cache_write_1h_input_tokens"]
    cost = f"at least {dollars(bill['cost_nano_usd'])}" if incomplete else dollars(bill["cost_nano_usd"])
    cached = f"{usage['cache_read_input_tokens']:,} read from cache, {written:,} written"
    made = f"{Path(client).name} made {_exchanges(bill['exchanges'])} for {cost}"
    lines = [
        f"scrimp: {made} at list price ({', '.join(bill['models']) or 'no model'}).",
        f"  input {usage['uncached_input_tokens']:,} uncached, {cached}; output {usage['output_tokens']:,} tokens.",
    ]
    if unpriced := bill["unpriced_exchanges"]:
        lines.append(f"  No price for {_exchanges(unpriced)}: failed, or of an unknown model.")
    if incomplete:
        lines.append(f"  {_exchanges(incomplete)} broke off before the final count: the true cost is higher.")
    return "\n".join([*lines, f"  {kept}"])


def _exchanges(count: int) -> str:
    return f"{count:,} exchange" if count == 1 else f"{count:,} exchanges"
