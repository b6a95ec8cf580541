"""`scrimp up`: a real process, what it says, and how it refuses."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scrimp.cli.up import OWN, _account
from scrimp.core.belief.account import Account
from scrimp.sim.app import SimApp
from scrimp.store.ledger import open_ledger
from tests.processes import children_of
from tests.replay.transcripts import paused_for

if TYPE_CHECKING:
    from tests.cli.conftest import Scrimp

Started = Callable[..., subprocess.Popen[str]]

REQUEST = b'{"model":"claude-opus-5-5","max_tokens":50,"messages":[{"role":"user","content":"a secret"}]}'
HEADERS = {"x-api-key": "sk-fake", "anthropic-version": "2023-06-01", "content-type": "application/json"}


def announced(process: subprocess.Popen[str]) -> list[str]:
    """Return the three lines that a gateway prints when it listens."""
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(3)]


def test_it_serves_records_and_keeps_quiet(started: Started, simulated: str, simulator: SimApp, tmp_path: Path) -> None:
    """Three lines on standard output, nothing in the log, and the bill in the ledger; no text or key anywhere."""
    db = tmp_path / "ledger.db"
    process = started("up", "--port", "0", "--upstream", simulated, "--db", str(db))
    listens, point, bill = announced(process)
    url = listens.split()[3]
    with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/messages", REQUEST, HEADERS)) as answer:  # noqa: S310 - loopback
        message = json.loads(answer.read())
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert ("", "", 0) == (out, err, process.returncode)
    assert f"Scrimp listens on {url} and sends everything on to {simulated} (observe).\n" == listens
    assert f"Point a client at it:  export ANTHROPIC_BASE_URL={url}\n" == point
    assert f"See the bill:          scrimp report --db {db}\n" == bill
    with open_ledger(db) as ledger:
        (exchange,) = ledger.exchanges()
    assert (message["id"], simulator.simulator.invoice.cost_nano_usd) == (exchange.message_id, exchange.cost_nano_usd)
    for file in tmp_path.glob("ledger.db*"):
        assert b"a secret" not in file.read_bytes()
        assert b"sk-fake" not in file.read_bytes()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "0.0.0.0"])  # noqa: S104 - what users may ask for
def test_the_address_that_it_says_can_be_used(started: Started, simulated: str, tmp_path: Path, host: str) -> None:
    """Whatever it was told to listen on."""
    db = str(tmp_path / "a.db")
    url = announced(started("up", "--host", host, "--port", "0", "--upstream", simulated, "--db", db))[0].split()[3]
    with urllib.request.urlopen(f"{url}/healthz") as answer:  # noqa: S310 - loopback
        assert b'{"status":"ok"}' == answer.read()


def refused(scrimp: Scrimp, *options: str, code: int = 2) -> str:
    """Return the one line that `scrimp up` ends with."""
    ended = scrimp("up", "--port", "0", *options)
    assert (code, "") == (ended.returncode, ended.stdout)
    (line,) = ended.stderr.splitlines()
    assert line.startswith("scrimp: ")
    return line


def test_a_port_in_use_is_called_wrongly(scrimp: Scrimp, tmp_path: Path) -> None:
    """Exit code 2, one sentence what, one what next."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refused(scrimp, "--port", port, "--db", str(tmp_path / "a.db"))
    assert f"scrimp: Cannot listen on 127.0.0.1:{port}: Address already in use. Choose another with --port." == line


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "http://x:port", "https://key@api.invalid"])
def test_a_bad_upstream_is_called_wrongly(scrimp: Scrimp, tmp_path: Path, url: str) -> None:
    """Before anything is served or made, and without repeating what may be a key."""
    line = refused(scrimp, "--upstream", url, "--db", str(tmp_path / "a.db"))
    assert ". Give " in line
    assert "key@" not in line
    assert [] == list(tmp_path.glob("a.db*"))


@pytest.mark.parametrize("host", ["bad host", "192.0.2.1", "x" * 70])
def test_an_address_that_is_not_ours_is_called_wrongly(scrimp: Scrimp, host: str) -> None:
    """Another port would not help."""
    line = refused(scrimp, "--host", host)
    assert line.startswith(f"scrimp: Cannot listen on {host}:0: ")
    assert line.endswith("Name an address of this machine with --host.")


def test_an_upstream_with_what_every_client_adds(scrimp: Scrimp) -> None:
    """The address that was meant is in the sentence."""
    assert refused(scrimp, "--upstream", "https://api.example/v1").endswith("Give https://api.example instead.")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_gateway_is_not_its_own_upstream(scrimp: Scrimp, tmp_path: Path, host: str) -> None:
    """A loop would answer nobody."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    options = ("--port", str(port), "--upstream", f"http://{host}:{port}/", "--db", str(tmp_path / "l.db"))

    assert f"http://{host}:{port}/ is this gateway itself." in refused(scrimp, *options)


@pytest.mark.parametrize("workers", ["1", "3"])
def test_a_ledger_that_cannot_be_used_is_named(scrimp: Scrimp, tmp_path: Path, workers: str) -> None:
    """A folder in the ledger's place, a file in its folder's place, and a scheme that we do not know: said once."""
    (tmp_path / "file").touch()
    few = ("--workers", workers)
    assert "cannot be opened" in refused(scrimp, "--db", str(tmp_path), *few, code=1)
    assert "cannot be made" in refused(scrimp, "--db", str(tmp_path / "file" / "a.db"), *few, code=1)
    assert "'redis'" in refused(scrimp, "--db", "redis://h/1", *few)


@pytest.mark.parametrize("workers", ["0", "-1", "65"])
def test_a_number_of_workers_has_its_limits(scrimp: Scrimp, workers: str) -> None:
    """One at least, and no more than a machine has use for."""
    assert refused(scrimp, "--workers", workers).startswith(f"scrimp: --workers cannot be {workers}: ")


@pytest.mark.parametrize(
    "options", [["--port", "70000"], ["--port", "-1"], ["--port", "x"], ["--mode", "reckless"], ["--nope"], ["extra"]]
)
def test_wrong_options_are_called_wrongly(scrimp: Scrimp, options: list[str]) -> None:
    """Exit code 2 and no traceback."""
    ended = scrimp("up", *options)
    assert (2, "") == (ended.returncode, ended.stdout)
    assert "Traceback" not in ended.stderr


def test_several_workers_say_what_one_says(
    started: Started, environment: dict[str, str], simulated: str, simulator: SimApp, tmp_path: Path
) -> None:
    """The same three lines, the same bill; the number may come from the environment like any setting."""
    db = tmp_path / "ledger.db"
    environment |= {"SCRIMP_WORKERS": "2"}
    process = started("up", "--port", "0", "--upstream", simulated, "--db", str(db))
    listens, _, bill = announced(process)
    url = listens.split()[3]
    with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/messages", REQUEST, HEADERS)) as answer:  # noqa: S310 - loopback
        answer.read()
    assert 2 == len(children_of(process.pid))
    process.terminate()
    assert ("", "") == process.communicate(timeout=60)
    assert f"See the bill:          scrimp report --db {db}\n" == bill
    with open_ledger(db) as ledger:
        assert [simulator.simulator.invoice.cost_nano_usd] == [each.cost_nano_usd for each in ledger.exchanges()]


def test_a_setting_may_come_from_the_environment_or_a_file(
    started: Started, environment: dict[str, str], simulated: str, tmp_path: Path
) -> None:
    """A flag wins over a variable, a variable over the file."""
    file = tmp_path / "settings.toml"
    file.write_text(f'upstream = "{simulated}"\nport = 1\ndb = "{tmp_path / "file.db"}"\n', encoding="utf-8")
    environment |= {"SCRIMP_CONFIG": str(file), "SCRIMP_PORT": "2", "SCRIMP_DB": str(tmp_path / "variable.db")}
    lines = announced(started("up", "--port", "0"))
    assert simulated in lines[0]
    assert f"{tmp_path / 'variable.db'}\n" == lines[2].split()[-1] + "\n"


def test_it_starts_without_what_it_does_not_need(tmp_path: Path) -> None:
    """Alembic and the SDK cost a second each; a new ledger needs neither."""
    code = (
        "import sys\n"
        "from scrimp.config import Settings\n"
        "from scrimp.gateway.build import build\n"
        "from scrimp.gateway.server import bind, serve_forever\n"
        "import scrimp.cli.up\n"
        "build(Settings(upstream='http://127.0.0.1:1', db=sys.argv[1]))\n"
        "print(sorted({'alembic', 'anthropic', 'sqlalchemy', 'tabulate', 'scrimp.sim', 'scrimp.replay.report'}"
        " & set(sys.modules)))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.db")], capture_output=True, text=True, check=True
    )
    assert "[]\n" == ended.stdout


def test_habits_are_learnt_only_where_that_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a path, or from the user's own sessions; nothing is read without being asked."""
    folder = paused_for(420).kept_under(tmp_path / ".claude")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    assert None is _account("")
    for learn_from in (str(folder), OWN):
        account = _account(learn_from)
        assert account is not None
        assert Account().table.returns[0] + 1 == account.table.returns[0]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_gateway_that_has_learnt_serves(started: Started, simulated: str, tmp_path: Path, workers: str) -> None:
    """With one process or several."""
    folder = str(paused_for(420).kept_under(tmp_path))
    few = ("--upstream", simulated, "--db", str(tmp_path / "a.db"), "--workers", workers)
    lines = announced(started("up", "--port", "0", "--mode", "safe", "--learn-from", folder, *few))
    assert "(safe)" in lines[0]


def test_a_path_that_holds_no_sessions_is_refused(scrimp: Scrimp, tmp_path: Path) -> None:
    """One sentence, as for every command that reads sessions; with none of one's own, too."""
    db = ("--db", str(tmp_path / "a.db"))
    assert "nowhere" in refused(scrimp, "--learn-from", str(tmp_path / "nowhere"), *db)
    assert "Claude Code has kept no sessions" in refused(scrimp, *db, "--learn-from")


def test_a_trace_without_people_teaches_nothing_and_is_refused(scrimp: Scrimp, tmp_path: Path) -> None:
    """A trace of lengths alone is said to be of no use here, instead of being read in vain."""
    trace = tmp_path / "trace.jsonl"
    line = {"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]}
    trace.write_text(json.dumps(line) + "\n", encoding="utf-8")
    said = refused(scrimp, "--learn-from", str(trace), "--db", str(tmp_path / "a.db"))
    assert f"scrimp: {trace} says nothing of how long people pause." in said


def test_a_port_in_use_is_told_before_anything_is_learnt(scrimp: Scrimp, tmp_path: Path) -> None:
    """Reading many sessions takes a while: what fails at once is said at once."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "Cannot listen" in refused(scrimp, "--port", port, "--learn-from", str(tmp_path / "nowhere"))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_gateway_that_holds_a_cache_stops_at_once(
    started: Started, simulated: str, simulator: SimApp, tmp_path: Path, workers: str
) -> None:
    """It waits for no ping, sends none, and says nothing of it."""
    db = tmp_path / "a.db"
    few = ("--db", str(db), "--upstream", simulated, "--workers", workers)
    process = started("up", "--port", "0", "--mode", "safe", *few)
    url = announced(process)[0].split()[3]
    text = {
        "type": "text",
        "text": "SCENARIO:loop1 " + "A long manual. " * 4_000,
        "cache_control": {"type": "ephemeral"},
    }
    tool = {"name": "Read", "description": "Reads.", "input_schema": {"type": "object"}}
    messages = [{"role": "user", "content": [text]}]
    body = {"model": "claude-opus-5-5", "max_tokens": 5_000, "tools": [tool], "messages": messages}
    asked = urllib.request.Request(f"{url}/v1/messages", json.dumps(body).encode(), HEADERS)  # noqa: S310 - loopback
    with urllib.request.urlopen(asked) as answer:  # noqa: S310 - loopback
        assert "tool_use" == json.loads(answer.read())["stop_reason"]
    process.terminate()
    assert ("", "", 0) == (*process.communicate(timeout=30), process.returncode)
    with open_ledger(db) as ledger:
        assert ["client"] == [each.origin for each in ledger.exchanges()]
    assert 1 == len(simulator.recorded)
