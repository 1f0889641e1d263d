"""Taking over what the earlier framework stored as metrics: its live runs become generation 1."""

from __future__ import annotations

import math
from collections.abc import Iterable

from mlflow_utilities.rollout.document import LiveEntry
from mlflow_utilities.rollout.draft import Change, normal
from mlflow_utilities.rollout.facts import RunFacts
from mlflow_utilities.rollout.planner import mirror_of
from mlflow_utilities.rollout.slots import partition, reassign
from mlflow_utilities.rollout.status import ModelStatus

__all__ = ["adopted", "live_states"]

_LIVE = (ModelStatus.Active, ModelStatus.Canary)


def live_states(runs: Iterable[RunFacts]) -> dict[str, tuple[float, float]]:
    """Return state and share of the runs whose metric makes them live; two equal readings can be trusted."""
    return {
        facts.run_id: (float(facts.active_state or 0), _weight(facts.test_fraction))
        for facts in runs
        if facts.version is not None and facts.active_state in _LIVE
    }


def adopted(runs: Iterable[RunFacts]) -> tuple[Change, list[str]] | None:
    """Return the change that takes live runs over, and warnings about those that cannot be live; None if none is.

    Shares are kept by weight. An Active run without a share becomes Disabled when others of its version have one; when
    none has, all of them do.
    """
    by_version: dict[str, list[RunFacts]] = {}
    for facts in runs:
        if facts.version is not None and facts.active_state in _LIVE:
            by_version.setdefault(facts.version.without_build, []).append(facts)
    if not by_version:
        return None
    live: dict[str, tuple[LiveEntry, ...]] = {}
    off: dict[str, ModelStatus] = {}
    warnings: list[str] = []
    for version, found in by_version.items():
        weights = {f.run_id: _weight(f.test_fraction) for f in found if f.active_state == ModelStatus.Active}
        off.update((run, ModelStatus.Disabled) for run, weight in weights.items() if not weight)
        kept = {run: weight for run, weight in weights.items() if weight}
        if weights and not kept:
            warnings.append(f"no Active run of version {version} has a share: {sorted(weights)} are Disabled now")
        owned = reassign({}, partition(kept)) if kept else {}
        actives = [LiveEntry(run, ModelStatus.Active, ranges, 0) for run, ranges in owned.items()]
        canaries = [
            LiveEntry(f.run_id, ModelStatus.Canary, (), mirror_of(f.run_id, min(_weight(f.test_fraction), 1.0)))
            for f in found
            if f.active_state == ModelStatus.Canary
        ]
        live[version] = (*actives, *canaries)
    return Change(normal(live), off, ()), warnings


def _weight(fraction: float | None) -> float:
    return fraction if fraction is not None and math.isfinite(fraction) and fraction > 0 else 0.0
