"""What the verbs return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlflow_utilities.errors import InvalidInputError, LedgerCorruptError
from mlflow_utilities.rollout.document import Burnt, Document
from mlflow_utilities.rollout.history import Slot
from mlflow_utilities.rollout.rounds import Outcome
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.status_rule import fraction_of
from mlflow_utilities.rollout.version import Version
from mlflow_utilities.rollout.versioned_runs import Model, VersionedRun

__all__ = ["LiveRun", "Model", "Rollout", "RolloutEntry", "SavedModel", "VersionedRun"]


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
