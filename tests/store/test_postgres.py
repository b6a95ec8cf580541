"""What only PostgreSQL knows: passwords, servers that go away and come back, rights, schemas and error codes."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import quote

import psycopg
import pytest

from scrimp.core.belief.exchange import Exchange
from scrimp.errors import ConfigError, LedgerError
from scrimp.store.database import LedgerBusy
from scrimp.store.ledger import SqlLedger, open_ledger
from scrimp.store.postgres import FETCH_ROWS, PostgresDatabase
from scrimp.store.rows import CLOSED, to_row
from tests.store.databases import PostgresPlace
from tests.store.server import PASSWORD, USER, Server

#: How often something breaks under load.
TROUBLES = 10


@pytest.fixture
def place(server: Server) -> PostgresPlace:
    """Return an empty database."""
    return PostgresPlace(server)


@contextmanager
def _opened(url: str) -> Iterator[PostgresDatabase]:
    database = PostgresDatabase(url)
    database.connect()
    try:
        yield database
    finally:
        database.close()


def _exchange(name: str, closed_at_ms: int | None = None) -> Exchange:
    return Exchange(exchange_id=name, opened_at_ms=1, closed_at_ms=closed_at_ms, source="gateway")


def test_a_server_is_never_gone_as_a_file_may_be(place: PostgresPlace) -> None:
    """One that is away says so when it is written to; to begin anew is to dial it again."""
    with _opened(place.url) as database:
        assert not database.is_gone()
        database.create_tables()
        before = database.version()
        database.begin_anew()
        assert (before, False) == (database.version(), database.is_gone())


def _found(url: str) -> dict[str, int | None]:
    """Return when each exchange was closed; one that is there twice fails."""
    with open_ledger(url, must_exist=True) as ledger:
        found = [(each.exchange_id, each.closed_at_ms) for each in ledger.exchanges()]
    assert len(found) == len(dict(found))
    return dict(found)


async def _is_acknowledged(ledger: SqlLedger, name: str) -> bool:
    """Open and close an exchange; return whether the open row was acknowledged."""
    try:
        await ledger.open(_exchange(name))
    except LedgerBusy:
        acknowledged = False
    else:
        acknowledged = True
    ledger.close(_exchange(name, closed_at_ms=2))
    return acknowledged


async def _flushed(ledger: SqlLedger) -> None:
    """Wait until everything is written, however long the server is away."""
    while True:
        try:
            await ledger.flush()
        except LedgerBusy:
            await asyncio.sleep(0.05)
        else:
            return


# --- names and passwords ---------------------------------------------------------------------------------------------


def test_no_error_and_no_log_holds_a_password(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a wrong password nor the right one of a missing database is repeated, in any form, on any level."""
    wrong = "wr0ng/p@ss word"
    caplog.set_level(logging.DEBUG)
    for url in (server.url(password=wrong), server.url("absent"), f"{server.url('absent')}?sslpassword={wrong[:5]}"):
        with pytest.raises(LedgerBusy, match="cannot be reached") as caught:
            open_ledger(url)
        said = "".join(traceback.format_exception(caught.value)) + caplog.text
        secrets = [form for word in (PASSWORD, wrong, wrong[:5]) for form in (word, quote(word, safe=""))]
        assert [] == [secret for secret in secrets if secret in said]
        assert f"postgresql://{USER}@" in caught.value.message


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    """Nothing listens: what cannot be reached, by name, on one line."""
    with pytest.raises(LedgerBusy, match=r"^The ledger postgresql://u@127\.0\.0\.1:1/name cannot be reached") as caught:
        open_ledger("postgresql://u:secret@127.0.0.1:1/name")
    assert (False, False) == ("secret" in str(caught.value), "\n" in str(caught.value))


def test_an_unknown_parameter_is_refused_without_its_words() -> None:
    """What follows an `&` may be the rest of a password, so it is not repeated."""
    first, rest = "half&", "quarter".upper()
    with pytest.raises(ConfigError, match="holds a parameter that PostgreSQL does not know") as caught:
        open_ledger(f"postgresql://u@host/name?password={first}{rest}=1")
    said = "".join(traceback.format_exception(caught.value))
    assert (False, False) == (rest in said, first in said)


def test_a_ledger_may_have_a_schema_of_its_own(place: PostgresPlace) -> None:
    """Beside somebody else's tables the ledger lives in the schema that the URL names."""
    place.execute("CREATE TABLE notes (text TEXT)")
    with pytest.raises(LedgerError, match=r"no ledger\. Give the ledger a database of its own, or a schema"):
        open_ledger(place.url)
    place.execute("CREATE SCHEMA costs")
    url = f"{place.url}?options=-csearch_path%3Dcosts"
    with open_ledger(url) as ledger:
        ledger.close(_exchange("a"))
    assert ({"a": None}, [("a",)]) == (_found(url), place.execute("SELECT exchange_id FROM costs.exchanges"))


def test_a_database_that_cannot_hold_every_name_is_refused(server: Server) -> None:
    """Another encoding than UTF-8 is refused at the start, with how to make a database that will do."""
    url = server.new_database("ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    with pytest.raises(LedgerError, match=r"is a database in LATIN1, .* createdb --encoding UTF8"):
        open_ledger(url)


def test_a_user_who_may_only_read_can_report(place: PostgresPlace) -> None:
    """Such a user cannot begin a ledger, in one sentence, but can read one that is there."""
    place.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'")
    place.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    url = place.url.replace(f"{USER}:{quote(PASSWORD, safe='')}@", "reader:reader@")
    with pytest.raises(LedgerBusy, match="may not be written"):
        open_ledger(url)
    with open_ledger(place.url) as ledger:
        ledger.close(_exchange("a"))
    place.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    assert {"a": None} == _found(url)


# --- a server that goes away and comes back --------------------------------------------------------------------------


def test_a_restart_between_two_exchanges_is_not_noticed(place: PostgresPlace) -> None:
    """The connection died while nothing happened; the next exchange is written on a new one, without an error."""

    async def scenario() -> None:
        ledger = SqlLedger(place.url)
        assert await _is_acknowledged(ledger, "before")
        await ledger.flush()
        place.server.stop()
        place.server.start()
        assert await _is_acknowledged(ledger, "after")
        await ledger.aclose()

    asyncio.run(scenario())
    assert {"before": 2, "after": 2} == _found(place.url)


def test_what_happens_while_the_server_is_away_is_kept_up_to_the_limit(place: PostgresPlace) -> None:
    """Opens fail in a sentence and closes are queued up to the limit; when the server is back all of it is written."""

    async def scenario() -> None:
        ledger = SqlLedger(place.url, queue_limit_exchanges=6)
        assert await _is_acknowledged(ledger, "before")
        await ledger.flush()
        place.server.stop(signal.SIGQUIT)
        assert [False] * 3 == [await _is_acknowledged(ledger, f"away {number}") for number in range(3)]
        with pytest.raises(LedgerError, match="6 exchanges wait to be written to the ledger"):
            ledger.close(_exchange("too many"))
        assert "cannot be reached" in str(ledger.trouble)
        place.server.start()
        await _flushed(ledger)
        assert (True, None) == (await _is_acknowledged(ledger, "after"), ledger.trouble)
        await ledger.aclose()

    asyncio.run(scenario())
    assert dict.fromkeys(["after", "away 0", "away 1", "away 2", "before"], 2) == _found(place.url)


@pytest.mark.parametrize("how", ["connections", "server"])
def test_whatever_breaks_under_load_nothing_is_lost_or_doubled(place: PostgresPlace, how: str) -> None:
    """Connections cut or a server crashed in the middle of commits: each exchange is there, closed, once."""
    done = threading.Event()
    troubles: list[str] = []

    def disturb() -> None:
        while not done.wait(0.05):
            troubles.append(how)
            if how == "server":
                place.server.stop(signal.SIGQUIT)
                place.server.start()
            else:
                place.server.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'scrimp'"
                )

    async def scenario() -> list[str]:
        ledger = SqlLedger(place.url)
        disturbing = asyncio.create_task(asyncio.to_thread(disturb))  # noqa: TID251 - awaited below
        names: list[str] = []
        while len(troubles) < TROUBLES:
            group = [f"{len(names) + number:05}" for number in range(8)]
            await asyncio.gather(*(_is_acknowledged(ledger, name) for name in group))
            names += group
            await asyncio.sleep(0.001 if ledger.trouble is None else 0.02)
        done.set()
        await disturbing
        await _flushed(ledger)
        await ledger.aclose()
        return names

    names = asyncio.run(scenario())
    assert dict.fromkeys(names, 2) == _found(place.url)


# --- replicas --------------------------------------------------------------------------------------------------------


def test_replicas_delete_side_by_side(place: PostgresPlace) -> None:
    """Four that delete at once delete everything once, and none waits for another or is refused."""
    with _opened(place.url) as database:
        database.create_tables()
        database.commit([to_row(_exchange(f"{number}", 2), CLOSED) for number in range(1_000)])

    def delete(_replica: int) -> int:
        with _opened(place.url) as replica:
            return sum(iter(lambda: replica.delete_closed(10, 50), 0))

    with ThreadPoolExecutor(4) as pool:
        assert 1_000 == sum(pool.map(delete, range(4)))
    assert {} == _found(place.url)


def test_reading_holds_a_page_of_rows_at_a_time(place: PostgresPlace) -> None:
    """A cursor on the server brings the rows, so that a report of any size fits into memory."""
    with _opened(place.url) as database:
        database.create_tables()
        database.commit([to_row(_exchange(f"{number}"), CLOSED) for number in range(FETCH_ROWS + 1)])
        reading = database.rows(0, 10)
        next(reading)
        asked = place.execute("SELECT query FROM pg_stat_activity WHERE state = 'idle in transaction'")
        assert ([(f'FETCH FORWARD {FETCH_ROWS} FROM "scrimp_rows"',)], FETCH_ROWS) == (asked, len(list(reading)))


# --- error codes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "sentence"),
    [
        ("08006", LedgerBusy, "cannot be reached"),
        ("57P01", LedgerBusy, "cannot be reached"),
        ("28P01", LedgerBusy, "cannot be reached"),
        ("53300", LedgerBusy, "is out of room"),
        ("53100", LedgerBusy, "cannot grow because its disk is full"),
        ("55P03", LedgerBusy, "is locked by another process"),
        ("40P01", LedgerBusy, "is locked by another process"),
        ("57014", LedgerBusy, "is locked by another process"),
        ("58030", LedgerBusy, "cannot be read or written by its disk"),
        ("25006", LedgerBusy, "may not be written"),
        ("42501", LedgerBusy, "may not be written"),
        ("XX001", LedgerError, "is damaged"),
        ("23502", LedgerError, "refused a statement"),
        ("22021", LedgerError, "refused a statement"),
    ],
)
def test_each_error_code_has_its_meaning(code: str, kind: type[LedgerError], sentence: str) -> None:
    """Codes mean what their class means; what may heal is told apart from what never will."""
    database = PostgresDatabase("postgresql://u:secret@host/name")
    with pytest.raises(LedgerError, match=f"{sentence} .its own words, \\*\\*\\*") as caught, database._in_sentences():
        raise psycopg.errors.lookup(code)("its own\nwords, secret")
    assert (kind, None) == (type(caught.value), caught.value.__cause__)
