"""Arguments that name runs, and what a shell completes them with."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from mlflow_utilities.cli.options import Common, named_of
from mlflow_utilities.cli.running import run_with_client

__all__ = ["STATUSES", "RunShare", "run_argument", "split_share"]

if TYPE_CHECKING:
    Base = click.ParamType[Any]
else:
    Base = click.ParamType  # not generic in older releases of click

F = TypeVar("F", bound=Callable[..., Any])
STATUSES = ("New", "Active", "Canary", "Disabled")
_PATIENCE = 1.0
_HEX = re.compile(r"[0-9a-fA-F]{6,32}")


def run_argument(function: F) -> F:
    """Add the argument RUN: a run id, its first 6 or more characters, or a version that one run alone has."""
    return click.argument("run", metavar="RUN", type=RunText())(function)


class RunText(Base):
    """A text that names a run; a shell completes it with the ids of the experiment that is named so far."""

    name = "run"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the text."""
        return _named(str(value))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the run ids that go on from what is typed; none when the server does not say in a second."""
        return [CompletionItem(run, help=what) for run, what in _run_ids(ctx) if run.startswith(incomplete)]


class RunShare(RunText):
    """RUN=SHARE."""

    name = "run=share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the run's text and the share."""
        if isinstance(value, tuple):
            return value  # pyright: ignore[reportUnknownVariableType]
        try:
            return split_share(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def split_share(text: str) -> tuple[str, float]:
    """Return the two halves of RUN=SHARE.

    Raises:
        ValueError: there are no two, or the second is not a number.

    """
    run, equals, share = text.rpartition("=")
    if not equals or not run.strip():
        raise ValueError(f"{text!r} is not RUN=SHARE, as in 8d21f0c7=0.7")
    try:
        return _named(run), float(share)
    except ValueError:
        raise ValueError(f"{share!r} in {text!r} is not a number, as in 8d21f0c7=0.7") from None


def _named(text: str) -> str:
    """Return what names a run, an id in lower case as MLflow writes it."""
    text = text.strip()
    return text.lower() if _HEX.fullmatch(text) else text


def _run_ids(context: click.Context) -> list[tuple[str, str]]:
    from mlflow_utilities.mlflow_api import list_runs

    options = context.params
    named = named_of(options.get("experiment"), options.get("experiment_id"), options.get("submodel"))
    if not named.known:
        return []
    common = context.ensure_object(Common)
    common = Common(common.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI"), timeout=common.timeout or _PATIENCE)
    try:
        runs = run_with_client(common, lambda client: list_runs(None, **named.names, client=client))
    except Exception:  # what a shell completes must not write an error into the command line
        return []
    return [(run.run_id, f"{run.version} {run.status.name}") for run in runs]
