"""Run every benchmark of this folder, print one table, and keep the figures with the machine they were taken on.

    python bench/run.py [NAME...]

A benchmark is a script that prints one JSON object: exit code 0 its promises hold, 1 one does not, 2 it has nothing
to measure with. Ours is 0 only if all of them end with 0. The figures go to bench/results/NAME.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tabulate import tabulate

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
CPU_INFO = Path("/proc/cpuinfo")
VERDICTS = {0: "holds", 1: "does not hold", 2: "not measured"}


def benchmarks() -> list[str]:
    """Return the names of the scripts beside this one."""
    return sorted(path.stem for path in HERE.glob("*.py") if path != Path(__file__).resolve())


def cpu_model() -> str:
    """Return what the processor calls itself."""
    lines = CPU_INFO.read_text(encoding="utf-8").splitlines() if CPU_INFO.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """Return what a reader has to know to compare: no name, no path."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def measured(name: str) -> tuple[int, dict[str, Any]]:
    """Run one benchmark; return its exit code and its figures, none where it could not measure."""
    script = HERE / f"{name}.py"
    ended = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, check=False)
    return ended.returncode, json.loads(ended.stdout) if ended.stdout.strip() else {}


def flat(figures: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every figure with the names that lead to it."""
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{name}: ")
        else:
            yield f"{before}{name}", json.dumps(value) if isinstance(value, list) else value


def keep(name: str, code: int, figures: dict[str, Any]) -> None:
    """Write the figures of one benchmark beside those of the others."""
    RESULTS.mkdir(exist_ok=True)
    result = {"benchmark": name, "verdict": VERDICTS.get(code, "failed"), "machine": machine(), "figures": figures}
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    """Run what was asked for, all by default; 1 unless every promise was measured and holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(benchmarks())} (default: all)")
    names = parser.parse_args().names or benchmarks()
    if unknown := set(names) - set(benchmarks()):
        parser.error(f"there is no benchmark {min(unknown)!r}; there are {', '.join(benchmarks())}")
    rows: list[tuple[str, str, Any]] = []
    codes = {}
    for name in names:
        print(f"bench: {name} ...", file=sys.stderr)
        codes[name], figures = measured(name)
        if figures:
            keep(name, codes[name], figures)
        rows += [(name, figure, value) for figure, value in flat(figures)]
        rows.append((name, "verdict", VERDICTS.get(codes[name], "failed")))
    print(tabulate(rows, ("benchmark", "figure", "value"), colalign=("left", "left", "right")))
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    return int(any(codes.values()))


if __name__ == "__main__":
    sys.exit(main())
