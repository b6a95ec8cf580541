"""The `scrimp` command: a table of commands, each loaded only when it is called.

Start-up time is a promise (`scrimp report --help` within 0.5 s of CPU), so this module imports nothing but click.
"""

from __future__ import annotations

import importlib
import sys

import click

from scrimp import __version__
from scrimp.errors import ScrimpError

#: command -> (module that defines it as `command`, one line for `scrimp --help`)
COMMANDS = {
    "demo": ("scrimp.cli.demo", "A whole story with no key and no network, and its bill."),
    "up": ("scrimp.cli.up", "Run the gateway."),
    "run": ("scrimp.cli.run", "Run any client through a gateway of its own, and print the bill."),
    "report": ("scrimp.cli.report", "Where the money goes: recorded sessions or the ledger."),
    "sim": ("scrimp.cli.sim", "Serve the simulated Claude API, for anybody's tests."),
    "prices": ("scrimp.cli.prices", "The price book, its dates and sources."),
    "doctor": ("scrimp.cli.doctor", "What is wrong with this set-up and the line that mends it."),
    "completion": ("scrimp.cli.completion", "Print the shell completion script."),
}


class LazyGroup(click.Group):
    """A click group that imports a command's module when the command is asked for."""

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
    """Run the command line; a known error becomes one sentence and its exit code."""
    try:
        cli(prog_name="scrimp")
    except ScrimpError as error:
        click.echo(f"scrimp: {error}", err=True)
        sys.exit(error.exit_code)
