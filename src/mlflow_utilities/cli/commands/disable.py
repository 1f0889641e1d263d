"""`disable`: take a run out of use."""

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


@writing_command("disable", run_argument)
def command(common: Common, run: str, named: Named, writing: Writing) -> None:
    """Take a run out of use.

    It becomes Disabled; the other Active runs of its version are scaled up to fill its share.
    """

    async def prepare(client: AsyncMlflowClient) -> Verb:
        from mlflow_utilities.mlflow_api import disable_run

        return partial(disable_run, await find_run(client, run, named))

    change(common, writing, prepare)
