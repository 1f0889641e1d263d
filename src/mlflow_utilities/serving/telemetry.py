"""What a service tells a monitoring system."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.serving.served_model import ServedModel
from mlflow_utilities.serving.values import Reason, ServingState

__all__ = ["NoTelemetry", "SafeTelemetry", "Telemetry"]

_log = logging.getLogger("mlflow_utilities.serving")


class Telemetry(Protocol):
    """Takes note of what happens in one service. Called on the event loop: it must not block."""

    def prediction(self, model: ServedModel, seconds: float, error: bool, reason: Reason) -> None:
        """Note that a model was asked: how long it took, whether it raised, and why it was chosen."""
        ...

    def canary(self, run_id: str, outcome: str) -> None:
        """Note what became of a copied request: answered, failed, timed_out, dropped, skipped; or hook_failed."""
        ...

    def poll(self, outcome: str, seconds: float) -> None:
        """Note that MLflow was asked: "ok" or the kind of error, and how long it took."""
        ...

    def adopted(self, generation: int) -> None:
        """Note that this generation serves from now on."""
        ...

    def state(self, state: ServingState) -> None:
        """Note that the service is in this state from now on."""
        ...


class NoTelemetry:
    """Takes note of nothing."""

    def prediction(self, model: ServedModel, seconds: float, error: bool, reason: Reason) -> None:
        """Ignore it."""

    def canary(self, run_id: str, outcome: str) -> None:
        """Ignore it."""

    def poll(self, outcome: str, seconds: float) -> None:
        """Ignore it."""

    def adopted(self, generation: int) -> None:
        """Ignore it."""

    def state(self, state: ServingState) -> None:
        """Ignore it."""


class SafeTelemetry:
    """Passes on to another telemetry, whose exceptions never reach the service: they are logged, once a method."""

    def __init__(self, telemetry: Telemetry) -> None:
        if not callable(getattr(telemetry, "adopted", None)):
            raise InvalidInputError(
                f"telemetry is {telemetry!r}", hint="give PrometheusTelemetry(), OpenTelemetryTelemetry() or your own"
            )
        self._to = telemetry
        self._logged: set[str] = set()

    def prediction(self, model: ServedModel, seconds: float, error: bool, reason: Reason) -> None:
        """Pass it on."""
        self._pass_on(self._to.prediction, model, seconds, error, reason)

    def canary(self, run_id: str, outcome: str) -> None:
        """Pass it on."""
        self._pass_on(self._to.canary, run_id, outcome)

    def poll(self, outcome: str, seconds: float) -> None:
        """Pass it on."""
        self._pass_on(self._to.poll, outcome, seconds)

    def adopted(self, generation: int) -> None:
        """Pass it on."""
        self._pass_on(self._to.adopted, generation)

    def state(self, state: ServingState) -> None:
        """Pass it on."""
        self._pass_on(self._to.state, state)

    def _pass_on(self, method: Callable[..., None], *args: Any) -> None:
        try:
            method(*args)
        except Exception:
            name = method.__name__
            if name not in self._logged:
                self._logged.add(name)
                _log.exception("telemetry failed to note a %s; it is not logged again", name)
