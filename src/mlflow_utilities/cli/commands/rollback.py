"""`rollback`: bring back an earlier generation of a rollout."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from mlflow_utilities.cli.changing import Verb, change
from mlflow_utilities.cli.options import Common, Named, Writing, writing_command
from mlflow_utilities.cli.targets import find_submodel

if TYPE_CHECKING:
    from mlflow_utilities.client import AsyncMlflowClient

__all__ = ["command"]


@writing_command(
    "rollback",
    click.option(
        "--to",
        type=click.IntRange(min=1),
        metavar="GENERATION",
        help="Generation to bring back.  [default: the one before the current]",
    ),
)
def command(common: Common, to: int | None, named: Named, writing: Writing) -> None:
    """Bring back an earlier generation of a rollout.

    One write, and every user gets the model they had. Rolling back twice goes two steps back.
    """

    async def prepare(client: AsyncMlflowClient) -> Verb:
        from mlflow_utilities.mlflow_api import rollback

        ledger = await find_submodel(client, named)
        return partial(
            rollback, **Named(ledger.experiment.experiment_id, None, ledger.submodel).names, to_generation=to
        )

    change(common, writing, prepare)
