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

__all__ = ["find_listed", "find_run", "find_submodel", "matching_run", "no_run", "submodel_hint"]

_ID = re.compile(r"[0-9a-f]{32}")
_PREFIX = re.compile(r"[0-9a-f]{6,31}")
_LISTED = 5
_LOOKED_AT = 250
_RUNS = "mlflow-utilities runs lists those there are"
_ONE_SUBMODEL = "a command is about the runs of one submodel; to name one, its full run id alone is enough"


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


async def submodel_hint(client: AsyncMlflowClient, ledger: Ledger) -> str:
    """Return which submodels the experiment has, if that of the ledger is none of them: one request."""
    from mlflow_utilities.rollout.calls import find_runs

    experiment_id = ledger.experiment.experiment_id
    runs = await find_runs(client, experiment_id, "attributes.status = 'FINISHED'", limit=_LOOKED_AT)
    names = list(dict.fromkeys(run.submodel for run in runs if run.submodel))
    if ledger.submodel in names:
        return ""
    if not names:
        return f"no finished run of experiment {experiment_id} has a submodel"
    return f"the finished runs of experiment {experiment_id} are of submodel {_some(names)}: give --submodel"


async def find_run(client: AsyncMlflowClient, text: str, named: Named) -> str:
    """Return the id of the run that a full id, the beginning of one, or a version names.

    Raises:
        InvalidInputError: it can be none of these, it fits several runs, or a full id is of another submodel than the
            options of the command name.
        NothingFoundError: no finished run of the submodel fits.

    """
    if not _ID.fullmatch(text):
        return (await find_listed(client, [text], named))[0].run_id
    if named.given:
        ledger = await find_submodel(client, named)
        _check_belongs(await _read(client, text), ledger.experiment.experiment_id, named.submodel_name)
    elif named.submodel_name is not None:
        _check_belongs(await _read(client, text), None, named.submodel_name)
    return text


def _check_belongs(run: Run, experiment_id: str | None, submodel: str | None) -> None:
    """Check that a run is of an experiment and a submodel; None is any."""
    where, what = run.info.experiment_id, run.data.params.get("submodel_name")
    if experiment_id is not None and where != experiment_id:
        raise InvalidInputError(
            f"run {run.info.run_id} is of experiment {where}, not of {experiment_id}", hint=_ONE_SUBMODEL
        )
    if submodel is not None and what != submodel:
        raise InvalidInputError(
            f"run {run.info.run_id} is of submodel {what!r}, not of {submodel!r}", hint=_ONE_SUBMODEL
        )


async def _check_listed(client: AsyncMlflowClient, run_id: str, ledger: Ledger) -> None:
    """Say why a run that exists is not listed."""
    run = await _read(client, run_id)
    _check_belongs(run, ledger.experiment.experiment_id, ledger.submodel)
    state = "deleted" if run.info.lifecycle_stage == "deleted" else run.info.status
    if state != "FINISHED":
        raise InvalidInputError(f"run {run_id} is {state}", hint="only finished runs can be used")


async def _read(client: AsyncMlflowClient, run_id: str) -> Run:
    try:
        return await client.get_run(run_id)
    except NotFoundError as error:
        raise no_run(run_id) from error


def no_run(run_id: str) -> NothingFoundError:
    """Return the error for a run id that the server does not know."""
    return NothingFoundError(f"there is no run {run_id}", hint=_RUNS)


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
    known = {run.run_id for run in listed}
    for text in texts:
        if _ID.fullmatch(text) and text not in known:
            await _check_listed(client, text, ledger)
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
        raise NothingFoundError(f"no finished run of the submodel fits {text!r}", hint=_RUNS)
    if len(found) > 1:
        hint = "give more of the run id" if version is None else "give the run id"
        raise InvalidInputError(f"{text!r} fits {len(found)} runs: {_some([run.run_id for run in found])}", hint=hint)
    return found[0]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")


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
