"""`demo`: a whole rollout on a real MLflow server, started for it and removed with all it made."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

import click

from mlflow_utilities.cli.options import Common, common_options
from mlflow_utilities.errors import MissingDependencyError

__all__ = ["command", "ended_by_signals"]


@click.command()
@common_options
@click.pass_obj
def command(common: Common) -> None:
    """Play a whole rollout on a server started for it.

    It saves models, makes a canary, splits requests, serves and rolls back, and prints each step with the command that
    does it. Everything is below a temporary directory and on loopback, and gone afterwards. It takes half a minute.
    """
    missing = [name for name in ("mlflow", "sklearn") if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"the demo starts a real MLflow server, and {' and '.join(missing)} cannot be imported",
            hint='pip install "mlflow-utilities[mlflow]"',
        )
    if common.json:
        raise click.UsageError("the demo is for people: it prints no JSON")
    with ended_by_signals(), tempfile.TemporaryDirectory(prefix="mlflow-utilities-demo-") as folder:
        _play(Path(folder))
    click.echo("\n== done; the server is stopped, and everything it kept is removed")


def _play(folder: Path) -> None:
    import anyio

    from mlflow_utilities.cli.local_server import run_server
    from mlflow_utilities.cli.story import heading, play

    heading("start a server")
    click.echo("$ mlflow server --backend-store-uri sqlite:///mlflow.db --artifacts-destination ./artifacts")
    with run_server(folder, workers=1) as uri:
        click.echo(f"it listens at {uri}")
        _quiet()
        anyio.run(play, uri, folder)


def _quiet() -> None:
    """Leave out what MLflow says while it saves and loads."""
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    logging.getLogger("mlflow").setLevel(logging.ERROR)


@contextmanager
def ended_by_signals() -> Generator[None]:
    """Let signals that would end the process at once end it as Ctrl-C does, so that the server is stopped."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM] if sys.platform == "win32" else [signal.SIGTERM, signal.SIGHUP]
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
