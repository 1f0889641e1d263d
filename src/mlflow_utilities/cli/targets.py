"""Which submodel and which runs the command line names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlflow_utilities.cli.exits import NothingFoundError
from mlflow_utilities.cli.options import Named
from mlflow_utilities.errors import InvalidInputError, MlflowUtilitiesError, NotFoundError

if TYPE_CHECKING:
    from mlflow_utilities.client import AsyncMlflowClient
    from mlflow_utilities.entities import Run
    from mlflow_utilities.mlflow_api import VersionedRun
    from mlflow_utilities.rollout.reader import Ledger

__all__ = ["find_listed", "find_run", "find_submodel", "matching_run"]

_ID = re.compile(r"[0-9a-f]{32}")
_PREFIX = re.compile(r"[0-9a-f]{6,31}")
_LISTED = 5


async def find_submodel(client: AsyncMlflowClient, named: Named) -> Ledger:
    """Return the ledger of the submodel that is named: one request.

    Raises:
        InvalidInputError: no experiment is named, or id and name are of two.
        NothingFoundError: there is no such experiment, or it is deleted.

    """
    from mlflow_utilities.rollout.experiments import check_names, find_ledger

    if not named.known:
        raise InvalidInputError("no experiment is named", hint="give --experiment NAME or --experiment-id ID")
    check_names(**named.names)
    try:
        return await find_ledger(client, **named.names)
    except InvalidInputError as error:
        if named.experiment_id is not None and named.experiment_name is not None and error.__cause__ is None:
            raise
        hint = error.hint if "deleted" in error.message else "the MLflow UI shows the names and ids there are"
        raise NothingFoundError(error.message, hint=hint) from error


async def find_run(client: AsyncMlflowClient, text: str, named: Named) -> str:
    """Return the id of the run that a full id, the beginning of one, or a version names.

    Raises:
        InvalidInputError: it can be none of these, it fits several runs, or a full id is of another submodel than the
            options of the command name.
        NothingFoundError: no finished run of the submodel fits.

    """
    if not _ID.fullmatch(text):
        return (await find_listed(client, [text], named))[0].run_id
    if named.given or named.submodel_name is not None:
        await _check_belongs(client, text, named)
    return text


async def _check_belongs(client: AsyncMlflowClient, run_id: str, named: Named) -> None:
    run = await _read(client, run_id)
    submodel = run.data.params.get("submodel_name")
    if named.given:
        ledger = await find_submodel(client, named)
        if run.info.experiment_id != ledger.experiment.experiment_id:
            raise InvalidInputError(
                f"run {run_id} is of experiment {run.info.experiment_id}, not of {ledger.experiment.experiment_id}",
                hint="leave the experiment out: a full run id is enough",
            )
    if named.submodel_name is not None and submodel != named.submodel_name:
        raise InvalidInputError(
            f"run {run_id} is of submodel {submodel!r}, not of {named.submodel_name!r}",
            hint="leave the submodel out: a full run id is enough",
        )


async def _read(client: AsyncMlflowClient, run_id: str) -> Run:
    try:
        return await client.get_run(run_id)
    except NotFoundError as error:
        raise NothingFoundError(
            f"there is no run {run_id}", hint="mlflow-utilities runs lists those there are"
        ) from error


async def find_listed(client: AsyncMlflowClient, texts: Sequence[str], named: Named) -> list[VersionedRun]:
    """Return the finished runs that texts name, in their order.

    Unless an option names the experiment, it is that of the first full id.

    Raises:
        InvalidInputError: a text can be no run, fits several, or the same run is named twice.
        NothingFoundError: a text fits no finished run of the submodel.

    """
    from mlflow_utilities.mlflow_api import list_runs

    for text in texts:
        _check(text)
    if not named.given and (full := next((text for text in texts if _ID.fullmatch(text)), None)):
        run = await _read(client, full)
        named = Named(run.info.experiment_id, None, named.submodel_name or run.data.params.get("submodel_name"))
    if not named.known:
        raise InvalidInputError(
            f"{texts[0]!r} names a run only within an experiment",
            hint="give --experiment NAME or --experiment-id ID, or the full run id",
        )
    ledger = await find_submodel(client, named)
    listed = await list_runs(None, ledger.experiment.experiment_id, submodel_name=ledger.submodel, client=client)
    found = [matching_run(text, listed) for text in texts]
    twice = next((run.run_id for number, run in enumerate(found) if run in found[:number]), None)
    if twice:
        raise InvalidInputError(f"run {twice} is named twice", hint="name each run once")
    return found


def matching_run(text: str, listed: Sequence[VersionedRun]) -> VersionedRun:
    """Return the one run that a full id, the beginning of one, or a version names.

    Raises:
        InvalidInputError: it can be none of these, or it fits several runs.
        NothingFoundError: it fits none.

    """
    version = _check(text)
    if version is None:
        found = [run for run in listed if run.run_id.startswith(text)]
    else:
        found = [run for run in listed if run.version.without_build == version]
    if not found:
        raise NothingFoundError(
            f"no finished run of the submodel fits {text!r}", hint="mlflow-utilities runs lists those there are"
        )
    if len(found) > 1:
        ids = ", ".join(run.run_id for run in found[:_LISTED]) + (", ..." if len(found) > _LISTED else "")
        hint = "give more of the run id" if version is None else "give the run id"
        raise InvalidInputError(f"{text!r} fits {len(found)} runs: {ids}", hint=hint)
    return found[0]


def _check(text: str) -> str | None:
    """Return the version that a text is, or None for a run id or the beginning of one."""
    if _ID.fullmatch(text) or _PREFIX.fullmatch(text):
        return None
    from mlflow_utilities.rollout.version import Version

    try:
        return Version.parse(text).without_build
    except MlflowUtilitiesError:
        raise InvalidInputError(
            f"{text!r} is not a run", hint="give a run id, at least its first 6 characters, or a version as 1.2.0"
        ) from None
