"""The few calls a rollout needs that the client's methods do not have: runs as the server's JSON, with metric steps."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping
from typing import Any, cast

from anyio.lowlevel import checkpoint

from mlflow_utilities._protocol.paging import PageReader
from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import InvalidInputError, NotFoundError, ProtocolError
from mlflow_utilities.rollout.facts import RunFacts, read_facts
from mlflow_utilities.typing import Call, Safety

__all__ = ["check_run_id", "find_runs", "quoted", "read_run", "runs_by_id"]

_API = "/api/2.0/mlflow/"
_PAGE = 250
_TURN = 0.002
_RUN_ID = re.compile(r"[\w-]{1,64}", re.ASCII)
_FRESH = (("cache-control", "no-cache"),)


def check_run_id(run_id: object) -> str:
    """Return a run id.

    Raises:
        InvalidInputError: it cannot be the id of a run.

    """
    if not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id):
        raise InvalidInputError(f"{run_id!r} is not a run id", hint="give the run_id of a run that list_runs shows")
    return run_id


def quoted(text: str) -> str | None:
    """Return a text as a filter's value, or None when MLflow's filters cannot express it."""
    if "\\" in text or ("'" in text and '"' in text):
        return None
    return f'"{text}"' if "'" in text else f"'{text}'"


async def read_run(client: AsyncMlflowClient, run_id: str, *, fresh: bool = False) -> Mapping[str, Any]:
    """Return a run as the server's JSON has it; `fresh` asks caches on the way to stay out of it. One request.

    Raises:
        NotFoundError: there is no such run.
        ProtocolError: the answer is not that run, e.g. one that a cache keeps for another request.

    """
    query = (("run_id", run_id),)
    answer = await client.sender.send_json(Call("GET", _API + "runs/get", query, headers=_FRESH if fresh else ()))
    run = answer.get("run")
    if not isinstance(run, dict) or _id_of(cast("dict[str, Any]", run)) != run_id:
        raise ProtocolError(f"the answer is not run {run_id}: {str(answer)[:80]}")
    return cast("Mapping[str, Any]", run)


def _id_of(run: dict[str, Any]) -> object:
    info: Any = run.get("info")
    return info.get("run_id") if isinstance(info, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]


async def find_runs(
    client: AsyncMlflowClient,
    experiment_id: str,
    filter_string: str,
    *,
    view: str = "ACTIVE_ONLY",
    limit: int | None = None,
) -> list[RunFacts]:
    """Return the runs of an experiment that fit, newest first: one request for 250 runs, or for `limit`."""
    body = {
        "experiment_ids": [experiment_id],
        "filter": filter_string,
        "run_view_type": view,
        "max_results": limit or _PAGE,
    }
    found: list[RunFacts] = []
    token: str | None = None
    while True:
        sent = {**body, "page_token": token} if token else body
        reader = PageReader(
            await client.sender.send(Call("POST", _API + "runs/search", body=sent, safety=Safety.READ)), "runs"
        )
        turn = time.monotonic()
        for raw in reader:
            found.append(read_facts(raw))
            if time.monotonic() - turn > _TURN:
                await checkpoint()
                turn = time.monotonic()
        token = reader.token
        if not token or (limit is not None and len(found) >= limit):
            return found


async def runs_by_id(client: AsyncMlflowClient, experiment_id: str, run_ids: Collection[str]) -> dict[str, RunFacts]:
    """Return the runs that exist, deleted ones too; one request for up to 200 ids of one experiment.

    An id that this experiment does not have costs a request of its own: another experiment may have it.
    """
    wanted = sorted({check_run_id(run_id) for run_id in run_ids})
    found: dict[str, RunFacts] = {}
    for start in range(0, len(wanted), 200):
        part = wanted[start : start + 200]
        if len(part) == 1:
            continue
        listed = ", ".join(f"'{run_id}'" for run_id in part)
        for facts in await find_runs(
            client, experiment_id, f"attributes.run_id IN ({listed})", view="ALL", limit=len(part)
        ):
            found[facts.run_id] = facts
    for run_id in wanted:
        if run_id not in found:
            try:
                found[run_id] = read_facts(await read_run(client, run_id))
            except NotFoundError:
                continue
    return found
