"""What each gateway leaves of the Claude API's traffic, item by item: ours, nginx and LiteLLM beside one another.

    python bench/conformance.py [NAME...]

Each gateway runs as it is installed, on loopback, with a recorder of ours as its upstream (scrimp.gateway.conformance).
The page docs/conformance.md is written anew when every gateway was there; one that is absent is named on standard
error with the line that brings it. $LITELLM may say where LiteLLM's command is, $NGINX where nginx is.

Exit code 0: ours keeps every item; 1: it does not.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scrimp import __version__
from scrimp.gateway.conformance.recorder import Recorder
from scrimp.gateway.conformance.report import Report, Row, report

PAGE = Path(__file__).resolve().parent.parent / "docs" / "conformance.md"
#: How long a gateway may take to start, and to stop, in seconds.
START_SECONDS, STOP_SECONDS = 120, 20
#: How long a gateway may take for one step of an item, in seconds.
PATIENCE_SECONDS = 10
SIGNS = {"pass": "✓", "fail": "✗", "not applicable": "–"}
OURS = "Scrimp"


class Absent(Exception):
    """A gateway that is not installed here; the message is the line that brings it."""


@dataclass(frozen=True)
class Running:
    """A gateway that listens: where, which version, and what it asks of its clients."""

    url: str
    version: str
    key: str | None = None


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def output_of(*command: str) -> str:
    """Return what a command prints, on whichever stream."""
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True).stdout


@contextmanager
def process(command: list[str], url: str, folder: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    """Run a server until the context ends; it is there once anything answers at `url`."""
    with (folder / "server.log").open("wb") as log:
        running = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=os.environ | (environment or {}))
        try:
            await_answer(url, running, folder / "server.log")
            yield
        finally:
            running.terminate()
            running.wait(STOP_SECONDS)


def await_answer(url: str, running: subprocess.Popen[bytes], log: Path) -> None:
    """Return once something answers at `url`; raise where the server ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and running.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - a server of ours on loopback
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"{running.args!r} did not start:\n{log.read_text(errors='replace')[-2000:]}")


@contextmanager
def scrimp(upstream: str, folder: Path) -> Iterator[Running]:
    """Run ours as `scrimp up` does."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "scrimp", "up", "--port", str(port), "--upstream", upstream]
    environment = {"HOME": str(folder), "SCRIMP_DB": str(folder / "ledger.db"), "NO_PROXY": "*"}
    with process(command, f"{url}/healthz", folder, environment):
        yield Running(url, __version__)


NGINX = """
daemon off; worker_processes 1; pid nginx.pid; error_log stderr;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path body; proxy_temp_path proxy; client_max_body_size 64m;
  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  upstream api {{ server {upstream}; keepalive 128; }}
  server {{
    listen 127.0.0.1:{port};
    location = /nginx-is-here {{ return 204; }}
    location / {{
      proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 600s;
    }}
  }}
}}
"""


@contextmanager
def nginx(upstream: str, folder: Path) -> Iterator[Running]:
    """Run nginx as a reverse proxy that buffers nothing."""
    program = os.environ.get("NGINX") or shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not program:
        raise Absent("apt-get install nginx-light")
    port = free_port()
    (folder / "nginx.conf").write_text(NGINX.format(upstream=upstream.removeprefix("http://"), port=port))
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    with process(command, f"http://127.0.0.1:{port}/nginx-is-here", folder):
        yield Running(f"http://127.0.0.1:{port}", output_of(program, "-v").rpartition("/")[2].strip())


#: The wildcard serves every model under its own name; nothing is retried, cached, logged or sent home.
LITELLM = """
model_list:
  - model_name: "*"
    litellm_params: {{model: "anthropic/*", api_base: "{upstream}", api_key: sk-fake-upstream}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
litellm_settings: {{telemetry: false, num_retries: 0, request_timeout: 600}}
general_settings: {{master_key: os.environ/LITELLM_MASTER_KEY}}
"""
LITELLM_KEY = "sk-fake-conformance-of-a-gateway"


def litellm(route: str) -> Callable[[str, Path], AbstractContextManager[Running]]:
    """Return how to run LiteLLM's proxy, asked at this route of its own."""

    @contextmanager
    def run(upstream: str, folder: Path) -> Iterator[Running]:
        program = os.environ.get("LITELLM") or shutil.which("litellm")
        if not program:
            raise Absent("python3 -m venv DIR && DIR/bin/pip install 'litellm[proxy]'; export LITELLM=DIR/bin/litellm")
        port = free_port()
        (folder / "litellm.yaml").write_text(LITELLM.format(upstream=upstream))
        command = [program, "--config", str(folder / "litellm.yaml"), "--host", "127.0.0.1", "--port", str(port)]
        environment = {
            "HOME": str(folder),
            "LITELLM_MASTER_KEY": LITELLM_KEY,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "ANTHROPIC_API_BASE": upstream,
            "ANTHROPIC_API_KEY": "sk-fake-upstream",
            "NO_PROXY": "*",
        }
        url = f"http://127.0.0.1:{port}"
        with process([*command, "--num_workers", "1"], f"{url}/health/liveliness", folder, environment):
            shown = output_of(str(Path(program).with_name("python")), "-m", "pip", "show", "litellm")
            version = next(line.split()[1] for line in shown.splitlines() if line.startswith("Version:"))
            yield Running(url + route, version, LITELLM_KEY)

    return run


GATEWAYS: dict[str, Callable[[str, Path], AbstractContextManager[Running]]] = {
    OURS: scrimp,
    "nginx": nginx,
    "LiteLLM": litellm(""),
    "LiteLLM pass-through": litellm("/anthropic"),
}


def told(name: str) -> Callable[[Row], None]:
    """Say each item that does not hold as it is found."""
    return lambda row: print(f"  {name}: {row.name}: {row.got}", file=sys.stderr) if row.verdict == "fail" else None


def tried(name: str) -> tuple[Report, str]:
    """Run one gateway and return its report and version. Raises `Absent`."""
    with tempfile.TemporaryDirectory() as folder, Recorder() as recorder:
        with GATEWAYS[name](recorder.url, Path(folder)) as running:
            found = report(running.url, recorder, key=running.key, patience_s=PATIENCE_SECONDS, on_row=told(name))
        return found, running.version


def figures(reports: dict[str, tuple[Report, str]], absent: dict[str, str]) -> dict[str, Any]:
    """Return what is kept: the counts of each gateway and the items that do not hold, or how to get one."""
    found = {
        name: {"version": version, **kept.counts(), "failed": kept.failed()}
        for name, (kept, version) in reports.items()
    }
    return {**found, **{name: {"absent; to have it": line} for name, line in absent.items()}}


def cell(words: str) -> str:
    """Return words that may stand in a cell of Markdown."""
    escaped = words.replace("|", "\\|").replace("\n", " ")
    return escaped.replace("<", "&lt;").replace("*", "\\*")


def table(reports: dict[str, tuple[Report, str]]) -> Iterator[str]:
    """Yield the lines of the table: an item a row, a gateway a column."""
    yield (
        "| item | sent | expected | " + " | ".join(f"{name} {version}" for name, (_, version) in reports.items()) + " |"
    )
    yield "|---|---|---|" + ":-:|" * len(reports)
    for rows in zip(*(found.rows for found, _ in reports.values()), strict=True):
        first = rows[0]
        signs = " | ".join(SIGNS[row.verdict] for row in rows)
        yield f"| `{first.name}` | {cell(first.sent)} | {cell(first.expected)} | {signs} |"
    counts = " | ".join(f"{found.counts()['pass']} of {len(found.rows)}" for found, _ in reports.values())
    yield f"| **kept** | | | {counts} |"


def details(reports: dict[str, tuple[Report, str]]) -> Iterator[str]:
    """Yield, for each gateway, what was seen of the items that it does not keep."""
    for name, (found, version) in reports.items():
        yield f"\n### {name} {version}\n"
        lost = [row for row in found.rows if row.verdict != "pass"]
        yield "Every item holds." if not lost else "| item | | seen |\n|---|---|---|"
        yield from (f"| `{row.name}` | {SIGNS[row.verdict]} | {cell(row.got)} |" for row in lost)


INTRODUCTION = """# Conformance of gateways

What a gateway leaves of the Claude API's traffic. A recorder stands behind the gateway and a client before it, both on
bare sockets; each item is one small exchange, compared at both ends. ✓ kept, ✗ not kept, – not applicable.

Written by `python bench/conformance.py`; do not edit. Check a gateway of your own: set its upstream to
`http://127.0.0.1:4010` and run `scrimp doctor --gateway http://127.0.0.1:4000 --upstream-port 4010`.

"""
CONFIGURATION = """
Each gateway as it is installed: Scrimp by `scrimp up`; nginx with `proxy_buffering off`,
`proxy_request_buffering off`, `proxy_http_version 1.1`, an upstream with `keepalive` and `client_max_body_size 64m`;
LiteLLM with one wildcard model on its `/v1/messages` and, as pass-through, on `/anthropic/v1/messages`, retries and
cooldowns off, without a database.

## Why each item matters

| item | why | source |
|---|---|---|
"""
UNTESTED = """
## Not tested here

Silences: clients wait minutes for a ping, a test does not. TLS and HTTP/2: the recorder speaks HTTP/1.1 in the clear.
Load: `make bench` measures it.

## What was seen
"""


def page(reports: dict[str, tuple[Report, str]]) -> str:
    """Return docs/conformance.md."""
    ours = reports[OURS][0].rows
    reasons = "\n".join(f"| `{row.name}` | {cell(row.why)} | {cell(row.source)} |" for row in ours)
    parts = INTRODUCTION + "\n".join(table(reports)) + "\n" + CONFIGURATION + reasons + "\n" + UNTESTED
    return parts + "\n".join(details(reports)) + "\n"


def main() -> int:
    """Run what was asked for, all by default; print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(GATEWAYS)} (default: all)")
    names = parser.parse_args().names or list(GATEWAYS)
    if unknown := set(names) - set(GATEWAYS):
        parser.error(f"there is no gateway {min(unknown)!r}; there are {', '.join(GATEWAYS)}")
    reports: dict[str, tuple[Report, str]] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            reports[name] = tried(name)
        except Absent as absent:
            missing[name] = str(absent)
            print(f"conformance: {name} is not installed. To have it: {absent}", file=sys.stderr)
    if set(reports) == set(GATEWAYS):
        PAGE.write_text(page(reports), encoding="utf-8")
    json.dump(figures(reports, missing), sys.stdout, indent=2)
    sys.stdout.write("\n")
    return int(bool(OURS in reports and reports[OURS][0].failed()))


if __name__ == "__main__":
    sys.exit(main())
