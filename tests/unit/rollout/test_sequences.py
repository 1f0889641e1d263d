"""Any sequence of verbs: documents stay valid, and statuses are what a simple model of the verbs says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.rollout import planner, splits
from mlflow_utilities.rollout.codec import decode_slot, encode_document
from mlflow_utilities.rollout.document import Document
from mlflow_utilities.rollout.draft import Change, State, is_fulfilled
from mlflow_utilities.rollout.facts import RunFacts
from mlflow_utilities.rollout.slots import TOTAL, Ranges, count
from mlflow_utilities.rollout.status import ModelStatus
from support.rollouts import facts, state, taken

Disabled, New, Active, Canary = ModelStatus

VERSION = dict.fromkeys(["a", "b", "c", "d", "failed", "deleted"], "1.0.0") | dict.fromkeys("xy", "2.0.0")
INFO: dict[str, dict[str, Any]] = {"failed": {"status": "FAILED"}, "deleted": {"lifecycle_stage": "deleted"}}

run_ids = st.one_of(st.sampled_from("abcdxy"), st.sampled_from("abcd"), st.sampled_from(list(VERSION)))
fractions = st.one_of(st.sampled_from([0, 0.0, 1, 1.0, 1 / 3, 1e-9, 1 - 1e-9, 0.5, 0.00015]), st.floats(0, 1))
weights = st.one_of(st.sampled_from([0, 1, 1 / 3, 1e-9, 70]), st.floats(0, 1e6))
rare = st.sampled_from(["failed", "deleted", "x"])


@dataclass(frozen=True)
class Wish:
    """A verb with its arguments."""

    verb: str
    run: str = ""
    status: ModelStatus | None = None
    fraction: float | None = None
    weights: Mapping[str, float] = field(default_factory=dict[str, float])
    version: str = "1.0.0"
    number: int = 0


def splits_of(verb: str, status: ModelStatus) -> st.SearchStrategy[Wish]:
    """Return wishes that give shares to several runs of one version, and seldom to one that may not have any."""
    shares = weights if status is Active else fractions
    first = st.one_of(
        st.dictionaries(st.sampled_from("abc"), shares, min_size=1),
        st.dictionaries(st.one_of(st.sampled_from("abcd"), rare), shares, min_size=1),
    )
    second = st.dictionaries(st.sampled_from("xy"), shares, min_size=1)
    return st.one_of(
        st.builds(Wish, st.just(verb), weights=first, status=st.just(status)),
        st.builds(Wish, st.just(verb), weights=second, status=st.just(status), version=st.just("2.0.0")),
    )


statuses = st.one_of(st.none(), st.sampled_from(ModelStatus))
single = st.builds(Wish, st.sampled_from(["enable", "disable", "canary"]), run_ids)
wishes = st.one_of(
    single,
    st.builds(Wish, st.just("revoke"), st.sampled_from("dy")),
    st.builds(Wish, st.just("change_status"), run_ids, statuses, st.one_of(st.none(), fractions)),
    st.builds(Wish, st.just("change_status"), run_ids, st.sampled_from([None, Active, Canary]), fractions),
    splits_of("update_active", Active),
    splits_of("change_fractions", Active),
    splits_of("change_fractions", Canary),
    st.builds(
        Wish, st.just("reshare"), status=st.sampled_from([Active, Canary]), weights=st.dictionaries(run_ids, fractions)
    ),
    st.builds(Wish, st.just("restore"), number=st.integers(0, 20)),
    st.builds(Wish, st.just("confirm"), number=st.integers(0, 20)),
)
starts = st.fixed_dictionaries(dict.fromkeys(VERSION, st.sampled_from([None, 1.0, 0.0])))


class Model:
    """What each verb does to the statuses, said as simply as possible. A verb that refuses returns None."""

    def __init__(self, metrics: Mapping[str, float | None]) -> None:
        self.status = {run: Disabled if metric == 0 else New for run, metric in metrics.items()}
        self.revoked: set[str] = set()

    def after(self, wish: Wish, history: list[Document]) -> dict[str, ModelStatus] | None:
        """Return the statuses that a wish leads to, None when it has to be refused."""
        match wish.verb:
            case "enable":
                return self._only(wish.run) if self._serves(wish.run) else None
            case "disable" | "revoke":
                return {**self.status, wish.run: Disabled}
            case "canary":
                return {**self.status, wish.run: Canary} if self._serves(wish.run) else None
            case "change_status":
                return self._changed(wish.run, wish.status, wish.fraction)
            case "restore":
                return self._restored(history[wish.number % len(history)])
            case _:
                return self._split(wish)

    def _serves(self, run: str) -> bool:
        return run not in INFO and run not in self.revoked

    def _live(self, version: str, *among: ModelStatus) -> set[str]:
        return {run for run, status in self.status.items() if VERSION[run] == version and status in among}

    def _only(self, run: str) -> dict[str, ModelStatus]:
        return {**self.status, **dict.fromkeys(self._live(VERSION[run], Active), Disabled), run: Active}

    def _changed(self, run: str, wanted: ModelStatus | None, fraction: float | None) -> dict[str, ModelStatus] | None:
        current = self.status[run]
        if wanted is None and current is Active and fraction == 0:
            return {**self.status, run: Disabled}
        wanted = current if wanted is None else wanted
        if wanted in (Active, Canary) and not self._serves(run):
            return None
        others = self._live(VERSION[run], Active) - {run}
        if wanted is Active:
            unclear = fraction is None and bool(others) and current is not Active
            misfit = fraction is not None and (fraction == 0 or (fraction == 1) == bool(others))
            if unclear or misfit:
                return None
        if wanted in (Disabled, New) and fraction:
            return None
        return {**self.status, run: wanted}

    def _restored(self, target: Document) -> dict[str, ModelStatus] | None:
        live = {entry.run: entry.status for entries in target.live.values() for entry in entries}
        if not all(map(self._serves, live)):
            return None
        gone = {run: Disabled for run, status in self.status.items() if status in (Active, Canary)}
        return {**self.status, **gone, **live}

    def _split(self, wish: Wish) -> dict[str, ModelStatus] | None:
        update = wish.verb == "update_active"
        if wish.status is Active and not any(wish.weights.values()):
            return None
        for run, weight in wish.weights.items():
            current = self.status[run]
            stays = bool(weight) or wish.status is Canary
            fits = (not stays or current is not Disabled) if update else (current is wish.status or not stays)
            if not update and not stays and current not in (Active, Disabled):
                fits = False
            if VERSION[run] != wish.version or not fits or (stays and not self._serves(run)):
                return None
        leaving = self._live(wish.version, *((Active, Canary) if update else (wish.status or Active,)))
        given = {
            run: (wish.status or Active) if weight or wish.status is Canary else Disabled
            for run, weight in wish.weights.items()
        }
        return {**self.status, **dict.fromkeys(leaving, Disabled), **given}


def plan(wish: Wish, current: State, history: list[Document]) -> Change:
    """Return what the planner makes of a wish."""
    match wish.verb:
        case "enable":
            return planner.enable(current, wish.run)
        case "disable":
            return planner.disable(current, wish.run)
        case "canary":
            return planner.canary(current, wish.run)
        case "revoke":
            return planner.revoke(current, wish.run)
        case "change_status":
            return planner.change_status(current, wish.run, wish.status, wish.fraction)
        case "restore":
            return planner.restore(current, history[wish.number % len(history)])
        case "update_active":
            return splits.update_active(current, wish.weights, splits.Scope(wish.version))
        case _:
            assert wish.status is not None
            return splits.change_fractions(current, wish.weights, splits.Scope(wish.version), wish.status)


def reshared(wish: Wish, current: State) -> Wish:
    """Return a wish that gives new shares to runs that have the status already."""
    live = [entry.run for entry in current.live.get(wish.version, ()) if entry.status is wish.status]
    return replace(wish, verb="change_fractions", weights=dict(zip(live, wish.weights.values(), strict=False)))


def confirm(current: State, number: int) -> tuple[State, set[tuple[str, int]]]:
    """Return the state after one run that left shows it in its metric, and what may be forgotten by that."""
    off = current.document.off if current.document else ()
    if not off:
        return current, set()
    entry = off[number % len(off)]
    shown: RunFacts = facts(entry.run, VERSION[entry.run], float(entry.status), **INFO.get(entry.run, {}))
    return State(current.document, {**current.runs, entry.run: shown}, current.experiment_id, current.submodel), {
        (entry.run, entry.generation)
    }


@dataclass(frozen=True)
class Step:
    """One commit: what it began with, what was wanted, and what came of it."""

    wish: Wish
    before: State
    change: Change
    after: State
    confirmed: set[tuple[str, int]]
    expected: dict[str, ModelStatus]
    history: list[Document]


def played(metrics: Mapping[str, float | None], sequence: list[Wish]) -> Iterator[Step]:
    """Carry the wishes out one after the other, and check that the planner refuses exactly what the model does."""
    runs = [facts(run, VERSION[run], metric, **INFO.get(run, {})) for run, metric in metrics.items()]
    current, model = state(None, *runs), Model(metrics)
    history: list[Document] = []
    confirmed: set[tuple[str, int]] = set()
    for asked in sequence:
        wish = reshared(asked, current) if asked.verb == "reshare" else asked
        if asked.verb == "reshare" and not wish.weights:
            continue
        if wish.verb == "confirm":
            current, seen = confirm(current, wish.number)
            confirmed |= seen
        elif (wish.verb != "restore" or history) and (wish.verb, wish.status, wish.fraction) != (
            "change_status", None, None,
        ):  # fmt: skip
            expected = model.after(wish, history)
            if expected is None:
                with pytest.raises(InvalidInputError):
                    plan(wish, current, history)
                continue
            change = plan(wish, current, history)
            if is_fulfilled(current, change):
                assert {run: current.status(run)[0] for run in VERSION} == expected
                continue
            after = taken(current, change, confirmed)
            yield Step(wish, current, change, after, set(confirmed), expected, list(history))
            model.status = expected
            model.revoked |= {wish.run} if wish.verb == "revoke" else set()
            assert after.document is not None
            history.append(after.document)
            current = after


sequences = given(starts, st.lists(wishes, min_size=8, max_size=24))


@sequences
@settings(max_examples=300, deadline=None)
def test_statuses_are_those_of_the_simple_model(metrics: dict[str, float | None], sequence: list[Wish]) -> None:
    """After every commit each run has the status that the verbs give it, and revoked runs never come back."""
    gone: set[str] = set()
    for step in played(metrics, sequence):
        assert {run: step.after.status(run)[0] for run in VERSION} == step.expected
        gone |= {step.wish.run} if step.wish.verb == "revoke" else set()
        assert step.after.document is not None
        assert not gone & step.after.document.runs


@sequences
@settings(max_examples=150, deadline=None)
def test_the_same_wish_again_changes_nothing(metrics: dict[str, float | None], sequence: list[Wish]) -> None:
    """Every wish finds itself fulfilled by its own result, and the result can be read back from its bytes."""
    for step in played(metrics, sequence):
        assert is_fulfilled(step.after, plan(step.wish, step.after, step.history))
        made = step.after.document
        assert made is not None
        assert decode_slot(encode_document(made), made.generation) == made


@sequences
@settings(max_examples=150, deadline=None)
def test_runs_that_left_are_kept_until_confirmed(metrics: dict[str, float | None], sequence: list[Wish]) -> None:
    """The entry of a run that left is dropped when it is live again or confirmed, replaced by a newer, else kept."""
    for step in played(metrics, sequence):
        assert step.after.document is not None
        generation = step.after.document.generation
        old = {e.run: (e.status, e.generation) for e in step.before.document.off} if step.before.document else {}
        kept = {
            run: entry
            for run, entry in old.items()
            if run not in step.after.document.runs and (run, entry[1]) not in step.confirmed
        }
        fresh = {run: (status, generation) for run, status in step.change.off.items()}
        now = [(entry.run, (entry.status, entry.generation)) for entry in step.after.document.off]

        assert dict(now) == {**kept, **fresh}
        assert len(now) == len(dict(now))


@sequences
@settings(max_examples=150, deadline=None)
def test_as_few_slots_move_as_can(metrics: dict[str, float | None], sequence: list[Wish]) -> None:
    """Every run keeps as many of its slots as its new share allows."""
    for step in played(metrics, sequence):
        if step.wish.verb == "restore":
            assert step.after.live == step.history[step.wish.number % len(step.history)].live
            continue
        for version in step.after.live:
            before, after = owned(step.before, version), owned(step.after, version)
            for run in before.keys() & after.keys():
                assert overlap(before[run], after[run]) == min(count(before[run]), count(after[run]))


@sequences
@settings(max_examples=150, deadline=None)
def test_shares_are_those_asked_for(metrics: dict[str, float | None], sequence: list[Wish]) -> None:
    """Weights and shares become slots, one more or less; who stays when others leave keeps the proportions."""
    for step in played(metrics, sequence):
        wish = step.wish
        if wish.verb == "restore":
            continue
        for version in step.after.live:
            before, after = owned(step.before, version), owned(step.after, version)
            ideal = dict.fromkeys(after, 0.0) | {run: float(count(ranges)) for run, ranges in before.items()}
            if wish.weights and wish.status is Active and version == wish.version:
                ideal = dict(wish.weights)
            elif wish.run in after and wish.verb == "enable":
                ideal = {wish.run: 1.0}
            elif wish.run in after and wish.fraction is not None:
                rest = sum(weight for run, weight in ideal.items() if run != wish.run) or 1.0
                ideal = {run: weight / rest * (1 - wish.fraction) for run, weight in ideal.items()}
                ideal[wish.run] = wish.fraction
            elif after.keys() - before.keys():
                ideal = dict.fromkeys(after, 1.0)
            total = sum(ideal[run] for run in after)
            for run, ranges in after.items():
                assert abs(count(ranges) - ideal[run] / total * TOTAL) <= len(after)


def owned(current: State, version: str) -> dict[str, Ranges]:
    """Return the slots of the Active runs of a version."""
    return {entry.run: entry.slots for entry in current.live.get(version, ()) if entry.status is Active}


def overlap(left: Ranges, right: Ranges) -> int:
    """Return how many slots two sets of ranges have in common."""
    return sum(max(0, min(a[1], b[1]) - max(a[0], b[0])) for a in left for b in right)
