"""The verbs that change a whole version, or the whole rollout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_utilities.client import AsyncMlflowClient, opened
from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.mlflow_api.calls import check_metadata, exact_version, options_of
from mlflow_utilities.mlflow_api.values import Rollout, rollout_of
from mlflow_utilities.rollout import planner, splits
from mlflow_utilities.rollout.calls import check_run_id
from mlflow_utilities.rollout.executor import commit
from mlflow_utilities.rollout.experiments import find_ledger
from mlflow_utilities.rollout.history import generation_before, newest, read_chain
from mlflow_utilities.rollout.rounds import Wish
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.version import VersionLike

__all__ = ["change_test_fractions", "rollback", "update_active_runs"]


async def update_active_runs(
    test_fraction_by_run: Mapping[str, float],
    model_version: VersionLike,
    experiment_id: str | None = None,
    experiment_name: str | None = None,
    submodel_name: str | None = None,
    extra_immutable_metadata: Mapping[str, Any] | None = None,
    extra_mutable_metadata: Mapping[str, Any] | None = None,
    *,
    client: AsyncMlflowClient | None = None,
    why: str = "",
    expected_generation: int | None = None,
    dry_run: bool = False,
) -> Rollout:
    """Make exactly these runs Active, with these weights (normalised to sum 1; weight 0 disables).

    Every other Active or Canary run of the version becomes Disabled; the extra metadata narrows that to runs which have
    it, as the given ones must. Disabled runs are not candidates. Few users move: each keeps its model where it can.
    `why`, `expected_generation`, `dry_run`: as `change_status`. Returns the new rollout.

    Raises InvalidInputError for weights or runs that cannot be, RolloutConflictError when the version was changed by
    somebody else first, RolloutTooLargeError, RolloutOutcomeUnknownError (call again), LedgerError.
    """
    splits.check_weights(test_fraction_by_run)
    scope = _scope(model_version, extra_immutable_metadata, extra_mutable_metadata)
    weights = {check_run_id(run): weight for run, weight in test_fraction_by_run.items()}
    wish = Wish(
        "update_active_runs",
        lambda state: splits.update_active(state, weights, scope),
        frozenset(weights),
        scope.version,
        reads_live=scope.narrow,
    )
    names = (experiment_id, experiment_name, submodel_name)
    return await _commit(wish, names, client, why, expected_generation, dry_run)


async def change_test_fractions(
    test_fraction_by_run: Mapping[str, float],
    model_version: VersionLike,
    experiment_id: str | None = None,
    experiment_name: str | None = None,
    active_state: ModelStatus | str | int | None = None,
    submodel_name: str | None = None,
    extra_immutable_metadata: Mapping[str, Any] | None = None,
    extra_mutable_metadata: Mapping[str, Any] | None = None,
    *,
    client: AsyncMlflowClient | None = None,
    why: str = "",
    expected_generation: int | None = None,
    dry_run: bool = False,
) -> Rollout:
    """Give the runs of a status (`active_state`, Active if None) new shares; runs of that status left out are disabled.

    For Active the numbers are weights, normalised to sum 1, and weight 0 disables. For Canary each is the share of
    requests in [0, 1] that is copied to it. Other arguments, result and errors are those of `update_active_runs`.
    """
    status = ModelStatus.Active if active_state is None else ModelStatus.parse(active_state)
    if status not in (ModelStatus.Active, ModelStatus.Canary):
        raise InvalidInputError(
            f"{status.name} runs have no share", hint="use active_state Active or Canary, or change_status"
        )
    splits.check_weights(test_fraction_by_run, status)
    scope = _scope(model_version, extra_immutable_metadata, extra_mutable_metadata)
    weights = {check_run_id(run): weight for run, weight in test_fraction_by_run.items()}
    wish = Wish(
        "change_test_fractions",
        lambda state: splits.change_fractions(state, weights, scope, status),
        frozenset(weights),
        scope.version,
        reads_live=scope.narrow,
    )
    names = (experiment_id, experiment_name, submodel_name)
    return await _commit(wish, names, client, why, expected_generation, dry_run)


async def rollback(
    *,
    experiment_id: str | None = None,
    experiment_name: str | None = None,
    submodel_name: str | None = None,
    to_generation: int | None = None,
    client: AsyncMlflowClient | None = None,
    why: str = "",
    expected_generation: int | None = None,
    dry_run: bool = False,
) -> Rollout:
    """Bring back the live runs of `to_generation`, or of the one before the current: one write, every user back.

    A rollback counts as the generation it restored, so that two of them go two steps back. `why`,
    `expected_generation`, `dry_run`: as `change_status`. Returns the new rollout; reads the history, one request for
    each 16 generations.

    Raises InvalidInputError when there is no such generation, or one of its runs is deleted or revoked by now,
    RolloutConflictError, RolloutOutcomeUnknownError (call again, with `expected_generation`), LedgerError.
    """
    if to_generation is not None and (isinstance(to_generation, bool) or not isinstance(to_generation, int)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInputError(f"to_generation is {to_generation!r}", hint="give a generation of rollout_history")
    async with opened(client) as using:
        options = options_of(using, why, expected_generation, dry_run)
        ledger = await find_ledger(using, experiment_id, experiment_name, submodel_name)
        slots = await read_chain(using, ledger)
        target = generation_before(slots, to_generation, expected_generation)
        wish = Wish(
            "rollback",
            lambda state: planner.restore(state, target),
            frozenset(entry.run for entries in target.live.values() for entry in entries),
            whole=True,
            planned_on=newest(slots),
        )
        outcome = await commit(using, ledger, wish, options)
    return rollout_of(outcome, ledger.experiment.experiment_id, ledger.submodel, dry_run=dry_run)


def _scope(model_version: VersionLike, immutable: object, mutable: object) -> splits.Scope:
    return splits.Scope(
        exact_version(model_version).without_build,
        check_metadata(immutable, "extra_immutable_metadata"),
        check_metadata(mutable, "extra_mutable_metadata"),
    )


async def _commit(
    wish: Wish,
    names: tuple[str | None, str | None, str | None],
    client: AsyncMlflowClient | None,
    why: str,
    expected_generation: int | None,
    dry_run: bool,
) -> Rollout:
    async with opened(client) as using:
        options = options_of(using, why, expected_generation, dry_run)
        ledger = await find_ledger(using, *names)
        outcome = await commit(using, ledger, wish, options)
    return rollout_of(outcome, ledger.experiment.experiment_id, ledger.submodel, dry_run=dry_run)
