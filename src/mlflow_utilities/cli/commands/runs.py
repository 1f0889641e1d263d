"""`runs`: list the runs of a submodel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlflow_utilities.cli.listing import listing_options, print_listing
from mlflow_utilities.cli.options import Common, Named, common_options, experiment_options

if TYPE_CHECKING:
    from mlflow_utilities.client import AsyncMlflowClient
    from mlflow_utilities.mlflow_api import VersionedRun

__all__ = ["command"]


@click.command("runs")
@listing_options
@experiment_options
@common_options
@click.pass_obj
def command(common: Common, named: Named, status: str | None, version: str | None, limit: int | None) -> None:
    """List the runs of a submodel with their versions and statuses.

    Finished runs, newest first.
    """

    async def work(client: AsyncMlflowClient) -> list[VersionedRun]:
        from mlflow_utilities.mlflow_api import list_runs

        return await list_runs(version, **named.names, active_state=status, client=client)

    print_listing(common, named, work, "runs", limit)
