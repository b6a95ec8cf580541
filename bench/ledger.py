"""What keeping the ledger costs, beside a bare sqlite3 loop that writes the same rows in the same run.

The loop commits each open and each close by itself, as the simplest recorder would. Wall-clock figures of a shared
machine wander; the ratios and the CPU of a pair (one open and one close) are what to look at.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage, UsageLine
from scrimp.store import sqlite
from scrimp.store.ledger import SqlLedger
from scrimp.store.rows import CLOSED, OPEN, to_row
from scrimp.store.statements import CLOSE_ROW, OPEN_ROW

PAIRS = 4_000
AT_ONCE = (1, 8, 64)


def _pairs(run: str) -> list[tuple[Exchange, Exchange]]:
    """Return exchanges as a gateway opens and closes them."""
    usage = Usage(12, 81_234, 512, 0, 431)
    opened = [
        Exchange(
            exchange_id=f"ex_{run}_{number:06}",
            opened_at_ms=1_700_000_000_000 + number,
            source="gateway",
            principal="0123456789abcdef",
            session_id=f"session-{number // 50:04}",
            request_class="main",
            client="client/1.0",
            requested_model="model-a",
        )
        for number in range(PAIRS)
    ]
    lines = (UsageLine(usage, "model-a", service_tier="standard"),)
    closed = {"served_model": "model-a", "http_status": 200, "stop_reason": "tool_use", "cost_nano_usd": 61_234_000}
    closed |= {"usage": usage, "usage_lines": lines, "task_type": "type-7"}
    return [(each, msgspec.structs.replace(each, closed_at_ms=each.opened_at_ms + 900, **closed)) for each in opened]


@contextmanager
def _timed(into: dict[str, float]) -> Iterator[None]:
    """Put pairs per second and the CPU of one pair, in microseconds, into a result."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    into["pairs_per_s"] = PAIRS / (time.perf_counter() - wall)
    into["cpu_us_per_pair"] = (time.process_time() - cpu) / PAIRS * 1e6


def bare(folder: Path) -> dict[str, float]:
    """Write every row in a transaction of its own, in a plain loop."""
    result: dict[str, float] = {}
    connection = sqlite.connect(folder / "bare.db")
    sqlite.create_tables(connection)
    pairs = _pairs("bare")
    with _timed(result):
        for opened, closed in pairs:
            connection.execute(OPEN_ROW, to_row(opened, OPEN))
            connection.execute(CLOSE_ROW, to_row(closed, CLOSED))
    connection.close()
    return result


def ours(folder: Path, at_once: int) -> dict[str, float]:
    """Open and close through the ledger, with so many exchanges under way at once."""

    async def one(ledger: SqlLedger, opened: Exchange, closed: Exchange) -> None:
        await ledger.open(opened)
        ledger.close(closed)

    async def all_of_them() -> dict[str, float]:
        result: dict[str, float] = {}
        ledger = SqlLedger(folder / f"{at_once}.db")
        pairs = _pairs(f"{at_once}")
        with _timed(result):
            for start in range(0, PAIRS, at_once):
                await asyncio.gather(*(one(ledger, *pair) for pair in pairs[start : start + at_once]))
            await ledger.flush()
        await ledger.aclose()
        return result

    return asyncio.run(all_of_them())


def reading(folder: Path) -> dict[str, float]:
    """Read every exchange back, and the same rows as bare tuples."""
    with SqlLedger(folder / "1.db") as ledger:
        began = time.process_time()
        count = sum(1 for _ in ledger.exchanges())
        ours_s = time.process_time() - began
    with sqlite.reading(ledger.path) as connection:
        began = time.process_time()
        connection.execute("SELECT * FROM exchanges ORDER BY opened_at_ms").fetchall()
        bare_s = time.process_time() - began
    return {"cpu_us_per_exchange": ours_s / count * 1e6, "times_bare": ours_s / bare_s}


def measure() -> dict[str, dict[str, float]]:
    """Return every figure; `cpu_times_bare` and `pace_times_bare` are ratios against the bare loop."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loop = bare(folder)
        results = {"bare": loop}
        for at_once in AT_ONCE:
            found = ours(folder, at_once)
            found["cpu_times_bare"] = found["cpu_us_per_pair"] / loop["cpu_us_per_pair"]
            found["pace_times_bare"] = found["pairs_per_s"] / loop["pairs_per_s"]
            results[f"ledger, {at_once} at once"] = found
        results["reading"] = reading(folder)
    return results


if __name__ == "__main__":
    figures = {name: {key: round(value, 2) for key, value in each.items()} for name, each in measure().items()}
    json.dump(figures, sys.stdout, indent=2)
    sys.stdout.write("\n")
