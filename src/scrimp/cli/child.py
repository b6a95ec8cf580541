"""A client that lives within one of our commands: how it is pointed at us, run, and told of signals."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from scrimp.errors import UsageError

#: What a shell adds to the number of the signal that ended a command.
_BY_SIGNAL = 128
#: A script of the watch over the client, whose process number is its argument.
_WATCH = 'read -r word || kill -TERM "$1"'
#: What keeps a client from running -> what to do next.
_NEXT = {
    errno.ENOENT: "Is it installed and on the PATH?",
    errno.EACCES: "Name a program, or make it executable with chmod +x.",
    errno.ENOEXEC: "Name the program that reads it, such as sh or python.",
}


def environment_of(url: str) -> dict[str, str]:
    """Return what leads a client to a server on loopback: its base URL, and no proxy before it."""
    known = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    hosts = known if known == "*" else ",".join(filter(None, (known, "127.0.0.1")))
    return {"ANTHROPIC_BASE_URL": url, "NO_PROXY": hosts, "no_proxy": hosts}


def run_child(
    client: tuple[str, ...], environment: dict[str, str], hand_to: Callable[[subprocess.Popen[bytes]], None]
) -> int:
    """Run a command to its end and return its exit code, as a shell counts; raises `UsageError` where it cannot be."""
    try:
        process = subprocess.Popen(client, env=environment)  # noqa: S603 - running the user's own command is the task
    except OSError as error:
        what_next = _NEXT.get(error.errno or 0, "Name a program that can be run.")
        raise UsageError(f"Cannot run {client[0]}: {error.strerror}.", what_next) from error
    hand_to(process)
    with _watched(process.pid):
        code = process.wait()
    return _BY_SIGNAL - code if code < 0 else code


@contextmanager
def _watched(client_pid: int) -> Iterator[None]:
    """Have a shell terminate the client if this process is killed: what it talks to is gone, so it could only fail.

    The shell reads a word that only we can send; the end of its input is ours. It does not hear a terminal's Ctrl-C.
    """
    try:
        watch = subprocess.Popen(  # noqa: S603 - a script of ours and a number
            ["sh", "-c", _WATCH, "sh", str(client_pid)],  # noqa: S607 - any POSIX shell
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:  # a machine without a shell
        yield
        return
    try:
        yield
    finally:
        watch.communicate(b"ended\n")


@contextmanager
def signals_handed_on() -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """Leave it to the client what Ctrl-C, a termination and a closed terminal mean: we end in order either way.

    Yields what is to be told of the client once it runs; a signal that came before is handed on then. A terminal sends
    Ctrl-C to the client by itself. Signals that were ignored, as by nohup, still are.
    """
    clients: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def take(number: int, _frame: object) -> None:
        if not clients:
            early.append(number)
        elif number != signal.SIGINT:
            clients[0].send_signal(number)

    def hand_to(client: subprocess.Popen[bytes]) -> None:
        clients.append(client)
        for number in early:
            client.send_signal(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, take)
    try:
        yield hand_to
    finally:
        for number in heard:
            signal.signal(number, before[number])
