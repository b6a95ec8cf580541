"""`scrimp sim`: serve the simulated Claude API, for anybody's tests."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scrimp.cli.main import tell
from scrimp.errors import UsageError

if TYPE_CHECKING:
    from scrimp.gateway.asgi import App
    from scrimp.sim.billing import Invoice

#: What a client of a simulator that takes any key is given, where it has none.
_ANY_KEY = "sk-ant-simulated"


class _SimCommand(click.Command):
    """The command, with the faults and the rules as two tables after its options."""

    def format_epilog(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write both tables."""
        from scrimp.cli.sim_options import fault_rows, rule_rows

        for title, rows in (("Faults (--faults, --fault-script)", fault_rows()), ("Rules (--rule)", rule_rows())):
            with formatter.section(title):
                formatter.write_dl(list(rows))


@click.command(cls=_SimCommand, context_settings={"allow_interspersed_args": False})
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default="a free one", type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--seed", default=0, show_default=True, help="The same seed and requests give the same answers.")
@click.option("--faults", metavar="KINDS", help="Kinds of faults, with commas between them; or all, or swarm.")
@click.option(
    "--fault-rate",
    default=0.25,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="The share of the requests that --faults strikes.",
)
@click.option(
    "--fault-script",
    metavar="STEPS",
    help='The fault of each request in turn, as in "ok*2,overloaded,cut@50" (cut after 50% of the answer); then none.',
)
@click.option("--fault-seed", type=int, help="Draws the faults.  [default: the seed]")
@click.option("--realtime", is_flag=True, help="Let answers take their time, token by token.")
@click.option("--first-token-ms", type=click.IntRange(0), metavar="MS", help="Latency to a first token, in real time.")
@click.option("--token-ms", type=click.IntRange(0), metavar="MS", help="Time for each token of output, in real time.")
@click.option("--compress", is_flag=True, help="Answer with zstd, br or gzip where the client accepts it.")
@click.option("--threads/--no-threads", default=None, help="Serve message threads, or refuse them.  [default: refuse]")
@click.option(
    "--preserved-thinking",
    type=click.Choice(["new", "old", "off"]),
    help="Whose rules hold thinking to its conversation: of new accounts, of old ones, or nobody's.  [default: new]",
)
@click.option(
    "--tier", type=click.Choice(["start", "build", "scale"]), help="Enforce the documented rate limits of this tier."
)
@click.option("--requests-per-minute", type=click.IntRange(1), metavar="N", help="Enforce this rate limit.")
@click.option("--input-tokens-per-minute", type=click.IntRange(1), metavar="N", help="Enforce this rate limit.")
@click.option("--output-tokens-per-minute", type=click.IntRange(1), metavar="N", help="Enforce this rate limit.")
@click.option(
    "--workspace",
    "workspaces",
    multiple=True,
    metavar="NAME=KEY,KEY",
    help="Accept only such keys; those of one workspace share its cache. May be given several times.",
)
@click.option(
    "--rule", "rules", multiple=True, metavar="NAME=VALUE", help="Decide one of the rules below. May be given again."
)
@click.option("--invoice", metavar="FILE", help="Write what was billed there at the end, as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print the address as one JSON object, and nothing else.")
@click.argument("client", nargs=-1, metavar="[CLIENT...]", type=click.UNPROCESSED)
def command(
    host: str, port: int, seed: int, invoice: str | None, client: tuple[str, ...], *, as_json: bool, **asked: Any
) -> None:
    """Serve the simulated Claude API until interrupted; no key and no network are needed.

    With CLIENT (after --) that command is run against it instead: the server lives as long as it does, and the exit
    code is the command's. What was billed is said at the end, and at GET /__sim/invoice at any time.
    """
    from scrimp.cli.sim_options import faults_of, keys_of, rules_of
    from scrimp.clock import SystemClock
    from scrimp.sim.app import create_app
    from scrimp.sim.machine import Simulator

    if client and as_json:
        raise UsageError("--json prints an address, and CLIENT gets it anyway.", "Use --invoice FILE for the bill.")
    fault_seed = seed if asked["fault_seed"] is None else asked["fault_seed"]
    faults = faults_of(asked["faults"], asked["fault_rate"], asked["fault_script"], fault_seed)
    keys = keys_of(asked["workspaces"])
    simulator = Simulator(rules_of(asked["rules"], _shorthand(asked)), seed, keys)
    realtime = asked["realtime"] or asked["first_token_ms"] is not None or asked["token_ms"] is not None
    app = create_app(simulator, SystemClock(), realtime=realtime, compress=asked["compress"], faults=faults)
    written = _invoice_file(invoice)
    if client:
        code = _serve_client(app, host, port, client, next(iter(keys)) if keys else None)
    else:
        code = _serve(app, host, port, as_json=as_json)
    if written is not None:
        written.write_text(json.dumps(simulator.invoice.as_json()) + "\n", encoding="utf-8")
    if not as_json:
        tell(summary(simulator.invoice))
    sys.exit(code)


def _shorthand(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the rules that have options of their own; a limit that is named is enforced."""
    limits = ("tier", "requests_per_minute", "input_tokens_per_minute", "output_tokens_per_minute")
    account = {"off": "exempt"}.get(asked["preserved_thinking"], asked["preserved_thinking"])
    return {
        **{name: asked[name] for name in (*limits, "threads", "first_token_ms")},
        "output_token_ms": asked["token_ms"],
        "account": account,
        "enforce_limits": any(asked[name] is not None for name in limits) or None,
    }


def _invoice_file(name: str | None) -> Path | None:
    """Return where the invoice goes, made before anything is served, so that a test does not run for nothing."""
    if name is None:
        return None
    try:
        Path(name).write_text("", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"The invoice cannot be written to {name}: {error.strerror}.",
            "Name a file in a folder that is yours to write.",
        ) from error
    return Path(name)


def _serve(app: App, host: str, port: int, *, as_json: bool) -> int:
    from scrimp.gateway.server import bind, serve_forever, url_of

    with bind(host, port) as listening:
        _announce(url_of(listening), as_json=as_json)
        serve_forever(app, listening)
    return 0


def _serve_client(app: App, host: str, port: int, client: tuple[str, ...], key: str | None) -> int:
    """Run the client against the simulator; it is given a key where it has none that is accepted."""
    from scrimp.cli.child import environment_of, run_child, signals_handed_on
    from scrimp.gateway.server import serving

    credentials = {"ANTHROPIC_API_KEY": key or os.environ.get("ANTHROPIC_API_KEY") or _ANY_KEY}
    with signals_handed_on() as hand_to, serving(app, host, port) as url:
        return run_child(client, {**os.environ, **environment_of(url), **credentials}, hand_to)


def _announce(url: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"url": url, "invoice_url": f"{url}/__sim/invoice"}))
    else:
        click.echo(f"The simulated Claude API listens on {url} (interrupt to stop).")
        click.echo(f"Point a client at it:  ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY=any-value claude -p hello")
        click.echo(f"Read what it billed:   curl {url}/__sim/invoice")
    sys.stdout.flush()


def summary(invoice: Invoice) -> str:
    """Return in one line what was billed, and how much of it no client heard the end of."""
    from scrimp.money import dollars

    lines = invoice.lines
    workspaces = len({line.workspace for line in lines})
    made = f"{invoice.requests:,} {'request' if invoice.requests == 1 else 'requests'}"
    whose = f" of {workspaces:,} workspaces" if workspaces > 1 else ""
    unheard = sum(not line.usage_arrived for line in lines)
    cut = f"; {unheard:,} of them broke off before the final usage" if unheard else ""
    return f"scrimp: the simulator billed {made}{whose}: {dollars(invoice.cost_nano_usd)}{cut}."
