"""The verbs that read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_utilities.client import AsyncMlflowClient, opened
from mlflow_utilities.mlflow_api.calls import check_metadata
from mlflow_utilities.mlflow_api.values import RolloutEntry, entry_of
from mlflow_utilities.rollout.experiments import check_names, find_ledger
from mlflow_utilities.rollout.history import read_chain
from mlflow_utilities.rollout.listing import Listed, Wanted, list_submodel
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.version_range import RangeLike, VersionRange
from mlflow_utilities.rollout.versioned_runs import Model, VersionedRun, model_of, versioned_fields

__all__ = ["list_models", "list_runs", "rollout_history"]


async def list_runs(
    model_version: RangeLike,
    experiment_id: str | None = None,
    experiment_name: str | None = None,
    active_state: ModelStatus | str | int | None = None,
    submodel_name: str | None = None,
    extra_immutable_metadata: Mapping[str, Any] | None = None,
    extra_mutable_metadata: Mapping[str, Any] | None = None,
    *,
    client: AsyncMlflowClient | None = None,
) -> list[VersionedRun]:
    """Return the finished runs of a submodel with their versions and statuses, newest first.

    `model_version`: a version, a range (`"^1.2"`, `">=1.4,<2"`, `"1.x"`), `"latest"` (the highest version among those
    that fit the rest), or None for all. `active_state`: one status, or None for all. `submodel_name`: the experiment's
    name if None. The extra metadata must be on a run for it to be listed.

    Two requests once the client has seen the submodel, one more for each further 250 runs.

    Raises InvalidInputError for a range or experiment that cannot be, LedgerError when the ledger cannot be read, and
    API errors.
    """
    listed = await _list(
        client,
        model_version,
        (experiment_id, experiment_name, submodel_name),
        active_state,
        extra_immutable_metadata,
        extra_mutable_metadata,
    )
    return [VersionedRun(**versioned_fields(item)) for item in listed]


async def list_models(
    model_version: RangeLike,
    experiment_id: str | None = None,
    experiment_name: str | None = None,
    active_state: ModelStatus | str | int | None = None,
    submodel_name: str | None = None,
    extra_immutable_metadata: Mapping[str, Any] | None = None,
    extra_mutable_metadata: Mapping[str, Any] | None = None,
    *,
    client: AsyncMlflowClient | None = None,
) -> list[Model]:
    """Return the same as `list_runs` as models to load: how a service gets its models.

    Only metadata is read until `await model.load()`. Arguments, requests and errors are those of `list_runs`; a model
    listed without `client` opens one from the environment to load.
    """
    listed = await _list(
        client,
        model_version,
        (experiment_id, experiment_name, submodel_name),
        active_state,
        extra_immutable_metadata,
        extra_mutable_metadata,
    )
    return [model_of(item, client) for item in listed]


async def rollout_history(
    *,
    experiment_id: str | None = None,
    experiment_name: str | None = None,
    submodel_name: str | None = None,
    client: AsyncMlflowClient | None = None,
) -> list[RolloutEntry]:
    """Return every generation of a rollout, newest last: what was live, and who changed it, when and why.

    A slot of the ledger that holds no rollout is listed with its `problem`. One request for each 16 generations.

    Raises InvalidInputError when there is no such experiment, LedgerError when the ledger cannot be read, API errors.
    """
    async with opened(client) as using:
        ledger = await find_ledger(using, experiment_id, experiment_name, submodel_name)
        return [entry_of(slot) for slot in await read_chain(using, ledger)]


async def _list(
    client: AsyncMlflowClient | None,
    model_version: RangeLike,
    names: tuple[str | None, str | None, str | None],
    active_state: ModelStatus | str | int | None,
    immutable: Mapping[str, Any] | None,
    mutable: Mapping[str, Any] | None,
) -> list[Listed]:
    wanted = Wanted(
        VersionRange.parse(model_version),
        None if active_state is None else ModelStatus.parse(active_state),
        check_metadata(immutable, "extra_immutable_metadata"),
        check_metadata(mutable, "extra_mutable_metadata"),
    )
    check_names(*names)
    async with opened(client) as using:
        return await list_submodel(using, await find_ledger(using, *names), wanted)
