"""`scrimp sim`: a real process, its announcement, and what it serves."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from scrimp.cli.main import cli
from scrimp.errors import UsageError

KEYS = {"x-api-key": "sk-fake", "anthropic-version": "2023-06-01", "content-type": "application/json"}


@contextmanager
def _started(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command until the block is left; yield it with the first line that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scrimp", "sim", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


@contextmanager
def _simulated(*options: str) -> Iterator[str]:
    """Serve the simulator with these options; yield its address."""
    with _started("--json", *options) as (_, line):
        yield json.loads(line)["url"]


def _post(url: str, prompt: str = "hello", headers: dict[str, str] | None = None, **fields: Any) -> bytes:
    messages = [{"role": "user", "content": prompt}]
    body = json.dumps({"model": "claude-opus-5-5", "max_tokens": 500, "messages": messages, **fields}).encode()
    with closing(http.client.HTTPConnection(*_address(url), timeout=60)) as link:
        link.request("POST", "/v1/messages", body, KEYS | (headers or {}))
        answer = link.getresponse()
        content = answer.read()
    if answer.status != HTTPStatus.OK:
        raise _Refused(answer.status)
    return content


class _Refused(Exception):
    """The answer was an error of this status."""

    @property
    def status(self) -> int:
        return int(self.args[0])


def _status(url: str, **asked: Any) -> int | str:
    """Return the status of the answer, or how the connection broke."""
    try:
        _post(url, **asked)
    except _Refused as error:
        return error.status
    except http.client.IncompleteRead:
        return "cut"
    except ConnectionError:
        return "reset"
    return 200


def test_it_serves_and_bills() -> None:
    """One JSON line says where; a request there is answered and on the invoice."""
    with _started("--json", "--seed", "7") as (_, line):
        announced = json.loads(line)
        message = json.loads(_post(announced["url"]))
        with urllib.request.urlopen(announced["invoice_url"]) as answer:  # noqa: S310 - loopback
            invoice = json.loads(answer.read())
    assert "message" == message["type"]
    assert [message["id"]] == [line["message_id"] for line in invoice["lines"]]


def test_a_seed_decides_the_answers() -> None:
    """Two servers of one seed answer alike, a third of another seed does not."""
    answers = []
    for seed in ("7", "7", "8"):
        with _started("--json", "--seed", seed) as (_, line):
            answers.append(_post(json.loads(line)["url"]))
    assert answers[0] == answers[1] != answers[2]


def test_it_says_how_to_point_a_client_at_it() -> None:
    """The address, the variables that a client reads, and where the bill is."""
    with _started() as (process, line):
        assert process.stdout is not None
        lines = [line, process.stdout.readline(), process.stdout.readline()]
    url = lines[0].split(" ")[6]
    assert url.startswith("http://127.0.0.1:")
    assert f"ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY=" in lines[1]
    assert f"{url}/__sim/invoice" in lines[2]


def test_a_port_in_use_is_named() -> None:
    """Called wrongly: one sentence that says what and what next."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(cli, ["sim", "--port", str(port)])
    assert isinstance(result.exception, UsageError)
    assert result.exception.message.startswith(f"Cannot listen on 127.0.0.1:{port}: ")
    assert "--port" in result.exception.hint


@pytest.mark.parametrize("options", [["--port", "70000"], ["--seed", "x"], ["--nope"]])
def test_wrong_options_are_refused(options: list[str]) -> None:
    """Exit code 2, as for every command."""
    assert 2 == CliRunner().invoke(cli, ["sim", *options]).exit_code


# --- what the simulator is told to do ------------------------------------------------------------------------------


def test_a_script_of_faults_is_played() -> None:
    """One after the other, then none."""
    with _simulated("--fault-script", "ok,overloaded,rate_limit,bad_gateway,reset,cut@50") as url:
        assert [200, 529, 429, 502, "reset", "cut", 200] == [_status(url, stream=True) for _ in range(7)]


def test_faults_are_drawn_by_their_seed() -> None:
    """The same seed strikes the same requests, whatever the answers' own seed is."""
    struck = []
    for options in (("--seed", "1"), ("--seed", "2"), ("--seed", "1", "--fault-seed", "4")):
        seeded = ("--faults", "overloaded", "--fault-rate", "0.5", "--fault-seed", "3", *options)
        with _simulated(*seeded) as url:
            struck.append([_status(url) for _ in range(20)])
    assert struck[0] == struck[1] != struck[2]
    assert {200, 529} == set(struck[0])


def test_threads_are_served_or_refused() -> None:
    """Refused unless asked for, as a client expects that goes on without."""
    beta = {"anthropic-beta": "message-threads-2026-08-12"}
    for option, expected in (("--threads", 200), ("--no-threads", 400)):
        with _simulated(option) as url:
            assert expected == _status(url, headers=beta, thread={"type": "create"})


def test_a_limit_is_enforced() -> None:
    """A number of one's own, and a documented tier's that one request of a test does not reach."""
    with _simulated("--requests-per-minute", "1") as url:
        assert [200, 429] == [_status(url) for _ in range(2)]
    with _simulated("--tier", "start") as url:
        assert [200, 200] == [_status(url) for _ in range(2)]


def test_preserved_thinking_is_enforced_or_not() -> None:
    """Thinking before which the conversation was edited is refused on the newest models, unless it is off."""
    for option, expected in (("new", 400), ("old", 200), ("off", 200)):
        with _simulated("--preserved-thinking", option) as url:
            said = json.loads(_post(url, "SCENARIO:think1 hello"))["content"]
            assert "thinking" == said[0]["type"]
            answer = [{"role": "assistant", "content": said}, {"role": "user", "content": "go on"}]
            edited = [{"role": "user", "content": "something else"}, *answer]
            assert expected == _status(url, messages=edited)


def test_keys_of_one_workspace_share_its_cache() -> None:
    """Those of another do not, and a key that nobody named is refused."""
    prompt, marked = "word " * 2_000, {"cache_control": {"type": "ephemeral"}}
    with _simulated("--workspace", "blue=sk-1,sk-2", "--workspace", "red=sk-3") as url:
        read = [
            json.loads(_post(url, prompt, {"x-api-key": key}, **marked))["usage"]["cache_read_input_tokens"] > 0
            for key in ("sk-1", "sk-2", "sk-3")
        ]
        assert [False, True, False] == read
        assert 401 == _status(url)


def test_a_rule_is_decided() -> None:
    """By its name, as the help lists it."""
    with _simulated("--rule", "refuse_zero_tokens=claude-opus-5-5") as url:
        assert [400, 200] == [_status(url, max_tokens=0), _status(url, max_tokens=0, model="claude-opus-5")]


def test_latency_is_real_time() -> None:
    """A first token that takes long has not come yet when the client gives up, and none of the answer is cut."""
    with _simulated("--first-token-ms", "0", "--token-ms", "0") as url:
        assert 200 == _status(url)
    with _simulated("--first-token-ms", "600000") as url, socket.create_connection(_address(url)) as link:
        link.sendall(_raw(url))
        head = link.recv(65_536)
        link.settimeout(0.2)
        assert head.startswith(b"HTTP/1.1 200")
        assert b"message_start" not in head
        with pytest.raises(TimeoutError):
            link.recv(65_536)


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def _raw(url: str) -> bytes:
    asked = {"model": "claude-opus-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "stream": 1}
    body = json.dumps(asked).encode()
    head = [f"POST /v1/messages HTTP/1.1\r\nhost: {url}\r\ncontent-length: {len(body)}"]
    lines = [*head, *(f"{name}: {value}" for name, value in KEYS.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


# --- the bill, and a client of its own -----------------------------------------------------------------------------


def test_the_bill_is_said_and_written_at_the_end(tmp_path: Path) -> None:
    """One sentence for a person, one JSON file for a program; both equal the page that was served."""
    file = tmp_path / "invoice.json"
    with _started("--invoice", str(file)) as (process, line):
        url = line.split(" ")[6]
        _post(url)
        with urllib.request.urlopen(f"{url}/__sim/invoice") as answer:  # noqa: S310 - loopback
            served = json.loads(answer.read())
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert served == json.loads(file.read_text())
    assert said.startswith("scrimp: the simulator billed 1 request: $0.0")


CLIENT = """
import json, os, sys, urllib.request
body = {"model": "claude-opus-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}
head = {"x-api-key": os.environ["ANTHROPIC_API_KEY"], "anthropic-version": "2023-06-01"}
url = os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages"
print(json.load(urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), head)))["role"])
sys.exit(3)
"""


@pytest.mark.parametrize("options", [(), ("--workspace", "blue=sk-blue-1,sk-blue-2")])
def test_a_client_may_live_within(options: tuple[str, ...], tmp_path: Path) -> None:
    """It is led there and given a key that is accepted; its output and its exit code are its own."""
    file = tmp_path / "invoice.json"
    command = [sys.executable, "-m", "scrimp", "sim", "--invoice", str(file), *options]
    environment = {name: value for name, value in os.environ.items() if name != "ANTHROPIC_API_KEY"}
    ended = subprocess.run(
        [*command, "--", sys.executable, "-c", CLIENT], capture_output=True, text=True, check=False, env=environment
    )
    assert (3, "assistant\n") == (ended.returncode, ended.stdout)
    assert "billed 1 request: $0.0" in ended.stderr
    workspaces = [line["workspace"] for line in json.loads(file.read_text())["lines"]]
    assert (1, bool(options)) == (len(workspaces), workspaces == ["blue"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rule", "lookback=7"], "There is no rule 'lookback'."),
        (["--faults", "cuts"], "There is no fault 'cuts'."),
        (["--faults", "cut", "--fault-script", "cut"], "--faults and --fault-script exclude each other."),
        (["--workspace", "blue"], "--workspace blue is no pair."),
        (["--invoice", "/no/such/folder/x"], "The invoice cannot be written to /no/such/folder/x: "),
        (["--json", "--", "true"], "--json prints an address, and CLIENT gets it anyway."),
    ],
)
def test_what_cannot_be_is_one_sentence(options: list[str], said: str) -> None:
    """Before anything is served, with what to do next."""
    error = CliRunner().invoke(cli, ["sim", *options]).exception
    assert isinstance(error, UsageError)
    assert error.message.startswith(said)
    assert error.hint


def test_the_help_ends_with_its_tables() -> None:
    """Faults and rules, from the simulator's own lists."""
    shown = CliRunner().invoke(cli, ["sim", "--help"]).output
    assert "Faults (--faults, --fault-script):" in shown
    assert "Rules (--rule):" in shown
    assert "lookback_positions" in shown
