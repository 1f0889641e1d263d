"""The verbs about a whole version: its shares, and the runs that metadata leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.rollout.draft import State, is_fulfilled
from mlflow_utilities.rollout.facts import RunFacts
from mlflow_utilities.rollout.splits import Scope, change_fractions, check_weights, update_active
from mlflow_utilities.rollout.status import ModelStatus
from support.rollouts import active, canary, document, facts, shares, state, taken

Disabled, New, Active, Canary = ModelStatus

ONE = Scope("1.0.0")
LIVE = {
    "1.0.0": (active("a", (0, 7000)), active("b", (7000, 10_000)), canary("c", 500), canary("g", 10_000)),
    "2.0.0": (active("x", (0, 10_000)),),
}
X = {"x": "10000"}
ACTIVE = {"a": "7000", "b": "3000"}
CANARIES = {"c": "mirror 500", "g": "mirror 10000"}


def rollout(*more: RunFacts) -> State:
    """Return a rollout of two versions: a 70, b 30, c and g canaries, d New, e Disabled, x alone in 2.0.0."""
    found = {run: facts(run) for run in "abcdg"}
    found |= {"e": facts("e", active_state=0.0), "x": facts("x", "2.0.0")}
    return state(document(LIVE), *{**found, **{run.run_id: run for run in more}}.values())


UPDATES: list[tuple[str, dict[str, float], dict[str, str], dict[str, ModelStatus]]] = [
    ("new weights", {"a": 1, "b": 3}, {"a": "2500", "b": "7500"}, {"c": Disabled, "g": Disabled}),
    ("weights as percents", {"a": 70, "b": 30}, {"a": "7000", "b": "3000"}, {"c": Disabled, "g": Disabled}),
    ("thirds", {"a": 1, "b": 1, "d": 1}, {"a": "3334", "b": "3333", "d": "3333"}, {"c": Disabled, "g": Disabled}),
    ("floats", dict.fromkeys("abd", 1 / 3), {"a": "3334", "b": "3333", "d": "3333"}, dict.fromkeys("cg", Disabled)),
    ("a tiny weight is one slot", {"a": 1, "b": 1e-9}, {"a": "9999", "b": "1"}, {"c": Disabled, "g": Disabled}),
    ("weight 0 disables", {"a": 1, "b": 0, "c": 0.0}, {"a": "10000"}, dict.fromkeys("bcg", Disabled)),
    ("weight 0 disables a New run", {"a": 1, "d": 0}, {"a": "10000"}, dict.fromkeys("bcdg", Disabled)),
    ("weight 0 leaves a Disabled run", {"a": 1, "e": 0}, {"a": "10000"}, dict.fromkeys("bcg", Disabled)),
    ("a canary becomes Active", {"c": 1}, {"c": "10000"}, dict.fromkeys("abg", Disabled)),
    ("all others are new", {"d": 5}, {"d": "10000"}, dict.fromkeys("abcg", Disabled)),
]  # fmt: skip


@pytest.mark.parametrize(("weights", "live", "off"), [row[1:] for row in UPDATES], ids=[row[0] for row in UPDATES])
def test_update_active_leaves_exactly_these_runs(
    weights: dict[str, float], live: dict[str, str], off: dict[str, ModelStatus]
) -> None:
    """The runs have their shares, everything else of the version is Disabled, other versions stay; again is a no-op."""
    before = rollout()
    change = update_active(before, weights, ONE)
    after = taken(before, change)

    assert (shares(after), dict(change.off)) == (live | X, off)
    assert is_fulfilled(after, update_active(after, weights, ONE))


FRACTIONS: list[tuple[str, ModelStatus, dict[str, float], dict[str, str], dict[str, ModelStatus]]] = [
    ("new weights", Active, {"a": 1, "b": 3}, {"a": "2500", "b": "7500", **CANARIES}, {}),
    ("missing runs leave", Active, {"b": 2}, {"b": "10000", **CANARIES}, {"a": Disabled}),
    ("weight 0 disables", Active, {"b": 2, "a": 0}, {"b": "10000", **CANARIES}, {"a": Disabled}),
    ("weight 0 leaves a Disabled run", Active, {"a": 7, "b": 3, "e": 0}, {**ACTIVE, **CANARIES}, {}),
    ("canaries", Canary, {"c": 1, "g": 1 / 3}, {**ACTIVE, "c": "mirror 10000", "g": "mirror 3333"}, {}),
    ("missing canaries leave", Canary, {"c": 0.1}, {**ACTIVE, "c": "mirror 1000"}, {"g": Disabled}),
    ("canaries that copy nothing", Canary, {"c": 0, "g": 0.0}, {**ACTIVE, "c": "mirror 0", "g": "mirror 0"}, {}),
    ("a tiny share", Canary, {"c": 1e-9, "g": 0.99999}, {**ACTIVE, "c": "mirror 1", "g": "mirror 10000"}, {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "weights", "live", "off"), [row[1:] for row in FRACTIONS], ids=[row[0] for row in FRACTIONS]
)
def test_change_fractions_keeps_statuses(
    status: ModelStatus, weights: dict[str, float], live: dict[str, str], off: dict[str, ModelStatus]
) -> None:
    """Runs of the status get new shares, those left out are Disabled, the other status stays; again is a no-op."""
    before = rollout()
    change = change_fractions(before, weights, ONE, status)
    after = taken(before, change)

    assert (shares(after), dict(change.off)) == (live | X, off)
    assert is_fulfilled(after, change_fractions(after, weights, ONE, status))


@pytest.mark.parametrize(
    ("status", "run", "text"),
    [(Active, "c", "is Canary"), (Active, "d", "is New"), (Active, "e", "is Disabled"), (Canary, "a", "is Active")],
)
def test_change_fractions_refuses_runs_of_another_status(status: ModelStatus, run: str, text: str) -> None:
    """A share for a run that does not have the status is refused."""
    with pytest.raises(InvalidInputError, match=text) as refusal:
        change_fractions(rollout(), {run: 0.5}, ONE, status)

    assert refusal.value.hint


def test_change_fractions_refuses_weight_0_for_a_run_of_another_status() -> None:
    """Weight 0 disables Active runs only: a canary or a New run is not taken out by it."""
    for run in ("c", "d"):
        with pytest.raises(InvalidInputError, match="not Active"):
            change_fractions(rollout(), {"a": 1, run: 0}, ONE, Active)


def test_update_active_refuses_disabled_runs() -> None:
    """A Disabled run is not a candidate; the hint names the verbs that bring it back."""
    with pytest.raises(InvalidInputError, match="run e is Disabled") as refusal:
        update_active(rollout(), {"a": 1, "e": 1}, ONE)

    assert "enable_run" in (refusal.value.hint or "")


UNUSABLE: list[tuple[RunFacts, str]] = [
    (facts("z", experiment_id="8"), "of experiment 8, not of 7"),
    (facts("z", submodel="other"), "of submodel 'other'"),
    (facts("z", "2.0.0"), r"of version 2\.0\.0, not of 1\.0\.0"),
    (facts("z", params={"version": "x"}), "did not save it"),
    (facts("z", lifecycle_stage="deleted"), "is deleted"),
    (facts("z", status="RUNNING"), "is RUNNING"),
]


@pytest.mark.parametrize(("run", "text"), UNUSABLE)
def test_runs_that_cannot_serve_are_refused(run: RunFacts, text: str) -> None:
    """Runs of another place or version, deleted and unfinished ones get no share."""
    with pytest.raises(InvalidInputError, match=text) as refusal:
        update_active(rollout(run), {"a": 1, "z": 1}, ONE)

    assert refusal.value.hint


def test_unknown_runs_are_refused() -> None:
    """A run that does not exist gets no share, and no weight 0 either."""
    for weight in (0, 1):
        with pytest.raises(InvalidInputError, match="there is no run nobody"):
            update_active(rollout(), {"a": 1, "nobody": weight}, ONE)
        with pytest.raises(InvalidInputError, match="there is no run nobody"):
            change_fractions(rollout(), {"a": 1, "nobody": weight}, ONE, Active)


@pytest.mark.parametrize("status", [Active, Canary])
def test_live_runs_that_broke_get_no_new_share(status: ModelStatus) -> None:
    """A live run that was deleted since is refused, but may be left out, or disabled by weight 0."""
    name, other = ("a", "b") if status is Active else ("c", "g")
    broken = rollout(facts(name, lifecycle_stage="deleted"))
    with pytest.raises(InvalidInputError, match=f"run {name} is deleted"):
        change_fractions(broken, {name: 0.5, other: 0.5}, ONE, status)

    assert dict(change_fractions(broken, {other: 0.5}, ONE, status).off) == {name: Disabled}
    if status is Active:
        assert dict(change_fractions(broken, {other: 1, name: 0}, ONE, status).off) == {name: Disabled}


def test_revoked_runs_are_refused() -> None:
    """A revoked run is Disabled for update_active, whatever its metric says, and never gets a share."""
    revoked = state(document(LIVE, revoked=("z",)), *rollout().runs.values(), facts("z"))
    with pytest.raises(InvalidInputError, match="run z is revoked"):
        update_active(revoked, {"a": 1, "z": 1}, ONE)


class TestMetadata:
    """The extra metadata narrows which runs of the version are touched."""

    @staticmethod
    def rollout() -> State:
        """Return a rollout in which a, b and c have region eu, g has us, and all have numbers."""
        regions = {"a": "eu", "b": "eu", "c": "eu", "g": "us", "d": "eu"}
        return rollout(
            *[
                facts(run, params={"region": region}, metrics={"auc": 0.9}, tags={"team": "fraud"})
                for run, region in regions.items()
            ]
        )

    @pytest.mark.parametrize(
        ("immutable", "mutable"),
        [({"region": "eu"}, None), ({"region": "eu"}, {"auc": 0.9, "team": "fraud"})],
    )
    def test_runs_out_of_scope_stay(self, immutable: Mapping[str, Any], mutable: Mapping[str, Any] | None) -> None:
        """A canary that does not have the metadata is left as it is."""
        before = self.rollout()
        after = taken(before, update_active(before, {"d": 1}, Scope("1.0.0", immutable, mutable)))

        assert shares(after) == {"d": "10000", "g": "mirror 10000", **X}

    def test_missing_canaries_out_of_scope_stay(self) -> None:
        """Only canaries that have the metadata are disabled when they are left out."""
        before = self.rollout()
        change = change_fractions(before, {"g": 0.5}, Scope("1.0.0", {"region": "us"}), Canary)

        assert shares(taken(before, change)) == {**ACTIVE, "c": "mirror 500", "g": "mirror 5000", **X}

    @pytest.mark.parametrize("mutable", [{"auc": 0.8}, {"team": "ads"}, {"absent": 1}])
    def test_named_runs_must_have_it(self, mutable: Mapping[str, Any]) -> None:
        """A run that is named and does not have the metadata is refused."""
        with pytest.raises(InvalidInputError, match="run a does not have the metadata") as refusal:
            update_active(self.rollout(), {"a": 1}, Scope("1.0.0", None, mutable))

        assert repr(dict(mutable)) in str(refusal.value)

    def test_active_runs_out_of_scope_are_refused(self) -> None:
        """The shares of a version add up to 1, so an Active run cannot be left out of them."""
        before = rollout(
            facts("a", params={"region": "eu"}),
            facts("b", params={"region": "us"}),
            facts("d", params={"region": "eu"}),
        )
        scope = Scope("1.0.0", {"region": "eu"})
        with pytest.raises(InvalidInputError, match=r"run b of version 1\.0\.0 is Active and does not have"):
            update_active(before, {"d": 1}, scope)
        with pytest.raises(InvalidInputError, match=r"run b of version 1\.0\.0 is Active and does not have"):
            change_fractions(before, {"a": 1}, scope, Active)

    def test_a_live_run_that_was_not_found_is_out_of_scope(self) -> None:
        """Of a run that is gone for good nobody knows the metadata: as a canary it stays."""
        before = self.rollout()
        gone = State(before.document, {k: v for k, v in before.runs.items() if k != "c"}, "7", "fraud")
        after = taken(gone, update_active(gone, {"a": 1, "b": 1}, Scope("1.0.0", {"region": "eu"})))

        assert shares(after) == {"a": "5000", "b": "5000", "c": "mirror 500", "g": "mirror 10000", **X}


BAD_WEIGHTS: list[tuple[object, str]] = [
    ({}, "{}"),
    (None, "None"),
    ([("a", 1)], "('a', 1)"),
    ({"": 1}, "''"),
    ({7: 1}, "7"),
    ({"a": float("nan")}, "nan"),
    ({"a": float("inf")}, "inf"),
    ({"a": -1}, "-1"),
    ({"a": True}, "True"),
    ({"a": "1"}, "'1'"),
    ({"a": None}, "None"),
    ({"a": 1, "b": -1e-9}, "-1e-09"),
]


@pytest.mark.parametrize("status", [Active, Canary])
@pytest.mark.parametrize(("weights", "text"), BAD_WEIGHTS, ids=[str(weights) for weights, _ in BAD_WEIGHTS])
def test_weights_that_can_never_be(weights: Any, text: str, status: ModelStatus) -> None:
    """The refusal shows the weight or the run id that is wrong, and says what to give."""
    with pytest.raises(InvalidInputError) as refusal:
        check_weights(weights, status)

    assert text in refusal.value.message
    assert refusal.value.hint


def test_all_zero_is_a_split_of_nothing_but_canaries_may_copy_nothing() -> None:
    """All weights 0 are refused for Active runs only; shares above 1 for canaries only."""
    with pytest.raises(InvalidInputError, match="all zero"):
        check_weights({"a": 0, "b": 0.0})
    check_weights({"a": 0, "b": 0.0}, Canary)

    check_weights({"a": 1.5})
    with pytest.raises(InvalidInputError, match=r"the share 1\.5 of run a is above 1"):
        check_weights({"a": 1.5}, Canary)


@given(st.dictionaries(st.sampled_from("abcd"), st.one_of(st.integers(0, 9), st.floats(0, 1)), min_size=1))
def test_shares_do_not_depend_on_the_scale_of_weights(weights: dict[str, float]) -> None:
    """Weights that are all doubled give the same slots."""
    if any(weight and weight < 1e-300 for weight in weights.values()) or not any(weights.values()):
        weights = {**weights, "a": 1}
    before = rollout()
    doubled = {run: weight * 2 for run, weight in weights.items()}

    assert update_active(before, weights, ONE) == update_active(before, doubled, ONE)
