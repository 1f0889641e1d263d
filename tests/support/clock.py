"""Time that passes when a test says so: the clocks of the testing kit."""

from __future__ import annotations

from mlflow_utilities.testing.clock import FakeClock, SteppedClock

__all__ = ["FakeClock", "SteppedClock"]
