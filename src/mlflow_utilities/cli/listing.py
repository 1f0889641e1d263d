"""What the commands that list runs and models share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mlflow_utilities.cli.arguments import STATUSES
from mlflow_utilities.cli.options import Common, Named
from mlflow_utilities.cli.printing import fraction, moment, print_json, print_table, say
from mlflow_utilities.cli.running import run_with_client
from mlflow_utilities.cli.shapes import run_shape
from mlflow_utilities.cli.targets import find_submodel, submodel_hint

if TYPE_CHECKING:
    from mlflow_utilities.client import AsyncMlflowClient
    from mlflow_utilities.mlflow_api import VersionedRun

__all__ = ["listing_options", "print_listing"]

F = TypeVar("F", bound=Callable[..., Any])


def listing_options(function: F) -> F:
    """Add `--status`, `--version` and `--limit`."""
    for option in (
        click.option("--limit", type=click.IntRange(min=1), metavar="NUMBER", help="At most so many, the newest."),
        click.option("--version", metavar="RANGE", help='A version, or a range: "^1.2", ">=1.4,<2", "1.x", "latest".'),
        click.option(
            "--status",
            type=click.Choice(STATUSES, case_sensitive=False),
            metavar="STATUS",
            help="Only runs of this status: New, Active, Canary or Disabled.",
        ),
    ):
        function = option(function)
    return function


def print_listing(
    common: Common,
    named: Named,
    work: Callable[[AsyncMlflowClient], Awaitable[Sequence[VersionedRun]]],
    kind: str,
    limit: int | None,
) -> None:
    """Print the runs or models that `work` lists."""

    async def listed(client: AsyncMlflowClient) -> tuple[str, str, Sequence[VersionedRun], str]:
        ledger = await find_submodel(client, named)
        found = await work(client)
        hint = "" if found else await submodel_hint(client, ledger)
        return ledger.experiment.experiment_id, ledger.submodel, found, hint

    experiment_id, submodel, found, hint = run_with_client(common, listed)
    found = found[:limit]
    if common.json:
        shapes = [run_shape(run) for run in found]
        print_json({"experiment_id": experiment_id, "submodel_name": submodel, kind: shapes})
    else:
        _print_rows(common, kind, found, f"no {kind} of submodel {submodel} in experiment {experiment_id} fit")
    if hint:
        say(f"hint: {hint}")


def _print_rows(common: Common, kind: str, found: Sequence[VersionedRun], empty: str) -> None:
    from mlflow_utilities.mlflow_api import Model

    rows = [
        (
            run.run_id,
            run.version,
            run.status.name,
            fraction(run.test_fraction),
            run.model_uri if isinstance(run, Model) else moment(run.start_time),
        )
        for run in found
    ]
    last = "model" if kind == "models" else "started (UTC)"
    print_table(common, ("run", "version", "status", "share", last), rows, empty=empty)
