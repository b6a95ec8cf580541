"""The ledger's promises, held by the file and by its fake alike; then those that only a file can break."""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 - a seeded random.Random picks the moments of death
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.config import default_ledger_path
from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage, UsageLine
from scrimp.errors import ConfigError, LedgerError
from scrimp.store.ledger import Ledger, MemoryLedger, SqlLedger, open_ledger

Make = Callable[[], Ledger]

#: How many moments of death are tried.
DEATHS = 20


def _opened(name: str, at_ms: int = 1) -> Exchange:
    return Exchange(exchange_id=name, opened_at_ms=at_ms, source="gateway", requested_model="model-a")


def _read_back(name: str, at_ms: int = 1) -> Exchange:
    """Return an open exchange as it is read: its usage never arrived."""
    return msgspec.structs.replace(_opened(name, at_ms), usage_complete=False)


def _closed(name: str, at_ms: int = 1, output_tokens: int = 7) -> Exchange:
    usage = Usage(uncached_input_tokens=3, output_tokens=output_tokens)
    return msgspec.structs.replace(
        _opened(name, at_ms),
        closed_at_ms=at_ms + 5,
        served_model="model-a",
        usage=usage,
        usage_lines=(UsageLine(usage, "model-a"),),
        cost_nano_usd=10,
    )


def _eventually(condition: Callable[[], bool]) -> bool:
    """Return whether a condition comes true, tried for as long as a machine may be busy."""
    for _ in range(6_000):
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.fixture(params=["sql", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Make a ledger of either kind."""
    return MemoryLedger if request.param == "memory" else lambda: SqlLedger(tmp_path / "ledger.db", busy_timeout_ms=50)


# --- what every ledger promises ------------------------------------------------------------------------------------


def test_an_opened_exchange_is_there_at_once(make: Make) -> None:
    """When `open` returns, the row can be read, as one whose usage never arrived."""

    async def scenario() -> None:
        ledger = make()
        await ledger.open(_opened("a"))
        assert [_read_back("a")] == list(ledger.exchanges())
        await ledger.aclose()

    asyncio.run(scenario())


def test_a_closed_exchange_replaces_its_open_row(make: Make) -> None:
    """After a flush the closed exchange is read as it was closed, and only once."""

    async def scenario() -> None:
        ledger = make()
        await ledger.open(_opened("a"))
        ledger.close(_closed("a"))
        await ledger.flush()
        assert [_closed("a")] == list(ledger.exchanges())
        await ledger.aclose()

    asyncio.run(scenario())


def test_a_close_is_committed_without_being_asked(make: Make) -> None:
    """A close reaches the file by itself, without a flush."""

    async def scenario() -> None:
        ledger = make()
        ledger.close(_closed("a"))
        assert await asyncio.to_thread(_eventually, lambda: [_closed("a")] == list(ledger.exchanges()))
        await ledger.aclose()

    asyncio.run(scenario())


def test_a_closed_row_never_changes(make: Make) -> None:
    """Neither a second close nor a late open changes what was closed."""

    async def scenario() -> None:
        ledger = make()
        ledger.close(_closed("a"))
        ledger.close(_closed("a", output_tokens=99))
        await ledger.open(_opened("a"))
        await ledger.flush()
        assert [_closed("a")] == list(ledger.exchanges())
        await ledger.aclose()

    asyncio.run(scenario())


def test_the_opening_time_stays(make: Make) -> None:
    """A close may fill in everything but when its exchange was opened."""

    async def scenario() -> None:
        ledger = make()
        await ledger.open(_opened("a", at_ms=1))
        ledger.close(_closed("a", at_ms=2))
        await ledger.flush()
        assert [msgspec.structs.replace(_closed("a", at_ms=2), opened_at_ms=1)] == list(ledger.exchanges())
        await ledger.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("since_ms", "until_ms", "names"),
    [(None, None, "dabc"), (2, None, "bc"), (None, 2, "da"), (2, 3, "b"), (1, 1, ""), (3, 1, "")],
)
def test_a_span_includes_its_start_and_not_its_end(
    make: Make, since_ms: int | None, until_ms: int | None, names: str
) -> None:
    """Exchanges come in the order of opening, from `since_ms` on, before `until_ms`."""

    async def scenario() -> str:
        ledger = make()
        for name, at_ms in (("c", 3), ("a", 1), ("b", 2), ("d", 0)):
            await ledger.open(_opened(name, at_ms))
        found = "".join(exchange.exchange_id for exchange in ledger.exchanges(since_ms, until_ms))
        await ledger.aclose()
        return found

    assert names == asyncio.run(scenario())


def test_closing_the_ledger_writes_what_is_queued(tmp_path: Path) -> None:
    """Every close before `aclose` is in the file."""

    async def scenario() -> None:
        ledger = SqlLedger(tmp_path / "ledger.db")
        for number in range(2_500):
            ledger.close(_closed(f"{number:04}"))
        await ledger.aclose()

    asyncio.run(scenario())
    with open_ledger(tmp_path / "ledger.db") as ledger:
        assert [f"{number:04}" for number in range(2_500)] == [each.exchange_id for each in ledger.exchanges()]


@given(st.lists(st.tuples(st.sampled_from(["open", "close", "flush"]), st.sampled_from("abcd"), st.integers(0, 3))))
def test_the_fake_is_true(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]) -> None:
    """Whatever is opened and closed in whatever order, file and fake read the same."""

    async def scenario(ledger: Ledger) -> list[Exchange]:
        for what, name, number in steps:
            if what == "open":
                await ledger.open(_opened(name, number))
            elif what == "close":
                ledger.close(_closed(name, number, output_tokens=number))
            else:
                await ledger.flush()
        await ledger.flush()
        found = list(ledger.exchanges())
        await ledger.aclose()
        return found

    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    assert asyncio.run(scenario(MemoryLedger())) == asyncio.run(scenario(SqlLedger(path)))


# --- trouble ---------------------------------------------------------------------------------------------------------


async def _refused(ledger: Ledger, name: str) -> LedgerError:
    with pytest.raises(LedgerError) as caught:
        await ledger.open(_opened(name))
    return caught.value


def test_a_ledger_in_trouble_refuses_and_keeps(make: Make, tmp_path: Path) -> None:
    """Opens fail in one sentence while the file cannot be written; when it can, everything is there."""

    async def scenario() -> None:
        ledger = make()
        other = None
        if isinstance(ledger, MemoryLedger):
            ledger.trouble = LedgerError("The ledger is locked by another process.")
        else:
            other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
        for name in ("a", "b"):
            assert "is locked by another process" in str(await _refused(ledger, name))
        ledger.close(_closed("a"))
        if isinstance(ledger, MemoryLedger):
            ledger.trouble = None
        if other is not None:
            other.execute("ROLLBACK")
            other.close()
        await ledger.flush()
        assert (None, [_closed("a"), _read_back("b")]) == (ledger.trouble, list(ledger.exchanges()))
        await ledger.aclose()

    asyncio.run(scenario())


def test_a_flush_in_trouble_says_so(make: Make, tmp_path: Path) -> None:
    """A flush raises rather than pretend, and the ledger names its trouble."""

    async def scenario() -> None:
        ledger = make()
        if isinstance(ledger, MemoryLedger):
            ledger.trouble = LedgerError("The ledger is locked by another process.")
            ledger.close(_closed("a"))
            with pytest.raises(LedgerError, match="is locked by another process"):
                await ledger.flush()
            return
        other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        ledger.close(_closed("a"))
        with pytest.raises(LedgerError, match="is locked by another process"):
            await ledger.flush()
        assert "is locked by another process" in str(ledger.trouble)
        with pytest.raises(LedgerError, match=r"^1 exchanges could not be written to the ledger\."):
            await ledger.aclose()
        other.close()

    asyncio.run(scenario())


def test_a_full_disk_is_one_sentence_and_heals(tmp_path: Path) -> None:
    """A disk without room fails the open in a sentence; with room again nothing of it is missing."""

    async def scenario() -> None:
        ledger = SqlLedger(tmp_path / "ledger.db")
        pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
        ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
        names = [f"{number:03}" for number in range(200)]
        for name in names:
            ledger.close(_closed(name))
        error = await _refused(ledger, "last")
        assert "cannot grow because its disk is full" in error.message
        ledger._connection.execute("PRAGMA max_page_count = 100000")
        await ledger.flush()
        assert [*names, "last"] == [each.exchange_id for each in ledger.exchanges()]
        await ledger.aclose()

    asyncio.run(scenario())


def test_a_broken_exchange_is_refused_before_it_is_queued(make: Make) -> None:
    """A number that no database holds fails its own close, and nothing else."""

    async def scenario() -> None:
        ledger = make()
        with pytest.raises(LedgerError, match="more than 64 bits"):
            ledger.close(_closed("a", output_tokens=2**70))
        ledger.close(_closed("b"))
        await ledger.flush()
        assert [_closed("b")] == list(ledger.exchanges())
        await ledger.aclose()

    asyncio.run(scenario())


def test_a_full_queue_refuses_a_close(tmp_path: Path) -> None:
    """With the file locked, closes are taken up to the limit; the next is refused in a sentence."""

    async def scenario() -> None:
        ledger = SqlLedger(tmp_path / "ledger.db", busy_timeout_ms=0, queue_limit_exchanges=5)
        other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await _refused(ledger, "0")
        for number in range(1, 5):
            ledger.close(_closed(f"{number}"))
        with pytest.raises(LedgerError, match="5 exchanges wait to be written"):
            ledger.close(_closed("5"))
        other.execute("ROLLBACK")
        other.close()
        await ledger.aclose()

    asyncio.run(scenario())
    with open_ledger(tmp_path / "ledger.db") as ledger:
        assert list("01234") == sorted(each.exchange_id for each in ledger.exchanges())


def test_a_caller_that_leaves_does_not_disturb_the_ledger(tmp_path: Path) -> None:
    """An `open` cancelled while it waits still writes its row, and the next open works."""

    async def scenario() -> None:
        ledger = SqlLedger(tmp_path / "ledger.db")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await ledger.open(_opened("a"))
        await ledger.open(_opened("b"))
        assert [_read_back("a"), _read_back("b")] == list(ledger.exchanges())
        await ledger.aclose()

    asyncio.run(scenario())


def test_a_row_that_is_no_exchange_is_one_sentence(tmp_path: Path) -> None:
    """A row that was edited into nonsense is refused with the ledger's name."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as ledger:
        ledger.close(_closed("a"))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE exchanges SET usage_lines = '{'")
    connection.close()
    with open_ledger(path) as ledger, pytest.raises(LedgerError, match="holds a row that is no exchange"):
        list(ledger.exchanges())


def test_a_ledger_torn_in_its_middle_is_one_sentence(tmp_path: Path) -> None:
    """Pages that were lost show while reading, as a sentence, after whatever could still be read."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as ledger:
        for number in range(2_000):
            ledger.close(_closed(f"{number}", at_ms=number))
    content = path.read_bytes()
    path.write_bytes(content[: 25 * 4096] + b"\xff" * (len(content) - 25 * 4096))
    with pytest.raises(LedgerError, match="is damaged"), open_ledger(path) as ledger:
        list(ledger.exchanges())


# --- the file --------------------------------------------------------------------------------------------------------


def test_reading_is_of_one_moment(tmp_path: Path) -> None:
    """A report that began does not see what is written meanwhile, and does not stop it from being written."""

    async def scenario() -> None:
        ledger = SqlLedger(tmp_path / "ledger.db")
        for name in ("a", "b"):
            await ledger.open(_opened(name))
        reading = ledger.exchanges()
        first = next(reading)
        await ledger.open(_opened("c"))
        assert [_read_back("a"), _read_back("b")] == [first, *reading]
        assert 3 == len(list(ledger.exchanges()))
        await ledger.aclose()

    asyncio.run(scenario())


def test_the_default_is_the_users_own_ledger(tmp_path: Path) -> None:
    """Without a name the ledger under the user's data folder is opened."""
    with open_ledger() as ledger:
        assert default_ledger_path({"HOME": str(tmp_path / "home")}) == ledger.path


def test_a_ledger_that_must_exist_is_not_made(tmp_path: Path) -> None:
    """A report of a ledger that is not there says so and leaves no file."""
    path = tmp_path / "absent.db"
    with pytest.raises(ConfigError, match=r"There is no ledger at .*absent\.db"):
        open_ledger(path, must_exist=True)
    assert not path.exists()


def _child(code: str, *arguments: str) -> subprocess.Popen[str]:
    program = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(program, stdout=subprocess.PIPE, text=True)


WRITER = """
    import asyncio, sys
    from scrimp.core.belief.exchange import Exchange
    from scrimp.store.ledger import open_ledger

    async def one(ledger, name):
        exchange = Exchange(exchange_id=name, opened_at_ms=1, source="gateway")
        await ledger.open(exchange)
        print(name, flush=True)
        ledger.close(exchange)

    async def main(path, prefix, count):
        ledger = open_ledger(path)
        for start in range(0, count, 8):
            await asyncio.gather(*(one(ledger, f"{prefix}-{start + n}") for n in range(8)))
        await ledger.aclose()

    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def test_death_loses_no_acknowledged_row(tmp_path: Path, seed_count: int | None) -> None:
    """Killed with SIGKILL at any moment, the file holds every exchange that was acknowledged, and opens again."""
    for seed in range(seed_count or DEATHS):
        path = tmp_path / f"{seed}.db"
        child = _child(WRITER, str(path), "x", "1000000")
        assert child.stdout is not None
        acknowledged = [child.stdout.readline().strip() for _ in range(random.Random(seed).randint(1, 400))]
        child.send_signal(signal.SIGKILL)
        acknowledged += [line.strip() for line in child.stdout if line.endswith("\n")]
        child.stdout.close()
        child.wait()
        with open_ledger(path, must_exist=True) as ledger:
            kept = {each.exchange_id for each in ledger.exchanges()}
            ledger.close(_closed("after"))
        assert (set(), "x-0") == (set(acknowledged) - kept, acknowledged[0]), seed
        connection = sqlite3.connect(path)
        assert ("ok",) == connection.execute("PRAGMA integrity_check").fetchone()
        connection.close()


def test_many_processes_share_a_ledger(tmp_path: Path) -> None:
    """Gateways that begin one fresh ledger at the same time all write all of their exchanges."""
    path = tmp_path / "shared.db"
    children = [_child(WRITER, str(path), f"{number}", "80") for number in range(4)]
    for child in children:
        child.communicate()
    assert [0] * 4 == [child.returncode for child in children]
    with open_ledger(path) as ledger:
        assert {f"{number}-{each}" for number in range(4) for each in range(80)} == {
            exchange.exchange_id for exchange in ledger.exchanges()
        }


def test_a_process_that_ends_without_closing_writes_what_is_queued(tmp_path: Path) -> None:
    """A program that forgets to close its ledger loses nothing when it ends in the ordinary way."""
    path = tmp_path / "ledger.db"
    child = _child(
        """
        import sys
        from scrimp.core.belief.exchange import Exchange
        from scrimp.store.ledger import open_ledger

        ledger = open_ledger(sys.argv[1])
        ledger.close(Exchange(exchange_id="a", opened_at_ms=1, source="gateway"))
        """,
        str(path),
    )
    child.communicate()
    with open_ledger(path) as ledger:
        assert ["a"] == [exchange.exchange_id for exchange in ledger.exchanges()]


def test_everyday_work_imports_neither_sqlalchemy_nor_alembic(tmp_path: Path) -> None:
    """Making, writing and reading a ledger needs no SQLAlchemy: a gateway's start is held under half a second."""
    child = _child(
        """
        import sys
        from scrimp.core.belief.exchange import Exchange
        from scrimp.store.ledger import open_ledger

        with open_ledger(sys.argv[1]) as ledger:
            ledger.close(Exchange(exchange_id="a", opened_at_ms=1, source="gateway"))
        with open_ledger(sys.argv[1]) as ledger:
            print(len(list(ledger.exchanges())), sorted({"sqlalchemy", "alembic", "aiohttp"} & set(sys.modules)))
        """,
        str(tmp_path / "ledger.db"),
    )
    assert "1 []\n" == child.communicate()[0]
