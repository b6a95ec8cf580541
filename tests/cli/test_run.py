"""`scrimp run -- CLIENT...`: the client's own output and exit code, and the bill beside them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from scrimp.cli.run import _bill, _sentences
from scrimp.config import load_settings
from scrimp.core.belief.exchange import PING, Exchange
from scrimp.core.wire.usage import Usage
from scrimp.gateway.build import build
from scrimp.gateway.server import serving
from scrimp.sim.app import SimApp
from scrimp.store.ledger import open_ledger
from tests.processes import children_of, running

if TYPE_CHECKING:
    from tests.cli.conftest import Scrimp

Started = Callable[..., subprocess.Popen[str]]

#: One request with the standard library alone, as any client would make it.
CLIENT = """
import json, os, sys, urllib.request
headers = {"x-api-key": "sk-fake", "anthropic-version": "2023-06-01", "content-type": "application/json"}
body = {"model": "claude-opus-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": "a secret"}]}
url = os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages"
with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)) as answer:
    print(json.load(answer)["id"])
"""


@pytest.fixture
def options(simulated: str, tmp_path: Path) -> list[str]:
    """Return what sends a run to the simulator and its rows to a ledger of the test's own."""
    return ["--upstream", simulated, "--db", str(tmp_path / "ledger.db")]


def test_the_bill_is_the_invoice(scrimp: Scrimp, options: list[str], simulator: SimApp, tmp_path: Path) -> None:
    """Standard output is the client's alone; the bill is on standard error, in the file, and in the ledger."""
    file = tmp_path / "bill.json"
    ended = scrimp("run", *options, "--bill", str(file), "--", sys.executable, "-c", CLIENT)
    (line,) = simulator.simulator.invoice.lines
    bill = json.loads(file.read_text())
    assert (0, f"{line.message_id}\n") == (ended.returncode, ended.stdout)
    assert (1, 0, line.cost_nano_usd, ["claude-opus-5-5"]) == (
        bill["exchanges"],
        bill["unpriced_exchanges"],
        bill["cost_nano_usd"],
        bill["models"],
    )
    assert line.cost_nano_usd / 1e9 == bill["cost_usd"]
    assert line.classes.output_tokens == bill["usage"]["output_tokens"]
    assert line.classes.uncached_input_tokens == bill["usage"]["uncached_input_tokens"]
    assert f"made 1 exchange for ${bill['cost_usd']:.6f} at list price (claude-opus-5-5)." in ended.stderr
    assert f"`scrimp report --db {tmp_path / 'ledger.db'}` shows where it went" in ended.stderr
    assert "Traceback" not in ended.stderr
    with open_ledger(tmp_path / "ledger.db") as ledger:
        assert [line.message_id] == [exchange.message_id for exchange in ledger.exchanges()]


def test_the_upstream_is_where_the_client_would_have_gone(
    scrimp: Scrimp, simulated: str, simulator: SimApp, tmp_path: Path
) -> None:
    """Without --upstream it is the shell's own ANTHROPIC_BASE_URL."""
    client = [sys.executable, "-c", CLIENT]
    ended = scrimp("run", "--db", str(tmp_path / "a.db"), "--", *client, env={"ANTHROPIC_BASE_URL": simulated})
    assert 0 == ended.returncode
    assert 1 == len(simulator.simulator.invoice.lines)


@pytest.mark.parametrize("code", [0, 1, 3, 77])
def test_the_exit_code_is_the_client_s(scrimp: Scrimp, options: list[str], code: int) -> None:
    """And its output comes through byte for byte, without a bill if none is wanted."""
    program = f"import sys; sys.stdout.write('out\\n'); sys.stderr.write('err\\n'); sys.exit({code})"
    ended = scrimp("run", *options, "--quiet", "--", sys.executable, "-c", program)
    assert (code, "out\n", "err\n") == (ended.returncode, ended.stdout, ended.stderr)


def test_a_client_that_a_signal_ended_is_told_as_a_shell_does(scrimp: Scrimp, options: list[str]) -> None:
    """128 and the number of the signal; what there is to bill is said all the same."""
    program = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    ended = scrimp("run", *options, "--", sys.executable, "-c", program)
    assert 137 == ended.returncode
    assert "sent no request to /v1/messages" in ended.stderr


def test_a_client_that_sent_nothing_is_not_billed_zero(scrimp: Scrimp, options: list[str], tmp_path: Path) -> None:
    """It may never have heard of the gateway: that is said, and no cost; a program can still count."""
    file = tmp_path / "bill.json"
    ended = scrimp("run", *options, "--bill", str(file), "--", sys.executable, "-c", "")
    assert "$" not in ended.stderr
    assert ended.stderr.endswith("If it should have: does it honour ANTHROPIC_BASE_URL?\n")
    assert 0 == json.loads(file.read_text())["exchanges"]


def test_prices_of_the_user_s_own_are_no_list_prices(
    scrimp: Scrimp, options: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    """The bill names the file that it is not at list price for."""
    own = tmp_path / "config" / "scrimp" / "prices.json"
    own.parent.mkdir(parents=True)
    own.write_text('{"unit": "USD/MTok", "models": [], "web_search_pico_usd": 1}')
    environment |= {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    ended = scrimp("run", *options, "--", sys.executable, "-c", CLIENT)
    assert f" at list price, but for settings of {own} (claude-opus-5-5)." in ended.stderr


def test_the_client_s_input_is_its_own(scrimp: Scrimp, options: list[str]) -> None:
    """A prompt may be piped in."""
    program = "import sys; print(sys.stdin.read().upper())"
    ended = scrimp("run", *options, "--quiet", "--", sys.executable, "-c", program, input="words")
    assert "WORDS\n" == ended.stdout


def test_options_of_the_client_are_not_ours(scrimp: Scrimp, options: list[str]) -> None:
    """After the client's name everything is its own, even what we have an option for."""
    program = "import sys; print(sys.argv[1:])"
    for dashes in ([], ["--"]):
        ended = scrimp("run", *options, "--quiet", *dashes, sys.executable, "-c", program, "--json", "-p", "--", "x")
        assert "['--json', '-p', '--', 'x']\n" == ended.stdout


@pytest.mark.parametrize(
    ("client", "what_next"),
    [
        ("no-such-client-anywhere", "Is it installed and on the PATH?"),
        ("./missing", "Is it installed and on the PATH?"),
        ("/", "Name a program, or make it executable with chmod +x."),
        ("./torn.jsonl", "Name a program, or make it executable with chmod +x."),
        ("./noise", "Name the program that reads it, such as sh or python."),
    ],
)
def test_a_client_that_cannot_be_run_is_called_wrongly(
    scrimp: Scrimp, options: list[str], tmp_path: Path, client: str, what_next: str
) -> None:
    """Exit code 2, one sentence what and one that helps; no bill for what never ran."""
    (tmp_path / "torn.jsonl").touch(mode=0o644)
    (tmp_path / "noise").write_text("no program")
    (tmp_path / "noise").chmod(0o755)
    ended = scrimp("run", *options, "--", client, cwd=tmp_path)
    assert (2, "") == (ended.returncode, ended.stdout)
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"scrimp: Cannot run {client}: ")
    assert line.endswith(what_next)


def test_no_client_is_called_wrongly(scrimp: Scrimp) -> None:
    """There has to be something to run."""
    ended = scrimp("run", "--quiet")
    told = "scrimp: There is no client to run. Name one, as in `scrimp run -- claude -p hello`.\n"
    assert (2, told) == (ended.returncode, ended.stderr)


def test_a_bill_that_cannot_be_written_is_said_before_the_client_runs(
    scrimp: Scrimp, options: list[str], tmp_path: Path
) -> None:
    """A run may cost dollars; its bill must not be lost to a typing mistake."""
    ended = scrimp("run", *options, "--bill", str(tmp_path / "none" / "a"), "--", sys.executable, "-c", "print('ran')")
    assert (2, "") == (ended.returncode, ended.stdout)
    (line,) = ended.stderr.splitlines()
    assert line.startswith("scrimp: The bill cannot be written to ")
    assert line.endswith("No such file or directory. Name a file in a folder that is yours to write.")


def test_an_upstream_that_is_down_is_the_client_s_to_judge(scrimp: Scrimp, tmp_path: Path) -> None:
    """It gets a 502 and fails as it fails in an outage; the bill says that nothing was priced."""
    db = str(tmp_path / "a.db")
    ended = scrimp("run", "--upstream", "http://127.0.0.1:9", "--db", db, "--", sys.executable, "-c", CLIENT)
    assert 1 == ended.returncode
    assert "HTTP Error 502" in ended.stderr
    assert "made 1 exchange for unknown" in ended.stderr
    assert "No price for 1 exchange" in ended.stderr


def test_a_client_that_is_killed_within_a_stream_is_billed(scrimp: Scrimp, options: list[str], tmp_path: Path) -> None:
    """What it had is in the ledger before the command ends."""
    program = CLIENT.replace('"max_tokens"', '"stream": True, "max_tokens"').replace(
        'print(json.load(answer)["id"])', "answer.read(1); os.kill(os.getpid(), 9)"
    )
    ended = scrimp("run", *options, "--", sys.executable, "-c", program)
    assert 137 == ended.returncode
    with open_ledger(tmp_path / "ledger.db") as ledger:
        (exchange,) = ledger.exchanges()
    assert exchange.closed_at_ms is not None


#: A client that says when it can hear a signal, and ends with 5 when it does.
PATIENT = (
    "import os, signal, sys, time\n"
    "def bye(number, _):\n"
    "    os.write(1, b'bye\\n')\n"
    "    sys.exit(5)\n"
    "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(number, bye)\n"
    "os.write(1, b'ready\\n')\n"
    "time.sleep(600)\n"
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_the_client_s(started: Started, options: list[str], number: signal.Signals) -> None:
    """It decides what Ctrl-C, a termination and a closed terminal mean; the bill is printed either way."""
    process = started("run", *options, "--", sys.executable, "-c", PATIENT, start_new_session=True)
    assert process.stdout is not None
    assert "ready\n" == process.stdout.readline()
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does: to everybody in the foreground
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert ("bye\n", 5) == (out, process.returncode)
    assert "sent no request" in err
    assert "Traceback" not in err


def test_a_client_does_not_outlive_a_killed_run(started: Started, options: list[str]) -> None:
    """`kill -9` of `scrimp run` takes the gateway from its client, so that is told to end, as it may choose."""
    process = started("run", *options, "--", sys.executable, "-c", PATIENT)
    assert process.stdout is not None
    assert "ready\n" == process.stdout.readline()
    while len(children_of(process.pid)) < 2:
        pass
    process.kill()
    assert "bye\n" == process.stdout.read()


def test_no_watch_outlives_its_run(started: Started, options: list[str]) -> None:
    """What watches over the client is gone when the run is."""
    process = started("run", *options, "--", sys.executable, "-c", PATIENT)
    assert process.stdout is not None
    assert "ready\n" == process.stdout.readline()
    while len(children := children_of(process.pid)) < 2:
        pass
    process.terminate()
    process.communicate(timeout=60)
    assert [] == running(children)


def test_a_signal_that_was_ignored_still_is(started: Started, options: list[str], tmp_path: Path) -> None:
    """`nohup scrimp run` outlives its terminal, and so does the client."""
    bill = tmp_path / "bill.json"
    program = "import os, sys; os.kill(os.getppid(), 1); print('lives')"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = started("run", *options, "--bill", str(bill), "--", sys.executable, "-c", program)
    finally:
        signal.signal(signal.SIGHUP, before)
    out, _ = process.communicate(timeout=60)
    assert ("lives\n", 0, True) == (out, process.returncode, bill.exists())


def test_a_terminal_that_is_gone_takes_no_bill_with_it(options: list[str], tmp_path: Path) -> None:
    """Standard error that cannot be written is no failure of the run; its file and exit code are as ever."""
    bill = tmp_path / "bill.json"
    command = ["run", *options, "--bill", str(bill), "--", sys.executable, "-c", "import sys; sys.exit(3)"]
    shell = f"exec {shlex.join([sys.executable, '-m', 'scrimp', *command])} 2>/dev/full"
    ended = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)  # noqa: S607 - any shell
    assert (3, "") == (ended.returncode, ended.stdout)
    assert 0 == json.loads(bill.read_text())["exchanges"]


#: What it finds of the switches in its environment, and one request as Claude Code names itself.
SWITCHED = CLIENT.replace("headers = {", 'headers = {"user-agent": "claude-cli/2.1.330", ').replace(
    'print(json.load(answer)["id"])',
    'print(*(f"{name}={value}" for name, value in sorted(os.environ.items()) if "CLAUDE_CODE_" in name))',
)
BOTH = "CLAUDE_CODE_ATTRIBUTION_HEADER=0 CLAUDE_CODE_GATEWAY_HINT_HEADERS=1"


@pytest.mark.parametrize(
    ("flags", "env", "found", "told"),
    [
        ([], {"ANTHROPIC_API_KEY": "sk-fake"}, BOTH, ["CLAUDE_CODE_ATTRIBUTION_HEADER=0", "CLAUDE_CODE_GATEWAY"]),
        ([], {}, "CLAUDE_CODE_GATEWAY_HINT_HEADERS=1", ["CLAUDE_CODE_GATEWAY_HINT_HEADERS=1"]),
        (
            [],
            {"ANTHROPIC_API_KEY": "sk-fake", "CLAUDE_CODE_ATTRIBUTION_HEADER": "1"},
            BOTH.replace("=0", "=1"),
            ["CLAUDE_CODE_GATEWAY_HINT_HEADERS=1"],
        ),
        (["--no-switches"], {"ANTHROPIC_API_KEY": "sk-fake"}, "", []),
    ],
)
def test_switches_that_save_are_set_unless_the_user_did(
    scrimp: Scrimp, options: list[str], flags: list[str], env: dict[str, str], found: str, told: list[str]
) -> None:
    """And each that was set is told with the bill: what, why, what it saves."""
    ended = scrimp("run", *options, *flags, "--", sys.executable, "-c", SWITCHED, env=env)
    lines = [line for line in ended.stderr.splitlines() if line.startswith("  Set for this run: ")]
    assert (f"{found}\n", len(told)) == (ended.stdout, len(lines))
    assert all(switch in line and "saves: " in line for switch, line in zip(told, lines, strict=True))


def test_what_we_sent_ourselves_is_owned_up_to() -> None:
    """Pings are on the bill, and are not taken for the client's; without any nothing is said of them."""
    usage = Usage(cache_read_input_tokens=100)
    asked = Exchange(
        exchange_id="ex_1", opened_at_ms=0, source="gateway", usage=usage, usage_complete=True, cost_nano_usd=3_000_000
    )
    ping = msgspec.structs.replace(asked, exchange_id="ex_2", origin=PING, cost_nano_usd=1_000_000)
    told = _sentences(_bill([asked, ping, ping]), "client", "list price", ())
    assert "client made 3 exchanges for $0.005000" in told
    assert "2 of them Scrimp sent itself, to keep a cache warm, for $0.002000." in told
    lost = msgspec.structs.replace(ping, cost_nano_usd=None)
    assert "to keep a cache warm, for unknown." in _sentences(_bill([asked, ping, lost]), "client", "list price", ())
    assert "itself" not in _sentences(_bill([asked]), "client", "list price", ())


def test_a_client_that_reads_no_switch_is_told_of_none(scrimp: Scrimp, options: list[str]) -> None:
    """They are Claude Code's own."""
    assert "Set for this run" not in scrimp("run", *options, "--", sys.executable, "-c", CLIENT).stderr


def test_a_gateway_of_ours_keeps_its_own_ledger(scrimp: Scrimp, simulated: str, tmp_path: Path) -> None:
    """Through `scrimp up` each exchange is recorded once: the bill is whole, the run keeps no ledger of its own."""
    settings = load_settings({"upstream": simulated, "db": str(tmp_path / "up.db")}, {"HOME": str(tmp_path)})
    with serving(build(settings)) as up:
        ended = scrimp("run", "--upstream", up, "--db", str(tmp_path / "run.db"), "--", sys.executable, "-c", CLIENT)

    assert "made 1 exchange for $" in ended.stderr
    assert f"The gateway at {up} keeps the ledger of them." in ended.stderr
    assert not (tmp_path / "run.db").exists()
    with open_ledger(tmp_path / "up.db") as ledger:
        assert 1 == len(list(ledger.exchanges()))
