"""Several workers of one gateway: they share its socket, each is replaced when it dies, and all stop with it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scrimp.errors import ConfigError, InternalError
from scrimp.gateway.workers import Begun, _error_of
from scrimp.store.ledger import open_ledger
from tests.processes import children_of, running

if TYPE_CHECKING:
    from tests.gateway.conftest import Conversation, Script, Up, Upstream

UpstreamOf = Callable[["Script"], "Upstream"]
UpTo = Callable[..., "Up"]

REQUEST = b'{"model":"claude-opus-5-5","max_tokens":50,"messages":[{"role":"user","content":"hello"}]}'
MESSAGE = b'{"type":"message","id":"m","model":"claude-opus-5-5","usage":{"input_tokens":10,"output_tokens":1}}'
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(MESSAGE), MESSAGE)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
START = b'event: message_start\ndata: {"message":{"id":"m","model":"claude-opus-5-5","usage":{"input_tokens":7}}}\n\n'
END = b'event: message_delta\ndata: {"delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":42}}\n\n'


def _answer(talk: Conversation) -> None:
    talk.send(WHOLE)


def ask(up: Up) -> bytes:
    """Send one request on a connection of its own and return the answer's body."""
    with closing(HTTPConnection("127.0.0.1", up.port, timeout=60)) as link:
        link.request("POST", "/v1/messages", REQUEST)
        return link.getresponse().read()


def workers_of(up: Up, count: int) -> list[int]:
    """Return the workers once there are so many and each of them serves."""
    while True:
        found = children_of(up.process.pid)
        if len(found) == count and all(_serves(up, found, worker) for worker in found):
            return found


def _serves(up: Up, workers: list[int], worker: int) -> bool:
    """Return whether one worker answers alone; one that starts may have to wait for what another holds."""
    with _held(workers, worker), suppress(TimeoutError):
        return '{"status":"ok"}' == up.get("/healthz", patience_s=0.5)
    return False


@contextmanager
def _held(workers: list[int], but: int) -> Iterator[None]:
    """Hold all workers but one, so that it is the one that answers."""
    others = [each for each in workers if each != but]
    for each in others:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in others:
            os.kill(each, signal.SIGCONT)


def replaced(up: Up, victim: int) -> list[int]:
    """Kill one of two workers; return the two once there is another in its place."""
    os.kill(victim, signal.SIGKILL)
    while victim in (now := children_of(up.process.pid)) or len(now) != 2:
        pass
    return now


def test_each_worker_serves_the_one_socket(upstream_of: UpstreamOf, up_to: UpTo) -> None:
    """Whichever of three goes on alone, new connections find it; every exchange is in the one ledger."""
    up = up_to(upstream_of(_answer), 3)
    workers = workers_of(up, 3)
    for worker in workers:
        with _held(workers, worker):
            assert MESSAGE == ask(up)
    up.process.terminate()
    assert ("", 0) == (up.process.communicate()[1], up.process.returncode)
    with open_ledger(up.db) as ledger:
        assert [True] * 3 == [exchange.usage_complete for exchange in ledger.exchanges()]


def test_a_worker_that_is_killed_under_load_is_replaced(upstream_of: UpstreamOf, up_to: UpTo) -> None:
    """The others go on, only what the dead one had under way breaks off, and the new one serves."""
    up = up_to(upstream_of(_answer), 2)
    victim, _ = workers_of(up, 2)
    done, answers, broken = threading.Event(), [0], [0]

    def load() -> None:
        while not done.is_set():
            try:
                assert MESSAGE == ask(up)
                answers[0] += 1
            except (HTTPException, ConnectionError):
                broken[0] += 1

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    now = replaced(up, victim)
    before = answers[0]
    while answers[0] < before + 50:
        pass
    done.set()
    for client in clients:
        client.join()
    assert broken[0] <= len(clients)
    assert now == workers_of(up, 2)
    up.process.terminate()
    told = up.process.communicate()[1]
    assert "A worker ended (signal 9). Another takes its place in 0.1 s.\n" == told


def test_a_worker_that_keeps_dying_is_replaced_ever_more_slowly(upstream_of: UpstreamOf, up_to: UpTo) -> None:
    """The pause doubles, so that what cannot live does not take the machine with it."""
    up = up_to(upstream_of(_answer), 2)
    stays, victim = workers_of(up, 2)
    for _ in range(3):
        (victim,) = set(replaced(up, victim)) - {stays}
    up.process.terminate()
    told = up.process.communicate()[1].splitlines()
    assert ["0.1", "0.2", "0.4"] == [line.split()[-2] for line in told]


def test_workers_do_not_outlive_a_killed_parent(upstream_of: UpstreamOf, up_to: UpTo) -> None:
    """`kill -9` of the parent: nobody listens any more, a stream under way still comes whole, and then all are gone."""

    def script(talk: Conversation) -> None:
        talk.send(HEAD)
        talk.send_chunk(START)
        upstream.hear()
        talk.send_chunk(END)
        talk.send_chunk(b"")

    upstream = upstream_of(script)
    up = up_to(upstream, 2)
    workers = workers_of(up, 2)
    link = up.connect()
    link.request("POST", "/v1/messages", REQUEST)
    answer = link.getresponse()
    assert START == answer.read(len(START))
    up.process.kill()
    up.wait_until_refused()
    upstream.news.put("go on")
    assert END == answer.read()
    while running(workers):
        pass
    with open_ledger(up.db) as ledger:
        assert [True] == [exchange.usage_complete for exchange in ledger.exchanges()]


def test_metrics_are_the_sum_over_all_workers(upstream_of: UpstreamOf, up_to: UpTo) -> None:
    """Whoever answers, and after one of them died, too."""
    up = up_to(upstream_of(_answer), 2)
    workers = workers_of(up, 2)
    for worker in workers:
        with _held(workers, worker):
            assert MESSAGE == ask(up)
    counted = 'scrimp_exchanges_total{model="claude-opus-5-5",ended="ok"} 2'
    while counted not in up.get("/metrics"):
        pass
    now = replaced(up, workers[0])
    for worker in now:
        with _held(now, worker):
            assert counted in up.get("/metrics")


def test_a_stop_while_workers_start_is_a_stop(upstream_of: UpstreamOf, up_to: UpTo) -> None:
    """The second worker may still be starting when the first already serves."""
    up = up_to(upstream_of(_answer), 4)
    up.process.terminate()
    assert ("", 0) == (up.process.communicate()[1], up.process.returncode)


def test_a_worker_that_cannot_come_back_is_said(upstream_of: UpstreamOf, up_to: UpTo, tmp_path: Path) -> None:
    """The reason is in the log, the others serve on, and it is tried again."""
    up = up_to(upstream_of(_answer), 2)
    (victim, _) = workers_of(up, 2)
    for file in tmp_path.glob("ledger.db*"):
        file.unlink()
    up.db.write_bytes(b"no ledger at all" * 100)
    os.kill(victim, signal.SIGKILL)
    stderr = up.process.stderr
    assert stderr is not None
    lines = [stderr.readline() for _ in range(2)]
    assert "A worker ended (signal 9). Another takes its place in 0.1 s.\n" == lines[0]
    assert f"A worker cannot start: The ledger {up.db} is not a ledger" in lines[1]
    assert MESSAGE == ask(up)
    up.process.terminate()
    up.process.communicate()


def test_what_keeps_a_worker_from_starting_is_the_gateway_s_error() -> None:
    """Its sentence and its exit code; one that died without a word is our own fault."""
    found = [_error_of(Begun("a", "b", code), code) for code in (1, 2)]
    assert [(InternalError, "a", "b"), (ConfigError, "a", "b")] == [(type(e), e.message, e.hint) for e in found]
    assert "A worker died while it started (signal 11)." == _error_of(None, -11).message


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_before_it_listens_is_a_stop(
    upstream_of: UpstreamOf, starting_up: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    """The first worker is not left behind, and nothing is said."""
    process = starting_up(upstream_of(_answer), 2)
    while not (family := children_of(process.pid)):
        pass
    process.send_signal(number)
    assert ("", "", 0) == (*process.communicate(), process.returncode)
    assert [] == running(family)
