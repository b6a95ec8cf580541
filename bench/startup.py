"""What starting costs: the CPU seconds of `scrimp report --help`, and of `scrimp up` until it has answered /healthz.

Each is a process of its own in an empty home, its files compiled by a run before; the medians of five runs stand
beside `python -c pass`. CPU seconds are those of the whole process, so `scrimp up` pays for its stop as well.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUNS = 5
#: The promise: each command starts within this many seconds of CPU.
LIMIT_CPU_S = 0.5

SCRIMP = str(Path(sys.executable).with_name("scrimp"))
UP = [SCRIMP, "up", "--port", "0", "--upstream", "http://127.0.0.1:9"]
COMMANDS = {"python -c pass": [sys.executable, "-c", "pass"], "scrimp report --help": [SCRIMP, "report", "--help"]}


def finished(_process: subprocess.Popen[str]) -> None:
    """Let a process come to its end."""


def answered(process: subprocess.Popen[str]) -> None:
    """Ask a gateway for its health, then stop it."""
    if process.stdout is None:
        raise ValueError("the gateway's output has to be read")
    url = process.stdout.readline().split()[3]
    with urllib.request.urlopen(f"{url}/healthz") as answer:  # noqa: S310 - our own server on loopback
        answer.read()
    process.send_signal(signal.SIGTERM)


def cpu_seconds(command: list[str], until: Callable[[subprocess.Popen[str]], None], home: str) -> float:
    """Return the CPU seconds of one process, user and system, all its threads; raise if it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SCRIMP_", "XDG_"))}
    environment |= {"HOME": home, "NO_PROXY": "*"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        until(process)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return used.ru_utime + used.ru_stime


def median_of(command: list[str], until: Callable[[subprocess.Popen[str]], None] = finished) -> float:
    """Return the median over the runs, after one that compiles."""
    with tempfile.TemporaryDirectory() as home:
        return statistics.median([cpu_seconds(command, until, home) for _ in range(RUNS + 1)][1:])


def measure() -> dict[str, Any]:
    """Return every figure, and whether the promise holds."""
    median_s = {name: round(median_of(command), 3) for name, command in COMMANDS.items()}
    median_s["scrimp up, until /healthz answers"] = round(median_of(UP, answered), 3)
    return {
        "runs": RUNS,
        "limit_cpu_s": LIMIT_CPU_S,
        "median_cpu_s": median_s,
        "holds": all(value <= LIMIT_CPU_S for value in median_s.values()),
    }


def main() -> int:
    """Print the figures; 1 if a command starts too slowly."""
    figures = measure()
    json.dump(figures, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return int(not figures["holds"])


if __name__ == "__main__":
    sys.exit(main())
