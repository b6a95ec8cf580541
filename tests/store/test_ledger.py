"""The ledger's promises, held by both databases and by the fake alike; then those that only a database can break."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.clock import VirtualClock
from scrimp.config import default_ledger_path
from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage, UsageLine
from scrimp.errors import ConfigError, LedgerError
from scrimp.store.ledger import Ledger, MemoryLedger, SqlLedger, describe, exists, open_ledger
from scrimp.store.retention import BATCH_ROWS, DAY_MS, LOOK_MS
from scrimp.store.sqlite import SqliteDatabase
from tests.store.databases import NewPlace, Place


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


class Stand:
    """A ledger of any kind, and what puts it into trouble."""

    def __init__(self, place: Place | None) -> None:
        self._place = place

    def make(self) -> Ledger:
        """Make the ledger, or open it again."""
        return MemoryLedger() if self._place is None else SqlLedger(self._place.url, busy_timeout_ms=50)

    @contextmanager
    def held(self, ledger: Ledger) -> Iterator[None]:
        """Keep the ledger from being written as long as it lasts."""
        if self._place is not None:
            with self._place.held():
                yield
        else:
            assert isinstance(ledger, MemoryLedger)
            ledger.trouble = LedgerError("The ledger is locked by another process.")
            yield
            ledger.trouble = None


@pytest.fixture(params=["sqlite", "postgresql", "memory"])
def stand(request: pytest.FixtureRequest, new_place: NewPlace) -> Stand:
    """Return a stand for each kind of ledger."""
    return Stand(None if request.param == "memory" else new_place(request.param))


# --- what every ledger promises ------------------------------------------------------------------------------------


def test_an_opened_exchange_is_there_at_once(stand: Stand) -> None:
    """When `open` returns, the row can be read, as one whose usage never arrived."""

    async def scenario() -> None:
        ledger = stand.make()
        await ledger.open(_opened("a"))
        assert [_read_back("a")] == list(ledger.exchanges())
        await ledger.aclose()

    asyncio.run(scenario())


def test_a_closed_exchange_replaces_its_open_row(stand: Stand) -> None:
    """After a flush the closed exchange is read as it was closed, and only once."""

    async def scenario() -> None:
        ledger = stand.make()
        await ledger.open(_opened("a"))
        ledger.close(_closed("a"))
        await ledger.flush()
        assert [_closed("a")] == list(ledger.exchanges())
        await ledger.aclose()

    asyncio.run(scenario())


def test_a_begun_exchange_is_there_without_being_asked(stand: Stand) -> None:
    """Beginning needs no event loop and waits for nothing; a close follows it, and beginning again changes nothing."""
    ledger = stand.make()
    ledger.begin(_opened("a"))
    assert _eventually(lambda: [_read_back("a")] == list(ledger.exchanges()))
    ledger.begin(_opened("b", 2))
    ledger.close(_closed("b", 2))
    ledger.begin(_opened("b", 2))
    asyncio.run(ledger.flush())
    assert [_read_back("a"), _closed("b", 2)] == list(ledger.exchanges())
    asyncio.run(ledger.aclose())


def test_a_close_is_committed_without_being_asked(stand: Stand) -> None:
    """A close reaches the file by itself, without a flush."""

    async def scenario() -> None:
        ledger = stand.make()
        ledger.close(_closed("a"))
        assert await asyncio.to_thread(_eventually, lambda: [_closed("a")] == list(ledger.exchanges()))
        await ledger.aclose()

    asyncio.run(scenario())


def test_a_closed_row_never_changes(stand: Stand) -> None:
    """Neither a second close nor a late open changes what was closed."""

    async def scenario() -> None:
        ledger = stand.make()
        ledger.close(_closed("a"))
        ledger.close(_closed("a", output_tokens=99))
        await ledger.open(_opened("a"))
        await ledger.flush()
        assert [_closed("a")] == list(ledger.exchanges())
        await ledger.aclose()

    asyncio.run(scenario())


def test_the_opening_time_stays(stand: Stand) -> None:
    """A close may fill in everything but when its exchange was opened."""

    async def scenario() -> None:
        ledger = stand.make()
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
    stand: Stand, since_ms: int | None, until_ms: int | None, names: str
) -> None:
    """Exchanges come in the order of opening, from `since_ms` on, before `until_ms`."""

    async def scenario() -> str:
        ledger = stand.make()
        for name, at_ms in (("c", 3), ("a", 1), ("b", 2), ("d", 0)):
            await ledger.open(_opened(name, at_ms))
        found = "".join(exchange.exchange_id for exchange in ledger.exchanges(since_ms, until_ms))
        await ledger.aclose()
        return found

    assert names == asyncio.run(scenario())


def test_closing_the_ledger_writes_what_is_queued(place: Place) -> None:
    """Every close before `aclose` is in the database."""

    async def scenario() -> None:
        ledger = SqlLedger(place.url)
        for number in range(2_500):
            ledger.close(_closed(f"{number:04}"))
        await ledger.aclose()

    asyncio.run(scenario())
    with open_ledger(place.url) as ledger:
        assert [f"{number:04}" for number in range(2_500)] == [each.exchange_id for each in ledger.exchanges()]


def test_names_are_in_the_order_of_their_bytes(stand: Stand) -> None:
    """Of exchanges opened at one moment the order is the same everywhere, whatever a database's language."""

    async def scenario() -> str:
        ledger = stand.make()
        for name in "bBaÄZ_z~é1":
            await ledger.open(_opened(name))
        found = "".join(exchange.exchange_id for exchange in ledger.exchanges())
        await ledger.aclose()
        return found

    assert "".join(sorted("bBaÄZ_z~é1")) == asyncio.run(scenario())


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@given(
    steps=st.lists(st.tuples(st.sampled_from(["open", "close", "flush"]), st.sampled_from("abcd"), st.integers(0, 3)))
)
def test_the_fake_is_true(new_place: NewPlace, kind: str, steps: list[tuple[str, str, int]]) -> None:
    """Whatever is opened and closed in whatever order, database and fake read the same."""

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

    assert asyncio.run(scenario(MemoryLedger())) == asyncio.run(scenario(SqlLedger(new_place(kind).url)))


# --- trouble ---------------------------------------------------------------------------------------------------------


async def _refused(ledger: Ledger, name: str) -> LedgerError:
    """Return what an open says in trouble; the first one may be kept, and bring the trouble to light."""
    with suppress(LedgerError):
        await ledger.flush()
    with pytest.raises(LedgerError) as caught:
        await ledger.open(_opened(name))
    return caught.value


def test_a_ledger_in_trouble_refuses_and_keeps(stand: Stand) -> None:
    """Opens fail in one sentence while nothing can be written; when it can, everything is there."""

    async def scenario() -> None:
        ledger = stand.make()
        with stand.held(ledger):
            with suppress(LedgerError):
                await ledger.open(_opened("a"))
            assert "is locked by another process" in str(await _refused(ledger, "b"))
            ledger.close(_closed("a"))
        await ledger.flush()
        assert (None, [_closed("a"), _read_back("b")]) == (ledger.trouble, list(ledger.exchanges()))
        await ledger.aclose()

    asyncio.run(scenario())


def test_a_flush_in_trouble_says_so(stand: Stand) -> None:
    """A flush raises rather than pretend, and the ledger names its trouble."""

    async def scenario() -> None:
        ledger = stand.make()
        with stand.held(ledger):
            ledger.close(_closed("a"))
            with pytest.raises(LedgerError, match="is locked by another process"):
                await ledger.flush()
            assert "is locked by another process" in str(ledger.trouble)
        await ledger.aclose()

    asyncio.run(scenario())


def test_a_stop_in_trouble_says_what_is_lost(place: Place) -> None:
    """What cannot be written when the ledger is closed is counted, not passed over."""

    async def scenario() -> None:
        ledger = SqlLedger(place.url, busy_timeout_ms=50)
        with place.held():
            ledger.close(_closed("a"))
            with pytest.raises(LedgerError, match=r"^1 exchanges could not be written to the ledger\."):
                await ledger.aclose()

    asyncio.run(scenario())


def test_a_full_disk_is_one_sentence_and_heals(tmp_path: Path) -> None:
    """A SQLite file on a disk without room fails the open in a sentence; with room again nothing of it is missing."""

    async def scenario() -> None:
        ledger = SqlLedger(tmp_path / "ledger.db")
        assert isinstance(ledger._database, SqliteDatabase)
        connection = ledger._database.connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        names = [f"{number:03}" for number in range(200)]
        for name in names:
            ledger.close(_closed(name))
        error = await _refused(ledger, "last")
        assert "cannot grow because its disk is full" in error.message
        connection.execute("PRAGMA max_page_count = 100000")
        await ledger.flush()
        assert [*names, "last"] == [each.exchange_id for each in ledger.exchanges()]
        await ledger.aclose()

    asyncio.run(scenario())


def test_a_broken_exchange_is_refused_before_it_is_queued(stand: Stand) -> None:
    """A number that no database holds fails its own close, and nothing else."""

    async def scenario() -> None:
        ledger = stand.make()
        with pytest.raises(LedgerError, match="more than 64 bits"):
            ledger.close(_closed("a", output_tokens=2**70))
        ledger.close(_closed("b"))
        await ledger.flush()
        assert [_closed("b")] == list(ledger.exchanges())
        await ledger.aclose()

    asyncio.run(scenario())


def test_a_full_queue_refuses_a_close(place: Place) -> None:
    """With the ledger locked, closes are taken up to the limit; the next is refused in a sentence."""

    async def scenario() -> None:
        ledger = SqlLedger(place.url, busy_timeout_ms=0, queue_limit_exchanges=5)
        with place.held():
            ledger.close(_closed("0"))
            await _refused(ledger, "1")
            for number in range(2, 5):
                ledger.close(_closed(f"{number}"))
            with pytest.raises(LedgerError, match="5 exchanges wait to be written"):
                ledger.close(_closed("5"))
        await ledger.aclose()

    asyncio.run(scenario())
    with open_ledger(place.url) as ledger:
        assert list("01234") == sorted(each.exchange_id for each in ledger.exchanges())


def test_a_caller_that_leaves_does_not_disturb_the_ledger(stand: Stand) -> None:
    """An `open` cancelled while it waits still writes its row, and the next open works."""

    async def scenario() -> None:
        ledger = stand.make()
        with suppress(TimeoutError):
            async with asyncio.timeout(0):
                await ledger.open(_opened("a"))
        await ledger.open(_opened("b"))
        assert [_read_back("a"), _read_back("b")] == list(ledger.exchanges())
        await ledger.aclose()

    asyncio.run(scenario())


def test_a_row_that_is_no_exchange_is_one_sentence(place: Place) -> None:
    """A row that was edited into nonsense is refused with the ledger's name."""
    with open_ledger(place.url) as ledger:
        ledger.close(_closed("a"))
    place.execute("UPDATE exchanges SET usage_lines = '{' RETURNING 1")
    with open_ledger(place.url) as ledger, pytest.raises(LedgerError, match="holds a row that is no exchange"):
        list(ledger.exchanges())


# --- reading, names and retention -------------------------------------------------------------------------------------


def test_reading_is_of_one_moment(place: Place) -> None:
    """A report that began does not see what is written meanwhile, and does not stop it from being written."""

    async def scenario() -> None:
        ledger = SqlLedger(place.url)
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
        assert str(default_ledger_path({"HOME": str(tmp_path / "home")})) == ledger.name


def test_a_ledger_that_must_exist_is_not_made(place: Place) -> None:
    """A report of a ledger that is not there says so and makes none; one that is there is opened."""
    with pytest.raises(ConfigError, match="There is no ledger at ") as caught:
        open_ledger(place.url, must_exist=True)
    assert (False, True) == (exists(place.url), describe(place.url) in caught.value.message)
    with open_ledger(place.url):
        pass
    with open_ledger(place.url, must_exist=True) as ledger:
        assert (True, describe(place.url)) == (exists(place.url), ledger.name)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:///a/b.db", "a/b.db"),
        (Path("a/b.db"), "a/b.db"),
        ("postgresql://u:secret@host/name", "postgresql://u@host/name"),
        ("postgresql://u:sec@ret@host/name", "an address that cannot be read"),
        ("mysql://u:secret@host/name", "an address that cannot be read"),
        ("", "an address that cannot be read"),
    ],
)
def test_a_ledger_is_described_without_its_password(url: str | Path, words: str) -> None:
    """Whatever is given can be named to people."""
    assert words == describe(url)


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without psycopg a PostgreSQL URL is refused with the line that mends it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "scrimp.store.postgres", raising=False)
    with pytest.raises(ConfigError, match=r"needs psycopg, .* pip install 'scrimp\[postgres\]'"):
        open_ledger("postgresql://host/name")


def test_retention_deletes_what_was_closed_long_ago(place: Place) -> None:
    """Old closed rows go, in several batches; open ones stay, old or not, and so does what is recent."""
    now_ms, count = 100 * DAY_MS, 2 * BATCH_ROWS + 1
    old_ms, recent_ms = now_ms - 8 * DAY_MS, now_ms - 6 * DAY_MS

    async def scenario() -> None:
        ledger = SqlLedger(place.url)
        await ledger.open(_opened("old open", old_ms))
        for number in range(count):
            ledger.close(_closed(f"old {number}", old_ms))
        ledger.close(_closed("recent", recent_ms))
        ledger.close(msgspec.structs.replace(_closed("long", old_ms), closed_at_ms=recent_ms))
        await ledger.aclose()
        assert count + 3 == len(_names(place))
        clock = VirtualClock(now_ms)
        ledger = SqlLedger(place.url, retention_days=7, clock=clock)

        def all_gone() -> bool:
            clock.advance_ms(LOOK_MS)
            ledger.close(_closed("recent", recent_ms))
            return {"old open", "recent", "long"} == _names(place)

        assert await asyncio.to_thread(_eventually, all_gone)
        await ledger.aclose()

    asyncio.run(scenario())


def test_an_idle_ledger_deletes_too(place: Place) -> None:
    """Nothing has to be written for old rows to go."""
    with open_ledger(place.url) as ledger:
        ledger.close(_closed("old", 1))
    with open_ledger(place.url, retention_days=1):
        assert _eventually(lambda: set() == _names(place))


def _names(place: Place) -> set[str]:
    return {name for (name,) in place.execute("SELECT exchange_id FROM exchanges")}
