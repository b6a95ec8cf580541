"""`scrimp doctor --gateway URL`: the report of any gateway, for a person and for a script."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scrimp.cli.conformance import examine_gateway
from scrimp.config import Settings
from scrimp.errors import ConfigError, UpstreamUnavailable
from scrimp.gateway.build import build
from scrimp.gateway.conformance.report import ITEMS
from scrimp.gateway.server import serving
from tests.gateway.conformance.faults import Fault, sound, without


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


@contextmanager
def _gateway(tmp_path: Path, port: int, fault: Fault = sound) -> Iterator[str]:
    """Run a gateway whose upstream is said to be at a port where nothing listens yet."""
    settings = Settings(upstream=f"http://127.0.0.1:{port}", db=str(tmp_path / "ledger.db"), trust_env=False)
    with serving(fault(build(settings))) as url:
        yield url


def test_a_gateway_that_keeps_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each item and the counts; where the upstream has to be goes to standard error."""
    port = _free_port()
    with _gateway(tmp_path, port) as url:
        assert examine_gateway(url, port, None, None, as_json=False)
    out, err = capsys.readouterr()
    assert [] == [item.name for item in ITEMS if f"\n{item.name} " not in out]
    assert f"{url}: {len(ITEMS)} pass, 0 fail, 0 not applicable" == out.splitlines()[-1]
    assert f"The upstream of {url} has to be http://127.0.0.1:{port}: a recorder listens there now.\n" == err


def test_a_gateway_that_drops_something(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The answer is no, and each item that fails says why it matters."""
    port = _free_port()
    with _gateway(tmp_path, port, without(b"anthropic-beta")) as url:
        assert not examine_gateway(url, port, None, None, as_json=False)
    out = capsys.readouterr().out
    assert "header-beta: A beta that is dropped takes its feature with it" in out
    assert f"{url}: {len(ITEMS) - 2} pass, 2 fail, 0 not applicable" == out.splitlines()[-1]


def test_one_object_for_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard output, and nothing else; a gateway's own key and model are used."""
    port = _free_port()
    with _gateway(tmp_path, port) as url:
        assert examine_gateway(url, port, "sk-of-the-gateway", "claude-haiku-5-5", as_json=True)
    out = capsys.readouterr().out
    told = json.loads(out)
    assert (url, len(ITEMS)) == (told["gateway"], len(told["items"]))
    verdicts = {row["name"]: row["verdict"] for row in told["items"]}
    assert {"not applicable"} == {verdicts["header-api-key"], verdicts["header-authorization"]}
    assert "sk-of-the-gateway" not in out


def test_a_gateway_with_another_upstream(tmp_path: Path) -> None:
    """It is told what to set, and nothing is judged."""
    recorder, port = _free_port(), _free_port()
    with (
        _gateway(tmp_path, port) as url,
        pytest.raises(UpstreamUnavailable, match=f"Set the gateway's upstream to http://127.0.0.1:{recorder}"),
    ):
        examine_gateway(url, recorder, None, None, as_json=False)


def test_a_port_in_use_names_its_option() -> None:
    """Called wrongly."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="--upstream-port"):
        examine_gateway("http://127.0.0.1:1", taken.getsockname()[1], None, None, as_json=False)
