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
    click.echo(shown(message), err=True)


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
    """Print a table: with lines and colours on a terminal, else as aligned text; `empty` is said when it has no rows.

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
    stream = sys.stderr if err else sys.stdout
    if stream.isatty():
        _print_rich(common, columns, cells, err=err)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in ([name.upper() for name in columns], *cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip(), err=err)


def _print_rich(common: Common, columns: Sequence[str], cells: Sequence[Sequence[str]], *, err: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell, style=_STYLES.get(cell.partition(" ")[0], "")) for cell in row))
    Console(stderr=err, no_color=not common.color, highlight=False).print(table)


_STYLES = {"Active": "green", "Canary": "yellow", "Disabled": "dim", "New": "cyan"}


def shown(text: str) -> str:
    """Return text with the characters that a terminal would obey written as escapes; line ends stay."""
    return "".join(ch if ch.isprintable() or ch == "\n" else ch.encode("unicode_escape").decode() for ch in text)


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
