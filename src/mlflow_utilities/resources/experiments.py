"""`/api/2.0/mlflow/experiments`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlflow_utilities._protocol.values import compact, identifier, integer, key_of, pairs_json, stored_key, value_text
from mlflow_utilities._unset import UNSET
from mlflow_utilities.errors import AlreadyExistsError, NotFoundError
from mlflow_utilities.resources._base import API, Api, decoded, filter_text, order_list, part, view_name
from mlflow_utilities.typing import Call, Safety, TimeoutArgument

if TYPE_CHECKING:
    from mlflow_utilities.entities import Experiment, Page
    from mlflow_utilities.filters import Filter

__all__ = ["ExperimentsApi"]

_MAX_TAG = 20_000


class ExperimentsApi(Api):
    """Experiment methods; each raises the errors of the REST API, see `errors`."""

    async def create_experiment(
        self,
        name: str,
        artifact_location: str | None = None,
        tags: Mapping[str, Any] | None = None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> str:
        """Create an experiment and return its id; a lost answer is settled by name.

        Raises AlreadyExistsError when the name is taken, also by a deleted experiment. POST experiments/create.
        """
        body = compact(
            name=identifier(name, "name"),
            artifact_location=artifact_location,
            tags=pairs_json(tags, "tag", _MAX_TAG) or None,
        )

        async def find() -> str | None:
            found = await self.get_experiment_by_name(name, timeout=timeout)
            return found.experiment_id if found and found.lifecycle_stage != "deleted" else None

        return await self._create(
            "experiments/create", body, lambda answer: str(part(answer, "experiment_id")), find, timeout
        )

    async def get_experiment(self, experiment_id: str, *, timeout: TimeoutArgument = UNSET) -> Experiment:
        """Return an experiment, deleted ones too; NotFoundError when there is none. GET experiments/get."""
        answer = await self._get("experiments/get", timeout, experiment_id=identifier(experiment_id, "experiment_id"))
        return _experiment(part(answer, "experiment"))

    async def get_experiment_by_name(self, name: str, *, timeout: TimeoutArgument = UNSET) -> Experiment | None:
        """Return the experiment of a name, deleted ones too, or None. GET experiments/get-by-name."""
        try:
            answer = await self._get("experiments/get-by-name", timeout, experiment_name=identifier(name, "name"))
        except NotFoundError as error:
            if error.error_code is None:
                raise
            return None
        return _experiment(part(answer, "experiment"))

    async def get_or_create_experiment(
        self,
        name: str,
        artifact_location: str | None = None,
        tags: Mapping[str, Any] | None = None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> Experiment:
        """Return the experiment of a name, created if there is none: one request when it exists, else three.

        Safe when several callers do it at once. A deleted experiment is returned as it is.
        """
        found = await self.get_experiment_by_name(name, timeout=timeout)
        if found is not None:
            return found
        try:
            experiment_id = await self.create_experiment(name, artifact_location, tags, timeout=timeout)
        except AlreadyExistsError:
            found = await self.get_experiment_by_name(name, timeout=timeout)
            if found is None:
                raise
            return found
        return await self.get_experiment(experiment_id, timeout=timeout)

    async def search_experiments(
        self,
        view_type: str | int = "ACTIVE_ONLY",
        max_results: int = 1000,
        filter_string: str | Filter | None = None,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> Page[Experiment]:
        """Return a page of experiments, newest first unless `order_by` says otherwise. POST experiments/search."""
        call = _search(view_type, max_results, filter_string, order_by)
        return await self._page(call(page_token), "experiments", _experiment, timeout)

    def iter_experiments(
        self,
        view_type: str | int = "ACTIVE_ONLY",
        max_results: int = 1000,
        filter_string: str | Filter | None = None,
        order_by: Sequence[str] | None = None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> AsyncIterator[Experiment]:
        """Iterate over all experiments that fit, `max_results` for each request."""
        call = _search(view_type, max_results, filter_string, order_by)
        return self._iterate(call, "experiments", _experiment, timeout)

    async def rename_experiment(self, experiment_id: str, new_name: str, *, timeout: TimeoutArgument = UNSET) -> None:
        """Rename an experiment; BadRequestError when the name is taken. POST experiments/update."""
        body = {
            "experiment_id": identifier(experiment_id, "experiment_id"),
            "new_name": identifier(new_name, "new_name"),
        }
        await self._write("POST", "experiments/update", body, timeout)

    async def delete_experiment(self, experiment_id: str, *, timeout: TimeoutArgument = UNSET) -> None:
        """Move an experiment and its runs to the bin; its name stays taken. POST experiments/delete.

        Raises NotFoundError when it is not there, or in the bin already.
        """
        body = {"experiment_id": identifier(experiment_id, "experiment_id")}
        await self._once("POST", "experiments/delete", body, timeout)

    async def restore_experiment(self, experiment_id: str, *, timeout: TimeoutArgument = UNSET) -> None:
        """Take an experiment and its runs out of the bin. POST experiments/restore.

        Raises NotFoundError when it is not in the bin.
        """
        body = {"experiment_id": identifier(experiment_id, "experiment_id")}
        await self._once("POST", "experiments/restore", body, timeout)

    async def set_experiment_tag(
        self, experiment_id: str, key: str, value: Any, *, timeout: TimeoutArgument = UNSET
    ) -> None:
        """Set a tag of an experiment. POST experiments/set-experiment-tag."""
        body = {
            "experiment_id": identifier(experiment_id, "experiment_id"),
            "key": key_of(key, "key"),
            "value": value_text(value, f"tag {key}", _MAX_TAG),
        }
        await self._write("POST", "experiments/set-experiment-tag", body, timeout)

    async def delete_experiment_tag(self, experiment_id: str, key: str, *, timeout: TimeoutArgument = UNSET) -> None:
        """Delete a tag of an experiment; NotFoundError when it has none of that key.

        A server 2.x answers EndpointNotFoundError. POST experiments/delete-experiment-tag.
        """
        body = {"experiment_id": identifier(experiment_id, "experiment_id"), "key": stored_key(key, "key")}
        await self._once("POST", "experiments/delete-experiment-tag", body, timeout)


def _experiment(value: Any) -> Experiment:
    from mlflow_utilities.entities import Experiment

    return decoded(Experiment, value)


def _search(
    view_type: str | int, max_results: int, filter_string: str | Filter | None, order_by: Sequence[str] | None
) -> Callable[[str | None], Call]:
    body = {
        "view_type": view_name(view_type),
        "max_results": integer(max_results, "max_results", 1),
        "filter": filter_text(filter_string, "experiments"),
        "order_by": order_list(order_by),
    }
    return lambda token: Call(
        "POST", API + "experiments/search", body=compact(**body, page_token=token), safety=Safety.READ
    )
