"""The `scrimp` command: a table of commands, each loaded only when it is called, and one way for each to end.

Start-up time is a promise (`scrimp report --help` within 0.5 s of CPU), so this module imports nothing but click.

Whatever ends a command early becomes one sentence or none: an error of ours or of the command line (what, then what
next), Ctrl-C and a reader that has gone (quiet, with the exit code of a shell), an output that cannot be written.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from contextlib import suppress
from difflib import get_close_matches
from typing import Any, TextIO

import click

from scrimp import __version__
from scrimp.errors import ScrimpError

#: Exit codes of what a signal would have ended: 128 and the signal's number, as a shell counts.
INTERRUPTED = 130
READER_GONE = 141
#: What writing to standard output may fail with: a full disk or quota, a terminal that is gone, a closed descriptor.
OUTPUT_FAILS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})

#: command -> (module that defines it as `command`, one line for `scrimp --help`)
COMMANDS = {
    "demo": ("scrimp.cli.demo", "A whole story with no key and no network, and its bill."),
    "up": ("scrimp.cli.up", "Run the gateway."),
    "run": ("scrimp.cli.run", "Run any client through a gateway of its own, and print the bill."),
    "report": ("scrimp.cli.report", "Where the money goes: recorded sessions or the ledger."),
    "audit": ("scrimp.cli.audit", "Cache breaks and pitfalls: where, why, what they cost, what to change."),
    "replay": ("scrimp.cli.replay", "What recorded sessions would have cost under each caching policy."),
    "shape": ("scrimp.cli.shape", "What shaping makes of a tool output: its size, its cost, nothing lost."),
    "export": ("scrimp.cli.export", "The ledger as JSON lines, to read or keep elsewhere."),
    "sim": ("scrimp.cli.sim", "Serve the simulated Claude API, for anybody's tests."),
    "prices": ("scrimp.cli.prices", "The price book, its dates and sources."),
    "doctor": ("scrimp.cli.doctor", "What is wrong with this set-up and the line that mends it."),
    "completion": ("scrimp.cli.completion", "Print the shell completion script."),
}


class LazyGroup(click.Group):
    """A click group that imports a command's module when the command is asked for."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; Ctrl-C, or a reader of its output that has gone, ends it quietly."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _let_go_of(sys.stdout)
            raise click.exceptions.Exit(READER_GONE) from None

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the commands from the table, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="scrimp")
def cli() -> None:
    """Make Claude agents cheap without making them worse."""


def main() -> None:
    """Run the command line; whatever ends it early becomes its sentence and its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(cli(prog_name="scrimp", standalone_mode=False))
    except ScrimpError as error:
        _end(str(error), error.exit_code)
    except click.Abort:
        sys.exit(INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _end(_sentence(error), error.exit_code)
    except OSError as error:
        if error.filename is not None or error.errno not in OUTPUT_FAILS:
            raise
        _let_go_of(sys.stdout)
        _end(f"The output cannot be written: {error.strerror}. Free some space, or send it elsewhere.", 1)


def _end(sentence: str, code: int) -> None:
    tell(f"scrimp: {sentence}")
    sys.exit(code)


def tell(text: str) -> None:
    """Write a last word to standard error; a terminal that was closed, or a full disk, does not hear it."""
    try:
        click.echo(text, err=True)
    except OSError:
        _let_go_of(sys.stderr)


def _let_go_of(stream: TextIO) -> None:
    """Point a stream nowhere, so that what is still held back of it fails no more when Python ends."""
    with suppress(OSError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())


def _sentence(error: click.ClickException) -> str:
    """Return what is wrong with the command line as one line, and what to do next."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    near = getattr(error, "possibilities", None) or get_close_matches(getattr(error, "command_name", ""), COMMANDS)
    what = " ".join((error.message if near else error.format_message()).split()).rstrip(".")
    what_next = f"Did you mean {near[0]}?" if near else f"See `{context.command_path if context else 'scrimp'} --help`."
    return f"{what}. {what_next}"
