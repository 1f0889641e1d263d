"""How every command that writes goes: plan, show, ask, write exactly that plan, print the result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from mlflow_utilities.cli.confirming import confirm
from mlflow_utilities.cli.options import Common, Writing
from mlflow_utilities.cli.printing import fraction, print_json, print_table, say
from mlflow_utilities.cli.running import run_with_client
from mlflow_utilities.cli.shapes import rollout_shape

if TYPE_CHECKING:
    from mlflow_utilities.client import AsyncMlflowClient
    from mlflow_utilities.mlflow_api import LiveRun, Rollout, RolloutEntry

__all__ = ["Planned", "Prepare", "Verb", "change", "concerns_production", "difference"]

# A verb with its own arguments bound: takes client, why, expected_generation and dry_run.
Verb: TypeAlias = "Callable[..., Awaitable[Rollout]]"
# Finds the runs that the command line names, once, and binds the verb to them.
Prepare: TypeAlias = "Callable[[AsyncMlflowClient], Awaitable[Verb]]"


@dataclass(frozen=True, slots=True)
class Planned:
    """A verb, what it would make of the rollout, and the rollout that it was planned on."""

    verb: Verb
    plan: Rollout
    before: RolloutEntry

    @property
    def writes(self) -> bool:
        """Whether the rollout would get another generation."""
        return self.plan.generation != self.before.generation


def change(common: Common, writing: Writing, prepare: Prepare) -> None:
    """Carry out a change: with `--dry-run` only show it, without `--yes` show it and ask when it is about production.

    What is written is the plan that was shown: the verb gets the generation it was planned on.

    Raises:
        NotConfirmedError: it was not confirmed; nothing was written.
        RolloutConflictError: somebody else changed the rollout meanwhile; nothing was written.

    """
    if writing.yes and not writing.dry_run:
        _print_result(common, _write(common, writing, prepare))
        return
    planned = run_with_client(common, lambda client: _plan(client, writing, prepare))
    if writing.dry_run:
        _print_plan(common, planned)
        return
    if concerns_production(planned):
        _show(common, planned, err=True)
        confirm("Make this change?")

    async def again(client: AsyncMlflowClient) -> Verb:
        return planned.verb

    if writing.expected_generation is None:
        writing = replace(writing, expected_generation=planned.before.generation)
    _print_result(common, _write(common, writing, again))


async def _plan(client: AsyncMlflowClient, writing: Writing, prepare: Prepare) -> Planned:
    verb = await prepare(client)
    plan = await verb(client=client, why=writing.why, expected_generation=writing.expected_generation, dry_run=True)
    before = await _planned_on(client, plan)
    if plan.generation == before.generation:
        plan = replace(plan, live=before.live)
    return Planned(verb, plan, before)


async def _planned_on(client: AsyncMlflowClient, plan: Rollout) -> RolloutEntry:
    """Return the rollout that a plan was made on: what this client read last; without a ledger, what metrics say."""
    from mlflow_utilities import ModelStatus
    from mlflow_utilities.mlflow_api import LiveRun, RolloutEntry, list_runs
    from mlflow_utilities.mlflow_api.values import entry_of
    from mlflow_utilities.rollout.experiments import known_ledger
    from mlflow_utilities.rollout.history import Slot

    ledger = known_ledger(client, plan.experiment_id, plan.submodel_name)
    document = ledger.document if ledger else None
    if document is not None:
        return entry_of(Slot(document.generation, document, ""))
    runs = await list_runs(None, plan.experiment_id, submodel_name=plan.submodel_name, client=client)
    states = (ModelStatus.Active, ModelStatus.Canary)
    live = [LiveRun(run.run_id, run.version, run.status, run.test_fraction) for run in runs if run.status in states]
    return RolloutEntry(generation=0, live=tuple(live))


def _write(common: Common, writing: Writing, prepare: Prepare) -> Rollout:
    async def write(client: AsyncMlflowClient) -> Rollout:
        verb = await prepare(client)
        left = await verb(
            client=client, why=writing.why, expected_generation=writing.expected_generation, dry_run=False
        )
        if left.generation:
            return left
        return replace(left, live=(await _planned_on(client, left)).live)  # what metrics alone say is live

    try:
        return run_with_client(common, write)
    except KeyboardInterrupt:
        say("whether the change was made is not known: mlflow-utilities history shows it")
        raise


def concerns_production(planned: Planned) -> bool:
    """Return whether a change may alter what a request meets: anything but a change of runs that are not live."""
    if not planned.writes:
        return False
    live = {run.run_id for run in (*planned.before.live, *planned.plan.live)}
    only_others = bool(planned.plan.changes) and live.isdisjoint(planned.plan.changes)
    same = _by_run(planned.before) == _by_run(planned.plan)
    return not (only_others and same and planned.plan.revoked == planned.before.revoked)


def _by_run(entry: RolloutEntry) -> dict[str, LiveRun]:
    return {run.run_id: run for run in entry.live}


def difference(planned: Planned) -> list[tuple[str, str, str, str]]:
    """Return a row for each run that is live before or after, or changes: id, version, what it was, what it will be."""
    before, after = _by_run(planned.before), _by_run(planned.plan)
    changes = planned.plan.changes
    rows: list[tuple[str, str, str, str]] = []
    for run_id in dict.fromkeys((*after, *before, *changes)):
        now, then = before.get(run_id), after.get(run_id)
        known = then or now
        became = changes[run_id].name if then is None and run_id in changes else _state(then)
        rows.append((run_id, str(known.version) if known else "", _state(now), became))
    return rows


def _state(run: LiveRun | None) -> str:
    return f"{run.status.name} {fraction(run.test_fraction)}" if run else "not live"


def _show(common: Common, planned: Planned, *, err: bool = False) -> None:
    plan = planned.plan
    heading = f"{plan.verb} of submodel {plan.submodel_name}, experiment {plan.experiment_id}: "
    say(heading + f"generation {planned.before.generation} becomes {plan.generation}")
    print_table(common, ("run", "version", "now", "then"), difference(planned), err=err)


def _print_plan(common: Common, planned: Planned) -> None:
    if common.json:
        print_json(rollout_shape(planned.plan, planned.before))
    elif planned.writes:
        _show(common, planned)
    else:
        _print_live(common, planned.plan)
        say("nothing would change")
    _warn(planned.plan)


def _print_result(common: Common, rollout: Rollout) -> None:
    if common.json:
        print_json(rollout_shape(rollout))
    else:
        _print_live(common, rollout)
        what = "written" if rollout.written else "it was so already; nothing was written"
        say(f"generation {rollout.generation} of submodel {rollout.submodel_name}: {what}")
    _warn(rollout)


def _print_live(common: Common, rollout: Rollout) -> None:
    rows = [(run.run_id, run.version, run.status.name, fraction(run.test_fraction)) for run in rollout.live]
    print_table(common, ("run", "version", "status", "share"), rows, empty="nothing is live")


def _warn(rollout: Rollout) -> None:
    for warning in rollout.warnings:
        say(f"warning: {warning}")
