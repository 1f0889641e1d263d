"""The script by which a shell completes this command."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from mlflow_utilities.cli.options import common_options

__all__ = ["command"]

_HOW = {
    "bash": 'add to ~/.bashrc:  eval "$(mlflow-utilities completion bash)"',
    "zsh": 'add to ~/.zshrc:  eval "$(mlflow-utilities completion zsh)"',
    "fish": "mlflow-utilities completion fish > ~/.config/fish/completions/mlflow-utilities.fish",
}


@click.command("completion")
@click.argument("shell", type=click.Choice(list(_HOW)), required=False)
@common_options
@click.pass_context
def command(context: click.Context, shell: str | None) -> None:
    """Print the script that completes this command in a shell.

    Without the name of a shell, say how to install it for each.
    """
    if shell is None:
        for name, how in _HOW.items():
            click.echo(f"{name}: {how}")
        return
    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root()
    click.echo(kind(root.command, {}, "mlflow-utilities", "_MLFLOW_UTILITIES_COMPLETE").source())
