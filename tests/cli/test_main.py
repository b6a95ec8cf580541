"""The table of commands: each is there, explains itself, and costs nothing until it is called."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from scrimp import __version__
from scrimp.cli import main
from scrimp.cli.main import COMMANDS, cli
from scrimp.errors import LedgerError, ScrimpError, UsageError

if TYPE_CHECKING:
    from tests.cli.conftest import Scrimp

HEAVY = "aiohttp alembic anthropic genai_prices sqlalchemy tabulate uvicorn yarl".split()


def imported(arguments: list[str]) -> set[str]:
    """Return which of the heavy modules a command line imports."""
    code = (
        "import sys\n"
        "from scrimp.cli.main import cli\n"
        f"try: cli({arguments!r}, prog_name='scrimp')\n"
        f"finally: print('imported', *({set(HEAVY)!r} & set(sys.modules)))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ended.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """Start-up is a promise: what a command needs is imported when it runs."""
    assert set() == imported(arguments)


def test_the_version_is_the_package_s() -> None:
    """As a script reads it."""
    assert f"scrimp, version {__version__}\n" == CliRunner().invoke(cli, ["--version"]).output


def test_help_lists_every_command_with_its_line() -> None:
    """In the table's order, as the README tells the story."""
    for option in ("--help", "-h"):
        lines = CliRunner().invoke(cli, [option], terminal_width=200).output.splitlines()
        listed = [line.split(maxsplit=1) for line in lines[lines.index("Commands:") + 1 :]]
        assert [[name, line] for name, (_, line) in COMMANDS.items()] == listed


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(name: str) -> None:
    """`--help` and `-h` end with 0 and say how to call it and what each option does."""
    result = CliRunner().invoke(cli, [name, "--help"], prog_name="scrimp")
    assert (0, "Usage: scrimp") == (result.exit_code, result.output[:13])
    command = cli.get_command(cli.make_context("scrimp", [], resilient_parsing=True), name)
    assert command is not None
    assert command.help
    assert [] == [each.name for each in command.params if each.param_type_name == "option" and not each.help]
    assert result.output == CliRunner().invoke(cli, [name, "-h"], prog_name="scrimp").output


@pytest.mark.parametrize("arguments", [["nonesuch"], ["--nonesuch"], ["report", "--nonesuch"]])
def test_what_is_unknown_is_called_wrongly(arguments: list[str]) -> None:
    """Exit code 2, and the way to the help."""
    result = CliRunner().invoke(cli, arguments)
    assert 2 == result.exit_code
    assert "--help" in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [(UsageError("What.", "Then."), 2), (LedgerError("What.", "Then."), 1), (ScrimpError("What. Then."), 1)],
)
def test_an_error_of_ours_is_one_line(
    error: ScrimpError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, with the exit code that tells whose fault it was."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(main, "cli", fail)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert code == ended.value.code
    assert ("", "scrimp: What. Then.\n") == tuple(capsys.readouterr())


def test_the_module_is_the_command(scrimp: Scrimp) -> None:
    """`python -m scrimp` works where no script is on the PATH."""
    ended = scrimp("--version")
    assert (0, f"scrimp, version {__version__}\n", "") == (ended.returncode, ended.stdout, ended.stderr)
