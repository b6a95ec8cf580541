"""What keeping the ledger costs, beside a bare loop that writes the same rows to the same database in the same run.

The loop commits each open and each close by itself, as the simplest recorder would. Wall-clock figures of a shared
machine wander; the ratios and the CPU of a pair (one open and one close) are what to look at. PostgreSQL is measured
where its binaries are found: a server of our own on this machine, whose CPU is not ours and whose fsync is off.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage, UsageLine
from scrimp.store.ledger import SqlLedger, database_of
from scrimp.store.rows import CLOSED, OPEN, to_row
from scrimp.store.statements import POSTGRESQL, SQLITE

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.store.server import running_server

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


def bare(url: str) -> dict[str, float]:
    """Write every row in a transaction of its own, in a plain loop."""
    result: dict[str, float] = {}
    database = database_of(url)
    database.connect()
    database.create_tables()
    write = (SQLITE if database.dialect == "sqlite" else POSTGRESQL).write
    connection = database.migration_connection()
    pairs = _pairs("bare")
    with _timed(result):
        for opened, closed in pairs:
            connection.execute(write[OPEN], to_row(opened, OPEN))
            connection.commit()
            connection.execute(write[CLOSED], to_row(closed, CLOSED))
            connection.commit()
    connection.close()
    database.close()
    return result


def ours(url: str, at_once: int) -> dict[str, float]:
    """Open and close through the ledger, with so many exchanges under way at once."""

    async def one(ledger: SqlLedger, opened: Exchange, closed: Exchange) -> None:
        await ledger.open(opened)
        ledger.close(closed)

    async def all_of_them() -> dict[str, float]:
        result: dict[str, float] = {}
        ledger = SqlLedger(url)
        pairs = _pairs(f"{at_once}")
        with _timed(result):
            for start in range(0, PAIRS, at_once):
                await asyncio.gather(*(one(ledger, *pair) for pair in pairs[start : start + at_once]))
            await ledger.flush()
        await ledger.aclose()
        return result

    return asyncio.run(all_of_them())


def reading(url: str) -> dict[str, float]:
    """Read every exchange back, and the same rows as bare tuples."""
    with SqlLedger(url) as ledger:
        began = time.process_time()
        count = sum(1 for _ in ledger.exchanges())
        ours_s = time.process_time() - began
    connection = database_of(url).migration_connection()
    began = time.process_time()
    connection.execute("SELECT * FROM exchanges ORDER BY opened_at_ms").fetchall()
    bare_s = time.process_time() - began
    connection.close()
    return {"cpu_us_per_exchange": ours_s / count * 1e6, "times_bare": ours_s / bare_s}


def measure(name: str, new_url: Callable[[], str]) -> dict[str, dict[str, float]]:
    """Return one database's figures; `cpu_times_bare` and `pace_times_bare` are ratios against the bare loop."""
    loop = bare(new_url())
    results = {f"{name}, bare": loop}
    urls = {at_once: new_url() for at_once in AT_ONCE}
    for at_once, url in urls.items():
        found = ours(url, at_once)
        found["cpu_times_bare"] = found["cpu_us_per_pair"] / loop["cpu_us_per_pair"]
        found["pace_times_bare"] = found["pairs_per_s"] / loop["pairs_per_s"]
        results[f"{name}, ledger, {at_once} at once"] = found
    results[f"{name}, reading"] = reading(urls[1])
    return results


def main() -> dict[str, Any]:
    """Return the figures of every database that is there."""
    with tempfile.TemporaryDirectory() as folder, running_server() as server:
        names = (f"{folder}/{number}.db" for number in range(len(AT_ONCE) + 1))
        results = measure("sqlite", lambda: next(names))
        return results if server is None else results | measure("postgresql", server.new_database)


if __name__ == "__main__":
    figures = {name: {key: round(value, 2) for key, value in each.items()} for name, each in main().items()}
    json.dump(figures, sys.stdout, indent=2)
    sys.stdout.write("\n")
