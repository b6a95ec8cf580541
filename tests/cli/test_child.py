"""A client within one of our commands: where it is led, how it ends, and what it hears of signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from scrimp.cli.child import environment_of, run_child, signals_handed_on
from scrimp.errors import UsageError


def _nobody(_client: subprocess.Popen[bytes]) -> None:
    """Hand on no signal."""


def test_a_signal_before_the_client_runs_is_handed_on() -> None:
    """It is not lost between our start and the client's."""
    with signals_handed_on() as hand_to:
        signal.raise_signal(signal.SIGTERM)
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as client:
            hand_to(client)
            assert -signal.SIGTERM == client.wait()
    assert signal.SIG_DFL == signal.getsignal(signal.SIGTERM)


def test_a_client_is_led_past_any_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner's own exceptions are kept."""
    for given, expected in ((None, "127.0.0.1"), ("a.example", "a.example,127.0.0.1"), ("*", "*")):
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        if given:
            monkeypatch.setenv("no_proxy", given)
        led = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:5", "NO_PROXY": expected, "no_proxy": expected}
        assert led == environment_of("http://127.0.0.1:5")


@pytest.mark.parametrize(
    ("program", "code"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 15)", 128 + 15)]
)
def test_its_exit_code_is_the_clients(program: str, code: int) -> None:
    """As a shell counts: a signal is 128 and its number."""
    assert code == run_child((sys.executable, "-c", program), dict(os.environ), _nobody)


@pytest.mark.parametrize("client", ["/no/such/client", "/"])
def test_what_cannot_be_run_is_one_sentence(client: str) -> None:
    """With what to do next."""
    started: list[subprocess.Popen[bytes]] = []
    hand_to: Callable[[subprocess.Popen[bytes]], None] = started.append
    with pytest.raises(UsageError, match=r"^Cannot run /.* \w+"):
        run_child((client,), {}, hand_to)
    assert [] == started
