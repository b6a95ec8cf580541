"""One worker of several: a process that serves the socket it was handed, for as long as its parent lives.

`workers` starts it as `python -m scrimp.gateway.worker`. Its standard input is its lifeline: one line says what to do,
and its end says that the parent is gone, however that went. Its standard output takes one line: whether it can begin.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time

import msgspec

from scrimp.errors import ScrimpError
from scrimp.gateway.app import create_app
from scrimp.gateway.board import Board
from scrimp.gateway.build import parts_of
from scrimp.gateway.metrics import SharedMetrics
from scrimp.gateway.server import STOP_SECONDS, serve_forever
from scrimp.gateway.workers import Begun, Order

_LIFELINE, _ANSWER = 0, 1


def _answer(begun: Begun) -> None:
    os.write(_ANSWER, msgspec.json.encode(begun) + b"\n")


def _read_order() -> Order:
    """Return what to do; a parent that died before it could say ends this process."""
    with os.fdopen(_LIFELINE, "rb", buffering=0, closefd=False) as lifeline:
        line = lifeline.readline()
    if not line.endswith(b"\n"):
        sys.exit(1)
    return msgspec.json.decode(line, type=Order)


def _end_with_parent() -> None:
    """Wait for the parent's end and stop as if told to; a worker that cannot stop is ended all the same."""
    while os.read(_LIFELINE, 1):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os._exit(1)


def main() -> None:
    """Serve as the order says; exits with the code of the error that keeps it from beginning."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the server takes it
    order = _read_order()
    threading.Thread(target=_end_with_parent, name="scrimp-lifeline", daemon=True).start()
    try:
        services, stop = parts_of(order.settings, account=order.account)
    except ScrimpError as error:
        _answer(Begun(error.message, error.hint, error.exit_code))
        sys.exit(error.exit_code)
    metrics = SharedMetrics(Board(order.board, order.settings.workers), order.number)
    app = create_app(services, stop, metrics)

    async def pin() -> None:
        metrics.pin(ledger_trouble=services.ledger.trouble is not None)

    _answer(Begun())
    serve_forever(app, socket.socket(fileno=order.listening), pin)


if __name__ == "__main__":
    main()
