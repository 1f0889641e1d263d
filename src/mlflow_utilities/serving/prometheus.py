"""Counters of a service for Prometheus."""

from __future__ import annotations

import os
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from mlflow_utilities.errors import InvalidInputError, MissingDependencyError
from mlflow_utilities.serving.served_model import ServedModel
from mlflow_utilities.serving.values import Reason, ServingState

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["PrometheusTelemetry"]

_MULTIPROCESS = ("prometheus_multiproc_dir", "PROMETHEUS_MULTIPROC_DIR")


class PrometheusTelemetry:
    """Counts what happens in one ActiveModels; give each its own, with its own name, on one registry or several.

    Metrics begin with mlflow_serving_: predictions_total, prediction_seconds, canary_copies_total, polls_total,
    poll_seconds, generation, state.

    Args:
        registry: where the metrics are registered; None: the global one.
        name: the value of the label `active_models`, which tells the ActiveModels of a process apart.
        max_runs: of how many runs there may be time series; those of the run that was seen longest ago are removed.

    Raises:
        MissingDependencyError: prometheus-client is not installed.
        InvalidInputError: `max_runs` is below 1.

    """

    def __init__(
        self, registry: CollectorRegistry | None = None, *, name: str = "default", max_runs: int = 100
    ) -> None:
        try:
            from prometheus_client import REGISTRY
        except ImportError as error:
            raise MissingDependencyError(
                "prometheus-client is needed for PrometheusTelemetry", hint='pip install "mlflow-utilities[prometheus]"'
            ) from error
        if max_runs < 1:
            raise InvalidInputError(f"max_runs is {max_runs!r}", hint="give an integer >= 1")
        self._name = name
        self._max_runs = max_runs
        self._metrics = _metrics_of(REGISTRY if registry is None else registry)

    def prediction(self, model: ServedModel, seconds: float, error: bool, reason: Reason) -> None:
        """Count it, and add its time to the histogram of its run."""
        run_id, version = model.run_id, str(model.version)
        of_run = self._metrics.of_run
        outcome = "error" if error else "ok"
        of_run.child("predictions", self._name, run_id, self._max_runs, version, reason.value, outcome).inc()
        of_run.child("seconds", self._name, run_id, self._max_runs, version).observe(seconds)

    def canary(self, run_id: str, outcome: str) -> None:
        """Count it."""
        self._metrics.of_run.child("copies", self._name, run_id, self._max_runs, outcome).inc()

    def poll(self, outcome: str, seconds: float) -> None:
        """Count it, and add its time to the histogram."""
        self._metrics.polls.labels(self._name, outcome).inc()
        self._metrics.poll_seconds.labels(self._name).observe(seconds)

    def adopted(self, generation: int) -> None:
        """Show the generation."""
        self._metrics.generation.labels(self._name).set(generation)

    def state(self, state: ServingState) -> None:
        """Show 1 for the state and 0 for the others."""
        for each in ServingState:
            self._metrics.state.labels(self._name, each.value).set(each is state)


class _RunSeries:
    """Time series that have a run in their labels: of the runs seen last."""

    def __init__(self, families: dict[str, Any]) -> None:
        self._families = families
        self._runs: OrderedDict[tuple[str, str], set[tuple[str, tuple[str, ...]]]] = OrderedDict()
        self._lock = Lock()
        # The library cannot remove series from the files that processes share.
        self._removes = not any(name in os.environ for name in _MULTIPROCESS)

    def child(self, family: str, name: str, run_id: str, max_runs: int, *others: str) -> Any:
        """Return the series with these labels, and remove those of the run that was seen longest ago."""
        labels = (name, run_id, *others)
        with self._lock:
            known = self._runs.setdefault((name, run_id), set())
            known.add((family, labels))
            self._runs.move_to_end((name, run_id))
            while self._removes and sum(owner == name for owner, _ in self._runs) > max_runs:
                self._remove_oldest(name)
            return self._families[family].labels(*labels)

    def _remove_oldest(self, name: str) -> None:
        oldest = next(run for run in self._runs if run[0] == name)
        for family, labels in self._runs.pop(oldest):
            self._families[family].remove(*labels)


class _Metrics:
    """The metrics of one registry, which every ActiveModels of the process shares."""

    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        def made(kind: Any, metric: str, text: str, *labels: str, **more: Any) -> Any:
            return kind(f"mlflow_serving_{metric}", text, ("active_models", *labels), registry=registry, **more)

        predictions = made(Counter, "predictions", "Predictions", "run_id", "version", "reason", "outcome")
        seconds = made(Histogram, "prediction_seconds", "Seconds that a prediction took", "run_id", "version")
        copies = made(Counter, "canary_copies", "Requests copied to Canary runs", "run_id", "outcome")
        self.of_run = _RunSeries({"predictions": predictions, "seconds": seconds, "copies": copies})
        self.polls = made(Counter, "polls", "Requests for the rollout", "outcome")
        self.poll_seconds = made(Histogram, "poll_seconds", "Seconds that a request for the rollout took")
        # Of several processes: the oldest generation that any serves, and how many are in each state.
        self.generation = made(Gauge, "generation", "The generation that serves", multiprocess_mode="livemin")
        self.state = made(Gauge, "state", "1 for the state it is in", "state", multiprocess_mode="livesum")


_by_registry: WeakKeyDictionary[Any, _Metrics] = WeakKeyDictionary()
_registering = Lock()


def _metrics_of(registry: CollectorRegistry) -> _Metrics:
    """Return the metrics of a registry: a second registration of the same names would be refused."""
    with _registering:
        metrics = _by_registry.get(registry)
        if metrics is None:
            metrics = _by_registry[registry] = _Metrics(registry)
        return metrics
