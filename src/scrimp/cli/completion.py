"""`scrimp completion`: the script that lets a shell complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    Put it where your shell looks, for instance: scrimp completion bash >> ~/.bashrc
    """
    root = click.get_current_context().find_root().command
    completion = get_completion_class(shell)
    if completion is not None:
        click.echo(completion(root, {}, "scrimp", "_SCRIMP_COMPLETE").source())
