"""One commit: the next slot gets a document, in the run where the chain ends or by a pointer to a new run."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable
from dataclasses import dataclass

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import (
    BadRequestError,
    InvalidParameterError,
    LedgerCorruptError,
    LedgerDeletedError,
    LedgerTruncatedError,
    MlflowConnectionError,
    MlflowUtilitiesError,
    NotFoundError,
    RolloutError,
    RolloutTooLargeError,
    ServerError,
)
from mlflow_utilities.rollout.calls import read_run
from mlflow_utilities.rollout.claim import Claim, claim
from mlflow_utilities.rollout.codec import encode_document, encode_pointer
from mlflow_utilities.rollout.document import MAX_VALUE, Document, Pointer, index_key, slot_key
from mlflow_utilities.rollout.names import Hint, head_tag, ledger_run_name, ledger_run_tags
from mlflow_utilities.rollout.reader import Control, Ledger, Tip, params_of

__all__ = ["MOST_CHARACTERS", "MOST_SLOTS", "Written", "checked_value", "write"]

MOST_SLOTS = 16
MOST_CHARACTERS = 11_000
_LOOKS = (0.0, 0.5, 1.0)
_BEGINNINGS = 4
_PAUSE = 0.2


@dataclass(frozen=True, slots=True)
class Written:
    """How an attempt to commit ended."""

    won: bool
    warnings: tuple[str, ...] = ()


def checked_value(document: Document) -> str:
    """Return the param value of a document.

    Raises:
        RolloutTooLargeError: it does not fit into one param.

    """
    value = encode_document(document)
    if len(value) > MAX_VALUE:
        live = sum(map(len, document.live.values()))
        raise RolloutTooLargeError(
            f"the rollout with {live} live runs and {len(document.off)} that leave takes {len(value)} characters, and "
            f"{MAX_VALUE} fit into one commit",
            hint="change fewer runs at once, or use another submodel",
        )
    return value


async def write(client: AsyncMlflowClient, ledger: Ledger, control: Control, tip: Tip, document: Document) -> Written:
    """Commit `document` to the slot after `tip`: two requests in place, seven by pointer.

    Raises:
        RolloutTooLargeError: it does not fit; nothing was sent.
        LedgerDeletedError: the run where the chain ends, or the control experiment, is deleted.
        LedgerTruncatedError: the server shortens values.
        LedgerCorruptError: the store does not keep params as they are written.
        RolloutOutcomeUnknownError: the answer was lost for good; the same call again settles it.

    """
    value = checked_value(document)
    fits = tip.slots < MOST_SLOTS and tip.characters + len(value) <= MOST_CHARACTERS
    if tip.run_id is not None and not tip.at_index and fits:
        return await _in_place(client, tip.run_id, document, value)
    return await _by_pointer(client, ledger, control, tip, document, value)


async def _in_place(client: AsyncMlflowClient, run_id: str, document: Document, value: str) -> Written:
    key = slot_key(document.generation)
    if await claim(client, run_id, key, value, document.op) is Claim.LOST:
        return Written(won=False)
    try:
        found = await _seen(client, run_id, key)
    except MlflowUtilitiesError as error:
        return Written(won=True, warnings=(f"the commit could not be read back: {error}",))
    if found is None:
        return Written(won=True, warnings=("the commit is not visible yet: is this a read replica that lags behind?",))
    _check_kept(run_id, key, value, found)
    return Written(won=True)


async def _seen(client: AsyncMlflowClient, run_id: str, key: str) -> str | None:
    """Return what a slot holds, or None when it does not show: a read replica may lag behind."""
    for pause in _LOOKS:
        if pause:
            await client.clock.sleep(pause)
        try:
            found = params_of(await read_run(client, run_id, fresh=True)).get(key)
        except NotFoundError:
            continue
        if found is not None:
            return found
    return None


def _check_kept(run_id: str, key: str, value: str, found: str) -> None:
    if found == value:
        return
    if value.startswith(found):
        raise LedgerTruncatedError(
            f"the server keeps {len(found)} of the {len(value)} characters of {key} in run {run_id}",
            hint="MLflow 2.8.1 or newer is needed; the slot is skipped",
        )
    raise LedgerCorruptError(
        f"{key} of run {run_id} is not what was stored there",
        hint="this store's params are not write-once (MLflow's file store is not supported)",
    )


async def _by_pointer(
    client: AsyncMlflowClient, ledger: Ledger, control: Control, tip: Tip, document: Document, value: str
) -> Written:
    key = slot_key(document.generation)
    run_id = await _begin_run(client, ledger, control, document)
    await claim(client, run_id, key, value, document.op)
    await _check_stored(client, run_id, key, value)
    pointer = Pointer(run_id, secrets.token_hex(8))
    source = tip.run_id or control.index_run
    source_key = index_key(ledger.submodel) if tip.at_index else key
    if await claim(client, source, source_key, encode_pointer(pointer), pointer.op) is Claim.LOST:
        await _best_effort(client.delete_run(run_id))
        return Written(won=False)
    ledger.move(run_id, document.generation + 1)
    hint = Hint(source, source_key, run_id)
    await _best_effort(client.set_experiment_tag(control.experiment_id, head_tag(ledger.submodel), hint.text()))
    if not tip.at_index:
        await _best_effort(client.set_terminated(source))
    return Written(won=True)


async def _begin_run(client: AsyncMlflowClient, ledger: Ledger, control: Control, document: Document) -> str:
    """Make the run where the chain may go on; one too many is harmless, so it is simply tried again."""
    attempt = 0
    while True:
        try:
            created = await client.create_run(
                control.experiment_id,
                run_name=ledger_run_name(ledger.submodel, document.generation),
                tags=ledger_run_tags(ledger.submodel, document),
            )
        except (BadRequestError, ServerError, MlflowConnectionError) as error:
            attempt += 1
            if attempt == _BEGINNINGS or getattr(error, "permanent", False):
                raise
            await client.clock.sleep(_PAUSE * 2**attempt * client.clock.random())
        except InvalidParameterError as refusal:
            if (await client.get_experiment(control.experiment_id)).lifecycle_stage != "deleted":
                raise
            raise LedgerDeletedError(
                f"the control experiment {control.experiment_id} is deleted",
                hint=f"restore_experiment({control.experiment_id!r})",
            ) from refusal
        else:
            return created.info.run_id


async def _check_stored(client: AsyncMlflowClient, run_id: str, key: str, value: str) -> None:
    """See that the new run holds exactly what it was given, before anything points to it."""
    found = await _seen(client, run_id, key)
    if found is None:
        raise RolloutError(
            f"run {run_id} is not visible yet: is this a read replica that lags behind?",
            hint="nothing was committed; make the same call again",
        )
    if found != value:
        await _best_effort(client.delete_run(run_id))
    _check_kept(run_id, key, value, found)


async def _best_effort(call: Awaitable[None]) -> None:
    """Finish what only helps people or saves requests; reconcile repairs it."""
    try:
        await call
    except MlflowUtilitiesError:
        return
