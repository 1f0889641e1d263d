"""`/api/2.0/mlflow/runs`: runs themselves; what is logged to them is in `logging`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlflow_utilities._protocol.values import MAX_TAG, compact, identifier, integer, pairs_json
from mlflow_utilities._unset import UNSET
from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.resources._base import (
    API,
    CREATE_ID,
    Api,
    decoded,
    filter_text,
    ids_list,
    new_create_id,
    order_list,
    part,
    view_name,
)
from mlflow_utilities.typing import Call, Safety, TimeoutArgument

if TYPE_CHECKING:
    from mlflow_utilities.entities import Page, Run
    from mlflow_utilities.filters import Filter

__all__ = ["RunsApi"]

_STATUSES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")


class RunsApi(Api):
    """Run methods; each raises the errors of the REST API, see `errors`."""

    async def create_run(
        self,
        experiment_id: str,
        start_time: int | None = None,
        tags: Mapping[str, Any] | None = None,
        run_name: str | None = None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> Run:
        """Create a run (`start_time` in ms, now if None) and return it.

        The run carries a tag by which a lost answer is settled, so no second run is made. POST runs/create.
        """
        create_id = new_create_id()
        given = {**(tags or {}), CREATE_ID: create_id}
        body = compact(
            experiment_id=identifier(experiment_id, "experiment_id"),
            start_time=self._clock.now_ms() if start_time is None else integer(start_time, "start_time", 0),
            tags=pairs_json(given, "tag", MAX_TAG),
            run_name=run_name,
        )

        async def find() -> Run | None:
            found = await self.search_runs(
                [experiment_id], f"tags.`{CREATE_ID}` = '{create_id}'", max_results=1, timeout=timeout
            )
            return found[0] if found else None

        return await self._create("runs/create", body, lambda answer: _run(part(answer, "run")), find, timeout)

    async def get_run(self, run_id: str, *, timeout: TimeoutArgument = UNSET) -> Run:
        """Return a run, deleted ones too; NotFoundError when there is none. GET runs/get."""
        return _run(part(await self._get("runs/get", timeout, run_id=identifier(run_id, "run_id")), "run"))

    async def get_parent_run(self, run_id: str, *, timeout: TimeoutArgument = UNSET) -> Run | None:
        """Return the run that a nested run belongs to, or None: two requests."""
        parent = (await self.get_run(run_id, timeout=timeout)).data.tags.get("mlflow.parentRunId")
        return await self.get_run(parent, timeout=timeout) if parent else None

    async def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | Filter = "",
        run_view_type: str | int = "ACTIVE_ONLY",
        max_results: int = 1000,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> Page[Run]:
        """Return a page of runs, newest first unless `order_by` says otherwise. POST runs/search.

        The server sends whole runs; `iter_runs` holds only the one that is looked at.
        """
        call = _search(experiment_ids, filter_string, run_view_type, max_results, order_by)
        return await self._page(call(page_token), "runs", _run, timeout)

    def iter_runs(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | Filter = "",
        run_view_type: str | int = "ACTIVE_ONLY",
        max_results: int = 1000,
        order_by: Sequence[str] | None = None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> AsyncIterator[Run]:
        """Iterate over all runs that fit, `max_results` for each request, decoded as they are consumed."""
        call = _search(experiment_ids, filter_string, run_view_type, max_results, order_by)
        return self._iterate(call, "runs", _run, timeout)

    async def update_run(
        self,
        run_id: str,
        status: str | None = None,
        name: str | None = None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> None:
        """Change the status (a RunStatus) or the name of a run. POST runs/update."""
        body = compact(run_id=identifier(run_id, "run_id"), status=_status(status), run_name=name)
        await self._write("POST", "runs/update", body, timeout)

    async def set_terminated(
        self,
        run_id: str,
        status: str | None = None,
        end_time: int | None = None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> None:
        """End a run as FINISHED, or as `status`, at `end_time` in ms, now if None: one request. POST runs/update."""
        body = {
            "run_id": identifier(run_id, "run_id"),
            "status": _status(status) or "FINISHED",
            "end_time": self._clock.now_ms() if end_time is None else integer(end_time, "end_time", 0),
        }
        await self._write("POST", "runs/update", body, timeout)

    async def delete_run(self, run_id: str, *, timeout: TimeoutArgument = UNSET) -> None:
        """Move a run to the bin. POST runs/delete."""
        await self._write("POST", "runs/delete", {"run_id": identifier(run_id, "run_id")}, timeout)

    async def restore_run(self, run_id: str, *, timeout: TimeoutArgument = UNSET) -> None:
        """Take a run out of the bin. POST runs/restore."""
        await self._write("POST", "runs/restore", {"run_id": identifier(run_id, "run_id")}, timeout)


def _run(value: Any) -> Run:
    from mlflow_utilities.entities import Run

    return decoded(Run, value)


def _status(status: object) -> str | None:
    if status is None or status in _STATUSES:
        return None if status is None else str(status)
    raise InvalidInputError(f"the status of a run is {status!r}", hint=f"use one of {', '.join(_STATUSES)}")


def _search(
    experiment_ids: Sequence[str],
    filter_string: str | Filter,
    run_view_type: str | int,
    max_results: int,
    order_by: Sequence[str] | None,
) -> Callable[[str | None], Call]:
    body = {
        "experiment_ids": ids_list(experiment_ids),
        "filter": filter_text(filter_string, "runs"),
        "run_view_type": view_name(run_view_type),
        "max_results": integer(max_results, "max_results", 1),
        "order_by": order_list(order_by),
    }
    return lambda token: Call("POST", API + "runs/search", body=compact(**body, page_token=token), safety=Safety.READ)
