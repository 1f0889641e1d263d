"""`models`: list the models of a submodel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlflow_utilities.cli.listing import listing_options, print_listing
from mlflow_utilities.cli.options import Common, Named, common_options, experiment_options

if TYPE_CHECKING:
    from mlflow_utilities.client import AsyncMlflowClient
    from mlflow_utilities.mlflow_api import Model

__all__ = ["command"]


@click.command("models")
@listing_options
@experiment_options
@common_options
@click.pass_obj
def command(common: Common, named: Named, status: str | None, version: str | None, limit: int | None) -> None:
    """List the models of a submodel: runs, and where to load them from.

    Models of finished runs, newest first. --status Active shows what services use.
    """

    async def work(client: AsyncMlflowClient) -> list[Model]:
        from mlflow_utilities.mlflow_api import list_models

        return await list_models(version, **named.names, active_state=status, client=client)

    print_listing(common, named, work, "models", limit)
