"""What the verbs make of a whole version: which of its runs are live, and with which shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.rollout.candidates import candidate, member
from mlflow_utilities.rollout.document import LiveEntry
from mlflow_utilities.rollout.draft import Change, State
from mlflow_utilities.rollout.planner import change_of, mirror_of, split_live
from mlflow_utilities.rollout.slots import weight_of
from mlflow_utilities.rollout.status import ModelStatus

__all__ = ["Scope", "change_fractions", "check_weights", "update_active"]


@dataclass(frozen=True, slots=True)
class Scope:
    """The runs that a change of shares may touch: one version, and in it those with this metadata."""

    version: str
    immutable: Mapping[str, Any] | None = None
    mutable: Mapping[str, Any] | None = None

    @property
    def narrow(self) -> bool:
        """Whether metadata leaves out some runs of the version."""
        return bool(self.immutable or self.mutable)

    def has(self, state: State, run_id: str) -> bool:
        """Return whether a live run of the version is in the scope."""
        facts = state.runs.get(run_id)
        return not self.narrow or (facts is not None and facts.matches(self.immutable, self.mutable))


def check_weights(weights: Mapping[str, float], status: ModelStatus = ModelStatus.Active) -> None:
    """Refuse weights that can never be a split, or shares that can never be copied to canaries.

    Raises:
        InvalidInputError: there are none, one is not a finite number >= 0, all are 0, or a canary's is above 1.

    """
    if not isinstance(weights, Mapping) or not weights:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInputError(f"test_fraction_by_run is {weights!r}", hint="give a share for at least one run id")
    for run_id in weights:
        if not isinstance(run_id, str) or not run_id:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInputError(f"test_fraction_by_run has the run id {run_id!r}", hint="give run ids as text")
    if status is ModelStatus.Canary:
        for run_id, weight in weights.items():
            mirror_of(run_id, weight)
    elif not sum(weight_of(run, weight) > 0 for run, weight in weights.items()):
        raise InvalidInputError(
            f"the weights {dict(weights)!r} are all zero", hint="give one run a share, or use disable_run"
        )


def update_active(state: State, weights: Mapping[str, float], scope: Scope) -> Change:
    """Make the runs Active with these weights; weight 0 disables, as it does everything else live in scope."""
    check_weights(weights)
    for run_id, weight in weights.items():
        _check_member(state, run_id, scope)
        if weight and state.status(run_id)[0] is ModelStatus.Disabled:
            raise InvalidInputError(
                f"run {run_id} is Disabled, and Disabled runs are not candidates",
                hint="enable_run, canary_run or change_status brings it back",
            )
        if weight:
            candidate(state, run_id)
    stays: list[LiveEntry] = []
    for entry in state.live.get(scope.version, ()):
        if entry.run in weights or scope.has(state, entry.run):
            continue
        if entry.status is ModelStatus.Active:
            raise _out_of_scope(entry.run, scope)
        stays.append(entry)
    entries = split_live(state, scope.version, weights, stays)
    off = {run: ModelStatus.Disabled for run, weight in weights.items() if not weight}
    return change_of(state, {**state.live, scope.version: entries}, off)


def change_fractions(state: State, weights: Mapping[str, float], scope: Scope, status: ModelStatus) -> Change:
    """Give the runs of a status new shares; runs of that status that are missing are disabled."""
    check_weights(weights, status)
    for run_id, weight in weights.items():
        _check_member(state, run_id, scope)
        current, _ = state.status(run_id)
        already_out = status is ModelStatus.Active and not weight and current is ModelStatus.Disabled
        if current is not status and not already_out:
            raise InvalidInputError(
                f"run {run_id} is {current.name}, not {status.name}",
                hint="change_test_fractions keeps statuses: use update_active_runs or canary_run",
            )
        if weight or status is ModelStatus.Canary:
            candidate(state, run_id)
    stays: list[LiveEntry] = []
    for entry in state.live.get(scope.version, ()):
        if entry.run in weights:
            continue
        if entry.status is not status or not scope.has(state, entry.run):
            if entry.status is status is ModelStatus.Active:
                raise _out_of_scope(entry.run, scope)
            stays.append(entry)
    if status is ModelStatus.Active:
        entries = split_live(state, scope.version, weights, stays)
    else:
        changed = [LiveEntry(run, status, (), mirror_of(run, weight)) for run, weight in weights.items()]
        entries = (*stays, *changed)
    return change_of(state, {**state.live, scope.version: entries})


def _check_member(state: State, run_id: str, scope: Scope) -> None:
    facts = member(state, run_id)
    assert facts.version is not None
    if facts.version.without_build != scope.version:
        raise InvalidInputError(
            f"run {run_id} is of version {facts.version}, not of {scope.version}", hint="one call changes one version"
        )
    if not facts.matches(scope.immutable, scope.mutable):
        raise InvalidInputError(
            f"run {run_id} does not have the metadata {dict(scope.immutable or {}) | dict(scope.mutable or {})!r}",
            hint="name runs that have it, or leave the extra metadata out",
        )


def _out_of_scope(run_id: str, scope: Scope) -> InvalidInputError:
    wanted = dict(scope.immutable or {}) | dict(scope.mutable or {})
    return InvalidInputError(
        f"run {run_id} of version {scope.version} is Active and does not have the metadata {wanted!r}",
        hint="the shares of one version add up to 1: give it a share too, disable it, or use another submodel",
    )
