"""Asking before a change in production."""

from __future__ import annotations

import sys

import click

from mlflow_utilities.cli.exits import NotConfirmedError

__all__ = ["confirm"]


def confirm(question: str, about: str = "this changes production") -> None:
    """Ask on the terminal; only a yes comes back. `about` says what is to be confirmed where nobody can be asked.

    Raises:
        NotConfirmedError: the answer is no, or there is no terminal to ask on.

    """
    if not sys.stdin.isatty():
        raise NotConfirmedError(
            f"{about}, and there is no terminal to confirm it on; nothing was written",
            hint="look at it with --dry-run, then give --yes",
        )
    click.echo(f"{question} [y/N] ", err=True, nl=False)
    if _answer().strip().lower() not in ("y", "yes"):
        raise NotConfirmedError("not confirmed; nothing was written")


def _answer() -> str:
    """Read a line; where the input ends, or Ctrl-C ends it, what is said next begins a line of its own."""
    try:
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        click.echo(err=True)
        raise
    if not answer:
        click.echo(err=True)
    return answer
