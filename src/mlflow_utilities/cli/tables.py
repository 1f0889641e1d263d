"""Tables on a terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["new_table", "print_on_terminal"]

_STYLES = {"Active": "green", "Canary": "yellow", "Disabled": "dim", "New": "cyan"}
_WHOLE = ("run", "model")  # what is copied from a terminal, and must not be torn
_NARROW = 10
_GAP = 2


def new_table(columns: Sequence[str], whole: Collection[str] = ()) -> Table:
    """Return an empty table; cells of columns that are not `whole` are folded where it is too wide."""
    table = Table(
        box=box.SIMPLE_HEAD, header_style="bold", padding=(0, _GAP - 1, 0, 0), pad_edge=False, show_edge=False
    )
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name in whole)
    return table


def print_on_terminal(
    columns: Sequence[str], cells: Sequence[Sequence[str]], widths: Sequence[int], *, color: bool, err: bool
) -> bool:
    """Print a table; False, and nothing is printed, when the terminal is too narrow for it."""
    console = Console(stderr=err, no_color=not color, highlight=False)
    least = [width if name in _WHOLE else min(width, _NARROW) for name, width in zip(columns, widths, strict=True)]
    if sum(least) + _GAP * (len(least) - 1) > console.width:
        return False
    table = new_table(columns, _WHOLE)
    for row in cells:
        table.add_row(*(Text(cell, style=_STYLES.get(cell.partition(" ")[0], "")) for cell in row))
    console.print(table)
    return True
