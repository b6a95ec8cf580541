"""`scrimp doctor`: each thing it looks at, what it finds, and the line that mends it."""

from __future__ import annotations

import io
import json
import socket
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from scrimp.cli.doctor import Finding, _key, _start_at, examine
from scrimp.cli.main import cli
from scrimp.cli.switches import SWITCHES
from scrimp.config import Settings
from scrimp.core.belief.exchange import Exchange
from scrimp.errors import ScrimpError, UsageError
from scrimp.gateway.asgi import Receive, Scope, Send, reply
from scrimp.gateway.build import build
from scrimp.gateway.probe import DEGRADED
from scrimp.gateway.server import serving
from scrimp.store.ledger import open_ledger
from scrimp.upstream.pricefeed import user_price_file

CHECKS = ["settings", "ledger", "prices", "upstream", "gateway"]


def closed_port() -> str:
    """Return an address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return a shell's environment in which nothing is set but a port that is free; no program is on its PATH."""
    (tmp_path / "bin").mkdir()
    port = closed_port().rpartition(":")[2]
    return {"HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "bin"), "SCRIMP_PORT": port}


@pytest.fixture
def flags(simulated: str, tmp_path: Path) -> dict[str, str | None]:
    """Return options with which everything is well."""
    return {"upstream": simulated, "db": str(tmp_path / "ledger.db")}


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


@pytest.mark.parametrize("folder", ["/proc/none", "file"])
def test_a_ledger_that_could_not_be_made(
    flags: dict[str, str | None], environ: dict[str, str], tmp_path: Path, folder: str
) -> None:
    """Not there yet is well only where the gateway may make it; looking leaves nothing behind."""
    (tmp_path / "file").touch()
    found = look({**flags, "db": str(tmp_path / folder / "a" / "ledger.db")}, environ)["ledger"]
    assert ("wrong", True) == (found.verdict, "cannot be made" in found.found)
    assert "--db" in found.mend
    before = sorted(tmp_path.rglob("*"))
    found = look({**flags, "db": str(tmp_path / "new" / "ledger.db")}, environ)["ledger"]
    assert ("ok", before) == (found.verdict, sorted(tmp_path.rglob("*")))


@pytest.mark.parametrize(("count", "said"), [(1, "1 exchange at"), (2, "2 exchanges at")])
def test_a_ledger_is_counted(
    flags: dict[str, str | None], environ: dict[str, str], tmp_path: Path, count: int, said: str
) -> None:
    """In the number that a person uses."""
    with open_ledger(tmp_path / "ledger.db") as ledger:
        for number in range(count):
            ledger.close(Exchange(exchange_id=f"ex_{number}", opened_at_ms=number, source="test"))
    assert look(flags, environ)["ledger"].found.startswith(said)


def test_no_password_is_printed(environ: dict[str, str]) -> None:
    """Neither the upstream's nor the ledger's, whatever is wrong with them; and the mending is to leave it out."""
    flags: dict[str, str | None] = {
        "upstream": "http://me:fakesecret@127.0.0.1:9",
        "db": "postgresql://me:fakesecret@127.0.0.1:9/x",
    }
    environ |= {"ANTHROPIC_BASE_URL": "http://me:fakesecret@127.0.0.1:9"}
    found = look(flags, environ)
    assert "fakesecret" not in repr(found)
    assert all("Give http://127.0.0.1:9;" in found[check].mend for check in ("upstream", "gateway"))


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
    """Not told to go anywhere, or told to go past it: advice with the line to type, a gateway to start first."""
    ours = f"export ANTHROPIC_BASE_URL=http://127.0.0.1:{environ['SCRIMP_PORT']}"
    found = look(flags, environ)["gateway"]
    assert ("advice", f"scrimp up   # and then, where the client runs: {ours}") == (found.verdict, found.mend)
    found = look(flags, {**environ, "ANTHROPIC_BASE_URL": simulated})["gateway"]
    assert ("advice", True) == (found.verdict, "is no Scrimp" in found.found)
    assert ours in found.mend


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])  # noqa: S104 - what users may set
def test_clients_that_bypass_a_gateway_that_runs(
    flags: dict[str, str | None], environ: dict[str, str], simulated: str, tmp_path: Path, host: str
) -> None:
    """There is nothing to start: the line leads to it."""
    with serving(build(Settings(upstream=simulated, db=str(tmp_path / "ledger.db")))) as url:
        environ |= {"SCRIMP_PORT": url.rpartition(":")[2], "SCRIMP_HOST": host}
        found = look(flags, environ)["gateway"]
    name = "localhost" if host == "localhost" else "127.0.0.1"
    assert f"export ANTHROPIC_BASE_URL={url.replace('127.0.0.1', name)}" == found.mend


def test_a_gateway_that_cannot_write_its_ledger(flags: dict[str, str | None], environ: dict[str, str]) -> None:
    """It serves clients all the same, so nobody else would notice."""

    async def degraded(_scope: Scope, _receive: Receive, send: Send) -> None:
        await reply(send, 200, "application/json", DEGRADED)

    with serving(degraded) as url:
        found = look(flags, {**environ, "ANTHROPIC_BASE_URL": url})["gateway"]
    assert ("wrong", f"the gateway at {url} cannot write its ledger") == (found.verdict, found.found)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", ""])
def test_a_gateway_that_is_down(flags: dict[str, str | None], environ: dict[str, str], host: str) -> None:
    """Every client of this shell fails until one is started where they look for it, or they look elsewhere."""
    port = closed_port().rpartition(":")[2]
    base = f"http://{host}:{port}" if host else "nonsense"
    found = look(flags, {**environ, "ANTHROPIC_BASE_URL": base})["gateway"]
    mend = {
        "127.0.0.1": f"scrimp up --port {port}",
        "localhost": f"scrimp up --port {port} --host localhost",
        "": f"export ANTHROPIC_BASE_URL=http://127.0.0.1:{environ['SCRIMP_PORT']}",
    }[host]
    assert ("wrong", True) == (found.verdict, found.mend.endswith(mend))
    assert "ANTHROPIC_BASE_URL" in found.found


@pytest.mark.parametrize(
    ("base", "command"),
    [
        ("http://[::1]:5000/", "scrimp up --port 5000 --host ::1"),
        ("https://127.0.0.1:5000", None),
        ("http://127.0.0.1", None),
        ("http://127.0.0.1:port", None),
        ("http://[", None),
        ("http://192.0.2.1:5000", None),
    ],
)
def test_a_gateway_is_started_only_where_it_can_be(base: str, command: str | None) -> None:
    """On this machine, without TLS, at the port that clients name."""
    assert command == _start_at(base)


def test_another_gateway_is_examined() -> None:
    """`--gateway` is the conformance test, which says first where that gateway's upstream has to be."""
    result = CliRunner().invoke(cli, ["doctor", "--gateway", closed_port(), "--upstream-port", "0"])
    assert isinstance(result.exception, ScrimpError)
    assert "has to be http://127.0.0.1:" in result.stderr


@pytest.mark.parametrize(
    ("flag", "environ", "typed", "expected"),
    [
        (None, {}, "", None),
        ("sk-flag", {"SCRIMP_DOCTOR_KEY": "sk-variable"}, "sk-typed", "sk-flag"),
        (None, {"SCRIMP_DOCTOR_KEY": "sk-variable"}, "sk-typed", "sk-variable"),
        ("-", {"SCRIMP_DOCTOR_KEY": "sk-variable"}, "sk-typed\n", "sk-typed"),
    ],
)
def test_a_key_need_not_stand_in_the_process_list(
    flag: str | None, environ: dict[str, str], typed: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On standard input, in a variable, or, where it may be seen, on the command line."""
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert expected == _key(flag, environ)


def test_a_key_that_was_not_typed_is_missed() -> None:
    """Before anything is examined."""
    result = CliRunner().invoke(cli, ["doctor", "--gateway", "http://127.0.0.1:1", "--key", "-"], input="\n")
    assert isinstance(result.exception, UsageError)
    assert "no key on standard input" in result.exception.message


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
    assert "advice  gateway: clients of this shell bypass Scrimp\n          " in told
    assert "export ANTHROPIC_BASE_URL=http://127.0.0.1:4000" in told


def test_json_is_one_object(flags: dict[str, str | None]) -> None:
    """With the same findings, and the same exit code."""
    for each, code in ((flags, 0), ({**flags, "db": "redis://x"}, 1)):
        ended, told = invoke(each, "--json")
        findings = json.loads(told)["findings"]
        assert (code, CHECKS) == (ended, [finding["check"] for finding in findings])
        assert all({"check", "verdict", "found", "mend"} == set(finding) for finding in findings)


def test_each_switch_of_claude_code_is_listed(
    flags: dict[str, str | None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Set, not set or advised, with what it saves and the line that sets it; the same under `--json`."""
    (tmp_path / "claude").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CLAUDE_CODE_GATEWAY_HINT_HEADERS", "1")
    monkeypatch.delenv("CLAUDE_CODE_ATTRIBUTION_HEADER", raising=False)
    _, told = invoke(flags)
    _, counted = invoke(flags, "--json")
    switches = {each["name"]: each for each in json.loads(counted)["switches"]}
    assert {switch.name for switch in SWITCHES} == set(switches)
    for switch in SWITCHES:
        assert f"{switches[switch.name]['state']:<8} {switch.name}" in told
        assert f"          saves: {switch.saves}\n" in told
    states = [switches[f"CLAUDE_CODE_{name}"]["state"] for name in ("GATEWAY_HINT_HEADERS", "ATTRIBUTION_HEADER")]
    assert ["set", "advised"] == states
    assert "          export CLAUDE_CODE_ATTRIBUTION_HEADER=0\n" in told
    assert "export CLAUDE_CODE_GATEWAY_HINT_HEADERS" not in told


@pytest.mark.parametrize("options", [["--nope"], ["extra"]])
def test_wrong_options_are_called_wrongly(options: list[str]) -> None:
    """Exit code 2, as for every command."""
    assert 2 == CliRunner().invoke(cli, ["doctor", *options]).exit_code
