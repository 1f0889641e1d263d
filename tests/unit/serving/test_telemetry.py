"""Telemetry that fails: the service never notices."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from mlflow_utilities.serving.telemetry import NoTelemetry, SafeTelemetry, Telemetry
from mlflow_utilities.serving.values import Reason, ServingState
from support.canaries import function_model

MODEL = function_model("run-a", lambda data: data)
CALLS: dict[str, tuple[Any, ...]] = {
    "prediction": (MODEL, 0.25, False, Reason.BUCKET),
    "canary": ("run-b", "answered"),
    "poll": ("ok", 0.01),
    "adopted": (7,),
    "state": (ServingState.READY,),
}


class Kept:
    """Keeps every call, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: dict[str, tuple[Any, ...]] = {}
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def method(*args: Any) -> None:
            self.calls[name] = args
            if self._error is not None:
                raise self._error

        method.__name__ = name
        return method


def test_every_call_is_passed_on() -> None:
    """What the service notes reaches the telemetry, argument by argument."""
    kept = Kept()
    safe: Telemetry = SafeTelemetry(kept)

    for name, args in CALLS.items():
        getattr(safe, name)(*args)

    assert kept.calls == CALLS


def test_exceptions_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Telemetry that raises does not reach the caller, and fills no log: one record for each method."""
    safe = SafeTelemetry(Kept(RuntimeError("no connection")))

    with caplog.at_level(logging.ERROR, "mlflow_utilities.serving"):
        for name, args in [*CALLS.items()] * 100:
            getattr(safe, name)(*args)

    assert len(caplog.records) == len(CALLS)
    assert "no connection" in caplog.text


def test_nothing_is_noted_by_default() -> None:
    """NoTelemetry takes every call."""
    for name, args in CALLS.items():
        getattr(NoTelemetry(), name)(*args)
