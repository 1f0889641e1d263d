"""`revoke`: stop a run now and for good."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from mlflow_utilities.cli.arguments import run_argument
from mlflow_utilities.cli.changing import Verb, change
from mlflow_utilities.cli.options import Common, Named, Writing, writing_command
from mlflow_utilities.cli.targets import find_run
from mlflow_utilities.errors import InvalidInputError

if TYPE_CHECKING:
    from mlflow_utilities.client import AsyncMlflowClient
    from mlflow_utilities.mlflow_api import Rollout

__all__ = ["command"]


@writing_command("revoke", run_argument)
def command(common: Common, run: str, named: Named, writing: Writing) -> None:
    """Stop a run now and for good.

    It leaves even if nothing is left, and no command makes it live again. --why must say something.
    """
    if not writing.why.strip():
        raise InvalidInputError("a revocation needs a reason", hint="give --why TEXT: it cannot be taken back")

    async def prepare(client: AsyncMlflowClient) -> Verb:
        from mlflow_utilities.mlflow_api import revoke_run

        run_id = await find_run(client, run, named)

        def revoke(*, why: str, **options: Any) -> Awaitable[Rollout]:
            return revoke_run(run_id, why, **options)

        return revoke

    change(common, writing, prepare)
