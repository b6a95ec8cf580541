"""Several processes that serve one socket: started, watched, replaced where one dies, and stopped together.

::

    parent (holds the socket and the board, serves nothing)
      |--lifeline, order--> worker 0 --begun--> the parent says that it listens
      |--lifeline, order--> worker 1
      '--...                              each accepts from the one socket; a dead one's connections are lost, no others

The first worker starts alone: what is wrong with a setting or a ledger is said once, and the ledger is made once. A
worker that ends later is replaced, after a pause that grows while it keeps dying; where none is left and none can be
had, the gateway ends with the reason. SIGTERM or Ctrl-C lets all of them
finish what is under way; a second Ctrl-C does not wait. Workers are in sessions of their own, so that a terminal's
Ctrl-C reaches them through the parent only, and hold one end of a lifeline each, so that none outlives the parent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress

import msgspec

from scrimp.config import Settings
from scrimp.core.belief.account import Account
from scrimp.errors import ConfigError, InternalError, ScrimpError
from scrimp.gateway.server import STOP_SECONDS

#: How long after its end a worker is replaced at first, and at most; each early end in a row doubles it, in seconds.
PAUSE_SECONDS_MIN = 0.1
PAUSE_SECONDS_MAX = 10.0
#: A worker that lived longer than this did not end early, in seconds.
EARLY_SECONDS = 60.0

_log = logging.getLogger("scrimp.gateway")


class Order(msgspec.Struct):
    """What a worker is told: the settings, its number from 0, the descriptors it was handed, and what is known."""

    settings: Settings
    number: int
    listening: int
    board: int
    account: Account = msgspec.field(default_factory=Account)


class Begun(msgspec.Struct):
    """What a worker answers: nothing where it can begin, else the error of ours that keeps it from it."""

    message: str = ""
    hint: str = ""
    exit_code: int = 0


class Stopped(Exception):
    """The gateway was told to stop while a worker was starting."""


def serve_with_workers(
    settings: Settings, listening: socket.socket, on_begun: Callable[[], None], account: Account | None = None
) -> None:
    """Serve with `settings.workers` processes until SIGINT or SIGTERM; `on_begun` is told once one can serve.

    `account` is what is known beforehand of who will use it.

    Raises the `ScrimpError` that keeps the first worker from starting, or later each of them.
    """
    with tempfile.TemporaryFile() as board:
        asyncio.run(_Crew(settings, listening, board.fileno(), account or Account()).run(on_begun))


class _Crew:
    def __init__(self, settings: Settings, listening: socket.socket, board: int, account: Account) -> None:
        self._settings = settings
        self._listening = listening
        self._board = board
        self._account = account
        self._alive: set[Process] = set()
        self._serving = 0
        self._stopping = asyncio.Event()

    async def run(self, on_begun: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number)
        try:
            first = await self._start(0)
        except Stopped:
            return
        on_begun()
        others = (self._keep(number, None) for number in range(1, self._settings.workers))
        await asyncio.gather(self._keep(0, first), *others)

    def _stop(self, number: int) -> None:
        """Have every worker finish; a second SIGINT has them end at once, as it has a gateway of one process."""
        again = self._stopping.is_set() and number == signal.SIGINT
        self._send(signal.SIGINT if again else signal.SIGTERM)
        if not self._stopping.is_set():
            self._stopping.set()
            self._listening.close()
            asyncio.get_running_loop().call_later(STOP_SECONDS, self._send, signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for process in self._alive:
            _signal(process, number)

    async def _start(self, number: int) -> Process:
        """Start a worker and wait until it can serve; raises `Stopped`, or what keeps it from it."""
        handed = (self._listening.fileno(), self._board)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "scrimp.gateway.worker"),
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=handed,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self._alive.add(process)
        begun = await _begun(process, Order(self._settings, number, *handed, self._account))
        if self._stopping.is_set():
            await self._end(process)
            raise Stopped
        if begun is None or begun.message:
            code = await self._end(process)
            raise _error_of(begun, code)
        return process

    async def _end(self, process: Process) -> int:
        """Return how a worker that is not wanted any more ended."""
        _signal(process, signal.SIGTERM)
        code = await process.wait()
        self._alive.discard(process)
        return code

    async def _served(self, process: Process) -> int:
        """Return how a worker ended, once it has."""
        self._serving += 1
        code = await process.wait()
        self._serving -= 1
        self._alive.discard(process)
        return code

    async def _keep(self, number: int, process: Process | None) -> None:
        """Keep one worker running until the gateway stops; where none can be had for long, raise why."""
        loop, pause_s = asyncio.get_running_loop(), PAUSE_SECONDS_MIN
        while not self._stopping.is_set():
            began = loop.time()
            try:
                process = process or await self._start(number)
                why = f"A worker ended ({_ending(await self._served(process))})."
            except Stopped:
                return
            except ScrimpError as error:
                if not self._serving and pause_s == PAUSE_SECONDS_MAX:
                    raise
                why = f"A worker cannot start: {error}"
            process = None
            if self._stopping.is_set():
                return
            pause_s = PAUSE_SECONDS_MIN if loop.time() - began > EARLY_SECONDS else pause_s
            _log.error("%s Another takes its place in %.1f s.", why, pause_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
            pause_s = min(2 * pause_s, PAUSE_SECONDS_MAX)


def _signal(process: Process, number: signal.Signals) -> None:
    """Send a signal without asking whether the process ended: to ask would take its exit code from who waits for it."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


async def _begun(process: Process, order: Order) -> Begun | None:
    """Tell a worker what to do and return its answer; None if it died before it gave one."""
    if process.stdin is None or process.stdout is None:
        return None
    process.stdin.write(msgspec.json.encode(order) + b"\n")
    line = await process.stdout.readline()
    return msgspec.json.decode(line, type=Begun) if line.endswith(b"\n") else None


def _error_of(begun: Begun | None, code: int) -> ScrimpError:
    """Return the error that a worker answered, or that it died without a word."""
    if begun is None:
        return InternalError(f"A worker died while it started ({_ending(code)}).", "Report this as a fault of Scrimp.")
    kind = ConfigError if begun.exit_code == ConfigError.exit_code else InternalError
    return kind(begun.message, begun.hint)


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
