"""Metrics and span attributes for OpenTelemetry, under the names of its semantic conventions."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.semconv._incubating.attributes import feature_flag_attributes as flag

from mlflow_utilities.errors import InvalidInputError, MissingDependencyError
from mlflow_utilities.serving.opentelemetry import OpenTelemetryTelemetry
from mlflow_utilities.serving.values import Reason, ServingState
from support.canaries import function_model

MODEL = function_model("run-a", sum, generation=7)


class Metrics:
    """A meter provider whose points can be read."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader])

    def points(self, metric: str) -> dict[frozenset[tuple[str, Any]], Any]:
        """Return the points of a metric by their attributes."""
        data = self._reader.get_metrics_data()
        assert data is not None
        return {
            frozenset((point.attributes or {}).items()): point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for each in scope.metrics
            if each.name == f"mlflow.serving.{metric}"
            for point in each.data.data_points
        }


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    """Give metrics of this test alone."""
    made = Metrics()
    yield made
    made.provider.shutdown()


def attributes(**others: Any) -> frozenset[tuple[str, Any]]:
    """Return the attributes of an ActiveModels without a name of its own."""
    named = {"mlflow.serving.name": "default", **{name.replace("__", "."): value for name, value in others.items()}}
    return frozenset(named.items())


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.BUCKET, flag.FeatureFlagResultReasonValues.SPLIT),
        (Reason.RANDOM, flag.FeatureFlagResultReasonValues.SPLIT),
        (Reason.PINNED, flag.FeatureFlagResultReasonValues.TARGETING_MATCH),
        (Reason.FALLBACK, flag.FeatureFlagResultReasonValues.DEFAULT),
    ],
)
def test_the_current_span_names_the_model(
    metrics: Metrics, reason: Reason, code: flag.FeatureFlagResultReasonValues
) -> None:
    """The span of the request says which run answered, and why, as an evaluation of a feature flag."""
    telemetry = OpenTelemetryTelemetry(metrics.provider)

    with TracerProvider().get_tracer("test").start_as_current_span("request") as span:
        telemetry.prediction(MODEL, 0.25, False, reason)

    assert isinstance(span, ReadableSpan)
    assert dict(span.attributes or {}) == {
        "mlflow.run_id": "run-a",
        "mlflow.experiment_id": MODEL.experiment_id,
        "mlflow.model.version": "1.4.2",
        flag.FEATURE_FLAG_KEY: MODEL.submodel_name,
        flag.FEATURE_FLAG_PROVIDER_NAME: "mlflow-utilities",
        flag.FEATURE_FLAG_RESULT_VARIANT: "run-a",
        flag.FEATURE_FLAG_RESULT_REASON: code.value,
        flag.FEATURE_FLAG_VERSION: "7",
    }


def test_predictions_need_no_span(metrics: Metrics) -> None:
    """Their time is recorded by run, in buckets for seconds; an error has a type."""
    telemetry = OpenTelemetryTelemetry(metrics.provider)

    telemetry.prediction(MODEL, 0.03, False, Reason.BUCKET)
    telemetry.prediction(MODEL, 0.5, True, Reason.BUCKET)

    run = {"mlflow__run_id": "run-a", "mlflow__model__version": "1.4.2", "feature_flag__result__reason": "split"}
    points = metrics.points("prediction.duration")
    assert {key: point.sum for key, point in points.items()} == {
        attributes(**run): 0.03,
        attributes(**run, error__type="_OTHER"): 0.5,
    }
    assert all(0.05 in point.explicit_bounds for point in points.values())


def test_everything_else_is_recorded(metrics: Metrics) -> None:
    """Copies by run and outcome, polls by error, the generation and the state as they are now."""
    telemetry = OpenTelemetryTelemetry(metrics.provider)

    telemetry.canary("run-b", "dropped")
    telemetry.canary("run-b", "dropped")
    telemetry.poll("ok", 0.01)
    telemetry.poll("timeout", 5.0)
    telemetry.adopted(6)
    telemetry.adopted(7)
    for state in (ServingState.INITIALIZING, ServingState.READY, ServingState.READY):
        telemetry.state(state)

    copies = {key: point.value for key, point in metrics.points("canary.copies").items()}
    assert copies == {attributes(mlflow__run_id="run-b", mlflow__serving__outcome="dropped"): 2}
    polls = {key: point.sum for key, point in metrics.points("poll.duration").items()}
    assert polls == {attributes(): 0.01, attributes(error__type="timeout"): 5.0}
    assert {key: point.value for key, point in metrics.points("generation").items()} == {attributes(): 7}
    assert {key: point.value for key, point in metrics.points("state").items()} == {
        attributes(mlflow__serving__state="INITIALIZING"): 0,
        attributes(mlflow__serving__state="READY"): 1,
    }


def test_the_number_of_runs_is_bounded(metrics: Metrics) -> None:
    """Runs beyond the limit are recorded together; those that are known stay apart."""
    telemetry = OpenTelemetryTelemetry(metrics.provider, max_runs=2)

    for number in range(10):
        telemetry.canary(f"run-{number}", "answered")
    telemetry.canary("run-0", "answered")

    counts = {dict(key)["mlflow.run_id"]: point.value for key, point in metrics.points("canary.copies").items()}
    assert counts == {"run-0": 2, "run-1": 1, "_OTHER": 8}


def test_services_of_one_process_are_told_apart(metrics: Metrics) -> None:
    """Two with names of their own record on one provider without getting in each other's way."""
    for number, name in enumerate(("fraud", "spam")):
        OpenTelemetryTelemetry(metrics.provider, name=name).adopted(number)

    found = {dict(key)["mlflow.serving.name"]: point.value for key, point in metrics.points("generation").items()}
    assert found == {"fraud": 0, "spam": 1}


def test_the_package_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without opentelemetry-api the error names the extra that brings it."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(MissingDependencyError, match=r"mlflow-utilities\[opentelemetry\]"):
        OpenTelemetryTelemetry()


def test_a_limit_that_cannot_be_is_refused(metrics: Metrics) -> None:
    """At least one run must be named."""
    with pytest.raises(InvalidInputError, match="max_runs is 0"):
        OpenTelemetryTelemetry(metrics.provider, max_runs=0)
