"""`scrimp up`: the gateway, until it is interrupted."""

from __future__ import annotations

import os
import shlex
import sys

import click

from scrimp.errors import ConfigError


@click.command()
@click.option("--upstream", metavar="URL", help="Base URL of the Claude API, or of another gateway in front of it.")
@click.option("--db", metavar="PATH", help="The ledger: a path or a URL.")
@click.option("--mode", type=click.Choice(["observe"]), help="What may be done to a request.  [default: observe]")
@click.option("--host", metavar="ADDRESS", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one.  [default: 4000]")
def command(upstream: str | None, db: str | None, mode: str | None, host: str | None, port: int | None) -> None:
    """Run the gateway: every request is recorded and priced, none is changed."""
    from scrimp.config import load_settings
    from scrimp.gateway.build import build
    from scrimp.gateway.server import bind, serve_forever, url_of
    from scrimp.store.ledger import describe
    from scrimp.upstream.address import without_credentials

    flags = {"upstream": upstream, "db": db, "mode": mode, "host": host, "port": port}
    settings = load_settings(flags, os.environ)
    with bind(settings.host, settings.port) as listening:
        url = url_of(listening)
        if settings.upstream.rstrip("/") in {url, url.replace("127.0.0.1", "localhost")}:
            raise ConfigError(
                f"The upstream {settings.upstream} is this gateway itself.", "Name the API with --upstream."
            )
        app = build(settings)
        shown = without_credentials(settings.upstream)
        click.echo(f"Scrimp listens on {url} and sends everything on to {shown} ({settings.mode}).")
        click.echo(f"Point a client at it:  export ANTHROPIC_BASE_URL={url}")
        click.echo(f"See the bill:          scrimp report --db {shlex.quote(describe(settings.db))}")
        sys.stdout.flush()
        serve_forever(app, listening)
