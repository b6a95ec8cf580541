"""`scrimp sim`: serve the simulated Claude API, for anybody's tests."""

from __future__ import annotations

import json
import socket

import click

from scrimp.errors import UsageError


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default="a free one", type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--seed", default=0, show_default=True, help="The same seed and requests give the same answers.")
@click.option("--realtime", is_flag=True, help="Let answers take their time, token by token.")
@click.option("--compress", is_flag=True, help="Answer with zstd, br or gzip where the client accepts it.")
@click.option("--json", "as_json", is_flag=True, help="Print the address as one JSON object.")
def command(host: str, port: int, seed: int, *, realtime: bool, compress: bool, as_json: bool) -> None:
    """Serve the simulated Claude API until interrupted; no key and no network are needed."""
    import uvicorn

    from scrimp.clock import SystemClock
    from scrimp.sim.app import create_app
    from scrimp.sim.machine import Simulator

    listener = _listen(host, port)
    _announce(host, listener.getsockname()[1], as_json=as_json)
    app = create_app(Simulator(seed=seed), SystemClock(), realtime=realtime, compress=compress)
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that already takes connections, so that the address we print can be used at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise UsageError(
            f"Cannot listen on {host} port {port}: {error.strerror or error}.",
            "Choose another --port, or leave it out to get a free one.",
        ) from error
    return listener


def _announce(host: str, port: int, *, as_json: bool) -> None:
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if as_json:
        click.echo(json.dumps({"url": url, "invoice_url": f"{url}/__sim/invoice"}))
        return
    click.echo(f"The simulated Claude API listens on {url} (interrupt to stop).")
    click.echo(f"Point a client at it:  ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY=any-value claude -p hello")
    click.echo(f"Read what it billed:   curl {url}/__sim/invoice")
