"""The clients, and the record of what they did.

`make check-clients` names a file in CLIENTS_RESULTS; the versions, requests and costs of the run are written there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Generator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import claude
from tests.e2e.stand import Stands

_RUNS = pytest.StashKey[list[dict[str, Any]]]()
_STANDS = pytest.StashKey[Stands]()

# --- the clients --------------------------------------------------------------------------------------------------


@pytest.fixture
def stands(request: pytest.FixtureRequest, tmp_path: Path) -> Stands:
    """Return what makes gateway and simulator for a client."""
    made = request.node.stash[_STANDS] = Stands(tmp_path)
    return made


@pytest.fixture(scope="session")
def claude_program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the path of the pinned Claude Code; skips where the PATH has none or another one."""
    program = shutil.which("claude")
    found = _claude_version(program, tmp_path_factory.mktemp("home")) if program else "nothing"
    if program is None or found != claude.VERSION:
        pytest.skip(
            f"installable: Claude Code {claude.VERSION} has to be on the PATH, which has {found}; "
            "`make check-clients` installs it with npm (tests/e2e/package.json) and puts it there"
        )
    return program


def _claude_version(program: str, home: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    shown = subprocess.run((program, "--version"), env=environment, capture_output=True, text=True, check=False)
    return shown.stdout.partition(" ")[0] or "one that does not start"


@pytest.fixture
def claude_code(claude_program: str, tmp_path: Path) -> claude.ClaudeCode:
    """Return Claude Code with a fresh home and an empty working folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return claude.ClaudeCode(claude_program, tmp_path / "home", folder)


# --- the record ---------------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Begin the record."""
    config.stash[_RUNS] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note what each test's clients did and cost."""
    report = yield
    stands = item.stash.get(_STANDS, None)
    if stands is not None and report.when == "call":
        item.config.stash[_RUNS].append(_run(item, stands, passed=report.passed))
    return report


def _run(item: pytest.Item, stands: Stands, *, passed: bool) -> dict[str, Any]:
    """Return one test's row; of one that failed nothing more is known, its ledger may be what is broken."""
    named = {"test": f"{item.path.name}::{item.name}", "passed": passed}
    if not passed:
        return named
    exchanges = [exchange for stand in stands.made for exchange in stand.exchanges()]
    return {
        **named,
        "clients": sorted({exchange.client or "unknown" for exchange in exchanges}),
        "requests": sum(len(stand.front.seen) for stand in stands.made),
        "exchanges": len(exchanges),
        "ledger_nano_usd": sum(exchange.cost_nano_usd or 0 for exchange in exchanges),
        "invoice_nano_usd": sum(stand.simulator.invoice.cost_nano_usd for stand in stands.made),
    }


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the record, if `make check-clients` asked for it and tests ran."""
    path, runs = os.environ.get("CLIENTS_RESULTS"), session.config.stash[_RUNS]
    if not path or not runs:
        return
    versions = {"anthropic": version("anthropic"), "claude-code": claude.VERSION}
    record = {"clients": versions, "passed": session.exitstatus == 0, "runs": runs}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
