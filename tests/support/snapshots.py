"""Snapshots of a generation without a server: every run has a model, whose loaded object is the run's id."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from mlflow_utilities.rollout.document import Document, LiveEntry
from mlflow_utilities.rollout.slots import TOTAL, count
from mlflow_utilities.rollout.version import Version
from mlflow_utilities.rollout.version_range import RangeLike, VersionRange
from mlflow_utilities.serving.routing import Snapshot
from mlflow_utilities.serving.selection import select
from mlflow_utilities.serving.served_model import ServedModel
from mlflow_utilities.serving.values import Source
from support.rollouts import EXPERIMENT, SUBMODEL

__all__ = ["Held", "served", "snapshot"]


@dataclass(frozen=True)
class Held:
    """A hold on any object."""

    loaded: object


def served(entry: LiveEntry, version: str, generation: int) -> ServedModel:
    """Return the model of a live run."""
    return ServedModel(
        run_id=entry.run,
        experiment_id=EXPERIMENT,
        submodel_name=SUBMODEL,
        version=Version.parse(version),
        status=entry.status,
        test_fraction=(count(entry.slots) or entry.mirror) / TOTAL,
        immutable_metadata={},
        mutable_metadata={},
        start_time=None,
        end_time=None,
        model_uri=f"runs:/{entry.run}/model",
        generation=generation,
        _raw={},
        _client=None,
        _hold=Held(entry.run),
    )


def snapshot(
    document: Document, versions: RangeLike = "*", canaries: RangeLike = None, without: Collection[str] = ()
) -> Snapshot:
    """Return what a service with this range serves of a document; `canaries` None: those of any version."""
    models = {
        entry.run: served(entry, version, document.generation)
        for version, entries in document.live.items()
        for entry in entries
    }
    return Snapshot(
        select(document, VersionRange.parse(versions), VersionRange.parse(canaries)),
        models,
        models,
        source=Source.SERVER,
        submodel_name=SUBMODEL,
        experiment_id=EXPERIMENT,
        without=frozenset(without),
    )
