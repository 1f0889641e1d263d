"""What a service could serve, and what it served before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlflow_utilities.rollout.document import Document
from mlflow_utilities.rollout.facts import RunFacts
from mlflow_utilities.serving.routing import Snapshot
from mlflow_utilities.serving.values import Source

__all__ = ["Kept", "Offer"]


@dataclass(frozen=True, slots=True)
class Offer:
    """A generation that could be served, where it is from, and what is known of its runs.

    `revoked` are runs that a later generation revoked. `adopted_at` is when a remembered one was adopted, in ms since
    1970, UTC; None for one that MLflow shows now.
    """

    document: Document
    source: Source
    experiment_id: str
    submodel_name: str
    facts: Mapping[str, RunFacts] = field(default_factory=dict[str, RunFacts])
    locations: Mapping[str, str] = field(default_factory=dict[str, str])
    revoked: frozenset[str] = frozenset()
    adopted_at: int | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """The generation before, and until when (monotonic seconds) it is kept for a rollback."""

    snapshot: Snapshot
    until: float
