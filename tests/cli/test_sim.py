"""`scrimp sim`: a real process, its announcement, and what it serves."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from scrimp.cli.main import cli
from scrimp.errors import UsageError


@contextmanager
def _started(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command until the block is left; yield it with the first line that it prints."""
    process = subprocess.Popen([sys.executable, "-m", "scrimp", "sim", *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        process.stdout.close()


def _post(url: str) -> bytes:
    body = b'{"model":"claude-opus-5-5","max_tokens":50,"messages":[{"role":"user","content":"hello"}]}'
    headers = {"x-api-key": "sk-fake", "anthropic-version": "2023-06-01", "content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/messages", body, headers)) as answer:  # noqa: S310 - loopback
        content: bytes = answer.read()
    return content


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
