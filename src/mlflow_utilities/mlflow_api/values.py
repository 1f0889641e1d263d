"""What the verbs return."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import InvalidInputError, LedgerCorruptError
from mlflow_utilities.mlflow_api.calls import opened
from mlflow_utilities.models import loading
from mlflow_utilities.rollout.document import Burnt, Document
from mlflow_utilities.rollout.history import Slot
from mlflow_utilities.rollout.listing import Listed
from mlflow_utilities.rollout.rounds import Outcome
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.status_rule import fraction_of
from mlflow_utilities.rollout.version import Version

if TYPE_CHECKING:
    from mlflow_utilities.entities import Run

__all__ = ["LiveRun", "Model", "Rollout", "RolloutEntry", "SavedModel", "VersionedRun"]

MODEL_PATH = "model"


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run that gets requests: `test_fraction` in [0, 1] is answered by an Active run, copied to a Canary run."""

    run_id: str
    version: Version
    status: ModelStatus
    test_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutEntry:
    """One generation of a rollout: what is live from then on, and who changed it, how, when (RFC 3339) and why.

    `restores` is the generation that a rollback brought back. `problem` says why a slot of the ledger holds no
    rollout; None for a proper entry.
    """

    generation: int
    live: tuple[LiveRun, ...] = ()
    revoked: tuple[str, ...] = ()
    verb: str = ""
    who: str = ""
    why: str = ""
    at: str = ""
    restores: int | None = None
    problem: str | None = None

    def find(self, run_id: str) -> LiveRun | None:
        """Return the live run of an id, or None."""
        return next((run for run in self.live if run.run_id == run_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout(RolloutEntry):
    """The rollout that a verb leaves, or with dry_run would leave; generation 0 is that nothing was ever live.

    `changes` has the new status of each run that the verb changed. `written` is False when everything already was as
    wished, and for a dry run. `projected` is False when tags and metrics of some runs could not be written, which
    `warnings` name and `reconcile` repairs; the rollout holds all the same.
    """

    experiment_id: str
    submodel_name: str
    changes: Mapping[str, ModelStatus] = field(default_factory=dict[str, ModelStatus])
    written: bool = False
    dry_run: bool = False
    projected: bool = True
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedModel:
    """A saved model: its run (New), logged model (None on servers 2.x), address, and registered version.

    The model is also at `runs:/<run_id>/model`.
    """

    run_id: str
    model_id: str | None
    model_uri: str
    version: Version
    registered_model_name: str
    registered_model_version: str


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
    """Return the model of a run: by its logged model when the run made exactly one, else by the run."""
    made = listed.facts.model_ids
    uri = f"models:/{made[0]}" if len(made) == 1 else f"runs:/{listed.facts.run_id}/{MODEL_PATH}"
    return Model(model_uri=uri, _client=client, **versioned_fields(listed))


def entry_of(slot: Slot) -> RolloutEntry:
    """Return a slot of the ledger as an entry of the history."""
    if isinstance(slot.value, Document):
        return RolloutEntry(**_entry_fields(slot.value))
    reason = slot.value.reason if isinstance(slot.value, Burnt) else "a newer release wrote it"
    return RolloutEntry(generation=slot.number, problem=reason)


def rollout_of(outcome: Outcome, experiment_id: str, submodel: str, *, dry_run: bool) -> Rollout:
    """Return what a verb leaves."""
    nothing: dict[str, Any] = {"generation": 0}
    fields = _entry_fields(outcome.after) if outcome.after else nothing
    return Rollout(
        experiment_id=experiment_id,
        submodel_name=submodel,
        changes=outcome.changes,
        written=outcome.written,
        dry_run=dry_run,
        projected=outcome.projected,
        warnings=outcome.warnings,
        **fields,
    )


def _entry_fields(document: Document) -> dict[str, Any]:
    return {
        "generation": document.generation,
        "live": tuple(
            LiveRun(entry.run, _version_of(version), entry.status, fraction_of(entry))
            for version, entries in document.live.items()
            for entry in entries
        ),
        "revoked": document.revoked,
        "verb": document.verb,
        "who": document.who,
        "why": document.why,
        "at": document.at,
        "restores": document.restores,
    }


def _version_of(key: str) -> Version:
    try:
        return Version.parse(key)
    except InvalidInputError as error:
        raise LedgerCorruptError(
            f"the rollout has runs of {key!r}, which is not a semantic version", hint="something else wrote it"
        ) from error
