"""The rules of conftest.py, each broken once on purpose."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPER = """
import pytest

def test_skips():
    pytest.skip({reason!r})
"""


def _run_skipping(folder: Path, reason: str, **environment: str) -> int:
    """Run one skipping test under our conftest and return pytest's exit code."""
    shutil.copy(Path(__file__).with_name("conftest.py"), folder / "conftest.py")
    (folder / "test_skipping.py").write_text(SKIPPER.format(reason=reason))
    kept = {name: value for name, value in os.environ.items() if name not in {"CI", "SCRIMP_ALLOW_SKIPS"}}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(command, env=kept | environment, capture_output=True, check=False, cwd=folder).returncode


@pytest.mark.parametrize(
    ("reason", "environment", "expected"),
    [
        ("installable: npm", {}, 1),
        ("installable: npm", {"CI": "true"}, 1),
        ("installable: npm", {"SCRIMP_ALLOW_SKIPS": "1"}, 0),
        ("installable: npm", {"SCRIMP_ALLOW_SKIPS": "1", "CI": "true"}, 1),
        ("could not import 'anthropic'", {"CI": "true"}, 1),
        ("no recorded data", {"CI": "true"}, 0),
    ],
)
def test_a_skip_of_something_installable_fails(
    tmp_path: Path, reason: str, environment: dict[str, str], expected: int
) -> None:
    """It fails everywhere, except outside CI by explicit wish; other skips stay skips."""
    assert expected == _run_skipping(tmp_path, reason, **environment)


def test_a_test_cannot_leave_the_machine() -> None:
    """Connecting to, or resolving, anything but loopback raises before a packet is sent."""
    with socket.socket() as outside, pytest.raises(RuntimeError, match="only reach this machine"):
        outside.connect(("192.0.2.1", 80))
    with pytest.raises(RuntimeError, match="only reach this machine"):
        socket.getaddrinfo("example.invalid", 80)


def test_a_test_can_reach_loopback() -> None:
    """A server on a free port of this machine is reached by address and by name."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            socket.create_connection((host, port)).close()


def test_a_test_has_a_home_of_its_own(tmp_path: Path) -> None:
    """The user's sessions and keys are out of reach."""
    assert tmp_path == Path.home().parent
    assert [] == [name for name in os.environ if name.startswith("ANTHROPIC_")]
