"""Runs as `save_model` leaves them, with models that need no mlflow."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import AlreadyExistsError, InvalidInputError
from mlflow_utilities.mlflow_api.saving import registered_name
from mlflow_utilities.rollout.experiments import resolve_or_create, submodel_of
from mlflow_utilities.rollout.facts import ACTIVE_STATE, RESERVED_PARAMS, TEST_FRACTION, version_params
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.version import Version
from mlflow_utilities.testing.stand_ins import write_model

__all__ = ["ToSave", "save_run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToSave:
    """A run to be made; InvalidInputError for params, metrics and tags that cannot be."""

    experiment_name: str
    submodel_name: str | None
    version: Version
    name: str
    model: object
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    tags: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Check what the test gave."""
        _check("params", self.params, RESERVED_PARAMS)
        _check("metrics", self.metrics, (ACTIVE_STATE, TEST_FRACTION))
        _check("tags", self.tags, (ACTIVE_STATE, TEST_FRACTION))
        for key, value in self.metrics.items():
            _check_number(key, value)


def _check(what: str, given: object, kept: tuple[str, ...]) -> None:
    if not isinstance(given, Mapping):
        raise InvalidInputError(f"{what} is {given!r}", hint="give a mapping")
    if taken := [key for key in kept if key in given]:
        raise InvalidInputError(f"{what} has {taken}, which the rollout keeps there", hint="describe the run instead")


def _check_number(key: str, value: object) -> None:
    if not isinstance(value, int | float):
        raise InvalidInputError(f"the metric {key!r} is {value!r}", hint="give a number")


async def save_run(client: AsyncMlflowClient, wanted: ToSave) -> tuple[str, str]:
    """Make the run with its logged model and registered version, New; return its id and the experiment's."""
    from mlflow_utilities.entities import LoggedModelOutput, Metric

    experiment = await resolve_or_create(client, None, wanted.experiment_name)
    submodel = submodel_of(experiment, wanted.submodel_name)
    params = {"submodel_name": submodel, **version_params(wanted.version), **wanted.params}
    metrics = {ACTIVE_STATE: float(ModelStatus.New), TEST_FRACTION: 0.0, **wanted.metrics}
    tags = {ACTIVE_STATE: ModelStatus.New.name, TEST_FRACTION: "0.0", **wanted.tags}

    run = await client.create_run(experiment.experiment_id, tags=tags, run_name=wanted.name)
    run_id = run.info.run_id
    await client.log_batch(run_id, [Metric(key, value) for key, value in metrics.items()], params)
    model = await client.create_logged_model(experiment.experiment_id, "model", source_run_id=run_id)
    await client.log_outputs(run_id, [LoggedModelOutput(model_id=model.model_id)])
    with tempfile.TemporaryDirectory() as folder:
        await anyio.to_thread.run_sync(partial(write_model, Path(folder), wanted.model))
        await client.upload_artifacts(str(model.artifact_location), folder)
    await client.finalize_logged_model(model.model_id, "READY")

    name = registered_name(experiment.name, submodel)
    with suppress(AlreadyExistsError):
        await client.create_registered_model(name)
    version_tags = {"version": str(wanted.version), "submodel_name": submodel}
    source = f"models:/{model.model_id}"
    await client.create_model_version(name, source, run_id=run_id, tags=version_tags, model_id=model.model_id)
    await client.set_terminated(run_id, "FINISHED")
    return run_id, experiment.experiment_id
