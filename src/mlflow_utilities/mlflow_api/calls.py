"""What the verbs share: a client, checked options, and the change of one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import InvalidInputError, NotFoundError
from mlflow_utilities.rollout.calls import check_run_id, read_run
from mlflow_utilities.rollout.candidates import member
from mlflow_utilities.rollout.draft import Change, State
from mlflow_utilities.rollout.executor import commit
from mlflow_utilities.rollout.experiments import (
    all_ledgers,
    known_ledger,
    ledger_of,
    resolve_experiment,
)
from mlflow_utilities.rollout.facts import read_facts
from mlflow_utilities.rollout.reader import Ledger
from mlflow_utilities.rollout.rounds import Options, Outcome, Wish
from mlflow_utilities.rollout.version import Version, VersionLike

__all__ = ["change_run", "check_metadata", "exact_version", "options_of"]

_LONGEST_WHY = 200


def options_of(client: AsyncMlflowClient, why: object, expected_generation: object, dry_run: object) -> Options:
    """Return checked options of a writing verb.

    Raises:
        InvalidInputError: `why` is not text of up to 200 characters, or the generation is not an integer >= 0.

    """
    if not isinstance(why, str) or len(why) > _LONGEST_WHY:
        raise InvalidInputError(f"why is {why!r}", hint=f"give text of at most {_LONGEST_WHY} characters")
    if expected_generation is not None and (
        isinstance(expected_generation, bool) or not isinstance(expected_generation, int) or expected_generation < 0
    ):
        raise InvalidInputError(
            f"expected_generation is {expected_generation!r}", hint="give the generation that rollout_history shows"
        )
    return Options(client.user, why, expected_generation, bool(dry_run))


def exact_version(model_version: VersionLike) -> Version:
    """Return the one version that a change is about.

    Raises:
        InvalidInputError: it is not a semantic version; ranges can be listed, not changed.

    """
    return Version.parse(model_version)


def check_metadata(value: object, name: str) -> Mapping[str, Any]:
    """Return a mapping of metadata, empty for None.

    Raises:
        InvalidInputError: it is not a mapping with text keys.

    """
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) and key for key in value):  # pyright: ignore[reportUnknownVariableType]
        raise InvalidInputError(f"{name} is {value!r}", hint="give a mapping with keys that are text")
    return value  # pyright: ignore[reportUnknownVariableType]


async def change_run(
    client: AsyncMlflowClient,
    run_id: str,
    verb: str,
    plan: Callable[[State], Change],
    options: Options,
) -> tuple[Outcome, Ledger]:
    """Carry out a verb that is about one run: the run itself says of which experiment and submodel.

    Raises:
        InvalidInputError: there is no such run, or this framework did not save it.

    """
    generations = _generations(client)
    try:
        facts = read_facts(await read_run(client, check_run_id(run_id)))
    except NotFoundError as error:
        raise InvalidInputError(
            f"there is no run {run_id}", hint="list_runs shows the runs of an experiment"
        ) from error
    submodel = member(State(None, {run_id: facts}, facts.experiment_id, facts.submodel or ""), run_id).submodel or ""
    ledger = known_ledger(client, facts.experiment_id, submodel)
    if ledger is None:
        ledger = ledger_of(client, await resolve_experiment(client, facts.experiment_id, None), submodel)
    known_at = generations.get((facts.experiment_id, submodel), 0)
    wish = Wish(verb, plan, frozenset({run_id}))
    return await commit(client, ledger, wish, options, known={run_id: facts}, known_at=known_at), ledger


def _generations(client: AsyncMlflowClient) -> dict[tuple[str, str], int]:
    """Return which generation of each ledger was read before the run is: a run read earlier may be out of date."""
    return {key: ledger.document.generation for key, ledger in all_ledgers(client).items() if ledger.document}
