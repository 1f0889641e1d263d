"""`canary`: let a run get copies of requests."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from mlflow_utilities.cli.arguments import run_argument
from mlflow_utilities.cli.changing import Verb, change
from mlflow_utilities.cli.options import Common, FiniteRange, Named, Writing, writing_command
from mlflow_utilities.cli.targets import find_run

if TYPE_CHECKING:
    from mlflow_utilities.client import AsyncMlflowClient

__all__ = ["command"]


@writing_command(
    "canary",
    run_argument,
    click.option(
        "--share",
        type=FiniteRange(0, 1),
        metavar="FRACTION",
        help="Share of the requests that is copied, in [0, 1].  [default: all, or as it was]",
    ),
)
def command(common: Common, run: str, share: float | None, named: Named, writing: Writing) -> None:
    """Let a run get copies of requests; its answers are not used.

    An Active run gives its share to the others of its version.
    """

    async def prepare(client: AsyncMlflowClient) -> Verb:
        from mlflow_utilities.mlflow_api import canary_run, change_status

        run_id = await find_run(client, run, named)
        return partial(canary_run, run_id) if share is None else partial(change_status, run_id, "Canary", share)

    change(common, writing, prepare)
