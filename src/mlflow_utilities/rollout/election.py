"""Making the control experiment: candidates are complete before one of them takes the unique name."""

from __future__ import annotations

import secrets

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import (
    InvalidInputError,
    MlflowUtilitiesError,
    RolloutOutcomeUnknownError,
)
from mlflow_utilities.rollout.names import (
    EXPERIMENT_TAG,
    INDEX_TAG,
    NOTE_TAG,
    ROLE_TAG,
    control_name,
    control_note,
    identity,
)
from mlflow_utilities.rollout.reader import Control, ModelExperiment, find_control

__all__ = ["elect"]

_RENAMES = 3


async def elect(client: AsyncMlflowClient, experiment: ModelExperiment) -> Control:
    """Return the control experiment of a model's experiment, made if there is none; six requests to make it.

    Of several that are made at once one wins the name, and all callers get that one.

    Raises:
        RolloutOutcomeUnknownError: the name stayed free although it was taken three times; call again.
        LedgerDeletedError, LedgerForeignError: as `find_control`.

    """
    found = await find_control(client, experiment)
    if found is not None:
        return found
    name = control_name(experiment.experiment_id)
    note = control_note(experiment.experiment_id, experiment.name)
    tags = {EXPERIMENT_TAG: identity(experiment.experiment_id, experiment.name, experiment.creation_time)}
    mine = await client.create_experiment(f"{name}.new-{secrets.token_hex(8)}", tags={**tags, NOTE_TAG: note})
    index = await client.create_run(mine, run_name="index", tags={ROLE_TAG: "index"})
    # Before the name is taken: a control experiment without an index would be found otherwise.
    await client.set_experiment_tag(mine, INDEX_TAG, index.info.run_id)
    winner = await _take_name(client, experiment, mine, name, index.info.run_id)
    if winner.experiment_id != mine:
        await _give_up(client, mine)
    return winner


async def _take_name(
    client: AsyncMlflowClient, experiment: ModelExperiment, mine: str, name: str, index_run: str
) -> Control:
    refusal: MlflowUtilitiesError | None = None
    for _ in range(_RENAMES):
        try:
            await client.rename_experiment(mine, name)
        except InvalidInputError:
            raise
        except MlflowUtilitiesError as error:  # taken, deleted or lost: only looking tells
            refusal = error
        winner = await find_control(client, experiment)
        if winner is not None:
            return winner
    raise RolloutOutcomeUnknownError(
        f"experiment {mine} could not take the name {name}: {refusal}",
        run_id=index_run,
        key="new_name",
        value=name,
        op=mine,
        hint="make the same call again",
    ) from refusal


async def _give_up(client: AsyncMlflowClient, mine: str) -> None:
    try:
        await client.delete_experiment(mine)
    except MlflowUtilitiesError:
        return  # reconcile removes it
