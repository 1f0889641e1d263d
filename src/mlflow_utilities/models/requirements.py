"""What to install so that a model can be loaded, by the requirements saved with it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

__all__ = ["installation_hint"]

# Names with versions alone: options and addresses, which may hold passwords, are not repeated in a message.
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)(\[[\w.,-]+\])?([=<>!~]=?[\w.*,<>=!~+-]+)?", re.ASCII)
_MLFLOW = ("mlflow", "mlflow-skinny")
_SHOWN = 12


def installation_hint(directory: Path, missing: str | None) -> str:
    """Return the command that installs what the model asks for; mlflow only when a module of it is `missing`."""
    try:
        lines = (directory / "requirements.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "install the packages it was saved with"
    found = [match for line in lines if (match := _REQUIREMENT.fullmatch(line.strip()))]
    wants_mlflow = (missing or "").partition(".")[0] == "mlflow"
    wanted = [match[0] for match in found if wants_mlflow or match["name"].lower() not in _MLFLOW]
    if not wanted or len(wanted) > _SHOWN:
        return f"see {directory / 'requirements.txt'}"
    return shlex.join(["pip", "install", *wanted])
