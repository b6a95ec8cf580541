"""The clients, and the record of what they did.

`make check-clients` names a file in CLIENTS_RESULTS; the versions, requests and costs of the run are written there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import claude
from tests.e2e.billed import Bills
from tests.e2e.scripts import NODE_MODULES, PYTHON_READY, Scripts, pinned_versions
from tests.e2e.stand import Stands
from tests.e2e.twice import Trials

_RUNS = pytest.StashKey[list[dict[str, Any]]]()
_ROWS = pytest.StashKey[Stands | Trials | Bills]()
_INSTALL = "`make check-clients` installs what tests/e2e/package.json and requirements/clients.txt pin"

# --- the clients --------------------------------------------------------------------------------------------------


@pytest.fixture
def stands(request: pytest.FixtureRequest, tmp_path: Path) -> Stands:
    """Return what makes gateway and simulator for a client."""
    made = request.node.stash[_ROWS] = Stands(tmp_path)
    return made


@pytest.fixture
def trials(request: pytest.FixtureRequest, tmp_path: Path) -> Trials:
    """Return what tries a client twice against a script, directly and through the gateway."""
    made = request.node.stash[_ROWS] = Trials(tmp_path)
    return made


@pytest.fixture
def bills(request: pytest.FixtureRequest, tmp_path: Path) -> Bills:
    """Return what tries a client twice against simulators, directly and through the gateway in safe mode."""
    made = request.node.stash[_ROWS] = Bills(tmp_path, request.node.name)
    return made


@cache
def _claude_program(version: str) -> str:
    """Return the path of a pinned Claude Code; skips where the PATH has none or another one."""
    program = shutil.which("claude" if version == claude.VERSION else f"claude-{version}")
    found = _claude_version(program) if program else "nothing"
    if program is None or found != version:
        pytest.skip(f"installable: Claude Code {version} has to be on the PATH, which has {found}; {_INSTALL}")
    return program


def _claude_version(program: str) -> str:
    environment = {name: os.environ[name] for name in ("PATH", "HOME")}
    shown = subprocess.run((program, "--version"), env=environment, capture_output=True, text=True, check=False)
    return shown.stdout.partition(" ")[0] or "one that does not start"


@pytest.fixture
def claude_code(tmp_path: Path) -> claude.ClaudeCode:
    """Return the newest Claude Code with a fresh home and an empty working folder."""
    return claude.ClaudeCode.within(claude.VERSION, _claude_program(claude.VERSION), tmp_path)


@pytest.fixture(params=claude.VERSIONS)
def each_claude_code(request: pytest.FixtureRequest, tmp_path: Path) -> claude.ClaudeCode:
    """Return each pinned Claude Code with a fresh home and an empty working folder."""
    return claude.ClaudeCode.within(request.param, _claude_program(request.param), tmp_path)


@pytest.fixture
def typescript(tmp_path: Path) -> Scripts:
    """Return what runs scripts with the TypeScript SDK; skips where that is not installed."""
    program = shutil.which("node")
    if program is None or not (NODE_MODULES / "@anthropic-ai" / "sdk").is_dir():
        pytest.skip(f"installable: Node.js and the TypeScript SDK are needed; {_INSTALL}")
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    return Scripts(program, tmp_path)


@pytest.fixture
def python(tmp_path: Path) -> Scripts:
    """Return what runs scripts with the clients of requirements/clients.txt; skips where those are not installed."""
    if not PYTHON_READY.is_file():
        pytest.skip(f"installable: the clients of requirements/clients.txt are needed; {_INSTALL}")
    return Scripts(str(PYTHON_READY.parent / "bin" / "python"), tmp_path)


# --- the record ---------------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Begin the record."""
    config.stash[_RUNS] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note what each test's clients did and cost."""
    report = yield
    rows = item.stash.get(_ROWS, None)
    if rows is not None and report.when == "call":
        item.config.stash[_RUNS].append(_run(item, rows, passed=report.passed))
    return report


def _run(item: pytest.Item, rows: Stands | Trials | Bills, *, passed: bool) -> dict[str, Any]:
    """Return one test's row; of one that failed nothing more is known, its ledger may be what is broken."""
    named = {"test": f"{item.path.name}::{item.name}", "passed": passed}
    return {**named, **rows.row()} if passed else named


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the record, if `make check-clients` asked for it and tests ran."""
    path, runs = os.environ.get("CLIENTS_RESULTS"), session.config.stash[_RUNS]
    if not path or not runs:
        return
    record = {"clients": pinned_versions(), "passed": session.exitstatus == 0, "runs": runs}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
