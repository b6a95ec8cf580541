"""`scrimp doctor`: what is wrong with this set-up, and the line that mends it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import click

from scrimp.errors import ScrimpError

if TYPE_CHECKING:
    from scrimp.config import Settings

Verdict = Literal["ok", "advice", "wrong"]
_SIGNS: dict[Verdict, str] = {"ok": "ok    ", "advice": "advice", "wrong": "WRONG "}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, and the line that mends it (empty where nothing is to mend)."""

    check: str
    verdict: Verdict
    found: str
    mend: str = ""


@click.command()
@click.option("--upstream", metavar="URL", help="Base URL of the Claude API.")
@click.option("--db", metavar="PATH", help="The ledger: a path or an sqlite:/// URL.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(upstream: str | None, db: str | None, *, as_json: bool) -> None:
    """Look over this set-up: settings, ledger, prices, upstream, gateway and client.

    Exits 1 if something is wrong; advice alone is no fault.
    """
    findings = list(examine({"upstream": upstream, "db": db}, os.environ))
    if as_json:
        click.echo(json.dumps({"findings": [asdict(finding) for finding in findings]}))
    else:
        for finding in findings:
            click.echo(f"{_SIGNS[finding.verdict]}  {finding.check}: {finding.found}")
            if finding.mend:
                click.echo(f"          {finding.mend}")
    sys.exit(any(finding.verdict == "wrong" for finding in findings))


def examine(flags: Mapping[str, str | None], environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at everything in turn; without usable settings there is nothing further to look at."""
    from scrimp.config import load_settings

    try:
        settings = load_settings(flags, environ)
    except ScrimpError as error:
        yield Finding("settings", "wrong", error.message, error.hint)
        return
    yield Finding("settings", "ok", f"{settings.mode}, upstream {settings.upstream}, ledger {settings.db}")
    checks: tuple[Callable[[Settings, Mapping[str, str]], Finding], ...] = (
        _ledger,
        _prices,
        _upstream,
        _gateway,
        _client,
    )
    for check in checks:
        yield check(settings, environ)


def _ledger(settings: Settings, _environ: Mapping[str, str]) -> Finding:
    from scrimp.store.ledger import open_ledger
    from scrimp.store.sqlite import path_of

    try:
        if not path_of(settings.db).exists():
            return Finding("ledger", "ok", f"none yet; the gateway will make {settings.db}")
        with open_ledger(settings.db) as ledger:
            count = sum(1 for _ in ledger.exchanges())
    except ScrimpError as error:
        return Finding("ledger", "wrong", error.message, error.hint)
    return Finding("ledger", "ok", f"{count:,} exchanges at {settings.db}")


def _prices(_settings: Settings, _environ: Mapping[str, str]) -> Finding:
    from scrimp.upstream.pricefeed import load_current_book

    try:
        book = load_current_book()
    except ScrimpError as error:
        return Finding("prices", "wrong", error.message, error.hint)
    return Finding("prices", "ok", f"{len(book.data.models)} models, compiled from {book.data.compiled_from}")


def _upstream(settings: Settings, _environ: Mapping[str, str]) -> Finding:
    """Any answer will do, a 404 too: it shows that the API, or a gateway in front of it, can be reached."""
    from scrimp.gateway.probe import ask

    try:
        status, _ = ask(settings.upstream, "HEAD", "/", trust_env=settings.trust_env)
    except ScrimpError as error:
        mend = "Check the address and the network, or name another: scrimp up --upstream URL"
        return Finding("upstream", "wrong", error.message, mend)
    return Finding("upstream", "ok", f"{settings.upstream} answers ({status})")


def _gateway(settings: Settings, environ: Mapping[str, str]) -> Finding:
    """Look where the clients of this shell are sent."""
    from scrimp.gateway.probe import HEALTH_PATH, HEALTHY, ask

    base = environ.get("ANTHROPIC_BASE_URL")
    ours = f"http://{settings.host}:{settings.port}"
    if not base:
        return Finding("gateway", "advice", "clients of this shell bypass Scrimp", f"export ANTHROPIC_BASE_URL={ours}")
    try:
        status, said = ask(base, "GET", HEALTH_PATH, trust_env=settings.trust_env)
    except ScrimpError as error:
        return Finding("gateway", "wrong", f"ANTHROPIC_BASE_URL: {error.message}", "scrimp up")
    if (status, said) != (200, HEALTHY):
        found = f"clients of this shell go to {base}, which is no Scrimp"
        return Finding("gateway", "advice", found, f"export ANTHROPIC_BASE_URL={ours}")
    return Finding("gateway", "ok", f"clients of this shell go to {base}")


def _client(_settings: Settings, environ: Mapping[str, str]) -> Finding:
    """Claude Code tells a gateway what each request is for if it is asked to (its gateway documentation)."""
    if shutil.which("claude", path=environ.get("PATH")) is None:
        return Finding("client", "ok", "no Claude Code on the PATH; any client of the Claude API will do")
    if environ.get("CLAUDE_CODE_GATEWAY_HINT_HEADERS") != "1":
        mend = "export CLAUDE_CODE_GATEWAY_HINT_HEADERS=1   # names subagents and compactions in the report"
        return Finding("client", "advice", "Claude Code does not say what its requests are for", mend)
    return Finding("client", "ok", "Claude Code says what its requests are for")
