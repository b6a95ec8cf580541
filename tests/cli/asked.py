"""Our own command line in this process: what a command prints when all goes as it should."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner

from scrimp.cli.main import cli


def told(command: str, *arguments: object, code: int = 0) -> str:
    """Run a command that ends with this code and complains of nothing; return what it printed."""
    result = CliRunner().invoke(cli, [command, *map(str, arguments)], catch_exceptions=False)
    assert (code, "") == (result.exit_code, result.stderr)
    return result.stdout


def told_json(command: str, *arguments: object) -> dict[str, Any]:
    """Run a command with `--json`; return the one object that it printed."""
    answer: dict[str, Any] = json.loads(told(command, *arguments, "--json"))
    return answer
