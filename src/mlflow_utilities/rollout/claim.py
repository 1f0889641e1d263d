"""Claiming a slot: a run's param is write-once, so of several values the first one stays."""

from __future__ import annotations

from enum import Enum

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import (
    BadRequestError,
    InvalidParameterError,
    LedgerDeletedError,
    LedgerMissingError,
    MlflowApiError,
    MlflowConnectionError,
    MlflowTimeoutError,
    MlflowUtilitiesError,
    NotFoundError,
    ProtocolError,
    RateLimitedError,
    RolloutOutcomeUnknownError,
    ServerError,
)
from mlflow_utilities.rollout.calls import read_run
from mlflow_utilities.rollout.reader import params_of

__all__ = ["CLAIM_DEADLINE", "Claim", "claim"]

CLAIM_DEADLINE = 30.0
_LONGEST_ATTEMPT = 10.0
_FIRST_WAIT = 0.1
_LONGEST_WAIT = 3.0
_LOOKS = (0.0, 0.5, 1.0, 1.5)


class Claim(Enum):
    """How a claim ended."""

    WON = "the slot holds this value"
    LOST = "the slot holds another value"


async def claim(
    client: AsyncMlflowClient, run_id: str, key: str, value: str, op: str, *, deadline: float = CLAIM_DEADLINE
) -> Claim:
    """Store `value` in a slot for ever, or find that it is taken. POST runs/log-parameter.

    The same bytes are sent again while the outcome is unknown: stored twice is stored once.

    Raises:
        RolloutOutcomeUnknownError: no answer told within `deadline` seconds; the next call settles it.
        LedgerDeletedError: the run is deleted.
        LedgerMissingError: the run was removed for good.
        MlflowUtilitiesError: the server cannot be reached, or refuses the value; nothing was stored.

    """
    once = client.with_options(max_retries=0)
    clock = client.clock
    end = clock.monotonic() + deadline
    lost_answer = False
    attempt = 0
    while True:
        remaining = end - clock.monotonic()
        try:
            await once.log_param(run_id, key, value, timeout=min(max(remaining, 0.001), _LONGEST_ATTEMPT))
            return Claim.WON
        except InvalidParameterError as refusal:
            try:
                outcome = await _look(client, run_id, key, value, refusal)
            except (MlflowConnectionError, MlflowTimeoutError, ServerError) as error:
                if lost_answer:
                    raise _unknown(run_id, key, value, op) from error
                raise
            if outcome is not None:
                return outcome
            raise
        except MlflowUtilitiesError as error:
            if not _may_be_stored(error):
                if not _passes(error):
                    if lost_answer:
                        raise _unknown(run_id, key, value, op) from error
                    if type(error) is NotFoundError:
                        raise _missing(run_id) from error
                    raise
            else:
                lost_answer = True
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt) * clock.random()
            if clock.monotonic() + wait >= end:
                if lost_answer:
                    raise _unknown(run_id, key, value, op) from error
                raise
        attempt += 1
        await clock.sleep(wait)


def _may_be_stored(error: MlflowUtilitiesError) -> bool:
    """Whether the server may have stored the value, or may still do so."""
    if isinstance(error, MlflowConnectionError | MlflowTimeoutError):
        return error.sent
    # An answer that cannot be read may come from something between, after the server did it.
    return isinstance(error, ServerError | RateLimitedError | ProtocolError) or (
        isinstance(error, MlflowApiError) and error.status == 408
    )


def _passes(error: MlflowUtilitiesError) -> bool:
    """Whether trying again can help although this attempt certainly stored nothing."""
    if isinstance(error, MlflowConnectionError):
        return not error.permanent
    return isinstance(error, BadRequestError | MlflowTimeoutError)


def _missing(run_id: str) -> LedgerMissingError:
    return LedgerMissingError(
        f"run {run_id} of the ledger was removed for good", hint="reconcile(rebuild=True) begins a new ledger"
    )


def _unknown(run_id: str, key: str, value: str, op: str) -> RolloutOutcomeUnknownError:
    return RolloutOutcomeUnknownError(
        f"no answer told whether {key} of run {run_id} was stored",
        run_id=run_id,
        key=key,
        value=value,
        op=op,
        hint="make the same call again: it settles the outcome either way",
    )


async def _look(
    client: AsyncMlflowClient, run_id: str, key: str, value: str, refusal: InvalidParameterError
) -> Claim | None:
    """Tell the three meanings of INVALID_PARAMETER_VALUE apart; None when the server refused the value itself."""
    for pause in _LOOKS:
        if pause:
            await client.clock.sleep(pause)
        try:
            raw = await read_run(client, run_id, fresh=True)
        except NotFoundError as error:
            raise _missing(run_id) from error
        found = params_of(raw).get(key)
        if found is not None:
            return Claim.WON if found == value else Claim.LOST
        info = raw.get("info", {})
        if info.get("lifecycle_stage") == "deleted":
            experiment = str(info.get("experiment_id", ""))
            raise LedgerDeletedError(
                f"run {run_id} of the ledger is deleted",
                hint=f"restore_run({run_id!r}), or restore_experiment({experiment!r}) when all of it is deleted",
            ) from refusal
    return None
