"""Everything the server remembers."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

__all__ = ["Experiment", "LoggedModel", "Metric", "ModelVersion", "RegisteredModel", "Run", "State"]


@dataclass(slots=True)
class Experiment:
    """An experiment."""

    experiment_id: str
    name: str
    artifact_location: str
    creation_time: int
    last_update_time: int
    lifecycle_stage: str = "active"
    tags: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Metric:
    """One logged value; `order` says which was logged first."""

    key: str
    value: float
    timestamp: int
    step: int
    order: int
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None
    run_id: str | None = None
    is_nan: bool = False


@dataclass(slots=True)
class Run:
    """A run; `metrics` holds the history of each key, `logged` what must not be in it twice."""

    run_id: str
    experiment_id: str
    run_name: str
    user_id: str
    start_time: int
    artifact_uri: str
    status: str = "RUNNING"
    end_time: int | None = None
    lifecycle_stage: str = "active"
    deleted_time: int | None = None
    params: dict[str, str] = field(default_factory=dict[str, str])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    metrics: dict[str, list[Metric]] = field(default_factory=dict[str, list[Metric]])
    logged: set[tuple[str, int, int, float, bool]] = field(default_factory=set[tuple[str, int, int, float, bool]])
    dataset_inputs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    model_inputs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    model_outputs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


@dataclass(slots=True)
class ModelVersion:
    """One version of a registered model."""

    name: str
    version: int
    creation_timestamp: int
    last_updated_timestamp: int
    source: str
    storage_location: str = ""
    run_id: str = ""
    run_link: str = ""
    description: str | None = ""
    current_stage: str = "None"
    status: str = "READY"
    tags: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class RegisteredModel:
    """A registered model with its versions and aliases."""

    name: str
    creation_timestamp: int
    last_updated_timestamp: int
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict[str, str])
    aliases: dict[str, int] = field(default_factory=dict[str, int])
    versions: dict[int, ModelVersion] = field(default_factory=dict[int, ModelVersion])
    last_version: int = 0


@dataclass(slots=True)
class LoggedModel:
    """A logged model of MLflow 3."""

    model_id: str
    experiment_id: str
    name: str
    artifact_uri: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    status: str = "LOGGED_MODEL_PENDING"
    model_type: str | None = None
    source_run_id: str | None = None
    status_message: str | None = None
    lifecycle_stage: str = "active"
    params: dict[str, str] = field(default_factory=dict[str, str])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    metrics: list[Metric] = field(default_factory=list[Metric])


def _system_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class State:
    """The whole server: `artifacts` maps a path below the artifact root to its bytes.

    `folders` are those that were made for artifacts: they stay when what is in them goes. `read_folder` gives the names
    in a folder of the machine with their sizes, None for folders.
    """

    now_ms: Callable[[], int] = _system_ms
    seed: int = 0
    read_folder: Callable[[str], Mapping[str, int | None]] | None = None
    experiments: dict[str, Experiment] = field(default_factory=dict[str, Experiment])
    runs: dict[str, Run] = field(default_factory=dict[str, Run])
    registered_models: dict[str, RegisteredModel] = field(default_factory=dict[str, RegisteredModel])
    logged_models: dict[str, LoggedModel] = field(default_factory=dict[str, LoggedModel])
    artifacts: dict[str, bytes] = field(default_factory=dict[str, bytes])
    folders: set[str] = field(default_factory=set[str])
    orders: itertools.count[int] = field(default_factory=itertools.count)
    chance: Random = field(init=False)

    def __post_init__(self) -> None:
        """Make experiment 0, as a new server has it."""
        self.chance = Random(self.seed)
        now = self.now_ms()
        self.experiments["0"] = Experiment("0", "Default", "mlflow-artifacts:/0", now, now)

    def new_id(self) -> str:
        """Return 32 hexadecimal digits that no other state of this seed's sequence has used."""
        return uuid.UUID(int=self.chance.getrandbits(128), version=4).hex
