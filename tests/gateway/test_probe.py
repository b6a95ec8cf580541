"""The probe tells a gateway of ours from anything else, and from nothing."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from scrimp.clock import SystemClock
from scrimp.config import load_settings
from scrimp.errors import ConfigError, UpstreamUnavailable
from scrimp.gateway.asgi import Receive, Scope, Send, reply
from scrimp.gateway.build import build
from scrimp.gateway.probe import DEGRADED, ask, is_scrimp
from scrimp.gateway.server import serving
from scrimp.sim.app import create_app
from scrimp.sim.machine import Simulator


def free_address() -> str:
    """Return an address of this machine that nothing listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_it_knows_its_own_kind(tmp_path: Path) -> None:
    """A gateway is one, the API is none, and nothing is none."""
    settings = load_settings({"upstream": free_address(), "db": str(tmp_path / "l.db")}, {"HOME": str(tmp_path)})
    with serving(build(settings)) as ours, serving(create_app(Simulator(), SystemClock())) as api:
        assert is_scrimp(ours, trust_env=False)
        assert not is_scrimp(api, trust_env=False)
        assert (200, b"") == ask(ours, "HEAD", "/healthz", trust_env=False)
    assert not is_scrimp(free_address(), trust_env=False)


def test_one_in_trouble_is_still_of_its_kind() -> None:
    """A gateway that cannot write its ledger goes on serving, and says at the same place that it is one of us."""

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        await reply(send, 200, "application/json", DEGRADED)

    with serving(answer) as degraded:
        assert is_scrimp(degraded, trust_env=False)


def test_errors_are_ours() -> None:
    """Nothing there, and no address at all, are told apart."""
    with pytest.raises(UpstreamUnavailable):
        ask(free_address(), "GET", "/", trust_env=False)
    with pytest.raises(ConfigError):
        ask("ftp://x", "GET", "/", trust_env=False)
