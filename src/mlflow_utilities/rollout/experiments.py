"""Which experiment and submodel a verb is about; remembered, so that a poll costs no request for it."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, cast

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import InvalidInputError, InvalidParameterError, NotFoundError
from mlflow_utilities.rollout.reader import Ledger, ModelExperiment

if TYPE_CHECKING:
    from mlflow_utilities.entities import Experiment

__all__ = [
    "all_ledgers",
    "check_names",
    "find_ledger",
    "known_ledger",
    "ledger_of",
    "resolve_experiment",
    "resolve_or_create",
    "submodel_of",
]

_REMEMBERED = 300.0
_LONGEST_SUBMODEL = 250
_EXPERIMENTS = "rollout.experiments"
_LEDGERS = "rollout.ledgers"
_MOST_LEDGERS = 1000


def check_names(experiment_id: object, experiment_name: object, submodel_name: object) -> None:
    """Refuse names that cannot be, before anything is sent.

    Raises:
        InvalidInputError: neither experiment argument is given, or one of the three is not text.

    """
    if experiment_id is None and experiment_name is None:
        raise InvalidInputError("no experiment is named", hint="give experiment_id or experiment_name")
    for value, name in (
        (experiment_id, "experiment_id"),
        (experiment_name, "experiment_name"),
        (submodel_name, "submodel_name"),
    ):
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise InvalidInputError(f"{name} is {value!r}", hint="give text that is not empty")
    if isinstance(submodel_name, str) and len(submodel_name) > _LONGEST_SUBMODEL:
        raise InvalidInputError(
            f"submodel_name has {len(submodel_name)} characters", hint=f"use at most {_LONGEST_SUBMODEL}"
        )


async def resolve_experiment(
    client: AsyncMlflowClient, experiment_id: str | None, experiment_name: str | None
) -> ModelExperiment:
    """Return the experiment: one request, none if the client asked within the last five minutes.

    Raises:
        InvalidInputError: there is none, it is deleted, or id and name are of two experiments.

    """
    return await _resolve(client, experiment_id, experiment_name, create=False)


async def resolve_or_create(
    client: AsyncMlflowClient, experiment_id: str | None, experiment_name: str | None
) -> ModelExperiment:
    """Return the experiment likewise; one that is only named and does not exist is created."""
    return await _resolve(client, experiment_id, experiment_name, create=True)


async def _resolve(
    client: AsyncMlflowClient, experiment_id: str | None, experiment_name: str | None, *, create: bool
) -> ModelExperiment:
    check_names(experiment_id, experiment_name, None)
    known = cast(
        "dict[tuple[str | None, str | None], tuple[float, ModelExperiment]]",
        client.state.setdefault(_EXPERIMENTS, {}),
    )
    key = (experiment_id, experiment_name)
    now = client.clock.monotonic()
    if key in known and now - known[key][0] < _REMEMBERED:
        return known[key][1]
    found = await _look_up(client, experiment_id, experiment_name, create=create)
    experiment = ModelExperiment(found.experiment_id, found.name, found.creation_time)
    known[key] = (now, experiment)
    return experiment


async def _look_up(
    client: AsyncMlflowClient, experiment_id: str | None, experiment_name: str | None, *, create: bool
) -> Experiment:
    if experiment_id is not None:
        try:
            found = await client.get_experiment(experiment_id)
        except (NotFoundError, InvalidParameterError) as error:
            raise InvalidInputError(
                f"there is no experiment {experiment_id!r}", hint="search_experiments shows those there are"
            ) from error
        if experiment_name is not None and found.name != experiment_name:
            raise InvalidInputError(
                f"experiment {experiment_id} has the name {found.name!r}, not {experiment_name!r}",
                hint="give one of experiment_id and experiment_name, or both of the same experiment",
            )
    else:
        assert experiment_name is not None
        look = client.get_or_create_experiment if create else client.get_experiment_by_name
        by_name = await look(experiment_name)
        if by_name is None:
            raise InvalidInputError(
                f"there is no experiment {experiment_name!r}", hint="search_experiments shows those there are"
            )
        found = by_name
    if found.lifecycle_stage == "deleted":
        raise InvalidInputError(
            f"experiment {found.experiment_id} ({found.name}) is deleted",
            hint=f"restore_experiment({found.experiment_id!r})",
        )
    return found


def submodel_of(experiment: ModelExperiment, submodel_name: str | None) -> str:
    """Return the submodel: the experiment's name unless one is given."""
    return unicodedata.normalize("NFC", experiment.name if submodel_name is None else submodel_name)


def all_ledgers(client: AsyncMlflowClient) -> dict[tuple[str, str], Ledger]:
    """Return the ledgers that this client has used, by experiment id and submodel."""
    return cast("dict[tuple[str, str], Ledger]", client.state.setdefault(_LEDGERS, {}))


def ledger_of(client: AsyncMlflowClient, experiment: ModelExperiment, submodel: str) -> Ledger:
    """Return the ledger of a submodel as this client knows it."""
    ledgers = all_ledgers(client)
    if len(ledgers) >= _MOST_LEDGERS:  # names that come from requests need not exist
        for key in [key for key, ledger in ledgers.items() if ledger.document is None]:
            del ledgers[key]
    return ledgers.setdefault((experiment.experiment_id, submodel), Ledger(experiment, submodel))


def known_ledger(client: AsyncMlflowClient, experiment_id: str, submodel: str) -> Ledger | None:
    """Return the ledger if this client has used it before."""
    return all_ledgers(client).get((experiment_id, submodel))


async def find_ledger(
    client: AsyncMlflowClient, experiment_id: str | None, experiment_name: str | None, submodel_name: str | None
) -> Ledger:
    """Return the ledger of a submodel, named as the verbs name it."""
    check_names(experiment_id, experiment_name, submodel_name)
    experiment = await resolve_experiment(client, experiment_id, experiment_name)
    return ledger_of(client, experiment, submodel_of(experiment, submodel_name))
