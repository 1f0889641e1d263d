"""The verb that saves a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from mlflow_utilities._protocol.values import MAX_PARAM, MAX_TAG, key_of, pairs_json
from mlflow_utilities.client import AsyncMlflowClient, opened
from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.mlflow_api.calls import check_metadata, exact_version
from mlflow_utilities.mlflow_api.values import SavedModel
from mlflow_utilities.models import saving
from mlflow_utilities.models.flavors import check_options, resolve_flavor
from mlflow_utilities.models.threads import in_model_thread
from mlflow_utilities.rollout.experiments import check_names, resolve_or_create, submodel_of
from mlflow_utilities.rollout.facts import ACTIVE_STATE, GENERATION_TAG, RESERVED_PARAMS, TEST_FRACTION, version_params
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.version import VersionLike, shown

__all__ = ["registered_name", "save_model"]

_PROJECTED = (ACTIVE_STATE, TEST_FRACTION, GENERATION_TAG)
_NOT_IN_NAMES = re.compile(r"[/:]")
_LONGEST_NAME = 256  # what MLflow's databases have room for


async def save_model(
    model: object,
    model_version: VersionLike,
    mlflow_subpackage: str | ModuleType | None = None,
    experiment_id: str | None = None,
    experiment_name: str | None = None,
    submodel_name: str | None = None,
    immutable_metadata: Mapping[str, Any] | None = None,
    mutable_metadata: Mapping[str, Any] | None = None,
    *,
    flavor_options: Mapping[str, Any] | None = None,
    client: AsyncMlflowClient | None = None,
) -> SavedModel:
    """Serialise a model, upload and register it; its run appears as New when everything is in place, else not at all.

    `mlflow_subpackage`: `mlflow.sklearn`, its name, or None for the flavor of the model's class. An `experiment_name`
    that does not exist is created. `immutable_metadata` becomes params; of `mutable_metadata`, numbers become metrics
    and texts tags. `flavor_options` go to the flavor's `save_model`, e.g. a signature.

    Raises InvalidInputError before anything is sent, MissingDependencyError without mlflow, ModelError when the model
    cannot be serialised, ArtifactError when its files cannot be moved, and API errors. When it fails or is cancelled,
    nothing is listed.
    """
    version = exact_version(model_version)
    check_names(experiment_id, experiment_name, submodel_name)
    params = _params(immutable_metadata)
    metrics, tags = _mutable(mutable_metadata)
    options = check_metadata(flavor_options, "flavor_options")
    if experiment_name is not None:
        registered_name(experiment_name, submodel_name or experiment_name)
    await in_model_thread(lambda: check_options(resolve_flavor(model, mlflow_subpackage), options))
    async with opened(client) as using:
        experiment = await resolve_or_create(using, experiment_id, experiment_name)
        submodel = submodel_of(experiment, submodel_name)
        saved = await saving.save(
            using,
            model,
            experiment_id=experiment.experiment_id,
            registered_model_name=registered_name(experiment.name, submodel),
            mlflow_subpackage=mlflow_subpackage,
            flavor_options=options,
            run_name=f"{submodel[:200]} {version}",
            params={"submodel_name": submodel, **version_params(version), **params},
            metrics={ACTIVE_STATE: float(ModelStatus.New), TEST_FRACTION: 0.0, **metrics},
            tags={ACTIVE_STATE: ModelStatus.New.name, TEST_FRACTION: "0.0", **tags},
            version_tags={"version": str(version), "submodel_name": submodel},
        )
    return SavedModel(
        run_id=saved.run_id,
        model_id=saved.model_id,
        model_uri=saved.model_uri,
        version=version,
        registered_model_name=saved.registered_model_name,
        registered_model_version=saved.registered_model_version,
    )


def registered_name(experiment: str, submodel: str) -> str:
    """Return the registered model of a submodel; its names may not have slashes and colons."""
    name = experiment if submodel == experiment else f"{experiment}.{submodel}"
    if len(name) > _LONGEST_NAME:
        raise InvalidInputError(
            f"the registered model {name[:40]!r}... would have a name of {len(name)} characters",
            hint=f"the names of experiment and submodel together may have {_LONGEST_NAME - 1}",
        )
    return _NOT_IN_NAMES.sub("-", name)


def _params(metadata: object) -> dict[str, str]:
    given = check_metadata(metadata, "immutable_metadata")
    _refuse_reserved(given, RESERVED_PARAMS, "immutable_metadata")
    return {pair["key"]: pair["value"] for pair in pairs_json(given, "param", MAX_PARAM)}


def _mutable(metadata: object) -> tuple[dict[str, float], dict[str, str]]:
    given = check_metadata(metadata, "mutable_metadata")
    _refuse_reserved(given, _PROJECTED, "mutable_metadata")
    metrics: dict[str, float] = {}
    texts: dict[str, str] = {}
    for key, value in given.items():
        if key.startswith(("mlflow.", "mlflow_utilities.")):
            raise InvalidInputError(f"mutable_metadata has the key {key!r}", hint="MLflow and this package use it")
        if isinstance(value, str):
            texts[key] = value
            continue
        metrics[key_of(key, "the key of a metric")] = _number(key, value)
    return metrics, {pair["key"]: pair["value"] for pair in pairs_json(texts, "tag", MAX_TAG)}


def _number(key: str, value: Any) -> float:
    try:
        if isinstance(value, bool | bytes | bytearray):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidInputError(
            f"mutable_metadata[{key!r}] is {shown(value)}", hint="give a number, which becomes a metric, or text"
        ) from None


def _refuse_reserved(given: Mapping[str, Any], reserved: tuple[str, ...], name: str) -> None:
    taken = sorted(set(given).intersection(reserved))
    if taken:
        raise InvalidInputError(f"{name} has the keys {taken}, which the framework writes", hint="use other names")
