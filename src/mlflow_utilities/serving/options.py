"""What a service may decide, checked when it is made."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlflow_utilities._unset import Unset
from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.models.cache import MAX_BYTES
from mlflow_utilities.models.loading import check_flavors
from mlflow_utilities.rollout.experiments import check_names
from mlflow_utilities.rollout.version_range import RangeLike, VersionRange

__all__ = [
    "CanaryOptions",
    "Fallback",
    "Following",
    "LoadingOptions",
    "Policy",
    "Start",
    "check_callable",
    "check_client",
    "check_fallback",
    "check_kind",
    "check_seconds",
    "following",
]

Start = Literal["fresh", "cached", "none"]
Policy = Literal["availability_preserving", "resource_preserving"]
Fallback = Literal["previous"] | Callable[[Exception, Any, str | None], Any]
_STARTS = ("fresh", "cached", "none")
_POLICIES = ("availability_preserving", "resource_preserving")
_SHORTEST_INTERVAL = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadingOptions:
    """How models are downloaded and loaded.

    `flavors` that may be used (None: all). `timeout` in seconds for loading and warming up one model. `memory_budget`
    in bytes for all loaded models (None: no limit), of which a model counts `memory_factor` times the size of its
    files. `policy`: "availability_preserving" loads the new models beside the old ones, or not at all;
    "resource_preserving" unloads first where both do not fit, and has no answer meanwhile. `trial`: load each model in
    a process of its own first, which may crash. `check_digests` reads all files again before each load. `warm_up` gets
    each loaded object, in a worker thread, and raises to refuse it. `cache_bytes`: size of the cache on disk.
    `jitter`: spread downloads of a new generation over up to 30 seconds, so that a fleet does not download at once.
    `rollback_window`: seconds that the models of the generation before stay loaded.

    Raises InvalidInputError for values that cannot be.
    """

    flavors: Collection[str] | None = None
    timeout: float = 600.0
    memory_budget: int | None = None
    memory_factor: float = 1.0
    policy: Policy = "availability_preserving"
    trial: bool = False
    check_digests: bool = False
    warm_up: Callable[[Any], Any] | None = None
    cache_bytes: int = MAX_BYTES
    jitter: bool = True
    rollback_window: float = 600.0

    def __post_init__(self) -> None:
        check_seconds(self.timeout, "timeout")
        check_seconds(self.rollback_window, "rollback_window")
        if self.flavors is not None:
            check_flavors(self.flavors)
        if self.memory_budget is not None:
            _check_count(self.memory_budget, "memory_budget", "a number of bytes")
        if isinstance(self.memory_factor, bool) or not 0 < self.memory_factor < math.inf:
            raise InvalidInputError(f"memory_factor is {self.memory_factor!r}", hint="give a number above 0")
        if self.policy not in _POLICIES:
            raise InvalidInputError(f"policy is {self.policy!r}", hint=f"give one of {', '.join(_POLICIES)}")
        check_callable(self.warm_up, "warm_up")


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryOptions:
    """How requests are copied to Canary runs.

    `timeout` in seconds for one prediction of a canary, of which `concurrency` run at once; `queue_size` copies may
    wait, the oldest is dropped when there are more. `copy` makes the canary's own input (None: it shares the primary's;
    only for inputs that nobody changes).

    Raises InvalidInputError for values that cannot be.
    """

    timeout: float = 10.0
    concurrency: int = 1
    queue_size: int = 100
    copy: Callable[[Any], Any] | Literal["default"] | None = "default"

    def __post_init__(self) -> None:
        check_seconds(self.timeout, "timeout")
        _check_count(self.concurrency, "concurrency", "an integer >= 1")
        _check_count(self.queue_size, "queue_size", "an integer >= 1")
        if self.copy != "default":
            check_callable(self.copy, "copy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """Which rollout a service follows, and how closely."""

    experiment_name: str | None
    experiment_id: str | None
    submodel_name: str | None
    versions: VersionRange
    canary_versions: VersionRange | None
    interval: float
    start: Start
    cache_dir: Path | None
    bootstrap: object
    share_polling: bool
    max_file_age: float | None

    @property
    def experiment(self) -> str:
        """The experiment as the caller named it."""
        return f"id:{self.experiment_id}" if self.experiment_id is not None else f"name:{self.experiment_name}"

    @property
    def name(self) -> str:
        """What is served, for messages."""
        return self.submodel_name or self.experiment_name or f"experiment {self.experiment_id}"


def following(
    *,
    experiment_name: str | None,
    experiment_id: str | None,
    submodel_name: str | None,
    model_version: RangeLike,
    canary_version: RangeLike | Unset,
    refresh_interval: float,
    start: Start,
    cache_dir: str | os.PathLike[str] | None,
    bootstrap: object,
    share_polling: bool,
    max_file_age: float | None,
) -> Following:
    """Return what a service follows, checked.

    Raises:
        InvalidInputError: no experiment is named, a range or a number cannot be, or `start` is unknown.

    """
    check_names(experiment_id, experiment_name, submodel_name)
    check_seconds(refresh_interval, "refresh_interval")
    if max_file_age is not None:
        check_seconds(max_file_age, "max_file_age")
    if refresh_interval < _SHORTEST_INTERVAL:
        raise InvalidInputError(
            f"refresh_interval is {refresh_interval!r}", hint=f"give at least {_SHORTEST_INTERVAL:g} seconds"
        )
    if start not in _STARTS:
        raise InvalidInputError(f"start is {start!r}", hint=f"give one of {', '.join(_STARTS)}")
    if cache_dir is not None and not isinstance(cache_dir, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInputError(f"cache_dir is {cache_dir!r}", hint="give the path of a directory")
    if not isinstance(share_polling, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInputError(f"share_polling is {share_polling!r}", hint="give True or False")
    if model_version is None:
        raise InvalidInputError("model_version is None", hint='give a range such as "^1", a version, or "*"')
    return Following(
        experiment_name=experiment_name,
        experiment_id=experiment_id,
        submodel_name=submodel_name,
        versions=VersionRange.parse(model_version),
        canary_versions=None if isinstance(canary_version, Unset) else VersionRange.parse(canary_version),
        interval=float(refresh_interval),
        start=start,
        cache_dir=None if cache_dir is None else Path(cache_dir),
        bootstrap=bootstrap,
        share_polling=share_polling,
        max_file_age=max_file_age,
    )


def check_client(value: object) -> None:
    """Raise InvalidInputError unless a value is a client, makes one, or is None."""
    if value is not None and not isinstance(value, AsyncMlflowClient) and not callable(value):
        raise InvalidInputError(
            f"client is a {type(value).__name__}", hint="give an AsyncMlflowClient, or a function that makes one"
        )


def check_fallback(value: Fallback | None) -> Fallback | None:
    """Return what answers when a prediction fails; InvalidInputError for what cannot."""
    if value is None or value == "previous" or callable(value):
        return value
    raise InvalidInputError(f"fallback is {value!r}", hint='give "previous" or a function of (error, data, key)')


def check_seconds(value: object, name: str) -> None:
    """Raise InvalidInputError unless a value is a finite number of seconds above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InvalidInputError(f"{name} is {value!r}", hint="give a number of seconds above 0")


def _check_count(value: object, name: str, hint: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInputError(f"{name} is {value!r}", hint=f"give {hint}")


def check_callable(value: object, name: str) -> None:
    """Raise InvalidInputError unless a value is a function, or None."""
    if value is not None and not callable(value):
        raise InvalidInputError(f"{name} is {value!r}", hint="give a function")


def check_kind(value: object, kind: type, name: str) -> None:
    """Raise InvalidInputError unless a value is of this class."""
    if not isinstance(value, kind):
        raise InvalidInputError(f"{name} is {value!r}", hint=f"give {kind.__name__}(...)")
