"""What each gateway leaves of the Claude API's traffic, item by item: ours, nginx and LiteLLM beside one another.

    python bench/conformance.py [NAME...]

Each gateway runs as it is installed, on loopback, with a recorder of ours as its upstream (scrimp.gateway.conformance).
The page docs/conformance.md is written anew when every gateway was there; one that is absent is named on standard
error with the line that brings it ($LITELLM may say where LiteLLM's command is, $NGINX where nginx is), and what was
found of it in an earlier run is kept and marked as that.

Exit code 0: ours keeps every item; 1: it does not.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from peers import OURS, Absent, Running, litellm, nginx, scrimp
from peers.kept import instead
from scrimp.gateway.conformance.recorder import Recorder
from scrimp.gateway.conformance.report import Report, Row, report

PAGE = Path(__file__).resolve().parent.parent / "docs" / "conformance.md"
#: How long a gateway may take for one step of an item, in seconds.
PATIENCE_SECONDS = 10
SIGNS = {"pass": "✓", "fail": "✗", "not applicable": "–"}


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
    """Return what is kept: the counts of each gateway and the items that do not hold, or what stands in for one."""
    found = {
        name: {"version": version, **kept.counts(), "failed": kept.failed()}
        for name, (kept, version) in reports.items()
    }
    return {**found, **{name: instead("conformance", name, line) for name, line in absent.items()}}


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
