"""How long a report of recorded sessions takes, beside ccusage on the same files in the same run.

    python bench/read_sessions.py [--ccusage PATH] [--sessions FOLDER] [--runs N]

Both read every session and print JSON, each as a process of its own, in turn, so that whatever else the machine does
hits both alike. Sessions that are packed are unpacked first, because ccusage reads plain files only. Every figure is
wall-clock seconds; `times_ccusage` is the ratio of the medians, and the tokens that both counted have to be the same.
Where the sessions come with a table of their requests, made by nobody's meter, ours have to be those of the table.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SESSIONS = ROOT.parent / "shared" / "data" / "claude_code_sessions"
#: The request table of those sessions: one row for each message, `dup` 0 where it is the first of its message.
TABLE = SESSIONS.parent / "cc_requests" / "requests.csv.gz"
CCUSAGE = "ccusage@20.0.24"
HOW_TO_GET_IT = (
    f"ccusage is not here. Install it with `npm install {CCUSAGE}` and pass --ccusage node_modules/.bin/ccusage."
)
#: ccusage's name of a sum -> ours.
SUMS = {
    "inputTokens": ("uncached_input_tokens",),
    "cacheReadTokens": ("cache_read_input_tokens",),
    "cacheCreationTokens": ("cache_write_5m_input_tokens", "cache_write_1h_input_tokens"),
    "outputTokens": ("output_tokens",),
}


def unpacked(sessions: Path, home: Path) -> int:
    """Put every session, unpacked, where a client would keep it under `home`; return how many bytes they are."""
    total = 0
    for path in sorted(sessions.rglob("*.jsonl*")):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        target = home / "projects" / path.relative_to(sessions).with_name(path.name.removesuffix(".gz"))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        total += len(data)
    return total


def table_sums() -> Counter[str]:
    """Return the requests and tokens of the table, by our names; a cache write that is not for an hour is for 5 m."""
    sums: Counter[str] = Counter()
    with gzip.open(TABLE, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["dup"] == "0":
                hour = int(row["w1"] or 0)
                sums["exchanges"] += 1
                sums["uncached_input_tokens"] += int(row["inp"])
                sums["cache_read_input_tokens"] += int(row["cr"])
                sums["cache_write_5m_input_tokens"] += int(row["cw"]) - hour
                sums["cache_write_1h_input_tokens"] += hour
                sums["output_tokens"] += int(row["out"])
    return sums


def beside_the_table(answer: dict[str, Any]) -> dict[str, Any]:
    """Return how many requests the table has, and what a report of ours counts otherwise."""
    table, counted = table_sums(), {"exchanges": answer["exchanges"], **answer["usage"]}
    return {
        "exchanges": table["exchanges"],
        "counted_differently": [name for name, count in table.items() if counted[name] != count],
    }


def ccusage_of(given: str | None) -> list[str] | None:
    """Return the command that runs ccusage: as given, from PATH, or what npx has installed; None if there is none."""
    found = shutil.which(given or "ccusage")
    if found or given:
        return [found] if found else None
    npx = shutil.which("npx")
    command = [npx or "npx", "--no-install", CCUSAGE]
    known = npx and subprocess.run([*command, "--version"], capture_output=True, check=False).returncode == 0
    return command if known else None


def once(command: list[str], home: Path) -> tuple[float, dict[str, Any]]:
    """Run a command and return its wall-clock seconds and the object that it printed."""
    began = time.perf_counter()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, check=True, env=environment | {"CLAUDE_CONFIG_DIR": str(home)})
    return time.perf_counter() - began, json.loads(done.stdout)


def measure(sessions: Path, ccusage: list[str], runs: int) -> dict[str, Any]:
    """Return seconds of both, their ratio, and what is not the same in what they counted."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        size = unpacked(sessions, home)
        commands = {
            "scrimp": [str(Path(sys.executable).with_name("scrimp")), "report", str(home / "projects"), "--json"],
            "ccusage": [*ccusage, "claude", "daily", "--json", "--offline"],
        }
        answers = {who: once(command, home)[1] for who, command in commands.items()}
        seconds: dict[str, list[float]] = {who: [] for who in commands}
        for _ in range(runs):
            for who, command in commands.items():
                seconds[who].append(once(command, home)[0])
    ours, theirs = answers["scrimp"]["usage"], answers["ccusage"]["totals"]
    medians = {who: statistics.median(each) for who, each in seconds.items()}
    with_table = sessions == SESSIONS and TABLE.is_file()
    return {
        "megabytes": round(size / 1e6, 1),
        "exchanges": answers["scrimp"]["exchanges"],
        "runs": runs,
        "median_s": {who: round(value, 3) for who, value in medians.items()},
        "min_s": {who: round(min(each), 3) for who, each in seconds.items()},
        "times_ccusage": round(medians["scrimp"] / medians["ccusage"], 3),
        "counted_differently": [
            name for name, parts in SUMS.items() if theirs[name] != sum(ours[part] for part in parts)
        ],
        **({"table": beside_the_table(answers["scrimp"])} if with_table else {}),
    }


def main() -> int:
    """Print the figures; 1 if we are slower or count differently, 2 if there is nothing to compare with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ccusage", help="the ccusage to compare with (default: from PATH, or what npx has)")
    parser.add_argument("--sessions", type=Path, default=SESSIONS, help="a folder of Claude Code sessions")
    parser.add_argument("--runs", type=int, default=15)
    given = parser.parse_args()
    command = ccusage_of(given.ccusage)
    if command is None:
        sys.stderr.write(f"{HOW_TO_GET_IT}\n")
        return 2
    if not given.sessions.is_dir():
        sys.stderr.write(f"There are no sessions at {given.sessions}. Pass --sessions FOLDER.\n")
        return 2
    figures = measure(given.sessions, command, given.runs)
    json.dump(figures, sys.stdout, indent=2)
    sys.stdout.write("\n")
    otherwise = figures["counted_differently"] + figures.get("table", {}).get("counted_differently", [])
    return int(figures["times_ccusage"] > 1 or bool(otherwise))


if __name__ == "__main__":
    sys.exit(main())
