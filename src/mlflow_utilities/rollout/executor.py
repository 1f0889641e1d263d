"""Carrying out what a verb wants: read, check, plan, commit, and again when somebody else was first."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import LedgerNewerFormatError, RolloutError
from mlflow_utilities.rollout.adoption import live_states
from mlflow_utilities.rollout.document import Document
from mlflow_utilities.rollout.draft import State, changed_runs, is_fulfilled
from mlflow_utilities.rollout.election import elect
from mlflow_utilities.rollout.facts import RunFacts
from mlflow_utilities.rollout.listing import check_not_lost, is_ahead, submodel_runs
from mlflow_utilities.rollout.projection import is_confirmed, project, project_off, stale_live
from mlflow_utilities.rollout.reader import Control, Ledger, Tip, missing_run
from mlflow_utilities.rollout.rounds import (
    Options,
    Outcome,
    Wish,
    Work,
    adopted_document,
    document_of,
    pending_off,
)
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.writing import checked_value, write

__all__ = ["commit"]

_ROUNDS = 10
_LAGS = 8
_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_BETWEEN_READINGS = 1.0


class _Again(Enum):
    """Why another round is needed."""

    LOST = "somebody else took the slot"
    LAG = "the server shows an older state than is known to exist"
    NEXT = "this round prepared the next one"


async def commit(
    client: AsyncMlflowClient,
    ledger: Ledger,
    wish: Wish,
    options: Options,
    *,
    known: Mapping[str, RunFacts] | None = None,
    known_at: int = 0,
) -> Outcome:
    """Make the rollout what `wish` says, in one commit; nothing is written when it is already so.

    `known` are runs that were read after generation `known_at` of the ledger was. In the steady state: the walk, the
    runs, the claim, its reading back, and one projection for each changed run.

    Raises:
        InvalidInputError: the wish is refused; nothing was written.
        RolloutConflictError: somebody else's change came first.
        RolloutOutcomeUnknownError: the answer was lost for good; the same call again settles it.
        LedgerError: the ledger cannot be used.

    """
    work = Work(client, ledger, wish, options, known or {}, known_at, options.expected_generation)
    if ledger.lock.statistics().locked and ledger.document and (wish.version or wish.whole):
        work.begun, work.first = True, wish.planned_on or ledger.document  # the one before may change the same
    async with ledger.lock:  # tasks of one client take turns instead of racing each other through the server
        return await _commit(work)


async def _commit(work: Work) -> Outcome:
    client, ledger = work.client, work.ledger
    while work.lost < _ROUNDS:
        tip = await ledger.walk(client, fresh=True)
        if tip.lagging or tip.next_slot < work.floor:
            await _wait_for_replica(work, tip)
            continue
        if tip.newer:
            raise LedgerNewerFormatError(
                f"a newer release wrote the ledger: {tip.newer}", hint="update mlflow-utilities before writing"
            )
        if _generation(tip.document) != work.known_at:
            work.known = {}
        outcome = await _round(work, tip)
        if isinstance(outcome, Outcome):
            return outcome
        work.known = {}
        if outcome is _Again.LAG:
            await _wait_for_replica(work, tip)
        elif outcome is _Again.LOST:
            work.lost, work.floor = work.lost + 1, tip.next_slot + 1
            await _pause(work, work.lost)
    raise work.conflict(ledger.document, f"and others were first {_ROUNDS} times")


async def _round(work: Work, tip: Tip) -> Outcome | _Again:
    legacy: list[RunFacts] = []
    if tip.document is None:
        legacy = await submodel_runs(work.client, work.ledger.experiment.experiment_id, work.ledger.submodel)
    slot = _slot_for(tip, legacy)
    adoption = adopted_document(work.client, legacy, slot, work.options)
    document = adoption[0] if adoption else tip.document
    state = await work.state(document)
    read = [*state.runs.values(), *legacy]
    if is_ahead(read, tip.document) and work.lags < _LAGS:
        return _Again.LAG
    check_not_lost(read, tip.document)
    behind = work.is_behind(tip.document)
    work.check_conflict(document)
    change = work.wish.plan(state)
    if is_fulfilled(state, change):
        if tip.document is not None and not work.options.dry_run:
            await _finish(work, tip.document, state)
        return Outcome(tip.document, warnings=tuple(work.warnings))
    if behind:
        raise work.conflict(tip.document, f"changed the rollout after generation {work.expected}")
    planned = document_of(work, slot + (adoption is not None), state, change)
    checked_value(planned)
    if work.options.dry_run:
        return Outcome(planned, _changes(document, planned), warnings=tuple(work.warnings))
    control = work.ledger.control
    if control is None:
        work.ledger.control = await elect(work.client, work.ledger.experiment)
        return _Again.NEXT
    if adoption is not None:
        return await _adopt(work, control, tip, *adoption, legacy)
    if tip.document is not None:
        await _confirm(work, tip.document, state)
    return await _write(work, control, tip, document_of(work, slot, state, change), state)


def _slot_for(tip: Tip, legacy: list[RunFacts]) -> int:
    """Return the slot to fill; the first one lies above every step that another tool gave the metric."""
    if tip.document is not None or not tip.at_index:
        return tip.next_slot
    return max([tip.next_slot, *(facts.step + 1 for facts in legacy)])


async def _write(work: Work, control: Control, tip: Tip, document: Document, state: State) -> Outcome | _Again:
    written = await write(work.client, work.ledger, control, tip, document)
    if not written.won:
        return _Again.LOST
    work.ledger.learn(document)
    work.warnings.extend(written.warnings)
    changed = {**stale_live(document, state.runs), **changed_runs(tip.document, document)}
    failed = await project(work.client, document.generation, changed)
    work.ledger.confirmed = {
        (entry.run, entry.generation)
        for entry in document.off
        if (entry.run, entry.generation) in work.ledger.confirmed
        or (entry.generation == document.generation and entry.run not in failed)
    }
    work.warnings.extend(f"tags and metrics of run {run} are not up to date: {why}" for run, why in failed.items())
    return Outcome(
        document,
        _changes(tip.document, document),
        written=True,
        projected=not failed,
        warnings=tuple(work.warnings),
    )


async def _adopt(
    work: Work, control: Control, tip: Tip, document: Document, warnings: list[str], runs: list[RunFacts]
) -> _Again:
    """Commit what the earlier framework has live as generation 1, once two readings of it agree."""
    checked_value(document)
    await work.client.clock.sleep(_BETWEEN_READINGS)
    again = await submodel_runs(work.client, work.ledger.experiment.experiment_id, work.ledger.submodel)
    if live_states(again) != live_states(runs):
        work.lost += 1
        return _Again.NEXT
    outcome = await _write(work, control, tip, document, State(None))
    if isinstance(outcome, Outcome):
        work.warnings.extend(warnings)
        if work.expected == 0:
            work.expected = document.generation
        return _Again.NEXT
    return outcome


async def _finish(work: Work, document: Document, state: State) -> None:
    """Write what a writer that died after its commit did not get to show."""
    await _confirm(work, document, state)
    await project(work.client, document.generation, stale_live(document, state.runs))


async def _confirm(work: Work, document: Document, state: State) -> None:
    """See, or make, every run that left show that it did: only then may the next document forget it."""
    pending = pending_off(work.ledger, document)
    seen = [entry for entry in pending if is_confirmed(entry, state.runs.get(entry.run))]
    work.ledger.confirmed.update((entry.run, entry.generation) for entry in seen)
    rest = [entry for entry in pending if entry not in seen]
    work.ledger.confirmed.update(await project_off(work.client, rest))


def _generation(document: Document | None) -> int:
    return document.generation if document else 0


def _changes(before: Document | None, after: Document) -> dict[str, ModelStatus]:
    return {run: status for run, (status, _) in changed_runs(before, after).items()}


async def _wait_for_replica(work: Work, tip: Tip) -> None:
    work.lags += 1
    if work.lags == 1:
        await work.ledger.look_again(work.client)
    if work.lags > _LAGS and tip.missing and work.ledger.control:
        raise missing_run(tip.missing, work.ledger.control.experiment_id)
    if work.lags > _LAGS:
        known = _generation(work.ledger.document)
        raise RolloutError(
            f"the server shows slots up to {tip.next_slot - 1}, although generation {known} or a later one exists",
            hint="its read replica lags behind; nothing was written, try again later",
        )
    await _pause(work, work.lags)


async def _pause(work: Work, number: int) -> None:
    await work.client.clock.sleep(min(_LONGEST_PAUSE, _PAUSE * 2**number) * work.client.clock.random())
