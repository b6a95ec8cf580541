"""How many recorded requests `scrimp replay` gets through in a second on one core.

"scrimp-safe" counts all that it takes beside reading files: rates, automatic caching for the guard, the decisions, the
exact bill, the optimum and the regret by cause. "all policies" is the same for six of them, in requests times policies.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from scrimp.replay.compare import Task, replayed
from scrimp.replay.gather import gather
from scrimp.replay.policies import POLICIES
from scrimp.upstream.pricefeed import load_book

SESSIONS = Path(__file__).resolve().parents[2] / "shared" / "data" / "claude_code_sessions"
REQUESTS_PER_SECOND = 20_000
ROUNDS = 5


def rate(tasks: list[Task], policies: int) -> float:
    """Return requests times policies a second of processor time, the best of some rounds."""
    requests = sum(len(task.steps) for task in tasks) * policies
    best = 0.0
    for _ in range(ROUNDS):
        start = time.process_time()
        for task in tasks:
            replayed(task)
        best = max(best, requests / (time.process_time() - start))
    return best


def main() -> int:
    """Measure, print one JSON object, and say by the exit code whether the promise holds."""
    if not SESSIONS.is_dir():
        return 2
    book = load_book()
    start = time.process_time()
    accounts = gather([str(SESSIONS)]).accounts
    reading = time.process_time() - start
    figures = {}
    for name, policies in (("scrimp-safe", ("scrimp-safe",)), ("all policies", tuple(POLICIES))):
        tasks = [Task(account, steps, policies, book) for account, steps in accounts.items()]
        figures[name] = round(rate(tasks, len(policies)))
    requests = sum(map(len, accounts.values()))
    whole = requests * len(POLICIES) / (reading + requests * len(POLICIES) / figures["all policies"])
    figures["all policies, with reading the files"] = round(whole)
    promised = {"requests_per_second_at_least": REQUESTS_PER_SECOND}
    ratio = round(min(figures.values()) / REQUESTS_PER_SECOND, 2)
    print(json.dumps({"requests_per_second": figures, "promised": promised, "ratio": ratio}))
    return 0 if min(figures.values()) >= REQUESTS_PER_SECOND else 1


if __name__ == "__main__":
    sys.exit(main())
