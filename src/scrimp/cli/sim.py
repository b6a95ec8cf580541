"""`scrimp sim`: serve the simulated Claude API, for anybody's tests."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default="a free one", type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--seed", default=0, show_default=True, help="The same seed and requests give the same answers.")
@click.option("--realtime", is_flag=True, help="Let answers take their time, token by token.")
@click.option("--compress", is_flag=True, help="Answer with zstd, br or gzip where the client accepts it.")
@click.option("--json", "as_json", is_flag=True, help="Print the address as one JSON object.")
def command(host: str, port: int, seed: int, *, realtime: bool, compress: bool, as_json: bool) -> None:
    """Serve the simulated Claude API until interrupted; no key and no network are needed."""
    from scrimp.clock import SystemClock
    from scrimp.gateway.server import bind, serve_forever, url_of
    from scrimp.sim.app import create_app
    from scrimp.sim.machine import Simulator

    with bind(host, port) as listening:
        _announce(url_of(listening), as_json=as_json)
        app = create_app(Simulator(seed=seed), SystemClock(), realtime=realtime, compress=compress)
        serve_forever(app, listening)


def _announce(url: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"url": url, "invoice_url": f"{url}/__sim/invoice"}))
        return
    click.echo(f"The simulated Claude API listens on {url} (interrupt to stop).")
    click.echo(f"Point a client at it:  ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY=any-value claude -p hello")
    click.echo(f"Read what it billed:   curl {url}/__sim/invoice")
