"""A run with its version and status, and the model it made: what listings and services hand out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow_utilities.client import AsyncMlflowClient, opened
from mlflow_utilities.models import loading
from mlflow_utilities.rollout.facts import RunFacts
from mlflow_utilities.rollout.listing import Listed
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.version import Version

if TYPE_CHECKING:
    from mlflow_utilities.entities import Run

__all__ = ["MODEL_PATH", "Model", "VersionedRun", "model_of", "model_uri_of", "versioned_fields"]

MODEL_PATH = "model"


@dataclass(frozen=True, kw_only=True)
class VersionedRun:
    """A run with its semantic version and its status; times are in ms since 1970, UTC.

    `test_fraction` in [0, 1] is the share of requests of an Active run, or the share copied to a Canary run.
    """

    run_id: str
    experiment_id: str
    submodel_name: str
    version: Version
    status: ModelStatus
    test_fraction: float
    immutable_metadata: Mapping[str, str] = field(hash=False)
    mutable_metadata: Mapping[str, float | str] = field(hash=False)
    start_time: int | None
    end_time: int | None
    _raw: Mapping[str, Any] = field(repr=False, compare=False)

    @cached_property
    def run(self) -> Run:
        """The run behind it, with all its params, metrics and tags."""
        from mlflow_utilities.entities import Run

        return Run.model_validate(self._raw)


@dataclass(frozen=True, kw_only=True)
class Model(VersionedRun):
    """A model of a run: metadata only, until it is loaded or downloaded."""

    model_uri: str
    _client: AsyncMlflowClient | None = field(repr=False, compare=False)

    async def load(self, *, cache_dir: str | Path | None = None, flavors: Collection[str] | None = None) -> Any:
        """Download the model into the cache and load it in a worker thread: the object its flavor makes of it.

        Loading runs the code of whoever may write to the server: `flavors` restricts which are accepted, before
        anything is unpickled. `cache_dir`: the directory of the cache, else the user's.

        Raises ModelError when it cannot be loaded, MissingDependencyError when it needs a package, ArtifactError when
        the files cannot be had, and API errors.
        """
        async with opened(self._client) as client:
            return await loading.load(client, self.model_uri, cache_dir=cache_dir, flavors=flavors)

    async def download(self, dst_path: str | Path) -> str:
        """Download the model's files into a directory and return its path; ArtifactError and API errors."""
        async with opened(self._client) as client:
            return await client.download_artifact_uri(self.model_uri, dst_path)


def versioned_fields(listed: Listed) -> dict[str, Any]:
    """Return the fields of a VersionedRun."""
    facts = listed.facts
    return {
        "run_id": facts.run_id,
        "experiment_id": facts.experiment_id,
        "submodel_name": facts.submodel,
        "version": listed.version,
        "status": listed.status,
        "test_fraction": listed.fraction,
        "immutable_metadata": facts.immutable_metadata,
        "mutable_metadata": facts.mutable_metadata,
        "start_time": facts.start_time,
        "end_time": facts.end_time,
        "_raw": facts.raw,
    }


def model_of(listed: Listed, client: AsyncMlflowClient | None) -> Model:
    """Return the model of a run."""
    return Model(model_uri=model_uri_of(listed.facts), _client=client, **versioned_fields(listed))


def model_uri_of(facts: RunFacts) -> str:
    """Return the URI of a run's model: of its logged model when the run made exactly one, else by the run."""
    made = facts.model_ids
    return f"models:/{made[0]}" if len(made) == 1 else f"runs:/{facts.run_id}/{MODEL_PATH}"
