"""Which changes are about production: those that are asked about."""

from __future__ import annotations

from typing import Any

import pytest

from mlflow_utilities import LiveRun, ModelStatus, Rollout, RolloutEntry, Version, mlflow_api
from mlflow_utilities.cli.changing import Planned, concerns_production, difference

ONE = Version.parse("1.0.0")
A = LiveRun("a", ONE, ModelStatus.Active, 1.0)
B = LiveRun("b", ONE, ModelStatus.Canary, 0.5)
HALF = LiveRun("a", ONE, ModelStatus.Active, 0.5)
DISABLED = ModelStatus.Disabled


def planned(before: tuple[LiveRun, ...], after: tuple[LiveRun, ...], **fields: Any) -> Planned:
    """Return a plan that makes generation 5 of generation 4."""
    rollout = Rollout(**{"generation": 5, "experiment_id": "7", "submodel_name": "fraud", **fields}, live=after)
    return Planned(mlflow_api.enable_run, rollout, RolloutEntry(generation=4, live=before))


@pytest.mark.parametrize(
    ("plan", "asked"),
    [
        (planned((A,), (A,), generation=4), False),
        (planned((A,), (A,), changes={"c": DISABLED}), False),
        (planned((), (), changes={"c": ModelStatus.New}), False),
        (planned((), (A,), changes={"a": ModelStatus.Active}), True),
        (planned((A,), (), changes={"a": DISABLED}), True),
        (planned((A,), (HALF,), changes={"a": ModelStatus.Active}), True),
        (planned((A, B), (A,), changes={"b": DISABLED}), True),
        # The same shares over other slots send users to other runs.
        (planned((A,), (A,)), True),
        # A run that is not live can be enabled again, unless it is revoked.
        (planned((A,), (A,), changes={"c": DISABLED}, revoked=("c",)), True),
    ],
)
def test_only_a_change_of_runs_that_are_not_live_is_not_asked_about(plan: Planned, asked: bool) -> None:
    """Whatever alters what requests meet, or cannot be taken back, is confirmed first."""
    assert concerns_production(plan) is asked


def test_the_difference_names_every_run_that_is_live_or_changes() -> None:
    """A row says what a run was and what it becomes; a version is shown where it is known."""
    rows = difference(planned((A,), (HALF, B), changes={"a": ModelStatus.Active, "c": DISABLED}))

    assert rows == [
        ("a", "1.0.0", "Active 1", "Active 0.5"),
        ("b", "1.0.0", "not live", "Canary 0.5"),
        ("c", "", "not live", "Disabled"),
    ]
    assert difference(planned((A,), ()))[0][2:] == ("Active 1", "not live")
