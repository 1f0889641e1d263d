"""What a service sees of its models: states, reports, predictions and exposures. Times are in ms since 1970, UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from mlflow_utilities.serving.served_model import ServedModel

__all__ = [
    "CanaryCounts",
    "Change",
    "Exposure",
    "Health",
    "PollError",
    "Prediction",
    "Reason",
    "ServingState",
    "ServingStatus",
    "Source",
]

T = TypeVar("T")


class ServingState(StrEnum):
    """INITIALIZING: there is no model to answer with, not yet or not any more. READY. STALE: it serves, out of touch
    with MLflow since three polls, or since it started. ERROR: MLflow refuses, or the ledger cannot be used, and a
    person must help; what is loaded goes on. CLOSED.
    """

    INITIALIZING = "INITIALIZING"
    READY = "READY"
    STALE = "STALE"
    ERROR = "ERROR"
    CLOSED = "CLOSED"


class Source(StrEnum):
    """Where the served generation was learnt."""

    SERVER = "server"
    FILE = "last-known-good file"
    BOOTSTRAP = "bootstrap document"


class Reason(StrEnum):
    """Why a model was chosen: by the key's slot, by chance (no key), by a pin, or because another failed."""

    BUCKET = "bucket"
    RANDOM = "random"
    PINNED = "pinned"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True)
class PollError:
    """Why a poll failed: `kind` (network, timeout, unauthenticated, forbidden, not found, rate limited, server,
    invalid data, ledger), the HTTP status if there was an answer, the text, and when.
    """

    kind: str
    message: str
    time: int
    http_status: int | None = None


@dataclass(frozen=True, slots=True)
class CanaryCounts:
    """What became of the requests copied to one canary run. `open` says that its breaker lets none through now."""

    offered: int = 0
    answered: int = 0
    failed: int = 0
    timed_out: int = 0
    dropped: int = 0
    skipped: int = 0
    hook_failed: int = 0
    open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingStatus:
    """The whole state of an ActiveModels.

    `generation` is the one that serves, `seen` the newest known; while they differ, `pending` says why. `age` is the
    seconds since the last successful poll, None before the first. `failures` has the reason for each run that cannot
    be loaded. `previous` is the generation kept for a rollback.
    """

    state: ServingState
    since: int
    generation: int | None = None
    version: str | None = None
    source: Source | None = None
    seen: int | None = None
    pending: str | None = None
    previous: int | None = None
    age: float | None = None
    next_poll: float | None = None
    last_error: PollError | None = None
    failures: Mapping[str, str] = field(default_factory=dict[str, str])
    fractions: Mapping[str, float] = field(default_factory=dict[str, float])
    canaries: Mapping[str, CanaryCounts] = field(default_factory=dict[str, CanaryCounts])
    bytes_loaded: int = 0
    in_flight: int = 0
    events_dropped: int = 0
    events_failed: int = 0

    @property
    def reason(self) -> str | None:
        """What a person would look at first: why the newest generation is not served, or MLflow not reached."""
        if self.pending or self.last_error:
            return self.pending or (self.last_error.message if self.last_error else None)
        if self.generation is not None and not self.fractions:
            return f"generation {self.generation} has no Active run of the versions served here"
        return None

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Health:
    """For a readiness probe: `ready` when requests can be answered, and the reason when not, or when stale."""

    ready: bool
    state: ServingState
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What a listener gets: the status before and after."""

    old: ServingStatus
    new: ServingStatus


@dataclass(frozen=True, slots=True)
class Prediction(Generic[T]):
    """An answer, and the model that computed it."""

    output: T
    model: ServedModel
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """That a key was answered by a run: what an A/B analysis joins outcomes to. `slot` is None for a pin."""

    key: str
    run_id: str
    version: str
    generation: int
    slot: int | None
    reason: Reason
    experiment_id: str
    submodel_name: str
    time: int
