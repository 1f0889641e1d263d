"""Counters for Prometheus: several services on one registry, and a bounded number of time series."""

from __future__ import annotations

import gc
import sys
import weakref
from threading import Thread

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from mlflow_utilities.errors import InvalidInputError, MissingDependencyError
from mlflow_utilities.serving.prometheus import PrometheusTelemetry
from mlflow_utilities.serving.values import Reason, ServingState
from support.canaries import function_model


def value(registry: CollectorRegistry, metric: str, **labels: str) -> float | None:
    """Return a value of the ActiveModels that has no name of its own."""
    return registry.get_sample_value(f"mlflow_serving_{metric}", {"active_models": "default", **labels})


def predict(telemetry: PrometheusTelemetry, run_id: str, *, error: bool = False) -> None:
    """Note a prediction that took 0.25 s."""
    telemetry.prediction(function_model(run_id, sum), 0.25, error, Reason.BUCKET)


def test_everything_is_counted() -> None:
    """Predictions and copies by run, polls by outcome, the generation and the state as they are now."""
    registry = CollectorRegistry()
    telemetry = PrometheusTelemetry(registry)

    predict(telemetry, "run-a")
    predict(telemetry, "run-a", error=True)
    telemetry.canary("run-b", "dropped")
    telemetry.poll("timeout", 5.0)
    telemetry.adopted(6)
    telemetry.adopted(7)
    telemetry.state(ServingState.INITIALIZING)
    telemetry.state(ServingState.READY)

    run = {"run_id": "run-a", "version": "1.4.2"}
    assert value(registry, "predictions_total", **run, reason="bucket", outcome="ok") == 1
    assert value(registry, "predictions_total", **run, reason="bucket", outcome="error") == 1
    assert value(registry, "prediction_seconds_sum", **run) == 0.5
    assert value(registry, "canary_copies_total", run_id="run-b", outcome="dropped") == 1
    assert value(registry, "polls_total", outcome="timeout") == 1
    assert value(registry, "poll_seconds_sum") == 5.0
    assert value(registry, "generation") == 7
    assert {state: value(registry, "state", state=state) for state in ServingState} == {
        **dict.fromkeys(ServingState, 0),
        ServingState.READY: 1,
    }


def test_services_of_one_process_share_a_registry() -> None:
    """A second one on the same registry is not refused, and their names keep their numbers apart."""
    registry = CollectorRegistry()
    first, second = (PrometheusTelemetry(registry, name=name) for name in ("fraud", "spam"))

    first.adopted(3)
    second.adopted(9)

    generations = {
        name: registry.get_sample_value("mlflow_serving_generation", {"active_models": name})
        for name in ("fraud", "spam")
    }
    assert generations == {"fraud": 3, "spam": 9}


def test_series_of_runs_are_bounded() -> None:
    """Of the runs that were seen, as many as allowed have time series; those that were not seen longest have none."""
    registry = CollectorRegistry()
    telemetry = PrometheusTelemetry(registry, max_runs=2)
    other = PrometheusTelemetry(registry, name="other", max_runs=2)
    predict(other, "run-of-other")

    predict(telemetry, "run-stays")
    for number in range(50):
        predict(telemetry, f"run-{number}")
        telemetry.canary(f"run-{number}", "answered")
        predict(telemetry, "run-stays")

    text = generate_latest(registry).decode()
    runs = {part.split('"')[1] for line in text.splitlines() for part in line.split(",") if part.startswith("run_id=")}
    assert runs == {"run-of-other", "run-stays", "run-49"}
    labels = {"run_id": "run-stays", "version": "1.4.2", "reason": "bucket", "outcome": "ok"}
    assert value(registry, "predictions_total", **labels) == 51


def test_threads_lose_no_counts() -> None:
    """Calls from several threads are all counted."""
    registry = CollectorRegistry()
    telemetries = [PrometheusTelemetry(registry) for _ in range(4)]
    threads = [Thread(target=lambda t=t: [t.canary("run-b", "answered") for _ in range(500)]) for t in telemetries]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert value(registry, "canary_copies_total", run_id="run-b", outcome="answered") == 2000


def test_a_registry_is_not_kept() -> None:
    """A registry that nobody needs any more is let go."""
    registry = CollectorRegistry()
    PrometheusTelemetry(registry)
    known = weakref.ref(registry)

    del registry
    gc.collect()

    assert known() is None


def test_the_package_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without prometheus-client the error names the extra that brings it."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    with pytest.raises(MissingDependencyError, match=r"mlflow-utilities\[prometheus\]"):
        PrometheusTelemetry()


def test_a_limit_that_cannot_be_is_refused() -> None:
    """At least one run must have time series."""
    with pytest.raises(InvalidInputError, match="max_runs is 0"):
        PrometheusTelemetry(CollectorRegistry(), max_runs=0)
