"""When a model that could not be loaded may be tried again."""

from __future__ import annotations

from mlflow_utilities import MlflowConnectionError, ModelError
from mlflow_utilities.serving.failures import Failures


def pauses(error: Exception, times: int) -> list[float]:
    """Return how long a run is blocked after each of its failures."""
    failures, now, found = Failures(), 0.0, []
    for _ in range(times):
        failures.remember("r", error, now)
        pause = next(wait for wait in range(1, 4000) if failures.blocking("r", now + wait) is None)
        assert failures.blocking("r", now + pause - 0.001) is error
        found.append(pause)
        now += pause
    return found


def test_the_pause_doubles_from_a_minute_to_an_hour() -> None:
    """However often it fails."""
    assert pauses(ModelError("no"), 8) == [60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_an_outage_costs_five_minutes_at_most() -> None:
    """The model is not at fault, and the server may come back at any moment."""
    assert pauses(MlflowConnectionError("refused"), 5) == [60, 120, 240, 300, 300]


def test_what_was_only_refused_is_reported_and_may_be_tried_at_once() -> None:
    """It does not take the place of a failure, whose pause goes on, nor count as one."""
    failures = Failures()
    failures.refuse("r", ModelError("no room"), 0.0)
    assert failures.blocking("r", 0.0) is None
    assert failures.reasons(["r", "s"]) == {"r": "ModelError: no room"}
    failures.remember("r", ModelError("broken"), 0.0)
    failures.refuse("r", ModelError("no room"), 0.0)
    assert failures.reasons(["r"]) == {"r": "ModelError: broken"}
    assert failures.blocking("r", 59.0) is not None
    assert failures.blocking("r", 60.0) is None


def test_success_forgets_and_the_number_is_bounded() -> None:
    """The oldest go first."""
    failures = Failures()
    runs = [str(number) for number in range(1500)]
    for run in runs:
        failures.remember(run, ModelError("no"), 0.0)
    failures.forget("1499")
    assert list(failures.reasons(runs)) == runs[500:1499]
