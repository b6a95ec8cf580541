"""`scrimp doctor --probe-upgrade`: what it costs is said first, and the verdict is an exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from scrimp.cli.main import cli
from scrimp.cli.probe_upgrade import credentials, probe
from scrimp.clock import VirtualClock
from scrimp.config import Settings
from scrimp.errors import UsageError
from scrimp.gateway.server import serving
from scrimp.sim.app import create_app
from scrimp.sim.machine import Simulator
from scrimp.sim.rules import Rules

MODEL = "claude-opus-5-5"
KEY = {"x-api-key": "sk-fake"}


@contextmanager
def api(rules: Rules) -> Iterator[tuple[str, Simulator, VirtualClock]]:
    """Serve a simulator in virtual time."""
    clock, simulator = VirtualClock(1_795_564_800_000), Simulator(rules)
    with serving(create_app(simulator, clock)) as url:
        yield url, simulator, clock


@pytest.mark.parametrize(("keeps", "said", "code"), [(False, "yes", 0), (True, "no", 1)])
def test_the_verdict_is_printed_and_the_exit_code(
    capsys: pytest.CaptureFixture[str], keeps: bool, said: str, code: int
) -> None:
    """With each answer, what it cost, and what to do; `--json` holds the same in one object."""
    for as_json in (False, True):
        with api(Rules(keeps_lifetimes=keeps)) as (url, simulator, clock):

            async def wait(wait_ms: int, clock: VirtualClock = clock) -> None:
                clock.advance_ms(wait_ms)

            ended = probe(Settings(upstream=url), MODEL, KEY, agreed=True, as_json=as_json, wait=wait)
        told = capsys.readouterr()
        assert code == ended
        assert told.err.startswith(f"5 requests to {MODEL} in 11 minutes, at most $0.")
        assert "Waiting 60 s ...\nWaiting 600 s ...\n" in told.err
        if as_json:
            found = json.loads(told.out)
            assert (said, 5) == (found["verdict"], len(found["steps"]))
            assert simulator.invoice.cost_nano_usd / 1e9 == pytest.approx(found["cost_usd"])
        else:
            lines = told.out.splitlines()
            assert ["write", "control", "ping", "control again", "question"] == [
                line.partition(",")[0] for line in lines[:5]
            ]
            assert lines[5].startswith(f"{said}: ")


def invoke(*arguments: str, typed: str | None = None) -> tuple[int, str]:
    """Run the command and return its exit code and what it says on standard error."""
    result = CliRunner().invoke(cli, ["doctor", "--probe-upgrade", *arguments], input=typed)
    return result.exit_code, result.stderr


def test_nothing_is_spent_before_somebody_agrees(simulated: str, simulator: object) -> None:
    """Whoever says no, or nothing, has sent nothing."""
    for answer in ("n\n", ""):
        code, told = invoke("--upstream", simulated, "--model", MODEL, "--key", "sk-fake", typed=answer)
        assert (1, True) == (code, "Send them?" in told)
    assert [] == simulator.simulator.invoice.lines  # type: ignore[attr-defined]


def test_what_keeps_it_from_an_answer_is_no_no(simulated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is not served, and a key that is missing, exit with 2 and one sentence."""
    code, told = invoke("--upstream", simulated, "--model", "claude-nonesuch", "--key", "sk-fake", "--yes")
    assert (2, True) == (code, "was not served (404 not_found_error). Mend that and probe again." in told)
    assert "an unknown sum" in told
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "SCRIMP_DOCTOR_KEY"):
        monkeypatch.delenv(name, raising=False)
    code, told = invoke("--upstream", simulated, "--model", MODEL, "--yes")
    assert (2, True) == (code, "There is no API key for the probe." in told)


def test_a_model_has_to_be_named() -> None:
    """Each may differ, and costs its own."""
    result = CliRunner().invoke(cli, ["doctor", "--probe-upgrade"])
    assert isinstance(result.exception, UsageError)


@pytest.mark.parametrize(
    ("key", "environ", "expected"),
    [
        ("sk-given", {"ANTHROPIC_API_KEY": "sk-shell"}, {"x-api-key": "sk-given"}),
        (None, {"ANTHROPIC_API_KEY": "sk-shell"}, {"x-api-key": "sk-shell"}),
        (None, {"ANTHROPIC_AUTH_TOKEN": "token"}, {"authorization": "Bearer token"}),
    ],
)
def test_who_pays(key: str | None, environ: dict[str, str], expected: dict[str, str]) -> None:
    """The key that was given, else the shell's own."""
    assert expected == credentials(key, environ)


@pytest.mark.parametrize("environ", [{}, {"ANTHROPIC_AUTH_TOKEN": "sk-ant-oat01-fake"}])
def test_nobody_else_pays(environ: dict[str, str]) -> None:
    """No subscription, which is not billed by the token."""
    with pytest.raises(UsageError):
        credentials(None, environ)
