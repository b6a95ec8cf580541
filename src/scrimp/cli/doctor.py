"""`scrimp doctor`: what is wrong with this set-up, and the line that mends it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import click

from scrimp.cli.switches import Seen, seen
from scrimp.errors import ConfigError, ScrimpError, UsageError

if TYPE_CHECKING:
    from scrimp.config import Settings

Verdict = Literal["ok", "advice", "wrong"]
#: Where the recorder of --gateway listens unless told otherwise.
UPSTREAM_PORT = 4010
#: The value of --key that says where the key is instead.
FROM_STANDARD_INPUT = "-"
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
@click.option("--db", metavar="PATH", help="The ledger: a path or a URL.")
@click.option("--gateway", metavar="URL", help="Examine this gateway instead: what it leaves of the API's traffic.")
@click.option("--upstream-port", default=UPSTREAM_PORT, show_default=True, help="Where --gateway's upstream has to be.")
@click.option(
    "--key",
    metavar="KEY",
    help="What --gateway asks of its clients; - reads it from standard input. The process list shows a key that is "
    "written here, so prefer - or $SCRIMP_DOCTOR_KEY.",
)
@click.option("--model", metavar="MODEL", help="A model that --gateway serves, or that --probe-upgrade asks.")
@click.option(
    "--probe-upgrade",
    is_flag=True,
    help="Ask the API, with your key and for some cents, whether a ping with a mark of an hour makes an hour of a "
    "cache of five minutes. Exits 0 for yes, 1 for no, 2 if nothing was shown.",
)
@click.option("--yes", is_flag=True, help="Do not ask before --probe-upgrade spends money.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    upstream: str | None,
    db: str | None,
    gateway: str | None,
    upstream_port: int,
    key: str | None,
    model: str | None,
    *,
    probe_upgrade: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Look over this set-up: settings, ledger, prices, upstream, gateway, and the switches of Claude Code.

    Exits 1 if something is wrong; advice alone is no fault.
    """
    if gateway is not None:
        from scrimp.cli.conformance import examine_gateway

        sys.exit(not examine_gateway(gateway, upstream_port, _key(key, os.environ), model, as_json=as_json))
    if probe_upgrade:
        sys.exit(_probed({"upstream": upstream}, _key(key, os.environ), model, agreed=yes, as_json=as_json))
    findings = list(examine({"upstream": upstream, "db": db}, os.environ))
    switches = list(seen(os.environ, has_claude=_has_claude(os.environ)))
    if as_json:
        told = {"findings": [asdict(finding) for finding in findings], "switches": [_switch(each) for each in switches]}
        click.echo(json.dumps(told))
    else:
        click.echo("\n".join((*_lines(findings), *_switch_lines(switches))))
    sys.exit(any(finding.verdict == "wrong" for finding in findings))


def _probed(flags: Mapping[str, str | None], key: str | None, model: str | None, *, agreed: bool, as_json: bool) -> int:
    """Probe the API itself; whatever keeps it from an answer is a 2, since 1 means no."""
    from scrimp.cli.main import tell
    from scrimp.cli.probe_upgrade import EXIT_CODES, credentials, probe
    from scrimp.config import load_settings

    if model is None:
        raise UsageError("There is no model to probe.", "Name one, as in `--model claude-opus-5-5`.")
    try:
        settings = load_settings(flags, os.environ)
        return probe(settings, model, credentials(key, os.environ), agreed=agreed, as_json=as_json)
    except ScrimpError as error:
        tell(f"scrimp: {error}")
        return EXIT_CODES["inconclusive"]


def _lines(findings: Iterable[Finding]) -> Iterator[str]:
    for finding in findings:
        yield f"{_SIGNS[finding.verdict]}  {finding.check}: {finding.found}"
        if finding.mend:
            yield f"          {finding.mend}"


def _has_claude(environ: Mapping[str, str]) -> bool:
    return shutil.which("claude", path=environ.get("PATH")) is not None


def _switch_lines(switches: Iterable[Seen]) -> Iterator[str]:
    """Yield each switch of Claude Code: whether it is set, what it does and saves, and the line that sets it."""
    yield "\nSwitches of Claude Code, where it runs (`scrimp run` sets those marked *, unless you did):"
    for switch, state, value in switches:
        is_ours = "*" if switch.is_safe else ""
        yield f"{state:<8} {switch.name}{'' if value is None else f'={value}'}{is_ours}: {switch.why}"
        yield f"          saves: {switch.saves}"
        if state == "advised" or (state == "not set" and not switch.harm):
            yield f"          {switch.line}"


def _switch(found: Seen) -> dict[str, str | bool | None]:
    switch = found.switch
    return {
        "name": switch.name,
        "state": found.state,
        "value": found.value,
        "why": switch.why,
        "saves": switch.saves,
        "line": switch.line,
        "set_by_run": switch.is_safe,
    }


def _key(flag: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the key for the gateway, which a terminal does not show while it is typed; None where there is none."""
    from scrimp.config import DOCTOR_KEY_VARIABLE

    if flag != FROM_STANDARD_INPUT:
        return flag or environ.get(DOCTOR_KEY_VARIABLE)
    typed: str = click.prompt("Key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    if not typed.strip():
        raise UsageError("There is no key on standard input.", "Pipe one in, as in `pass show gateway | scrimp ...`.")
    return typed.strip()


def examine(flags: Mapping[str, str | None], environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at everything in turn; without usable settings there is nothing further to look at."""
    from scrimp.config import load_settings
    from scrimp.store.ledger import describe
    from scrimp.upstream.address import without_credentials

    try:
        settings = load_settings(flags, environ)
    except ScrimpError as error:
        yield Finding("settings", "wrong", error.message, error.hint)
        return
    where = f"upstream {without_credentials(settings.upstream)}, ledger {describe(settings.db)}"
    yield Finding("settings", "ok", f"{settings.mode}, {where}")
    checks: tuple[Callable[[Settings, Mapping[str, str]], Finding], ...] = (
        _ledger,
        _prices,
        _upstream,
        _gateway,
    )
    for check in checks:
        yield check(settings, environ)


def _ledger(settings: Settings, _environ: Mapping[str, str]) -> Finding:
    from scrimp.store.ledger import describe, exists, open_ledger
    from scrimp.store.urls import is_postgres

    name = describe(settings.db)
    try:
        if not exists(settings.db):
            return _no_ledger(name, in_a_folder=not is_postgres(settings.db))
        with open_ledger(settings.db) as ledger:
            count = sum(1 for _ in ledger.exchanges())
    except ScrimpError as error:
        return Finding("ledger", "wrong", error.message, error.hint)
    return Finding("ledger", "ok", f"{count:,} {'exchange' if count == 1 else 'exchanges'} at {name}")


def _no_ledger(name: str, *, in_a_folder: bool) -> Finding:
    """Say whether the gateway could make the ledger: a file that nobody can see is written where its folder begins."""
    from pathlib import Path
    from tempfile import TemporaryFile

    if in_a_folder:
        folder = next(parent for parent in Path(name).absolute().parents if parent.exists())
        try:
            with TemporaryFile(dir=folder):
                pass
        except OSError as error:
            found = f"{name} cannot be made, because {folder} cannot be written ({error.strerror})"
            return Finding("ledger", "wrong", found, "Make that folder yours to write, or name another: --db PATH")
    return Finding("ledger", "ok", f"none yet; the gateway will make {name}")


def _prices(_settings: Settings, _environ: Mapping[str, str]) -> Finding:
    from scrimp.upstream.pricefeed import describe_book, load_current_book

    try:
        book = load_current_book()
        priced_at = describe_book()
    except ScrimpError as error:
        return Finding("prices", "wrong", error.message, error.hint)
    found = f"{len(book.data.models)} models at {priced_at}, compiled from {book.data.compiled_from}"
    return Finding("prices", "ok", found)


def _upstream(settings: Settings, _environ: Mapping[str, str]) -> Finding:
    """Any answer will do, a 404 too: it shows that the API, or a gateway in front of it, can be reached."""
    from scrimp.gateway.probe import ask
    from scrimp.upstream.address import base_of

    try:
        base_of(settings.upstream)
    except ScrimpError as error:
        return Finding("upstream", "wrong", error.message, f"{error.hint} The option is --upstream URL.")
    try:
        status, _ = ask(settings.upstream, "HEAD", "/", trust_env=settings.trust_env)
    except ScrimpError as error:
        mend = "Check the address and the network, or name another: scrimp up --upstream URL"
        return Finding("upstream", "wrong", error.message, mend)
    return Finding("upstream", "ok", f"{settings.upstream} answers ({status})")


def _gateway(settings: Settings, environ: Mapping[str, str]) -> Finding:
    """Look where the clients of this shell are sent."""
    from scrimp.gateway.probe import DEGRADED, HEALTH_PATH, HEALTHY, ask, is_scrimp

    base = environ.get("ANTHROPIC_BASE_URL")
    ours = _address(settings)
    lead_there = f"export ANTHROPIC_BASE_URL={ours}"
    if not is_scrimp(ours, trust_env=settings.trust_env):
        lead_there = f"scrimp up   # and then, where the client runs: {lead_there}"
    if not base:
        return Finding("gateway", "advice", "clients of this shell bypass Scrimp", lead_there)
    try:
        answer = ask(base, "GET", HEALTH_PATH, trust_env=settings.trust_env)
    except ConfigError as error:
        return Finding("gateway", "wrong", f"ANTHROPIC_BASE_URL: {error.message}", f"{error.hint} Or: {lead_there}")
    except ScrimpError as error:
        return Finding("gateway", "wrong", f"ANTHROPIC_BASE_URL: {error.message}", _start_at(base) or lead_there)
    if answer == (200, DEGRADED):
        mend = "Its log says why: mend that, and what waits is written."
        return Finding("gateway", "wrong", f"the gateway at {base} cannot write its ledger", mend)
    if answer != (200, HEALTHY):
        return Finding("gateway", "advice", f"clients of this shell go to {base}, which is no Scrimp", lead_there)
    return Finding("gateway", "ok", f"clients of this shell go to {base}")


def _address(settings: Settings) -> str:
    """Return where a client of this machine finds the gateway that the settings describe."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - what users may set
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _start_at(base: str) -> str | None:
    """Return the command that starts a gateway where clients look for it, None where that is not this machine."""
    from urllib.parse import urlsplit

    try:
        url = urlsplit(base)
        host, port = url.hostname, url.port
    except ValueError:
        return None
    if url.scheme != "http" or host not in {"127.0.0.1", "::1", "localhost"} or not port:
        return None
    return f"scrimp up --port {port}" + ("" if host == "127.0.0.1" else f" --host {host}")
