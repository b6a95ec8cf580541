"""What every test stands on: no network but loopback, no silent skips, one Hypothesis profile, a home of its own."""

from __future__ import annotations

import ipaddress
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"

# --- Hypothesis: HYPOTHESIS_PROFILE picks; timed assertions are banned, so there is no deadline -------------------

settings.register_profile("check", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("check"), derandomize=True, print_blob=True)
settings.register_profile("campaign", settings.get_profile("check"), max_examples=20_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "check"))


# --- signals: what a shell made us ignore (`nohup`, a background job) is not what our children are tested with ------

for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)


# --- network: an audit hook sees every socket of this process and refuses what leaves the machine -----------------


class NetworkRefusedError(RuntimeError):
    """A test tried to reach something outside this machine."""


def _is_local(host: object) -> bool:
    if host in {None, "", b"", "localhost", b"localhost"}:
        return True
    try:
        address = ipaddress.ip_address(host.decode() if isinstance(host, bytes) else str(host))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None
    elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        host = arguments[0]
    else:
        return
    if not _is_local(host):
        raise NetworkRefusedError(f"a test may only reach this machine, not {host!r}")


sys.addaudithook(_refuse_network)


# --- skips: what can be installed has to be, or the suite would pass by testing nothing ---------------------------

INSTALLABLE = ("installable:", "could not import")


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn the skip of something installable into a failure, unless SCRIMP_ALLOW_SKIPS=1 outside CI."""
    allowed = os.environ.get("SCRIMP_ALLOW_SKIPS") == "1" and not os.environ.get("CI")
    if allowed or not report.skipped or hasattr(report, "wasxfail") or not isinstance(report.longrepr, tuple):
        return
    reason = report.longrepr[2].removeprefix("Skipped: ")
    if reason.startswith(INSTALLABLE):
        report.outcome = "failed"
        report.longrepr = (
            f"{reason}\n(a skip of something installable fails; SCRIMP_ALLOW_SKIPS=1 allows it outside CI)"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge each test's report."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge each file's report: a whole file can skip itself."""
    report = yield
    _refuse_skip(report)
    return report


# --- figures: what tests measured, listed once at the end ---------------------------------------------------------


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what tests gave to `record_property("measured", ...)`."""
    reports = [
        report
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        if isinstance(report, pytest.TestReport)
    ]
    figures = {pair for report in reports if report.when == "call" for pair in report.user_properties}
    for name, value in sorted(figures, key=repr):
        terminalreporter.write_line(f"{name}: {value}")


# --- seeds and folders ---------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--seeds N` runs seeded tests over N seeds; `make campaign SEEDS=N` passes it on."""
    parser.addoption("--seeds", type=int, default=None, help="seeds per seeded test (default: each test's own)")


@pytest.fixture
def seed_count(request: pytest.FixtureRequest) -> int | None:
    """Return how many seeds were asked for, or None for the test's own number."""
    count: int | None = request.config.getoption("--seeds")
    return count


@pytest.fixture
def root() -> Path:
    """Return the repository's root."""
    return ROOT


@pytest.fixture
def data() -> Path:
    """Return the folder of recorded data; skips where a checkout has none beside it."""
    if not DATA.is_dir():
        pytest.skip(f"no recorded data at {DATA.parent.name}/{DATA.name} beside the repository")
    return DATA


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a home of its own and no real key: it can neither read nor bill its user."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in [name for name in os.environ if name.startswith(("ANTHROPIC_", "CLAUDE_", "SCRIMP_", "XDG_"))]:
        if name != "SCRIMP_ALLOW_SKIPS":
            monkeypatch.delenv(name)
