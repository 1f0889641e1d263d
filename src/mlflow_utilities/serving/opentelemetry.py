"""Metrics of a service, and attributes of the spans of its requests, for OpenTelemetry.

Attributes `feature_flag.*` and `error.type` are those of OpenTelemetry's semantic conventions: the submodel is the
flag, its run the variant, the generation the version of the rules. Not an event on the span: those are being given up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlflow_utilities._version import __version__
from mlflow_utilities.errors import InvalidInputError, MissingDependencyError
from mlflow_utilities.serving.served_model import ServedModel
from mlflow_utilities.serving.values import Reason, ServingState

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

__all__ = ["OpenTelemetryTelemetry"]

_SCOPE = "mlflow_utilities.serving"
_PROVIDER = "mlflow-utilities"
# The conventions' value for what has no name of its own.
_OTHER = "_OTHER"
# Those that the conventions advise for durations in seconds.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
# The conventions' reason codes of flag evaluations.
_REASONS = {
    Reason.BUCKET: "split",
    Reason.RANDOM: "split",
    Reason.PINNED: "targeting_match",
    Reason.FALLBACK: "default",
}


class OpenTelemetryTelemetry:
    """Records metrics of one ActiveModels, and names the model on the current span; give each its own, with its name.

    Metrics: mlflow.serving.prediction.duration, .canary.copies, .poll.duration, .generation and .state. A span that
    covers several predictions shows the last one.

    Args:
        meter_provider: None: the global one.
        name: the attribute `mlflow.serving.name`, which tells the ActiveModels of a process apart.
        max_runs: how many runs metrics name; any further ones are recorded as "_OTHER".

    Raises:
        MissingDependencyError: opentelemetry-api is not installed.
        InvalidInputError: `max_runs` is below 1.

    """

    def __init__(
        self, meter_provider: MeterProvider | None = None, *, name: str = "default", max_runs: int = 1000
    ) -> None:
        try:
            from opentelemetry import metrics, trace
        except ImportError as error:
            raise MissingDependencyError(
                "opentelemetry-api is needed for OpenTelemetryTelemetry",
                hint='pip install "mlflow-utilities[opentelemetry]"',
            ) from error
        if max_runs < 1:
            raise InvalidInputError(f"max_runs is {max_runs!r}", hint="give an integer >= 1")
        meter = metrics.get_meter(_SCOPE, __version__, meter_provider)
        self._current_span = trace.get_current_span
        self._name = name
        self._max_runs = max_runs
        self._runs: set[str] = set()
        self._state: ServingState | None = None
        self._predictions = meter.create_histogram(
            "mlflow.serving.prediction.duration",
            unit="s",
            description="Duration of predictions.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._polls = meter.create_histogram(
            "mlflow.serving.poll.duration",
            unit="s",
            description="Duration of requests for the rollout.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._copies = meter.create_counter(
            "mlflow.serving.canary.copies", unit="{copy}", description="Requests copied to Canary runs."
        )
        self._generation = meter.create_gauge("mlflow.serving.generation", description="The generation that serves.")
        self._states = meter.create_gauge("mlflow.serving.state", description="1 for the state it is in.")

    def prediction(self, model: ServedModel, seconds: float, error: bool, reason: Reason) -> None:
        """Record its time, and name its model on the current span."""
        version, why = str(model.version), _REASONS[reason]
        attributes = {**self._run(model.run_id), "mlflow.model.version": version, "feature_flag.result.reason": why}
        if error:
            attributes["error.type"] = _OTHER
        self._predictions.record(seconds, attributes)
        span = self._current_span()
        if span.is_recording():
            span.set_attributes(
                {
                    "mlflow.run_id": model.run_id,
                    "mlflow.experiment_id": model.experiment_id,
                    "mlflow.model.version": version,
                    "feature_flag.key": model.submodel_name,
                    "feature_flag.provider.name": _PROVIDER,
                    "feature_flag.result.variant": model.run_id,
                    "feature_flag.result.reason": why,
                    "feature_flag.version": str(model.generation),
                }
            )

    def canary(self, run_id: str, outcome: str) -> None:
        """Count it."""
        self._copies.add(1, {**self._run(run_id), "mlflow.serving.outcome": outcome})

    def poll(self, outcome: str, seconds: float) -> None:
        """Record its time."""
        self._polls.record(seconds, self._named(**({} if outcome == "ok" else {"error.type": outcome})))

    def adopted(self, generation: int) -> None:
        """Record the generation."""
        self._generation.set(generation, self._named())

    def state(self, state: ServingState) -> None:
        """Record 1 for the state and 0 for the one before."""
        before, self._state = self._state, state
        if before is not None and before is not state:
            self._states.set(0, self._named(**{"mlflow.serving.state": before.value}))
        self._states.set(1, self._named(**{"mlflow.serving.state": state.value}))

    def _named(self, **attributes: str) -> dict[str, Any]:
        return {"mlflow.serving.name": self._name, **attributes}

    def _run(self, run_id: str) -> dict[str, Any]:
        """Return the attributes that name a run; a process may live through more runs than a backend can hold."""
        if run_id not in self._runs:
            if len(self._runs) >= self._max_runs:
                run_id = _OTHER
            self._runs.add(run_id)
        return self._named(**{"mlflow.run_id": run_id})
