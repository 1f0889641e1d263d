"""The picture of the packages: its rows are the import contract of pyproject.toml, which `make lint` holds."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.svg import FAINT, INK, Picture

__all__ = ["picture", "table"]

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "mlflow_utilities"
WIDTH, MARGIN, BOX, GAP = 400, 8, 26, 10
PURE = "#0f766e"


def rows() -> list[list[str]]:
    """Return the rows of packages, the top one first."""
    layers = _contract("layers point one way")["layers"]
    return [[name.strip() for name in layer.split("|")] for layer in layers]


def is_pure(package: str) -> bool:
    """Return whether the contract forbids the whole package any I/O."""
    return f"mlflow_utilities.{package}" in _contract("pure modules do no I/O")["source_modules"]


def has_pure_modules(package: str) -> bool:
    """Return whether the contract forbids some modules of the package any I/O."""
    pure: list[str] = _contract("pure modules do no I/O")["source_modules"]
    return any(name.startswith(f"mlflow_utilities.{package}.") for name in pure)


def picture() -> str:
    """Return the picture of the rows."""
    layers = rows()
    top = 4
    height = top + len(layers) * (BOX + GAP) + 28
    drawn = Picture(
        WIDTH,
        height,
        "The packages of mlflow_utilities in rows",
        "From the top: " + "; ".join(" and ".join(row) for row in layers) + ". A row imports only rows below it.",
    )
    for number, row in enumerate(layers):
        _row(drawn, row, top + number * (BOX + GAP))
    _legend(drawn, height - 18)
    return drawn.done()


def table() -> str:
    """Return the packages with what they say of themselves, as a Markdown table."""
    lines = ["| package | what it is |", "|---|---|"]
    for row in rows():
        lines += [f"| `{name}` | {_summary(name)} |" for name in row]
    return "\n".join(lines)


def _row(drawn: Picture, names: list[str], y: float) -> None:
    width = (WIDTH - 2 * MARGIN - GAP * (len(names) - 1)) / len(names)
    for place, name in enumerate(names):
        x = MARGIN + place * (width + GAP)
        if is_pure(name):
            drawn.rect(x, y, width, BOX, fill=PURE, stroke=PURE, radius=4)
        else:
            dash = "5 3" if has_pure_modules(name) else ""
            drawn.rect(x, y, width, BOX, stroke=PURE if dash else FAINT, radius=4, dash=dash)
        drawn.text(x + width / 2, y + 17, name, size=12, fill="#ffffff" if is_pure(name) else INK, code=True)


def _legend(drawn: Picture, y: float) -> None:
    drawn.rect(MARGIN, y, 14, 12, fill=PURE, radius=2)
    drawn.text(MARGIN + 20, y + 10, "pure: no I/O", anchor="start")
    drawn.rect(MARGIN + 112, y, 14, 12, stroke=PURE, radius=2, dash="5 3")
    drawn.text(MARGIN + 132, y + 10, "rules in pure modules", anchor="start")
    drawn.rect(MARGIN + 264, y, 14, 12, stroke=FAINT, radius=2)
    drawn.text(MARGIN + 284, y + 10, "effects, wiring", anchor="start")


def _summary(name: str) -> str:
    folder = PACKAGE / name
    path = folder / "__init__.py" if folder.is_dir() else PACKAGE / f"{name}.py"
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|")


def _contract(name: str) -> Mapping[str, Any]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return next(item for item in settings["tool"]["importlinter"]["contracts"] if item["name"] == name)
