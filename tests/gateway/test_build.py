"""A gateway from settings: what cannot be used is said before anything is served."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scrimp.config import Settings
from scrimp.core.belief.account import Account
from scrimp.core.levers.hold import Settings as Holding
from scrimp.errors import ConfigError, LedgerError
from scrimp.gateway.build import build, parts_of
from scrimp.upstream.pricefeed import user_price_file

if TYPE_CHECKING:
    from tests.gateway.conftest import Gateway, Script, Upstream

REQUEST = b'{"model":"claude-opus-5-5","max_tokens":50,"messages":[{"role":"user","content":"hello"}]}'
MESSAGE = b'{"type":"message","id":"m","model":"claude-opus-5-5","usage":{"input_tokens":10,"output_tokens":1}}'


@pytest.mark.parametrize(
    "url", ["", "api.anthropic.com", "ftp://x", "http://", "http://h:x", "https://u:p@h", "http://h?q"]
)
def test_an_upstream_that_is_no_address_is_refused(tmp_path: Path, url: str) -> None:
    """Before the ledger is made."""
    db = tmp_path / "ledger.db"
    with pytest.raises(ConfigError, match="address"):
        build(Settings(upstream=url, db=str(db)))
    assert not db.exists()


def test_a_proxy_that_cannot_be_used_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And ignored where the settings say not to look."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(ConfigError, match="socks5"):
        build(Settings(upstream="https://api.invalid", db=str(tmp_path / "a.db")))


def _foreign(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE somebody_elses (a)")
    other.close()


LEDGERS: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "no database": lambda path: path.write_bytes(b"x" * 5000),
    "somebody else's database": _foreign,
}


@pytest.mark.parametrize("what", LEDGERS)
def test_a_ledger_that_cannot_be_used_is_refused(tmp_path: Path, what: str) -> None:
    """One sentence that names the file, and what is there stays as it is."""
    db = tmp_path / "ledger.db"
    LEDGERS[what](db)
    before = db.read_bytes() if db.is_file() else None
    with pytest.raises(LedgerError, match=r"ledger\.db") as caught:
        build(Settings(upstream="http://127.0.0.1:1", db=str(db)))
    assert caught.value.hint
    assert before == (db.read_bytes() if db.is_file() else None)


def test_a_ledger_of_another_kind_is_refused() -> None:
    """A URL that we cannot keep a ledger in is a setting that cannot be used."""
    with pytest.raises(ConfigError, match="mysql"):
        build(Settings(upstream="http://127.0.0.1:1", db="mysql://h/db"))


def test_a_price_file_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    """Before the ledger is made: prices that are wrong would stay in it for good."""
    user_price_file().parent.mkdir(parents=True)
    user_price_file().write_text(json.dumps({"unit": "furlongs"}))
    db = tmp_path / "ledger.db"
    with pytest.raises(ConfigError, match="furlongs"):
        build(Settings(upstream="http://127.0.0.1:1", db=str(db)))
    assert not db.exists()


def test_what_is_built_serves_records_and_tells(
    upstream_of: Callable[[Script], Upstream], gateway_to: Callable[..., Gateway]
) -> None:
    """A path before the upstream's own is kept; the exchange is told of, priced and, after the stop, in the file."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(MESSAGE)
    upstream = upstream_of(lambda talk: talk.send(head + MESSAGE))
    gateway = gateway_to(f"{upstream.url}/proxy/anthropic/")
    link = gateway.connect()
    link.request("POST", "/v1/messages", REQUEST)
    assert MESSAGE == link.getresponse().read()
    told = gateway.next_closed()
    gateway.stop()
    assert "POST /proxy/anthropic/v1/messages HTTP/1.1" == upstream.seen[0].request_line
    assert [told] == gateway.recorded()
    assert told.cost_nano_usd


@pytest.mark.parametrize(
    ("settings", "holding"),
    [({}, Holding()), ({"hold": False}, None), ({"upgrade_ping": True}, Holding(upgrade_ping=True))],
)
def test_holding_is_as_the_settings_say(tmp_path: Path, settings: dict[str, bool], holding: Holding | None) -> None:
    """On unless it is switched off; what is known of people beforehand is handed on."""
    habits = Account(hour_saved=7.0)
    services, stop = parts_of(Settings(db=str(tmp_path / "a.db"), **settings), account=habits)  # type: ignore[arg-type]

    async def end() -> None:
        await stop()

    asyncio.run(end())
    assert (holding, habits) == (services.holding, services.account)
