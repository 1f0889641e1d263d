"""What only a write shows: whether params are write-once, and whether artifacts come and go."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator

import anyio

from mlflow_utilities.cli.checks import Check, Outcome, failed
from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import BadRequestError, InvalidParameterError, MlflowUtilitiesError

__all__ = ["WRITE_CHECKS", "write_probe"]

WRITE_CHECKS = ("write-once", "artifacts", "clean-up")
_TEXT = "written by mlflow-utilities doctor\n"
_FILE = "doctor.txt"


async def write_probe(client: AsyncMlflowClient) -> AsyncGenerator[Check]:
    """Yield what writing shows, in an experiment of its own that is deleted afterwards."""
    name = f"mlflow-utilities/doctor-{secrets.token_hex(6)}"
    try:
        experiment_id = await client.create_experiment(name)
    except MlflowUtilitiesError as error:
        yield failed("write-once", error)
        return
    cleaned: Check | None = None
    try:
        try:
            run_id = (await client.create_run(experiment_id)).info.run_id
        except MlflowUtilitiesError as error:
            yield failed("write-once", error)
        else:
            yield await _write_once(client, run_id)
            yield await _artifacts(client, run_id)
    finally:
        with anyio.CancelScope(shield=True):
            cleaned = await _clean(client, experiment_id, name)
    if cleaned is not None:
        yield cleaned


async def _write_once(client: AsyncMlflowClient, run_id: str) -> Check:
    try:
        await client.log_param(run_id, "probe", "1")
        await client.log_param(run_id, "probe", "1")
        refused = await _is_refused(client, run_id)
        kept = (await client.get_run(run_id)).data.params.get("probe")
    except MlflowUtilitiesError as error:
        return failed("write-once", error)
    if refused and kept == "1":
        return Check("write-once", Outcome.OK, "another value of a param is refused, the same one accepted")
    return Check(
        "write-once",
        Outcome.FAIL,
        f"another value of a param was {'refused' if refused else 'accepted'}, and {kept!r} is stored instead of '1'",
        "this store cannot hold rollouts: start the server with a database, and update it",
    )


async def _is_refused(client: AsyncMlflowClient, run_id: str) -> bool:
    try:
        await client.log_param(run_id, "probe", "2")
    except (InvalidParameterError, BadRequestError):
        return True
    return False


async def _artifacts(client: AsyncMlflowClient, run_id: str) -> Check:
    try:
        await client.log_text(run_id, _TEXT, _FILE)
        back = await client.read_artifact(run_id, _FILE)
    except MlflowUtilitiesError as error:
        check = failed("artifacts", error)
        advice = check.advice or "can the server reach the place of its artifacts (--artifacts-destination)?"
        return Check(check.name, check.outcome, check.found, advice)
    if back != _TEXT.encode():
        advice = "does something between here and the server change what it passes on?"
        return Check("artifacts", Outcome.FAIL, f"{len(back)} bytes came back instead of {len(_TEXT)}", advice)
    return Check("artifacts", Outcome.OK, f"{len(_TEXT)} bytes went there and came back")


async def _clean(client: AsyncMlflowClient, experiment_id: str, name: str) -> Check:
    try:
        await client.delete_experiment(experiment_id, timeout=10.0)
    except MlflowUtilitiesError as error:
        check = failed("clean-up", error)
        return Check(check.name, Outcome.WARN, f"experiment {name} stays: {check.found}", "delete it by hand")
    return Check("clean-up", Outcome.OK, f"experiment {name} is deleted; `mlflow gc` removes it for good")
