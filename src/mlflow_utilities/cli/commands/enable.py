"""`enable`: make a run the only Active one of its version."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mlflow_utilities.cli.arguments import run_argument
from mlflow_utilities.cli.changing import Verb, change
from mlflow_utilities.cli.options import Common, Named, Writing, writing_command
from mlflow_utilities.cli.targets import find_run

if TYPE_CHECKING:
    from mlflow_utilities.client import AsyncMlflowClient

__all__ = ["command"]


@writing_command("enable", run_argument)
def command(common: Common, run: str, named: Named, writing: Writing) -> None:
    """Make a run the only Active one of its version.

    Runs that were Active become Disabled; canaries stay. A Disabled run comes back by this.
    """

    async def prepare(client: AsyncMlflowClient) -> Verb:
        from mlflow_utilities.mlflow_api import enable_run

        return partial(enable_run, await find_run(client, run, named))

    change(common, writing, prepare)
