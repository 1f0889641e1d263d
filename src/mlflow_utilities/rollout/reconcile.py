"""Repair: write again what a rollout shows of itself, and clear away what crashed writers left."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import LedgerNewerFormatError, MlflowUtilitiesError
from mlflow_utilities.rollout.calls import find_runs, runs_by_id
from mlflow_utilities.rollout.document import Document, Newer
from mlflow_utilities.rollout.facts import RunFacts
from mlflow_utilities.rollout.history import Slot, newest, read_hops
from mlflow_utilities.rollout.names import (
    FIRST_GENERATION_TAG,
    INDEX_TAG,
    NOTE_TAG,
    ROLE_TAG,
    SUBMODEL_TAG,
    Hint,
    control_name,
    head_tag,
    rollout_note,
)
from mlflow_utilities.rollout.projection import is_confirmed, project, project_off, stale_live
from mlflow_utilities.rollout.reader import Control, Ledger, find_control

__all__ = ["Repairs", "reconcile"]


@dataclass(slots=True)
class Repairs:
    """What was written again (`projected` run ids), cleared away, and noticed."""

    generation: int
    projected: list[str] = field(default_factory=list[str])
    deleted_runs: list[str] = field(default_factory=list[str])
    deleted_experiments: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])


async def reconcile(client: AsyncMlflowClient, ledger: Ledger, *, dry_run: bool = False) -> Repairs:
    """Show the current document on its runs, mend hint, note and index tag, and delete what can never be used.

    The rollout itself is not changed. Doing it twice does nothing more.

    Raises:
        LedgerNewerFormatError: a newer release wrote the ledger, and knows better what is of use.

    """
    await ledger.look_again(client)
    tip = await ledger.walk(client, fresh=True)
    if tip.newer:
        raise _newer(tip.newer)
    repairs = Repairs(tip.document.generation if tip.document else 0)
    control = await find_control(client, ledger.experiment)
    if tip.document is not None:
        await _project(client, ledger, tip.document, repairs, dry_run=dry_run)
    if control is not None:
        await _mend_ledger(client, ledger, control, repairs, dry_run=dry_run)
    await _clear_candidates(client, ledger, repairs, dry_run=dry_run)
    return repairs


async def _project(
    client: AsyncMlflowClient, ledger: Ledger, document: Document, repairs: Repairs, *, dry_run: bool
) -> None:
    live = [entry.run for entries in document.live.values() for entry in entries]
    runs = await runs_by_id(client, ledger.experiment.experiment_id, [*live, *(entry.run for entry in document.off)])
    repairs.warnings.extend(f"run {run} is live and does not exist" for run in live if run not in runs)
    repairs.warnings.extend(f"run {run} is live and deleted" for run in live if run in runs and runs[run].deleted)
    repairs.warnings.extend(_foreign(document, runs))
    stale = stale_live(document, runs)
    unconfirmed = [entry for entry in document.off if not is_confirmed(entry, runs.get(entry.run))]
    repairs.projected = sorted([*stale, *(entry.run for entry in unconfirmed)])
    if dry_run:
        return
    failed = await project(client, document.generation, stale)
    repairs.warnings.extend(f"run {run} could not be written: {why}" for run, why in failed.items())
    ledger.confirmed.update(await project_off(client, unconfirmed))


def _foreign(document: Document, runs: dict[str, RunFacts]) -> list[str]:
    return [
        f"run {run} has metrics of generation {facts.step}, which does not exist: something else writes them"
        for run, facts in runs.items()
        if facts.step > document.generation
    ]


async def _mend_ledger(
    client: AsyncMlflowClient, ledger: Ledger, control: Control, repairs: Repairs, *, dry_run: bool
) -> None:
    """Mend what the ledger's runs show of themselves, and delete those that no pointer can reach any more.

    They are searched before the chain is read: one that is on the chain only afterwards is not mistaken for an orphan.
    """
    found = await find_runs(client, control.experiment_id, f"tags.`{ROLE_TAG}` = 'ledger'")
    slots, hint = await read_hops(client, ledger, control)
    newer = next((slot.value.reason for slot in slots if isinstance(slot.value, Newer)), None)
    if newer:
        raise _newer(newer)
    if not dry_run:
        await _mend_signs(client, ledger, control, hint)
        await _mend_runs(client, found, slots)
    repairs.deleted_runs = _orphans(found, slots, ledger.submodel)
    for run_id in repairs.deleted_runs if not dry_run else ():
        await _try(repairs, client.delete_run(run_id))


def _newer(reason: str) -> LedgerNewerFormatError:
    return LedgerNewerFormatError(
        f"a newer release wrote the ledger: {reason}", hint="update mlflow-utilities before reconciling"
    )


async def _mend_signs(client: AsyncMlflowClient, ledger: Ledger, control: Control, hint: Hint | None) -> None:
    if INDEX_TAG not in control.tags:
        await client.set_experiment_tag(control.experiment_id, INDEX_TAG, control.index_run)
    key = head_tag(ledger.submodel)
    if hint is not None and control.tags.get(key) != hint.text():
        await client.set_experiment_tag(control.experiment_id, key, hint.text())


async def _mend_runs(client: AsyncMlflowClient, found: list[RunFacts], slots: list[Slot]) -> None:
    """Let the run where the chain ends be described by what is live now, and end the ones before it."""
    chain = {slot.run_id for slot in slots}
    document = newest(slots)
    for facts in found:
        if facts.run_id not in chain or document is None:
            continue
        note = rollout_note(document)
        if facts.run_id != slots[-1].run_id:
            if facts.run_status == "RUNNING":
                await client.set_terminated(facts.run_id)
        elif facts.tags.get(NOTE_TAG) != note:
            await client.set_tag(facts.run_id, NOTE_TAG, note)


def _orphans(found: list[RunFacts], slots: list[Slot], submodel: str) -> list[str]:
    """Return the runs off the chain whose first slot is taken, so that no pointer to them can be stored."""
    chain = {slot.run_id for slot in slots}
    last = max((slot.number for slot in slots), default=0)
    firsts = {
        facts.run_id: facts.tags.get(FIRST_GENERATION_TAG, "")
        for facts in found
        if facts.tags.get(SUBMODEL_TAG) == submodel and facts.run_id not in chain
    }
    return [run_id for run_id, first in firsts.items() if first.isdecimal() and int(first) <= last]


async def _clear_candidates(client: AsyncMlflowClient, ledger: Ledger, repairs: Repairs, *, dry_run: bool) -> None:
    """Delete candidates for the control experiment, listed before the winner is looked up."""
    name = control_name(ledger.experiment.experiment_id)
    candidates = [found async for found in client.iter_experiments(filter_string=f"attribute.name LIKE '{name}.new-%'")]
    winner = await find_control(client, ledger.experiment) if candidates else None
    if winner is None:
        return
    for found in candidates:
        if found.experiment_id != winner.experiment_id and found.name.startswith(f"{name}.new-"):
            repairs.deleted_experiments.append(found.experiment_id)
            if not dry_run:
                await _try(repairs, client.delete_experiment(found.experiment_id))


async def _try(repairs: Repairs, deletion: Awaitable[None]) -> None:
    try:
        await deletion
    except MlflowUtilitiesError as error:
        repairs.warnings.append(f"not deleted: {error}")
