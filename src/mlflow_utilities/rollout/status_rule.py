"""The status of a run: its entry in the live set, else among those that left, else its metric."""

from __future__ import annotations

import math

from mlflow_utilities.rollout.document import Document, LiveEntry
from mlflow_utilities.rollout.slots import TOTAL, share
from mlflow_utilities.rollout.status import ModelStatus

__all__ = ["decide", "fraction_of"]


def fraction_of(entry: LiveEntry) -> float:
    """Return the share of requests (0.0 to 1.0): answered by an Active run, copied to a Canary run."""
    return share(entry.slots) if entry.status is ModelStatus.Active else entry.mirror / TOTAL


def decide(
    run_id: str,
    document: Document | None,
    metric_active_state: float | None,
    metric_test_fraction: float | None = None,
) -> tuple[ModelStatus, float]:
    """Return the status of a run and its share of requests (0.0 to 1.0).

    Without a document the metrics alone count, as in experiments of the earlier framework. With one, a metric cannot
    make a run live: New or no metric means New, everything else Disabled.
    """
    if document is None:
        return _legacy(metric_active_state, metric_test_fraction)
    found = document.find(run_id)
    if found:
        return found[1].status, fraction_of(found[1])
    off = document.off_entry(run_id)
    if off:
        return off.status, 0.0
    new = metric_active_state is None or metric_active_state == ModelStatus.New
    return (ModelStatus.New if new else ModelStatus.Disabled), 0.0


def _legacy(state: float | None, fraction: float | None) -> tuple[ModelStatus, float]:
    if state is None:
        return ModelStatus.New, 0.0
    status = next((member for member in ModelStatus if member == state), ModelStatus.Disabled)
    live = status in (ModelStatus.Active, ModelStatus.Canary)
    usable = fraction is not None and math.isfinite(fraction) and fraction > 0
    return status, (min(fraction or 0.0, 1.0) if live and usable else 0.0)
