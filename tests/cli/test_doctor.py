"""`scrimp doctor`: each thing it looks at, what it finds, and the line that mends it."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from scrimp.cli.doctor import Finding, examine
from scrimp.cli.main import cli
from scrimp.config import Settings
from scrimp.gateway.build import build
from scrimp.gateway.server import serving
from scrimp.upstream.pricefeed import user_price_file

CHECKS = ["settings", "ledger", "prices", "upstream", "gateway", "client"]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return a shell's environment in which everything is at its default; no program is on its PATH."""
    (tmp_path / "bin").mkdir()
    return {"HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "bin")}


@pytest.fixture
def flags(simulated: str, tmp_path: Path) -> dict[str, str | None]:
    """Return options with which everything is well."""
    return {"upstream": simulated, "db": str(tmp_path / "ledger.db")}


def closed_port() -> str:
    """Return an address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


def look(flags: dict[str, str | None], environ: dict[str, str]) -> dict[str, Finding]:
    """Return the findings by what was looked at."""
    findings = list(examine(flags, environ))
    return {finding.check: finding for finding in findings}


def test_a_set_up_without_a_fault(
    flags: dict[str, str | None], environ: dict[str, str], simulated: str, tmp_path: Path
) -> None:
    """A gateway that runs and clients that go there: everything is ok, and each check says what it saw."""
    app = build(Settings(upstream=simulated, db=str(tmp_path / "ledger.db")))
    with serving(app) as url:
        found = look(flags, {**environ, "ANTHROPIC_BASE_URL": f"{url}/"})
    assert CHECKS == list(found)
    assert {"ok"} == {finding.verdict for finding in found.values()}
    assert {""} == {finding.mend for finding in found.values()}
    assert f"upstream {simulated}" in found["settings"].found
    assert f"0 exchanges at {tmp_path / 'ledger.db'}" == found["ledger"].found
    assert f"{simulated} answers (200)" == found["upstream"].found
    assert f"clients of this shell go to {url}/" == found["gateway"].found


def test_settings_that_cannot_be_used_are_all_there_is_to_say(environ: dict[str, str]) -> None:
    """Whatever else was looked at would be looked at by guesswork."""
    found = look({}, {**environ, "SCRIMP_PORT": "high"})
    assert ["settings"] == list(found)
    assert "wrong" == found["settings"].verdict
    assert "SCRIMP_PORT" in found["settings"].found


def test_a_ledger_that_cannot_be_used(flags: dict[str, str | None], environ: dict[str, str], tmp_path: Path) -> None:
    """What is wrong, and what to do; the other checks go on."""
    (tmp_path / "ledger.db").mkdir()
    found = look(flags, environ)
    assert ("wrong", True) == (found["ledger"].verdict, bool(found["ledger"].mend))
    assert CHECKS == list(found)


def test_prices_that_cannot_be_used(
    flags: dict[str, str | None], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's own file is named, with the command that writes it anew."""
    monkeypatch.setenv("XDG_CONFIG_HOME", environ["HOME"])
    user_price_file().parent.mkdir(parents=True)
    user_price_file().write_text('{"unit": "furlongs"}')
    found = look(flags, environ)
    assert "wrong" == found["prices"].verdict
    assert "furlongs" in found["prices"].found
    assert "scrimp prices update" in found["prices"].mend


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "Nothing answered at"),
        ("file:///etc/passwd", "no address"),
        ("ftp://127.0.0.1", "no address"),
        ("http://127.0.0.1:port", "no address"),
        ("127.0.0.1:80", "no address"),
    ],
)
def test_an_upstream_that_cannot_be_reached(
    flags: dict[str, str | None], environ: dict[str, str], url: str, said: str
) -> None:
    """Down or no address at all: said, never a crash."""
    found = look({**flags, "upstream": url or closed_port()}, environ)["upstream"]
    assert "wrong" == found.verdict
    assert said in found.found
    assert "--upstream" in found.mend


def test_an_upstream_that_speaks_another_language(flags: dict[str, str | None], environ: dict[str, str]) -> None:
    """A port of something else."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def speak() -> None:
            link, _ = listening.accept()
            with link:
                link.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")
                link.recv(1000)

        speaking = threading.Thread(target=speak)
        speaking.start()
        found = look({**flags, "upstream": f"http://127.0.0.1:{listening.getsockname()[1]}"}, environ)["upstream"]
        speaking.join()
    assert "wrong" == found.verdict


def test_an_upstream_that_never_answers(
    flags: dict[str, str | None], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor's patience has an end."""
    monkeypatch.setattr("scrimp.gateway.probe.ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = look({**flags, "upstream": f"http://127.0.0.1:{listening.getsockname()[1]}"}, environ)["upstream"]
    assert ("wrong", True) == (found.verdict, "too long" in found.found)


def test_clients_that_bypass_the_gateway(flags: dict[str, str | None], environ: dict[str, str], simulated: str) -> None:
    """Not told to go anywhere, or told to go past it: advice with the line to type."""
    ours = "export ANTHROPIC_BASE_URL=http://127.0.0.1:4000"
    found = look(flags, environ)["gateway"]
    assert ("advice", ours) == (found.verdict, found.mend)
    found = look(flags, {**environ, "ANTHROPIC_BASE_URL": simulated})["gateway"]
    assert ("advice", ours, True) == (found.verdict, found.mend, "is no Scrimp" in found.found)


@pytest.mark.parametrize("url", ["", "nonsense"])
def test_a_gateway_that_is_down(flags: dict[str, str | None], environ: dict[str, str], url: str) -> None:
    """Every client of this shell fails until it is started."""
    found = look(flags, {**environ, "ANTHROPIC_BASE_URL": url or closed_port()})["gateway"]
    assert ("wrong", "scrimp up") == (found.verdict, found.mend)
    assert "ANTHROPIC_BASE_URL" in found.found


def test_claude_code_that_does_not_say_what_it_does(
    flags: dict[str, str | None], environ: dict[str, str], tmp_path: Path
) -> None:
    """It is only advised where there is one, and only as long as it does not."""
    claude = tmp_path / "bin" / "claude"
    claude.touch(mode=0o755)
    found = look(flags, environ)["client"]
    assert ("advice", True) == (found.verdict, found.mend.startswith("export CLAUDE_CODE_GATEWAY_HINT_HEADERS=1"))
    assert "ok" == look(flags, {**environ, "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1"})["client"].verdict


def invoke(flags: dict[str, str | None], *more: str) -> tuple[int, str]:
    """Run the command and return its exit code and output."""
    options = [text for name, value in flags.items() for text in (f"--{name}", value or "")]
    result = CliRunner().invoke(cli, ["doctor", *options, *more])
    return result.exit_code, result.stdout


@pytest.mark.parametrize("wrong", [False, True])
def test_the_exit_code_tells_whether_something_is_wrong(flags: dict[str, str | None], wrong: bool) -> None:
    """Advice alone is no fault."""
    code, told = invoke({**flags, "upstream": closed_port()} if wrong else flags)
    assert int(wrong) == code
    assert wrong == ("WRONG   upstream: " in told)
    assert "advice  gateway: clients of this shell bypass Scrimp\n          export ANTHROPIC_BASE_URL=" in told


def test_json_is_one_object(flags: dict[str, str | None]) -> None:
    """With the same findings, and the same exit code."""
    for each, code in ((flags, 0), ({**flags, "db": "redis://x"}, 1)):
        ended, told = invoke(each, "--json")
        findings = json.loads(told)["findings"]
        assert (code, CHECKS) == (ended, [finding["check"] for finding in findings])
        assert all({"check", "verdict", "found", "mend"} == set(finding) for finding in findings)


@pytest.mark.parametrize("options", [["--nope"], ["extra"]])
def test_wrong_options_are_called_wrongly(options: list[str]) -> None:
    """Exit code 2, as for every command."""
    assert 2 == CliRunner().invoke(cli, ["doctor", *options]).exit_code
