"""Saving a model: a run, its files, a registered version, and only then a run that is listed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from mlflow_utilities._protocol.uris import join_uri
from mlflow_utilities._protocol.values import MAX_PARAM, MAX_TAG, identifier, number_json, pairs_json
from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import (
    AlreadyExistsError,
    EndpointNotFoundError,
    InvalidInputError,
    MlflowConnectionError,
    MlflowTimeoutError,
    NotFoundError,
    PermissionDeniedError,
    ServerError,
)
from mlflow_utilities.models.completing import complete
from mlflow_utilities.models.flavors import check_options, resolve_flavor, serialise
from mlflow_utilities.models.folder import Folder
from mlflow_utilities.models.threads import in_file_thread, in_model_thread
from mlflow_utilities.models.undoing import Progress, undo
from mlflow_utilities.stores.workers import for_each
from mlflow_utilities.typing import Safety

if TYPE_CHECKING:
    from mlflow_utilities.entities import Run

__all__ = ["MODEL_NAME", "SavedFiles", "save"]

MODEL_NAME = "model"
_HAS_LOGGED_MODELS = "models.has_logged_models"
_PARAMS_AT_ONCE = 100
_MAX_VERSION_TAG = 100_000
_LOST = (MlflowConnectionError, MlflowTimeoutError, ServerError)


@dataclass(frozen=True, slots=True)
class SavedFiles:
    """A model on the server; it is also at `runs:/<run_id>/model`. `model_id` is None on servers 2.x."""

    run_id: str
    model_id: str | None
    model_uri: str
    registered_model_name: str
    registered_model_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What is to be saved, checked."""

    model: object
    flavor: str
    flavor_options: Mapping[str, Any]
    experiment_id: str
    run_name: str | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    registered_model_name: str
    version_tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the files go: `location`, which MLmodel calls `artifact_path`, and what the version names as source."""

    location: str
    artifact_path: str
    source: str
    model_id: str | None


async def save(
    client: AsyncMlflowClient,
    model: object,
    *,
    experiment_id: str,
    registered_model_name: str,
    mlflow_subpackage: str | ModuleType | None = None,
    flavor_options: Mapping[str, Any] | None = None,
    run_name: str | None = None,
    params: Mapping[str, str] | None = None,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
    version_tags: Mapping[str, str] | None = None,
) -> SavedFiles:
    """Save `model` with its params, metrics and tags as a new FINISHED run with a registered version.

    `mlflow_subpackage` and `flavor_options`: see `flavors.resolve_flavor` and `flavors.serialise`. The run is RUNNING
    until everything else is in place. When anything fails or the caller is cancelled, run and logged model become
    FAILED, the run says why in a tag, the version goes, and the error is raised; after the death of the process the run
    stays RUNNING. An empty registered model may stay. A cancelled caller waits for the serialisation under way, and at
    most 20 seconds for the server.

    Raises InvalidInputError before anything is sent, MissingDependencyError, ModelError when it cannot be serialised,
    ArtifactError when the files cannot be moved, and API errors.
    """

    def prepare() -> _Order:
        flavor = resolve_flavor(model, mlflow_subpackage)
        check_options(flavor, flavor_options or {})
        return _Order(
            model=model,
            flavor=flavor,
            flavor_options=flavor_options or {},
            experiment_id=identifier(experiment_id, "experiment_id"),
            run_name=run_name,
            params=params or {},
            metrics=metrics or {},
            tags=tags or {},
            registered_model_name=registered_model_name,
            version_tags=version_tags or {},
        )

    _check(registered_model_name, params, metrics, tags, version_tags)
    order = await in_model_thread(prepare)
    progress = Progress(registered_model_name)
    folder = Folder()
    try:
        return await _save(client, order, folder, progress)
    except GeneratorExit:  # nothing can be awaited any more; the folder goes when nobody refers to it
        raise
    except BaseException as error:
        try:
            await undo(client, progress, error)
        finally:
            with anyio.CancelScope(shield=True):
                await in_file_thread(folder.remove)
        raise


def _check(
    name: str,
    params: Mapping[str, str] | None,
    metrics: Mapping[str, float] | None,
    tags: Mapping[str, str] | None,
    version_tags: Mapping[str, str] | None,
) -> None:
    if set(identifier(name, "registered_model_name")) & set("/:"):
        raise InvalidInputError(f"the name {name!r} of a registered model has a '/' or ':'", hint="leave them out")
    pairs_json(params, "param", MAX_PARAM)
    pairs_json(tags, "tag", MAX_TAG)
    pairs_json(version_tags, "version tag", _MAX_VERSION_TAG)
    for key, value in (metrics or {}).items():
        number_json(value, key)


async def _save(client: AsyncMlflowClient, order: _Order, folder: Folder, progress: Progress) -> SavedFiles:
    async def create_run() -> Run:
        run = await client.create_run(order.experiment_id, tags=order.tags, run_name=order.run_name)
        progress.run_id = run.info.run_id
        return run

    run = await complete(create_run)
    run_id = run.info.run_id
    place = await _logged_model(client, order, progress, run_id) or _run_directory(run)
    model_json: list[str] = []

    async def write() -> None:
        def fill() -> str:
            return folder.fill(
                lambda path: serialise(
                    order.model,
                    order.flavor,
                    path,
                    run_id=run_id,
                    model_id=place.model_id,
                    artifact_path=place.artifact_path,
                    options=order.flavor_options,
                )
            )

        model_json.append(await in_model_thread(fill))

    async def log() -> None:
        await _log(client, order, run_id)
        if place.model_id is not None:
            await _link(client, run_id, place.model_id)

    await _together(write, log)
    await client.upload_artifacts(place.location, folder.path)
    await in_file_thread(folder.remove)
    if place.model_id is None:
        body = {"run_id": run_id, "model_json": model_json[0]}
        await client.request("POST", "runs/log-model", json=body, safety=Safety.IDEMPOTENT)
    else:
        model_id = place.model_id
        await complete(lambda: client.finalize_logged_model(model_id, "READY"))
    version = await _register(client, order, place, progress, run_id)
    await complete(lambda: client.set_terminated(run_id, "FINISHED"))
    await checkpoint_if_cancelled()
    uri = f"runs:/{run_id}/{MODEL_NAME}" if place.model_id is None else f"models:/{place.model_id}"
    return SavedFiles(run_id, place.model_id, uri, order.registered_model_name, version)


async def _together(*works: Callable[[], Awaitable[None]]) -> None:
    async def do(work: Callable[[], Awaitable[None]]) -> None:
        await work()

    await for_each(works, do)


async def _logged_model(client: AsyncMlflowClient, order: _Order, progress: Progress, run_id: str) -> _Place | None:
    """Create the logged model; None on a server that has none, which is asked only once."""
    if client.state.get(_HAS_LOGGED_MODELS) is False:
        return None
    params = list(order.params.items())

    async def create() -> _Place:
        model = await client.create_logged_model(
            order.experiment_id, MODEL_NAME, source_run_id=run_id, params=dict(params[:_PARAMS_AT_ONCE])
        )
        progress.model_id = model.model_id
        location = identifier(model.artifact_location, f"the artifact location of {model.model_id}")
        return _Place(location, location, f"models:/{model.model_id}", model.model_id)

    try:
        place = await complete(create)
    except EndpointNotFoundError:
        client.state[_HAS_LOGGED_MODELS] = False
        return None
    client.state[_HAS_LOGGED_MODELS] = True
    if place.model_id is not None and params[_PARAMS_AT_ONCE:]:
        await client.log_model_params(place.model_id, dict(params[_PARAMS_AT_ONCE:]))
    return place


def _run_directory(run: Run) -> _Place:
    location = join_uri(identifier(run.info.artifact_uri, f"the artifact location of {run.info.run_id}"), MODEL_NAME)
    return _Place(location, MODEL_NAME, location, None)


async def _log(client: AsyncMlflowClient, order: _Order, run_id: str) -> None:
    from mlflow_utilities.entities import Metric

    now = client.clock.now_ms()
    metrics = [Metric(key, value, now) for key, value in order.metrics.items()]
    await client.log_batch(run_id, metrics, order.params)


async def _link(client: AsyncMlflowClient, run_id: str, model_id: str) -> None:
    """Say that the run made the logged model; the server refuses it twice, so a lost answer is settled by looking."""
    from mlflow_utilities.entities import LoggedModelOutput

    output = LoggedModelOutput(model_id=model_id)
    try:
        await client.log_outputs(run_id, [output])
    except _LOST:
        run = await client.get_run(run_id)
        if all(made.model_id != model_id for made in run.outputs.model_outputs):
            await client.log_outputs(run_id, [output])


async def _register(client: AsyncMlflowClient, order: _Order, place: _Place, progress: Progress, run_id: str) -> str:
    """Create the version, and the registered model only if that is missing: usually one request."""

    async def create() -> str:
        progress.registering = True
        version = await client.create_model_version(
            order.registered_model_name,
            place.source,
            run_id=run_id,
            tags=order.version_tags,
            model_id=place.model_id,
        )
        progress.version = version.version
        return version.version

    try:
        return await complete(create)
    except EndpointNotFoundError:
        raise
    except (NotFoundError, PermissionDeniedError):  # basic authentication refuses what does not exist
        pass
    except _LOST:
        if await _is_registered(client, order.registered_model_name):
            raise
    with suppress(AlreadyExistsError):
        await client.create_registered_model(order.registered_model_name)
    return await complete(create)


async def _is_registered(client: AsyncMlflowClient, name: str) -> bool:
    try:
        await client.get_registered_model(name)
    except NotFoundError:
        return False
    return True
