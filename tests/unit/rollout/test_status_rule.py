"""The status of a run: live, else left, else what its metric says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities.rollout.document import LiveEntry, OffEntry
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.status_rule import decide, fraction_of
from support.documents import active, canary, document

DOCUMENT = document(
    9,
    {"1.0.0": (active("A", 0, 7000), active("B", 7000, 10000), canary("C", 500))},
    off=(
        OffEntry("D", ModelStatus.Disabled, 9),
        OffEntry("N", ModelStatus.New, 8),
        OffEntry("N", ModelStatus.Disabled, 6),
    ),
)
METRICS = [None, 0.0, 1.0, 2.0, 3.0, -1.0, 4.0, 1.5, math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("run", "status", "fraction"),
    [
        ("A", ModelStatus.Active, 0.7),
        ("B", ModelStatus.Active, 0.3),
        ("C", ModelStatus.Canary, 0.05),
        ("D", ModelStatus.Disabled, 0.0),
        ("N", ModelStatus.New, 0.0),
    ],
)
def test_the_document_counts_before_any_metric(
    run: str, status: ModelStatus, fraction: float, metric: float | None
) -> None:
    """A run that is live or left has the status of the document, whatever its metric still says."""
    assert decide(run, DOCUMENT, metric, 0.9) == (status, fraction)


@pytest.mark.parametrize(
    ("metric", "status"),
    [
        (None, ModelStatus.New),
        (1.0, ModelStatus.New),
        (0.0, ModelStatus.Disabled),
        (2.0, ModelStatus.Disabled),
        (3.0, ModelStatus.Disabled),
        (-1.0, ModelStatus.Disabled),
        (4.0, ModelStatus.Disabled),
        (1.5, ModelStatus.Disabled),
        (math.nan, ModelStatus.Disabled),
        (math.inf, ModelStatus.Disabled),
    ],
)
@pytest.mark.parametrize("fraction", [None, 0.0, 0.5, math.nan])
def test_a_metric_cannot_make_a_run_live(metric: float | None, status: ModelStatus, fraction: float | None) -> None:
    """A run that the document does not name is New when its metric is New or absent, and Disabled otherwise."""
    assert decide("X", DOCUMENT, metric, fraction) == (status, 0.0)


def test_an_empty_rollout_is_not_the_absence_of_one() -> None:
    """With a document that has no live runs, an Active metric of the earlier framework does not count."""
    assert decide("X", document(live={}), 2.0, 1.0) == (ModelStatus.Disabled, 0.0)


@pytest.mark.parametrize(
    ("metric", "fraction", "status", "share"),
    [
        (None, None, ModelStatus.New, 0.0),
        (None, 0.5, ModelStatus.New, 0.0),
        (0.0, 0.5, ModelStatus.Disabled, 0.0),
        (1.0, 0.5, ModelStatus.New, 0.0),
        (2.0, 0.5, ModelStatus.Active, 0.5),
        (3.0, 0.25, ModelStatus.Canary, 0.25),
        (2.0, None, ModelStatus.Active, 0.0),
        (2.0, 0.0, ModelStatus.Active, 0.0),
        (2.0, 1.0, ModelStatus.Active, 1.0),
        (2.0, -0.5, ModelStatus.Active, 0.0),
        (2.0, math.nan, ModelStatus.Active, 0.0),
        (2.0, math.inf, ModelStatus.Active, 0.0),
        (2.0, 70.0, ModelStatus.Active, 1.0),
        (math.nan, 0.5, ModelStatus.Disabled, 0.0),
        (math.inf, 0.5, ModelStatus.Disabled, 0.0),
        (-1.0, 0.5, ModelStatus.Disabled, 0.0),
        (1.5, 0.5, ModelStatus.Disabled, 0.0),
        (4.0, 0.5, ModelStatus.Disabled, 0.0),
    ],
)
def test_without_a_ledger_the_metrics_count(
    metric: float | None, fraction: float | None, status: ModelStatus, share: float
) -> None:
    """Runs of the earlier framework have the status and the share of their metrics; what cannot be a share is none."""
    assert decide("X", None, metric, fraction) == (status, share)


@given(st.none() | st.floats(), st.none() | st.floats(), st.sampled_from("ABCDNX"), st.booleans())
def test_any_metric_gives_a_status_and_a_share(
    metric: float | None, fraction: float | None, run: str, ledger: bool
) -> None:
    """No value of a metric is an error, a share is within 0 and 1, and only live runs have one."""
    status, share = decide(run, DOCUMENT if ledger else None, metric, fraction)

    assert 0.0 <= share <= 1.0
    assert share == 0.0 or status in (ModelStatus.Active, ModelStatus.Canary)


@pytest.mark.parametrize(
    ("entry", "fraction"),
    [
        (active("A"), 1.0),
        (active("A", 0, 1, 9999, 10000), 0.0002),
        (canary("C", 0), 0.0),
        (canary("C", 10000), 1.0),
    ],
)
def test_the_share_of_a_live_run(entry: LiveEntry, fraction: float) -> None:
    """An Active run answers the share of its slots, a Canary run gets copies of its mirror share."""
    assert fraction_of(entry) == fraction
