"""What commands print: tables for people, one JSON document for programs, messages on standard error."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from mlflow_utilities.cli.options import Common

__all__ = ["fraction", "moment", "print_json", "print_table", "say", "shown"]


def say(message: str) -> None:
    """Print a message to people, on standard error, so that standard output is the result alone."""
    click.echo(shown(message, kept="\n"), err=True)


def print_json(value: Any) -> None:
    """Print one JSON document on standard output; NaN and infinities become text, as in MLflow's JSON."""
    click.echo(json.dumps(_plain(value), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def print_table(
    common: Common, columns: Sequence[str], rows: Sequence[Sequence[object]], *, err: bool = False, empty: str = ""
) -> None:
    """Print a table: with a line and colours on a terminal that is wide enough, else as aligned text.

    Args:
        common: whether colours are wanted.
        columns: heads of the columns.
        rows: cells; None is an empty one. Characters that a terminal would obey are shown, not sent.
        err: print on standard error.
        empty: what to say, on standard error, instead of a table without rows.

    """
    cells = [["" if cell is None else shown(str(cell)) for cell in row] for row in rows]
    if not cells and empty:
        say(empty)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    if (sys.stderr if err else sys.stdout).isatty():
        from mlflow_utilities.cli.tables import print_on_terminal

        if print_on_terminal(columns, cells, widths, color=common.color, err=err):
            return
    for row in ([name.upper() for name in columns], *cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip(), err=err)


def shown(text: str, kept: str = "") -> str:
    """Return text with the characters that a terminal would obey written as escapes, but those that are `kept`."""
    return "".join(ch if ch.isprintable() or ch in kept else ch.encode("unicode_escape").decode() for ch in text)


def fraction(value: float) -> str:
    """Return a share as people write it: `0.7`, up to four places."""
    return f"{value:.4f}".rstrip("0").rstrip(".") if value else "0"


def moment(milliseconds: int | None) -> str:
    """Return a time, in ms since 1970, as text in UTC."""
    if milliseconds is None:
        return ""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):  # what a server stores need not be a date
        return str(milliseconds)
