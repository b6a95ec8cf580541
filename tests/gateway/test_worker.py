"""One worker by itself: it does as its first line says, answers once, and ends with its lifeline."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import msgspec
import pytest

from scrimp.config import Settings
from scrimp.gateway.server import bind
from scrimp.gateway.workers import Begun, Order

Hire = Callable[[Settings], subprocess.Popen[bytes]]


@pytest.fixture
def hire() -> Iterator[Hire]:
    """Start workers, each on a socket of its own that `port` names; what still runs at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(settings: Settings) -> subprocess.Popen[bytes]:
        with bind("127.0.0.1", settings.port) as listening, tempfile.TemporaryFile() as board:
            handed = (listening.fileno(), board.fileno())
            process = subprocess.Popen(
                [sys.executable, "-m", "scrimp.gateway.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=handed,
                env={**os.environ, "PYTHONWARNINGS": "error"},
            )
        started.append(process)
        _tell(process, msgspec.json.encode(Order(settings, 0, *handed)) + b"\n")
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _tell(process: subprocess.Popen[bytes], line: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(line)
    process.stdin.flush()


def _answer(process: subprocess.Popen[bytes]) -> Begun:
    assert process.stdout is not None
    return msgspec.json.decode(process.stdout.readline(), type=Begun)


def _settings(db: Path) -> Settings:
    """Return the settings of a worker that needs no upstream, on a port that is free now."""
    with bind("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
    return Settings(upstream="http://127.0.0.1:9", db=str(db), port=port, workers=2)


def _health(settings: Settings) -> bytes:
    with closing(HTTPConnection("127.0.0.1", settings.port, timeout=60)) as link:
        link.request("GET", "/healthz")
        return link.getresponse().read()


def test_it_serves_until_its_lifeline_ends(hire: Hire, tmp_path: Path) -> None:
    """The end of standard input is a stop: in order, with exit code 0 and not a word."""
    settings = _settings(tmp_path / "ledger.db")
    process = hire(settings)
    assert Begun() == _answer(process)
    assert b'{"status":"ok"}' == _health(settings)
    assert (b"", b"", 0) == (*process.communicate(), process.returncode)  # which closes its input


def test_a_signal_stops_it_too(hire: Hire, tmp_path: Path) -> None:
    """As the parent sends it."""
    settings = _settings(tmp_path / "ledger.db")
    process = hire(settings)
    assert Begun() == _answer(process)
    assert b'{"status":"ok"}' == _health(settings)
    process.send_signal(signal.SIGTERM)
    assert 0 == process.wait()


@pytest.mark.parametrize(("db", "code"), [("sqlite://", 2), ("{folder}", 1)])
def test_what_keeps_it_from_serving_is_its_answer(hire: Hire, tmp_path: Path, db: str, code: int) -> None:
    """The sentence, what to do next and the exit code, for the parent to say; nothing is logged."""
    process = hire(msgspec.structs.replace(_settings(tmp_path), db=db.format(folder=tmp_path)))
    begun = _answer(process)
    assert (code, True, True) == (begun.exit_code, bool(begun.message), bool(begun.hint))
    assert (code, (b"", b"")) == (process.wait(), process.communicate())


def test_without_an_order_it_ends() -> None:
    """A parent that died before it gave one leaves nothing behind, and nothing to read."""
    ended = subprocess.run(
        [sys.executable, "-m", "scrimp.gateway.worker"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert (b"", b"") == (ended.stdout, ended.stderr)
