"""The verbs that change one run."""

from __future__ import annotations

from collections.abc import Callable

from mlflow_utilities.client import AsyncMlflowClient, opened
from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.mlflow_api.calls import change_run, options_of
from mlflow_utilities.mlflow_api.values import Rollout, rollout_of
from mlflow_utilities.rollout import planner
from mlflow_utilities.rollout.draft import Change, State
from mlflow_utilities.rollout.status import ModelStatus

__all__ = ["canary_run", "change_status", "disable_run", "enable_run", "revoke_run"]


async def change_status(
    run_id: str,
    new_active_state: ModelStatus | str | int | None = None,
    new_test_fraction: float | None = None,
    *,
    client: AsyncMlflowClient | None = None,
    why: str = "",
    expected_generation: int | None = None,
    dry_run: bool = False,
) -> Rollout:
    """Give one run another status, another share of requests, or both; None leaves it as it is.

    `new_test_fraction` in [0, 1]; 0.0 is a value: without a status it disables an Active run, and stops copying to a
    Canary. Other Active runs of the version are scaled to fill the rest. `why` (200 characters) goes into the history;
    `expected_generation` refuses if the rollout is another by now; `dry_run` writes nothing.

    Returns the new rollout; at most 5 requests once the client has seen the submodel, if one run changes.

    Raises InvalidInputError when the two do not fit together or the run cannot be used, RolloutConflictError when
    another change came first, RolloutOutcomeUnknownError when the answer was lost (call again), and LedgerError.
    """
    if new_active_state is None and new_test_fraction is None:
        raise InvalidInputError(
            "neither new_active_state nor new_test_fraction is given", hint="give at least one of them"
        )
    status = None if new_active_state is None else ModelStatus.parse(new_active_state)
    return await _change(
        run_id,
        "change_status",
        lambda state: planner.change_status(state, run_id, status, new_test_fraction),
        client,
        why,
        expected_generation,
        dry_run,
    )


async def enable_run(
    run_id: str,
    *,
    client: AsyncMlflowClient | None = None,
    why: str = "",
    expected_generation: int | None = None,
    dry_run: bool = False,
) -> Rollout:
    """Make a run the only Active one of its experiment, submodel and version, with all of the requests.

    Runs that were Active become Disabled; canaries stay. A Disabled run comes back by this. Arguments, result and
    errors are those of `change_status`.
    """
    return await _change(
        run_id, "enable_run", lambda state: planner.enable(state, run_id), client, why, expected_generation, dry_run
    )


async def disable_run(
    run_id: str,
    *,
    client: AsyncMlflowClient | None = None,
    why: str = "",
    expected_generation: int | None = None,
    dry_run: bool = False,
) -> Rollout:
    """Take a run out of use: Disabled, share 0; the other Active runs of its version are scaled up to fill it.

    The last Active run can be disabled too: then nothing of that version is live. Arguments, result and errors are
    those of `change_status`.
    """
    return await _change(
        run_id, "disable_run", lambda state: planner.disable(state, run_id), client, why, expected_generation, dry_run
    )


async def canary_run(
    run_id: str,
    *,
    client: AsyncMlflowClient | None = None,
    why: str = "",
    expected_generation: int | None = None,
    dry_run: bool = False,
) -> Rollout:
    """Make a run a Canary: it gets copies of all requests, and its answers are not used.

    An Active run gives its share to the others; `change_test_fractions` copies fewer requests. Arguments, result and
    errors are those of `change_status`.
    """
    return await _change(
        run_id, "canary_run", lambda state: planner.canary(state, run_id), client, why, expected_generation, dry_run
    )


async def revoke_run(
    run_id: str,
    why: str,
    *,
    client: AsyncMlflowClient | None = None,
    expected_generation: int | None = None,
    dry_run: bool = False,
) -> Rollout:
    """Stop a run now, even if nothing is left, and for good: no verb makes it live again.

    The last 32 revoked runs of a submodel are remembered. `why` must say something. Result and errors are those of
    `change_status`.
    """
    if not isinstance(why, str) or not why.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInputError(f"why is {why!r}", hint="say why the run is revoked: it cannot be taken back")
    return await _change(
        run_id, "revoke_run", lambda state: planner.revoke(state, run_id), client, why, expected_generation, dry_run
    )


async def _change(
    run_id: str,
    verb: str,
    plan: Callable[[State], Change],
    client: AsyncMlflowClient | None,
    why: str,
    expected_generation: int | None,
    dry_run: bool,
) -> Rollout:
    async with opened(client) as using:
        options = options_of(using, why, expected_generation, dry_run)
        outcome, ledger = await change_run(using, run_id, verb, plan, options)
    return rollout_of(outcome, ledger.experiment.experiment_id, ledger.submodel, dry_run=dry_run)
