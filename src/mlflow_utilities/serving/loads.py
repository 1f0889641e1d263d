"""Loads under way, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from mlflow_utilities.errors import ModelError
from mlflow_utilities.serving.loader import Wanted
from mlflow_utilities.serving.resident import Resident

__all__ = ["Load", "LoadFailedError"]


class LoadFailedError(ModelError):
    """Models could not be loaded; `failures` has the reason for each run."""

    def __init__(self, failures: Mapping[str, BaseException]) -> None:
        reasons = "; ".join(f"run {run_id}: {error}" for run_id, error in failures.items())
        super().__init__(f"cannot load {reasons}")
        self.failures = dict(failures)


class Load:
    """A model being loaded, which counts `cost` bytes. `waiting` ends it where it can end at once."""

    def __init__(self, wanted: Wanted, cost: int, delay: float) -> None:
        self.wanted = wanted
        self.cost = cost
        self.delay = delay
        self.waiting = anyio.CancelScope()
        self.whole = anyio.CancelScope()
        self.done = anyio.Event()
        self.result: Resident | Exception = ModelError(f"run {wanted.run_id} was not wanted any more while it loaded")
