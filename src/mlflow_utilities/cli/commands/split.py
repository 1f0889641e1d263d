"""`split`: which runs are Active, with which shares of the requests."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import click

from mlflow_utilities.cli.arguments import RunShare
from mlflow_utilities.cli.changing import Verb, change
from mlflow_utilities.cli.options import Common, Named, Writing, writing_command
from mlflow_utilities.cli.printing import fraction, say
from mlflow_utilities.cli.targets import find_listed
from mlflow_utilities.errors import InvalidInputError

if TYPE_CHECKING:
    from mlflow_utilities.client import AsyncMlflowClient
    from mlflow_utilities.mlflow_api import VersionedRun

__all__ = ["command"]

_ROUNDED = 1e-3  # thirds, written with three places


@writing_command(
    "split",
    click.argument("shares", metavar="RUN=SHARE...", type=RunShare(), nargs=-1, required=True),
    click.option(
        "--canary", is_flag=True, help="Shares of the requests that are copied to Canary runs, each in [0, 1]."
    ),
)
def command(
    common: Common, shares: tuple[tuple[str, float], ...], canary: bool, named: Named, writing: Writing
) -> None:
    """Say which runs are Active, with which shares of the requests.

    The runs are of one version; shares are weights that are scaled to sum 1, and 0 disables. Runs of the version that
    are Active and not named become Disabled. If all the named runs are Active already, only their shares change
    (change_test_fractions) and canaries stay; else they become Active and every other live run of the version becomes
    Disabled, canaries too (update_active_runs).
    """

    async def prepare(client: AsyncMlflowClient) -> Verb:
        found = await find_listed(client, [run for run, _ in shares], named)
        weights = {run.run_id: share for run, (_, share) in zip(found, shares, strict=True)}
        return _verb(found, weights, canary=canary)

    if not canary:
        _note_sum(math.fsum(share for _, share in shares))
    change(common, writing, prepare)


def _note_sum(total: float) -> None:
    if (
        math.isfinite(total)
        and total > 0
        and not any(math.isclose(total, whole, rel_tol=_ROUNDED) for whole in (1, 100))
    ):
        say(f"note: the shares add up to {fraction(total)} and are scaled to sum 1")


def _verb(found: list[VersionedRun], weights: dict[str, float], *, canary: bool) -> Verb:
    from mlflow_utilities import ModelStatus
    from mlflow_utilities.mlflow_api import change_test_fractions, update_active_runs

    versions = list(dict.fromkeys(run.version.without_build for run in found))
    if len(versions) > 1:
        raise InvalidInputError(
            f"the runs are of versions {', '.join(versions)}", hint="one split changes the runs of one version"
        )
    first = found[0]
    scope = Named(first.experiment_id, None, first.submodel_name).names
    if canary:
        say(f"change_test_fractions: shares of the requests that are copied to canaries of version {versions[0]}")
        return partial(change_test_fractions, weights, versions[0], active_state="Canary", **scope)
    if all(run.status is ModelStatus.Active for run in found):
        say(f"change_test_fractions: new shares of Active runs of version {versions[0]}; canaries stay")
        return partial(change_test_fractions, weights, versions[0], active_state="Active", **scope)
    say(f"update_active_runs: these become the Active runs of version {versions[0]}, every other live one Disabled")
    return partial(update_active_runs, weights, versions[0], **scope)
