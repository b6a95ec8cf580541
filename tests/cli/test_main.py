"""The table of commands: each is there, explains itself, and costs nothing until it is called."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
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


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nonesuch"], "No such command 'nonesuch'. See `scrimp --help`."),
        (["reprot"], "No such command 'reprot'. Did you mean report?"),
        (["report", "--no-such"], "No such option '--no-such'. See `scrimp report --help`."),
        (["report", "--sinc", "x"], "No such option '--sinc'. Did you mean --since?"),
        (["up", "--port", "x"], "Invalid value for '--port': 'x' is not a valid integer. See `scrimp up --help`."),
        (
            ["completion"],
            "Missing argument '{bash|zsh|fish}'. Choose from: bash, zsh, fish. See `scrimp completion --help`.",
        ),
        (["prices", "lst"], "No such command 'lst'. Did you mean list?"),
    ],
)
def test_a_wrong_command_line_is_one_line(scrimp: Scrimp, arguments: list[str], told: str) -> None:
    """What is wrong with it, and what to do next; exit code 2."""
    ended = scrimp(*arguments)
    assert (2, "", f"scrimp: {told}\n") == (ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize("arguments", [[], ["prices"]])
def test_a_group_alone_explains_itself(scrimp: Scrimp, arguments: list[str]) -> None:
    """Nothing was asked for: the help, on standard error."""
    ended = scrimp(*arguments)
    assert (2, "", True) == (ended.returncode, ended.stdout, ended.stderr.startswith("Usage: scrimp"))


def test_ctrl_c_is_quiet(started: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    """Also while a command still gets ready: the exit code of a shell, and no word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        upstream = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = started("run", "--upstream", upstream, "--db", str(tmp_path / "a.db"), "--", "true")
        link, _ = silent.accept()
        with link:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert (main.INTERRUPTED, "", "") == (process.returncode, out, err)


def test_ctrl_c_while_a_command_is_imported_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may come at any moment."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("importlib.import_module", interrupted)
    monkeypatch.setattr(sys, "argv", ["scrimp", "demo"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert (130, ("", "")) == (ended.value.code, tuple(capsys.readouterr()))


def shell(environment: dict[str, str], line: str) -> subprocess.CompletedProcess[str]:
    """Run one line of a shell in which $SCRIMP is the command."""
    command = shlex.join([sys.executable, "-m", "scrimp"])
    return subprocess.run(
        ["bash", "-c", line.replace("$SCRIMP", command)],  # noqa: S607 - the developer's own shell
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", ["prices list", "demo --json"])
def test_a_reader_that_has_gone_is_no_failure_to_tell(environment: dict[str, str], command: str) -> None:
    """`scrimp prices list | head -1` ends without a word, with the exit code of a shell."""
    reading, writing = os.pipe()
    os.close(reading)
    arguments = [sys.executable, "-m", "scrimp", *command.split()]
    ended = subprocess.run(arguments, env=environment, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (main.READER_GONE, "") == (ended.returncode, ended.stderr)


@pytest.mark.parametrize("arguments", ["prices list", "demo --json", "--help"])
def test_a_full_disk_is_one_line(environment: dict[str, str], arguments: str) -> None:
    """What cannot be written is said where it can be."""
    ended = shell(environment, f"$SCRIMP {arguments} >/dev/full")
    told = "scrimp: The output cannot be written: No space left on device. Free some space, or send it elsewhere.\n"
    assert (1, told) == (ended.returncode, ended.stderr)


def test_another_fault_of_the_system_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of ours is not dressed up as a full disk."""

    def fail(*_: object, **__: object) -> None:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    monkeypatch.setattr(main, "cli", fail)
    with pytest.raises(ConnectionRefusedError):
        main.main()


def test_a_terminal_of_another_language_shows_what_it_can(scrimp: Scrimp) -> None:
    """A character that it does not have is written out, and nothing is lost."""
    ended = scrimp("prices", "list", "--model", "claude-ö-≥", env={"PYTHONIOENCODING": "latin-1"}, encoding="latin-1")
    assert (1, True) == (ended.returncode, "'claude-ö-\\u2265'" in ended.stderr)
    code = "import click, scrimp.cli.main as m; m.cli = lambda **_: click.echo('\\u2265'); m.main()"
    shown = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONIOENCODING": "latin-1"}, capture_output=True, check=False
    )
    assert (0, b"\\u2265\n") == (shown.returncode, shown.stdout)


def test_the_module_is_the_command(scrimp: Scrimp) -> None:
    """`python -m scrimp` works where no script is on the PATH."""
    ended = scrimp("--version")
    assert (0, f"scrimp, version {__version__}\n", "") == (ended.returncode, ended.stdout, ended.stderr)
