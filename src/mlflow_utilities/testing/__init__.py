"""An in-memory MLflow, builders, assertions, faults and clocks for the tests of services.

Nothing here needs mlflow, and nothing is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow_utilities.testing.assertions import (
        assert_model_registered,
        assert_requested,
        assert_requests,
        assert_run_logged,
        assert_status,
        assert_status_changed_to,
        assert_test_fractions,
    )
    from mlflow_utilities.testing.clock import FakeClock, PromptClock, SteppedClock
    from mlflow_utilities.testing.faults import Fault, ScriptedFault
    from mlflow_utilities.testing.in_memory.refusals import UnsupportedByInMemoryMlflow
    from mlflow_utilities.testing.recording import RecordedRequest
    from mlflow_utilities.testing.rollouts import RolloutRun, RolloutTestData
    from mlflow_utilities.testing.server import InMemoryMlflow

_MODULES = {
    "FakeClock": "clock",
    "Fault": "faults",
    "InMemoryMlflow": "server",
    "PromptClock": "clock",
    "RecordedRequest": "recording",
    "RolloutRun": "rollouts",
    "RolloutTestData": "rollouts",
    "ScriptedFault": "faults",
    "SteppedClock": "clock",
    "UnsupportedByInMemoryMlflow": "in_memory.refusals",
    "assert_model_registered": "assertions",
    "assert_requested": "assertions",
    "assert_requests": "assertions",
    "assert_run_logged": "assertions",
    "assert_status": "assertions",
    "assert_status_changed_to": "assertions",
    "assert_test_fractions": "assertions",
}

__all__ = [
    "FakeClock",
    "Fault",
    "InMemoryMlflow",
    "PromptClock",
    "RecordedRequest",
    "RolloutRun",
    "RolloutTestData",
    "ScriptedFault",
    "SteppedClock",
    "UnsupportedByInMemoryMlflow",
    "assert_model_registered",
    "assert_requested",
    "assert_requests",
    "assert_run_logged",
    "assert_status",
    "assert_status_changed_to",
    "assert_test_fractions",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
