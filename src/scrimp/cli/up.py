"""`scrimp up`: the gateway, until it is interrupted."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

import click

from scrimp.errors import ConfigError, TraceFormatError

if TYPE_CHECKING:
    from scrimp.config import Settings
    from scrimp.core.belief.account import Account


#: Learn from the user's own past sessions.
OWN = "own"
_MODES = click.Choice(["observe", "safe"])


@click.command()
@click.option("--upstream", metavar="URL", help="Base URL of the Claude API, or of another gateway in front of it.")
@click.option("--db", metavar="PATH", help="The ledger: a path or a URL.")
@click.option("--mode", type=_MODES, help="What may be done to a request.  [default: observe]")
@click.option("--host", metavar="ADDRESS", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one.  [default: 4000]")
@click.option("--workers", type=int, help="How many processes serve it.  [default: 1]")
@click.option(
    "--learn-from",
    metavar="[PATH]",
    is_flag=False,
    flag_value=OWN,
    help="Learn how long pauses last from past sessions; your own without a PATH.",
)
def command(**flags: str | int | None) -> None:
    """Run the gateway: every request is recorded and priced, and changed only as the mode allows."""
    from scrimp.config import load_settings
    from scrimp.gateway.server import bind, url_of

    settings = load_settings(flags, os.environ)
    with bind(settings.host, settings.port) as listening:
        url = url_of(listening)
        if settings.upstream.rstrip("/") in {url, url.replace("127.0.0.1", "localhost")}:
            raise ConfigError(
                f"The upstream {settings.upstream} is this gateway itself.", "Name the API with --upstream."
            )
        account = _account(settings.learn_from)
        if settings.workers > 1:
            from scrimp.gateway.workers import serve_with_workers

            serve_with_workers(settings, listening, lambda: _announce(settings, url), account)
            return
        from scrimp.gateway.build import build
        from scrimp.gateway.server import serve_forever

        app = build(settings, account=account)
        _announce(settings, url)
        serve_forever(app, listening)


def _account(learn_from: str) -> Account | None:
    """Learn the habits of who will use the gateway, where the owner asked for that."""
    if not learn_from:
        return None
    from scrimp.cli.report import own_sessions, progress
    from scrimp.replay.cold_start import taught_by
    from scrimp.replay.gather import gather
    from scrimp.replay.traces.workers import processors
    from scrimp.upstream.pricefeed import load_current_book

    paths = own_sessions() if learn_from == OWN else [learn_from]
    material = gather(paths, processors(), progress)
    if not material.exchanges:
        raise TraceFormatError(
            f"{learn_from} says nothing of how long people pause.", "Give sessions of Claude Code, or no --learn-from."
        )
    return taught_by(material.exchanges, material.links, load_current_book())


def _announce(settings: Settings, url: str) -> None:
    """Say where the gateway listens and what to do with it."""
    from scrimp.store.ledger import describe
    from scrimp.upstream.address import without_credentials

    shown = without_credentials(settings.upstream)
    click.echo(f"Scrimp listens on {url} and sends everything on to {shown} ({settings.mode}).")
    click.echo(f"Point a client at it:  export ANTHROPIC_BASE_URL={url}")
    click.echo(f"See the bill:          scrimp report --db {shlex.quote(describe(settings.db))}")
    sys.stdout.flush()
