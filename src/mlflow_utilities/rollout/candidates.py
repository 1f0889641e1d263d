"""Which runs a verb may touch: refused before anything is written, with what is wrong and what to do."""

from __future__ import annotations

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.rollout.draft import State
from mlflow_utilities.rollout.facts import RunFacts

__all__ = ["candidate", "check_scope", "member"]


def member(state: State, run_id: str) -> RunFacts:
    """Return the facts of a run of this experiment and submodel.

    Raises:
        InvalidInputError: there is no such run, or it belongs elsewhere, or this framework did not save it.

    """
    facts = state.runs.get(run_id)
    if facts is None:
        raise InvalidInputError(f"there is no run {run_id}", hint="list_runs shows the runs of an experiment")
    check_scope(facts, state.experiment_id, state.submodel)
    return facts


def check_scope(facts: RunFacts, experiment_id: str, submodel: str) -> None:
    """Refuse a run of another experiment or submodel, or one that this framework did not save.

    Raises:
        InvalidInputError: it is one of these.

    """
    run = f"run {facts.run_id}"
    if facts.experiment_id != experiment_id:
        raise InvalidInputError(
            f"{run} is of experiment {facts.experiment_id}, not of {experiment_id}", hint="name a run of this one"
        )
    if facts.submodel is None or facts.version is None:
        raise InvalidInputError(
            f"{run} has no submodel and semantic version: this framework did not save it", hint="use save_model"
        )
    if facts.submodel != submodel:
        raise InvalidInputError(
            f"{run} is of submodel {facts.submodel!r}, not of {submodel!r}", hint="give submodel_name"
        )


def candidate(state: State, run_id: str) -> str:
    """Return the version key of a run that may become Active or Canary.

    Raises:
        InvalidInputError: it is not a member, or is deleted, not finished, or revoked.

    """
    facts = member(state, run_id)
    run = f"run {run_id}"
    if facts.deleted:
        raise InvalidInputError(f"{run} is deleted", hint="restore it with restore_run first")
    if facts.run_status != "FINISHED":
        raise InvalidInputError(
            f"{run} is {facts.run_status}, not FINISHED", hint="only a completely saved model can be used"
        )
    if run_id in state.revoked:
        raise InvalidInputError(f"{run} is revoked", hint="save the model again as a new run")
    assert facts.version is not None
    return facts.version.without_build
