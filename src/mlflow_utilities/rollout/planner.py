"""What each verb makes of a rollout. Pure: the same state and wish always give the same change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.rollout.candidates import candidate, member
from mlflow_utilities.rollout.document import Document, LiveEntry
from mlflow_utilities.rollout.draft import MOST_REVOKED, Change, Live, State
from mlflow_utilities.rollout.slots import TOTAL, Ranges, count, partition, reassign, weight_of
from mlflow_utilities.rollout.status import ModelStatus

__all__ = [
    "canary",
    "change_of",
    "change_status",
    "disable",
    "enable",
    "mirror_of",
    "restore",
    "revoke",
    "split_live",
    "without",
]

FULL_MIRROR = TOTAL


def enable(state: State, run_id: str) -> Change:
    """Make the run the only Active one of its version; canaries stay."""
    key = candidate(state, run_id)
    entries = split_live(state, key, {run_id: 1.0}, _canaries(state, key, {run_id}))
    return change_of(state, {**state.live, key: entries})


def disable(state: State, run_id: str, status: ModelStatus = ModelStatus.Disabled) -> Change:
    """Take the run out; the other Active runs of its version fill its share."""
    member(state, run_id)
    return change_of(state, without(state, run_id), {run_id: status})


def canary(state: State, run_id: str, mirror: int | None = None) -> Change:
    """Let the run get copies of requests, all of them unless `mirror` (in 1/10,000) says otherwise or did before."""
    key = candidate(state, run_id)
    found = state.document.find(run_id) if state.document else None
    if mirror is None:
        mirror = found[1].mirror if found and found[1].status is ModelStatus.Canary else FULL_MIRROR
    live = without(state, run_id)
    entry = LiveEntry(run_id, ModelStatus.Canary, (), mirror)
    return change_of(state, {**live, key: (*live.get(key, ()), entry)})


def change_status(state: State, run_id: str, status: ModelStatus | None, fraction: float | None) -> Change:
    """Give one run another status, another share, or both; None leaves it as it is.

    Raises InvalidInputError when the two do not fit together, or do not fit the other runs of the version.
    """
    member(state, run_id)
    current, _ = state.status(run_id)
    if fraction is not None:
        fraction = _share(run_id, fraction)
    if status is None and current is ModelStatus.Active and fraction == 0:
        return disable(state, run_id)
    wanted = current if status is None else status
    if wanted is ModelStatus.Active:
        return _activate(state, run_id, fraction)
    if wanted is ModelStatus.Canary:
        return canary(state, run_id, None if fraction is None else mirror_of(run_id, fraction))
    if fraction:
        raise InvalidInputError(
            f"run {run_id} would be {wanted.name} with the share {fraction!r}",
            hint="only Active and Canary runs have a share: give new_active_state too, or 0.0",
        )
    return disable(state, run_id, wanted)


def revoke(state: State, run_id: str) -> Change:
    """Take the run out now, even if nothing is left, and for good."""
    member(state, run_id)
    off = {run_id: ModelStatus.Disabled}
    revoked = state.revoked if run_id in state.revoked else (*state.revoked, run_id)
    return change_of(state, without(state, run_id), off, revoked=revoked[-MOST_REVOKED:])


def restore(state: State, target: Document) -> Change:
    """Bring back the live runs of an older document, slot for slot.

    Raises InvalidInputError when one of them is deleted or revoked since.
    """
    for version, entries in target.live.items():
        for entry in entries:
            if candidate(state, entry.run) != version:
                raise InvalidInputError(
                    f"run {entry.run} is not of version {version} any more", hint="roll back to another generation"
                )
    change = change_of(state, target.live)
    return Change(change.live, change.off, change.revoked, restores=target.generation)


def change_of(
    state: State,
    live: Live,
    resets: Mapping[str, ModelStatus] | None = None,
    *,
    revoked: tuple[str, ...] | None = None,
) -> Change:
    """Return the change to `live`: runs that leave become Disabled, those of `resets` get that status."""
    stays = {entry.run for entries in live.values() for entry in entries}
    off = {
        entry.run: ModelStatus.Disabled
        for entries in state.live.values()
        for entry in entries
        if entry.run not in stays
    }
    for run_id, status in (resets or {}).items():
        if run_id in off or state.status(run_id)[0] is not status:
            off[run_id] = status
    kept = {version: entries for version, entries in live.items() if entries}
    return Change(kept, off, state.revoked if revoked is None else revoked)


def split_live(
    state: State, key: str, weights: Mapping[str, float], canaries: Iterable[LiveEntry]
) -> tuple[LiveEntry, ...]:
    """Return the entries of a version whose Active runs have these weights, with as few slots moved as possible."""
    counts = partition(weights)
    owned = reassign(_owned(state.live, key), counts)
    return (*(LiveEntry(run, ModelStatus.Active, ranges, 0) for run, ranges in owned.items()), *canaries)


def without(state: State, run_id: str) -> dict[str, tuple[LiveEntry, ...]]:
    """Return the live runs without one; the other Active runs of its version are scaled up."""
    live = dict(state.live)
    found = state.document.find(run_id) if state.document else None
    if found is None:
        return live
    key, entry = found
    others = {run: float(count(ranges)) for run, ranges in _owned(live, key).items() if run != run_id}
    canaries = _canaries(state, key, {run_id})
    if entry.status is ModelStatus.Active and others:
        live[key] = split_live(state, key, others, canaries)
    else:
        live[key] = tuple(other for other in live[key] if other.run != run_id)
    return live


def mirror_of(run_id: str, fraction: object) -> int:
    """Return the share of requests that is copied to a canary, in 1/10,000: at least 1 unless the share is 0.

    Raises:
        InvalidInputError: it is not a number from 0 to 1.

    """
    share = _share(run_id, fraction)
    return max(round(share * TOTAL), 1) if share else 0


def _activate(state: State, run_id: str, fraction: float | None) -> Change:
    key = candidate(state, run_id)
    owned = _owned(state.live, key)
    others = {run: float(count(ranges)) for run, ranges in owned.items() if run != run_id}
    if fraction is None:
        if run_id in owned:
            return change_of(state, state.live)
        fraction = None if others else 1.0
    if fraction is None or fraction == 0 or (fraction == 1) != (not others):
        raise _misfit(run_id, key, fraction, len(others))
    # Its slots are set first, so that the same wish again finds the others as they are.
    slots = min(max(round(fraction * TOTAL), 1), TOTAL - len(others))
    rest = partition(others, TOTAL - slots) if others else {}
    entries = split_live(state, key, {**rest, run_id: slots}, _canaries(state, key, {run_id}))
    return change_of(state, {**state.live, key: entries})


def _misfit(run_id: str, key: str, fraction: float | None, others: int) -> InvalidInputError:
    if fraction is None:
        runs, are = ("1 run", "is") if others == 1 else (f"{others} runs", "are")
        reason = f"{runs} of version {key} {are} Active, and no share is given for it"
        hint = "give new_test_fraction, or use enable_run or update_active_runs"
    elif fraction == 0:
        reason, hint = "an Active run has a share", "use disable_run, or a share above 0"
    elif others:
        runs = "1 other Active run" if others == 1 else f"{others} other Active runs"
        reason = f"the share {fraction!r} leaves nothing for {runs} of version {key}"
        hint = "use enable_run to make it the only one"
    else:
        reason = f"it would be the only Active run of version {key}, with the share {fraction!r} instead of 1.0"
        hint = "use update_active_runs to set the shares of several runs at once"
    return InvalidInputError(f"run {run_id} cannot become Active: {reason}", hint=hint)


def _share(run_id: str, fraction: object) -> float:
    share = weight_of(run_id, fraction)
    if share > 1:
        raise InvalidInputError(f"the share {fraction!r} of run {run_id} is above 1", hint="give a number in [0, 1]")
    return share


def _owned(live: Live, key: str) -> dict[str, Ranges]:
    return {entry.run: entry.slots for entry in live.get(key, ()) if entry.status is ModelStatus.Active}


def _canaries(state: State, key: str, leaving: set[str]) -> list[LiveEntry]:
    return [
        entry for entry in state.live.get(key, ()) if entry.status is ModelStatus.Canary and entry.run not in leaving
    ]
