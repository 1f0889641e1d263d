"""The command line: mlflow-utilities."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]


def main() -> None:
    """Run the command line on the process's arguments, and exit with the code that says how it ended."""
    missing = [name for name in ("click", "rich") if find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        print(
            f"error: the command line needs {' and '.join(missing)}, which {verb} not installed\n"
            'hint: pip install "mlflow-utilities[cli]"',
            file=sys.stderr,
        )
        raise SystemExit(2)
    try:
        from mlflow_utilities.cli.app import run

        code = run()
    except KeyboardInterrupt:
        code = 130
    raise SystemExit(code)
