"""What the commands run against: the simulator on loopback, and our own command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scrimp.clock import SystemClock
from scrimp.gateway.server import serving
from scrimp.sim.app import SimApp, create_app
from scrimp.sim.machine import Simulator

Scrimp = Callable[..., subprocess.CompletedProcess[str]]

#: How long anything may take before a test gives up; no test waits for it when all is well.
PATIENCE_SECONDS = 120


@pytest.fixture
def simulator() -> SimApp:
    """Return the simulator that `simulated` serves."""
    return create_app(Simulator(seed=1), SystemClock(), record=True)


@pytest.fixture
def simulated(simulator: SimApp) -> Iterator[str]:
    """Serve the simulator and yield its address."""
    with serving(simulator) as url:
        yield url


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a command: a home of its own, no proxy, and every warning an error."""
    dropped = ("http_proxy", "https_proxy", "all_proxy")
    kept = {name: value for name, value in os.environ.items() if name.lower() not in dropped}
    return {**kept, "HOME": str(tmp_path / "home"), "NO_PROXY": "*", "PYTHONWARNINGS": "error"}


@pytest.fixture
def scrimp(environment: dict[str, str]) -> Scrimp:
    """Run `scrimp` with these arguments to its end; environment variables may be added as `env`."""

    def run(*arguments: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "scrimp", *arguments],
            env={**environment, **(env or {})},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
            **options,
        )

    return run


@pytest.fixture
def started(environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `scrimp` with these arguments; what still runs at the end of the test is ended."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "scrimp", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate(timeout=60)
