"""Telling which key met which run, for the analysis of A/B tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mlflow_utilities.serving.exposures import Exposures
from mlflow_utilities.serving.served_model import ServedModel
from mlflow_utilities.serving.values import Exposure, Reason

__all__ = ["Chosen", "Teller"]


class Chosen(NamedTuple):
    """The model of a request, its slot (None for a pin), and why."""

    model: ServedModel
    slot: int | None
    reason: Reason


class Teller:
    """Gives `offer` an exposure when a key meets a run for the first time; without a key there is none to tell."""

    def __init__(self, offer: Callable[[Exposure], object], now_ms: Callable[[], int]) -> None:
        self._offer = offer
        self._now_ms = now_ms
        self._seen = Exposures()

    def tell(self, key: str | None, chosen: Chosen) -> None:
        """Note that a key was answered."""
        if key is None:
            return
        model = chosen.model
        exposure = Exposure(
            key=key,
            run_id=model.run_id,
            version=str(model.version),
            generation=model.generation,
            slot=chosen.slot,
            reason=chosen.reason,
            experiment_id=model.experiment_id,
            submodel_name=model.submodel_name,
            time=self._now_ms(),
        )
        if self._seen.record(exposure):
            self._offer(exposure)
