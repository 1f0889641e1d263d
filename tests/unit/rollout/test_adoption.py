"""Taking over what the earlier framework stored as metrics."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities.rollout.adoption import adopted, live_states
from mlflow_utilities.rollout.draft import State
from mlflow_utilities.rollout.facts import RunFacts
from mlflow_utilities.rollout.status import ModelStatus
from support.rollouts import facts, shares, taken

NAN = math.nan


def runs(**states: tuple[float | None, float | None]) -> list[RunFacts]:
    """Return runs of version 1.0.0 with these states and shares as metrics."""
    return [facts(run, "1.0.0", *state) for run, state in states.items()]


TAKEN_OVER: list[tuple[str, dict[str, tuple[float | None, float | None]], dict[str, str], set[str]]] = [
    ("shares as they are", {"a": (2, 0.7), "b": (2, 0.3)}, {"a": "7000", "b": "3000"}, set()),
    ("shares that do not add up", {"a": (2, 0.7), "b": (2, 0.7)}, {"a": "5000", "b": "5000"}, set()),
    ("shares above 1", {"a": (2, 30.0), "b": (2, 10.0)}, {"a": "7500", "b": "2500"}, set()),
    ("largest remainder", dict.fromkeys("abc", (2, 1 / 3)), {"a": "3334", "b": "3333", "c": "3333"}, set()),
    ("a tiny share", {"a": (2, 1.0), "b": (2, 1e-9)}, {"a": "9999", "b": "1"}, set()),
    ("share 0 beside others", {"a": (2, 0.5), "b": (2, 0.0)}, {"a": "10000"}, {"b"}),
    ("no share beside others", {"a": (2, 0.5), "b": (2, None)}, {"a": "10000"}, {"b"}),
    ("NaN is 0", {"a": (2, 0.5), "b": (2, NAN)}, {"a": "10000"}, {"b"}),
    ("infinite is 0", {"a": (2, 0.5), "b": (2, math.inf)}, {"a": "10000"}, {"b"}),
    ("negative is 0", {"a": (2, 0.5), "b": (2, -0.5)}, {"a": "10000"}, {"b"}),
    ("both", {"a": (2, 1), "b": (3, 0.2), "c": (3, -1)}, {"a": "10000", "b": "mirror 2000", "c": "mirror 0"}, set()),
    ("canaries alone", {"b": (3, 0.25)}, {"b": "mirror 2500"}, set()),
    ("canaries without a share copy nothing", {"b": (3, None), "c": (3, NAN)}, dict.fromkeys("bc", "mirror 0"), set()),
    ("canary shares have bounds", {"b": (3, 7.0), "c": (3, 1e-9)}, {"b": "mirror 10000", "c": "mirror 1"}, set()),
    ("other states", {"a": (2, 1), "b": (1, 1), "c": (0, 1), "d": (None, None), "e": (NAN, 1)}, {"a": "10000"}, set()),
]  # fmt: skip


@pytest.mark.parametrize(("states", "live", "off"), [row[1:] for row in TAKEN_OVER], ids=[row[0] for row in TAKEN_OVER])
def test_what_is_taken_over(
    states: dict[str, tuple[float | None, float | None]], live: dict[str, str], off: set[str]
) -> None:
    """Live runs keep their shares by weight; an Active run without one becomes Disabled, without a warning."""
    found = adopted(runs(**states))
    assert found is not None
    change, warnings = found

    assert (shares(taken(State(None), change)), set(change.off), warnings) == (live, off, [])
    assert set(change.off.values()) <= {ModelStatus.Disabled}


@pytest.mark.parametrize("share", [0.0, None, NAN, -1.0])
def test_active_runs_that_all_have_no_share(share: float | None) -> None:
    """All of them become Disabled, and a warning names them; canaries of the version stay."""
    found = adopted(runs(a=(2, share), b=(2, share), c=(3, 0.5)))
    assert found is not None
    change, warnings = found

    assert shares(taken(State(None), change)) == {"c": "mirror 5000"}
    assert change.off == {"a": ModelStatus.Disabled, "b": ModelStatus.Disabled}
    assert warnings == ["no Active run of version 1.0.0 has a share: ['a', 'b'] are Disabled now"]


def test_each_version_is_its_own_split() -> None:
    """Shares add up within a version; build metadata does not make a version of its own."""
    found = adopted(
        [
            facts("a", "1.0.0", 2.0, 0.5),
            facts("b", "1.0.0+other", 2.0, 0.5),
            facts("x", "2.0.0", 2.0, 0.1),
            facts("y", "3.0.0", 2.0, 0.0),
        ]
    )
    assert found is not None
    change, warnings = found

    assert {version: {entry.run for entry in entries} for version, entries in change.live.items()} == {
        "1.0.0": {"a", "b"},
        "2.0.0": {"x"},
    }
    assert shares(taken(State(None), change)) == {"a": "5000", "b": "5000", "x": "10000"}
    assert len(warnings) == 1


def test_nothing_to_take_over() -> None:
    """Without live runs there is no adoption, and runs without a version are not of this framework."""
    assert adopted([]) is None
    assert adopted(runs(a=(1, 0.0), b=(0, 1.0), c=(None, None), d=(7, 1.0), e=(2.5, 1.0))) is None
    assert adopted([facts("a", active_state=2.0, test_fraction=1.0, params={"version": "none"})]) is None


def test_two_readings_are_compared_by_what_they_mean() -> None:
    """NaN, which is never equal to itself, counts as 0; states that are not live do not count at all."""
    one = runs(a=(2, 0.5), b=(2, NAN), c=(3, 0.5), d=(1, 0.5))
    two = runs(a=(2, 0.5), b=(2, 0.0), c=(3, 0.5), d=(0, 0.0))

    assert live_states(one) == live_states(two) == {"a": (2.0, 0.5), "b": (2.0, 0.0), "c": (3.0, 0.5)}
    assert live_states(one) != live_states(runs(a=(3, 0.5), b=(2, NAN), c=(3, 0.5)))
    assert live_states(one) != live_states(runs(a=(2, 0.6), b=(2, NAN), c=(3, 0.5)))
    assert live_states([facts("a", active_state=2.0, params={"version": "none"})]) == {}


metrics = st.one_of(st.none(), st.floats(), st.sampled_from([0.0, 1.0, 2.0, 3.0]))


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(metrics, metrics, st.sampled_from(["1.0.0", "2.0.0"]))))
def test_whatever_the_metrics_say_the_document_is_valid(
    found: dict[str, tuple[float | None, float | None, str]],
) -> None:
    """Any metrics make a valid first generation, in which each live run is live or Disabled."""
    taken_over = [facts(run, version, state, share) for run, (state, share, version) in found.items()]
    live = live_states(taken_over)
    result = adopted(taken_over)
    if result is None:
        assert not live
        return
    after = taken(State(None), result[0])
    assert after.document is not None
    assert after.document.runs | set(result[0].off) == set(live)
