"""`scrimp doctor --gateway URL`: what any gateway leaves of the Claude API's traffic, item by item."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from scrimp.errors import ConfigError

if TYPE_CHECKING:
    from scrimp.gateway.conformance.report import Report

_SIGNS = {"pass": "ok", "fail": "FAILS", "not applicable": "-"}
_NOT_KEPT = "{0.name}: {0.why}\n    sent {0.sent}; expected {0.expected}; got {0.got}\n    {0.source}"


def examine_gateway(url: str, port: int, key: str | None, model: str | None, *, as_json: bool) -> bool:
    """Run every item on the gateway at `url`, print the report, and return whether all of them hold.

    The recorder listens on `port`. `key` is what the gateway asks of its clients and `model` one that it serves,
    None where it takes any. Raises `ScrimpError` where the gateway or the recorder cannot be reached.
    """
    from scrimp.gateway.conformance.recorder import Recorder
    from scrimp.gateway.conformance.report import ITEMS, report
    from scrimp.gateway.conformance.samples import MODEL

    try:
        recording = Recorder(port)
    except ConfigError as error:
        raise ConfigError(error.message, "Choose another with --upstream-port, for the gateway, too.") from error
    with recording as recorder:
        click.echo(f"The upstream of {url} has to be {recorder.url}: a recorder listens there now.", err=True)
        hidden = as_json or not sys.stderr.isatty()
        with click.progressbar(length=len(ITEMS), label="items", file=sys.stderr, hidden=hidden) as bar:
            found = report(url, recorder, key=key, model=model or MODEL, on_row=lambda _row: bar.update(1))
    click.echo(json.dumps(found.to_json()) if as_json else shown(found))
    return not found.failed()


def shown(found: Report) -> str:
    """Return the report for a person: the table, then why each item that fails matters."""
    from tabulate import tabulate

    rows = [(row.name, _SIGNS[row.verdict], row.got) for row in found.rows]
    counts = ", ".join(f"{count} {verdict}" for verdict, count in found.counts().items())
    reasons = [_NOT_KEPT.format(row) for row in found.rows if row.verdict == "fail"]
    table = tabulate(rows, ("item", "", "seen"), maxcolwidths=(None, None, 72))
    return "\n\n".join([table, *reasons, f"{found.gateway}: {counts}"])
