"""The planner: what the verbs about one run make of a rollout."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.rollout import planner
from mlflow_utilities.rollout.draft import MOST_REVOKED, Change, State, is_fulfilled
from mlflow_utilities.rollout.status import ModelStatus
from support.rollouts import active, canary, document, facts, shares, state, taken

Plan = Callable[[State], Change]
Disabled, New, Active, Canary = ModelStatus

LIVE = {
    "1.0.0": (active("a", (0, 7000)), active("b", (7000, 10_000)), canary("c", 500)),
    "2.0.0": (active("x", (0, 10_000)),),
}
REST = {"c": "mirror 500", "x": "10000"}
START = {"a": "7000", "b": "3000", "c": "mirror 500", "x": "10000"}


def rollout() -> State:
    """Return a rollout of two versions: a 70, b 30, c a canary, d New, e Disabled, x alone in 2.0.0."""
    runs = [facts("a"), facts("b"), facts("c"), facts("d"), facts("e", active_state=0.0), facts("x", "2.0.0")]
    return state(document(LIVE), *runs)


def enable(run: str) -> Plan:
    """Return the plan of enable_run."""
    return lambda current: planner.enable(current, run)


def disable(run: str) -> Plan:
    """Return the plan of disable_run."""
    return lambda current: planner.disable(current, run)


def to_canary(run: str) -> Plan:
    """Return the plan of canary_run."""
    return lambda current: planner.canary(current, run)


def revoke(run: str) -> Plan:
    """Return the plan of revoke_run."""
    return lambda current: planner.revoke(current, run)


def change(run: str, status: ModelStatus | None, fraction: float | None) -> Plan:
    """Return the plan of change_status."""
    return lambda current: planner.change_status(current, run, status, fraction)


def to_canary_half(run: str) -> Plan:
    """Return the plan of change_status to Canary, with half of the requests."""
    return change(run, Canary, 0.5)


def to_active_half(run: str) -> Plan:
    """Return the plan of change_status to Active, with half of the requests."""
    return change(run, Active, 0.5)


def to_new(run: str) -> Plan:
    """Return the plan of change_status to New."""
    return change(run, New, None)


EFFECTS: list[tuple[str, Plan, dict[str, str], dict[str, ModelStatus]]] = [
    ("enable a New run", enable("d"), {"d": "10000", **REST}, {"a": Disabled, "b": Disabled}),
    ("enable a Disabled run", enable("e"), {"e": "10000", **REST}, {"a": Disabled, "b": Disabled}),
    ("enable a canary", enable("c"), {"c": "10000", "x": "10000"}, {"a": Disabled, "b": Disabled}),
    ("enable one of two", enable("a"), {"a": "10000", **REST}, {"b": Disabled}),
    ("enable the only one", enable("x"), START, {}),
    ("disable an Active run", disable("a"), {"b": "10000", **REST}, {"a": Disabled}),
    ("disable a canary", disable("c"), {"a": "7000", "b": "3000", "x": "10000"}, {"c": Disabled}),
    ("disable the last Active run", disable("x"), {"a": "7000", "b": "3000", "c": "mirror 500"}, {"x": Disabled}),
    ("disable a New run", disable("d"), START, {"d": Disabled}),
    ("disable a Disabled run", disable("e"), START, {}),
    ("canary of an Active run", to_canary("a"), {"a": "mirror 10000", "b": "10000", **REST}, {}),
    ("canary of the last Active run", to_canary("x"), {**START, "x": "mirror 10000"}, {}),
    ("canary of a New run", to_canary("d"), {**START, "d": "mirror 10000"}, {}),
    ("canary of a Disabled run", to_canary("e"), {**START, "e": "mirror 10000"}, {}),
    ("canary of a canary keeps its share", to_canary("c"), START, {}),
    ("revoke an Active run", revoke("a"), {"b": "10000", **REST}, {"a": Disabled}),
    ("revoke the last Active run", revoke("x"), {"a": "7000", "b": "3000", "c": "mirror 500"}, {"x": Disabled}),
    ("revoke a New run", revoke("d"), START, {"d": Disabled}),
    ("revoke a Disabled run", revoke("e"), START, {}),
    ("status Disabled", change("a", Disabled, None), {"b": "10000", **REST}, {"a": Disabled}),
    ("status Disabled with 0.0", change("c", Disabled, 0.0), {"a": "7000", "b": "3000", "x": "10000"}, {"c": Disabled}),
    ("status New", change("a", New, None), {"b": "10000", **REST}, {"a": New}),
    ("status New of a New run", change("d", New, 0.0), START, {}),
    ("status New of a Disabled run", change("e", New, None), START, {"e": New}),
    ("0.0 disables an Active run", change("a", None, 0.0), {"b": "10000", **REST}, {"a": Disabled}),
    ("0.0 leaves a New run", change("d", None, 0.0), START, {}),
    ("0.0 leaves a Disabled run", change("e", None, 0.0), START, {}),
    ("0.0 stops copying to a canary", change("c", None, 0.0), {**START, "c": "mirror 0"}, {}),
    ("share of a canary", change("c", None, 0.25), {**START, "c": "mirror 2500"}, {}),
    ("a tiny share of a canary is not nothing", change("c", None, 1e-9), {**START, "c": "mirror 1"}, {}),
    ("Canary with a share", change("d", Canary, 0.1), {**START, "d": "mirror 1000"}, {}),
    ("Canary with 0.0", change("d", Canary, 0.0), {**START, "d": "mirror 0"}, {}),
    ("Canary of an Active run", change("b", Canary, None), {"a": "10000", "b": "mirror 10000", **REST}, {}),
    ("Canary of a canary keeps its share", change("c", Canary, None), START, {}),
    ("share of an Active run", change("a", None, 0.25), {**START, "a": "2500", "b": "7500"}, {}),
    ("a third", change("a", Active, 1 / 3), {**START, "a": "3333", "b": "6667"}, {}),
    ("a tiny share is one slot", change("a", None, 1e-9), {**START, "a": "1", "b": "9999"}, {}),
    ("nearly everything leaves one slot", change("a", None, 1 - 1e-9), {**START, "a": "9999", "b": "1"}, {}),
    ("Active with a share", change("d", Active, 0.2), {**START, "a": "5600", "b": "2400", "d": "2000"}, {}),
    ("a canary becomes Active", change("c", Active, 0.5), {"a": "3500", "b": "1500", "c": "5000", "x": "10000"}, {}),
    ("Active as it is", change("a", Active, None), START, {}),
    ("the only one with 1.0", change("x", Active, 1.0), START, {}),
    ("the only one with 1", change("x", None, 1), START, {}),
]  # fmt: skip


@pytest.mark.parametrize(("plan", "live", "off"), [row[1:] for row in EFFECTS], ids=[row[0] for row in EFFECTS])
def test_the_effect_of_a_verb(plan: Plan, live: dict[str, str], off: dict[str, ModelStatus]) -> None:
    """Each verb leaves these live runs with these shares, and these runs off; the same wish again is fulfilled."""
    before = rollout()
    made = plan(before)
    after = taken(before, made)

    assert (shares(after), dict(made.off)) == (live, off)
    assert {entry.run: entry.status for entry in after.document.off if entry.generation == 6} == off  # type: ignore[union-attr]
    assert is_fulfilled(before, made) == (after.live == before.live and not off and not after.revoked)
    assert is_fulfilled(after, plan(after))


REFUSED: list[tuple[str, Plan, str]] = [
    ("Active with 0.0", change("a", Active, 0.0), "an Active run has a share"),
    ("Active without a share beside others", change("d", Active, None), "2 runs of version 1.0.0 are Active"),
    ("everything beside others", change("a", None, 1.0), "leaves nothing for 1 other Active run of"),
    ("part of nothing", change("x", None, 0.5), "the only Active run of version 2.0.0, with the share 0.5"),
    ("share of a New run", change("d", None, 0.5), "would be New with the share 0.5"),
    ("share of a Disabled run", change("e", None, 0.5), "would be Disabled with the share 0.5"),
    ("New with a share", change("a", New, 0.5), "would be New with the share 0.5"),
    ("Disabled with a share", change("a", Disabled, 0.5), "would be Disabled with the share 0.5"),
    ("share above 1", change("a", None, 1.5), "the share 1.5 of run a is above 1"),
    ("share of a canary above 1", change("c", None, 2), "the share 2 of run c is above 1"),
    ("share below 0", change("a", None, -0.1), "-0.1"),
    ("share that is NaN", change("a", None, float("nan")), "nan"),
    ("share that is infinite", change("c", None, float("inf")), "inf"),
    ("share that is a truth value", change("a", None, True), "True"),
    ("share that is text", change("a", None, "0.5"), "'0.5'"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("plan", "text"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_shares_and_states_that_do_not_fit_are_refused(plan: Plan, text: str) -> None:
    """The refusal names the value and says what to do."""
    with pytest.raises(InvalidInputError) as refusal:
        plan(rollout())

    assert text in str(refusal.value)
    assert refusal.value.hint


UNUSABLE = {
    "unknown": "there is no run unknown",
    "elsewhere": "of experiment 8, not of 7",
    "sibling": "of submodel 'other', not of 'fraud'",
    "foreign": "this framework did not save it",
    "deleted": "run deleted is deleted",
    "running": "run running is RUNNING, not FINISHED",
    "failed": "run failed is FAILED, not FINISHED",
    "revoked": "run revoked is revoked",
}


def unusable() -> State:
    """Return the rollout with runs that can never be live."""
    current = rollout()
    runs = [
        *current.runs.values(),
        facts("elsewhere", experiment_id="8"),
        facts("sibling", submodel="other"),
        facts("foreign", params={"version": "not semantic"}),
        facts("deleted", lifecycle_stage="deleted"),
        facts("running", status="RUNNING"),
        facts("failed", status="FAILED"),
        facts("revoked", active_state=0.0),
    ]
    return state(document(LIVE, revoked=("revoked",)), *runs)


@pytest.mark.parametrize(("run", "text"), UNUSABLE.items())
@pytest.mark.parametrize("plan", [enable, to_canary, to_canary_half, to_active_half])
def test_a_run_that_cannot_serve_is_not_made_live(plan: Callable[[str], Plan], run: str, text: str) -> None:
    """Unknown, foreign, deleted, unfinished and revoked runs are refused, with the reason and what to do."""
    with pytest.raises(InvalidInputError) as refusal:
        plan(run)(unusable())

    assert text in str(refusal.value)
    assert refusal.value.hint


@pytest.mark.parametrize("run", ["unknown", "elsewhere", "sibling", "foreign"])
@pytest.mark.parametrize("plan", [disable, revoke, to_new])
def test_a_run_of_another_place_is_not_taken_out(plan: Callable[[str], Plan], run: str) -> None:
    """Nothing can be done to a run that is not of this submodel."""
    with pytest.raises(InvalidInputError):
        plan(run)(unusable())


@pytest.mark.parametrize("plan", [disable, revoke])
@pytest.mark.parametrize("info", [{"lifecycle_stage": "deleted"}, {"status": "FAILED"}])
def test_a_live_run_that_broke_can_be_taken_out(plan: Callable[[str], Plan], info: dict[str, Any]) -> None:
    """A live run that was deleted since, or is not finished any more, is taken out like any other."""
    current = rollout()
    broken = state(current.document, *[run for run in current.runs.values() if run.run_id != "a"], facts("a", **info))

    assert shares(taken(broken, plan("a")(broken))) == {"b": "10000", "c": "mirror 500", "x": "10000"}


def test_a_share_is_exact_whatever_the_others_have() -> None:
    """Half of the requests is 5,000 slots, also beside runs whose own shares had to be rounded, and it stays so."""
    counts = {"a": 5803, "b": 4099, "c": 1, "d": 25, "e": 72}
    starts = [sum(list(counts.values())[:number]) for number in range(6)]
    live = tuple(active(run, span) for run, span in zip(counts, pairwise(starts), strict=True))
    before = state(document({"1.0.0": live}), facts("r"), *map(facts, counts))
    after = taken(before, planner.change_status(before, "r", Active, 0.5))

    assert shares(after) == {"a": "2901", "b": "2050", "c": "1", "d": "12", "e": "36", "r": "5000"}
    assert is_fulfilled(after, planner.change_status(after, "r", None, 0.5))


def test_a_first_rollout_has_no_document_before() -> None:
    """Without a ledger, a New run becomes the first Active one, or a canary of nothing."""
    empty = state(None, facts("a"), facts("b", "1.0.0+build.5"))

    assert shares(taken(empty, planner.enable(empty, "a"))) == {"a": "10000"}
    assert taken(empty, planner.canary(empty, "b")).live == {"1.0.0": (canary("b", 10_000),)}


def test_other_versions_are_left_alone() -> None:
    """A change of one version keeps the entries of the others as they are."""
    before = rollout()
    for plan in (enable("d"), disable("a"), to_canary("a"), change("d", Active, 0.5), revoke("b")):
        assert taken(before, plan(before)).live["2.0.0"] == before.live["2.0.0"]


def test_a_rollback_restores_every_slot() -> None:
    """The live runs of the older document are back slot for slot, and what was live since is Disabled."""
    first = rollout()
    changed = taken(first, planner.enable(first, "d"))
    assert first.document
    made = planner.restore(changed, first.document)
    back = taken(changed, made)

    assert (back.live, made.off, made.restores) == (first.live, {"d": Disabled}, 5)
    assert is_fulfilled(back, planner.restore(back, first.document))


def test_a_rollback_to_nothing_live() -> None:
    """A document without live runs can be restored too."""
    nothing = document({}, 1)
    before = rollout()
    made = planner.restore(before, nothing)

    assert (made.live, set(made.off)) == ({}, {"a", "b", "c", "x"})


def test_a_rollback_does_not_bring_back_what_cannot_serve() -> None:
    """A run that was revoked or deleted since is refused, and so is one whose version changed."""
    first = rollout()
    assert first.document
    revoked = taken(first, planner.revoke(first, "a"))
    with pytest.raises(InvalidInputError, match="run a is revoked"):
        planner.restore(revoked, first.document)

    others = [run for run in first.runs.values() if run.run_id != "a"]
    with pytest.raises(InvalidInputError, match="run a is deleted"):
        planner.restore(state(first.document, *others, facts("a", lifecycle_stage="deleted")), first.document)
    with pytest.raises(InvalidInputError, match=r"not of version 1\.0\.0 any more"):
        planner.restore(state(first.document, *others, facts("a", "3.0.0")), first.document)


def test_the_newest_revocations_are_remembered() -> None:
    """The list of revoked runs is bounded: the oldest one is forgotten, the newest never."""
    runs = [facts(f"r{number:02}") for number in range(MOST_REVOKED + 1)]
    current = state(document({}, 1), *runs)
    for run in runs:
        current = taken(current, planner.revoke(current, run.run_id))

    assert current.revoked == tuple(run.run_id for run in runs[1:])
    assert is_fulfilled(current, planner.revoke(current, "r01"))
