"""`scrimp completion`: scripts that a real shell loads, and what it then offers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from scrimp.cli.main import COMMANDS, cli

if TYPE_CHECKING:
    from tests.cli.conftest import Scrimp

#: What each shell is told to load the script with, and then to say which function completes `scrimp`.
LOAD = {
    "bash": "source {script} && complete -p scrimp",
    "zsh": "autoload -U compinit && compinit -u -d {script}.dump && source {script} && print $_comps[scrimp]",
    "fish": "source {script}; and complete -c scrimp",
}


@pytest.mark.parametrize("shell", LOAD)
def test_the_script_is_printed(shell: str) -> None:
    """It is the shell's own, and nothing else is printed."""
    result = CliRunner().invoke(cli, ["completion", shell])
    assert (0, "") == (result.exit_code, result.stderr)
    assert f"{shell}_complete" in result.stdout
    assert "_SCRIMP_COMPLETE" in result.stdout


@pytest.mark.parametrize("shell", LOAD)
def test_a_real_shell_loads_it(shell: str, tmp_path: Path) -> None:
    """Without a complaint, and afterwards `scrimp` is completed."""
    if shutil.which(shell) is None:
        pytest.skip(f"this machine has no {shell}")
    script = tmp_path / "completion"
    script.write_text(CliRunner().invoke(cli, ["completion", shell]).stdout)
    ended = subprocess.run(
        [shell, "-c", LOAD[shell].format(script=script)], capture_output=True, text=True, check=False
    )
    assert (0, "") == (ended.returncode, ended.stderr)
    assert "_scrimp_completion" in ended.stdout or "scrimp" in ended.stdout


def test_bash_offers_commands_and_options(tmp_path: Path) -> None:
    """The script, asked as bash asks it when TAB is pressed."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("this machine has no bash")
    script = tmp_path / "completion"
    script.write_text(CliRunner().invoke(cli, ["completion", "bash"]).stdout)
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "scrimp").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m scrimp "$@"\n')
    (folder / "scrimp").chmod(0o755)
    ask = (
        f"source {script}; COMP_WORDS=({{words}}); COMP_CWORD={{at}}; COMPREPLY=(); _scrimp_completion scrimp; "
        'printf "%s\\n" "${{COMPREPLY[@]}}"'
    )

    def offered(words: str, at: int) -> list[str]:
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
        ended = subprocess.run(
            [bash, "-c", ask.format(words=words, at=at)], capture_output=True, text=True, check=True, env=environment
        )
        return ended.stdout.split()

    assert sorted(COMMANDS) == sorted(offered("scrimp ''", 1))
    assert ["replay", "report", "run"] == sorted(offered("scrimp r", 1))
    assert "--upstream" in offered("scrimp up --up", 2)
    assert ["bash", "fish", "zsh"] == sorted(offered("scrimp completion ''", 2))


@pytest.mark.parametrize("arguments", [[], ["powershell"], ["bash", "zsh"]])
def test_an_unknown_shell_is_called_wrongly(scrimp: Scrimp, arguments: list[str]) -> None:
    """Exit code 2 and the shells that there are."""
    ended = scrimp("completion", *arguments)
    assert (2, "") == (ended.returncode, ended.stdout)
    assert ended.stderr.endswith("See `scrimp completion --help`.\n")
