"""`/api/2.0/mlflow/logged-models`; servers 3.x."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mlflow_utilities._protocol.values import MAX_PARAM, MAX_TAG, compact, identifier, integer, pairs_json, stored_key
from mlflow_utilities._unset import UNSET
from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.resources._base import API, CREATE_ID, Api, decoded, filter_text, ids_list, new_create_id, part
from mlflow_utilities.typing import Call, Safety, TimeoutArgument

if TYPE_CHECKING:
    from mlflow_utilities.entities import LoggedModel, Page
    from mlflow_utilities.filters import Filter

__all__ = ["LoggedModelsApi"]

_STATUSES = {
    "READY": "LOGGED_MODEL_READY",
    "FAILED": "LOGGED_MODEL_UPLOAD_FAILED",
    "LOGGED_MODEL_READY": "LOGGED_MODEL_READY",
    "LOGGED_MODEL_UPLOAD_FAILED": "LOGGED_MODEL_UPLOAD_FAILED",
}
_PARAMS_AT_ONCE = 100


class LoggedModelsApi(Api):
    """Logged model methods; a server 2.x has none of them and answers EndpointNotFoundError."""

    async def create_logged_model(
        self,
        experiment_id: str,
        name: str | None = None,
        source_run_id: str | None = None,
        tags: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        model_type: str | None = None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> LoggedModel:
        """Create a logged model, PENDING until finalised; a lost answer is settled by a tag. POST logged-models."""
        create_id = new_create_id()
        body = compact(
            experiment_id=identifier(experiment_id, "experiment_id"),
            name=name,
            source_run_id=source_run_id,
            tags=pairs_json({**(tags or {}), CREATE_ID: create_id}, "tag", MAX_TAG, stored_key),
            params=pairs_json(params, "param", MAX_PARAM, stored_key) or None,
            model_type=model_type,
        )

        async def find() -> LoggedModel | None:
            found = await self.search_logged_models(
                [experiment_id], f"tags.`{CREATE_ID}` = '{create_id}'", max_results=1, timeout=timeout
            )
            return found[0] if found else None

        return await self._create("logged-models", body, _model_in, find, timeout)

    async def get_logged_model(self, model_id: str, *, timeout: TimeoutArgument = UNSET) -> LoggedModel:
        """Return a logged model. GET logged-models/{model_id}."""
        return _model_in(await self._get(_path(model_id), timeout))

    async def finalize_logged_model(
        self, model_id: str, status: str, *, timeout: TimeoutArgument = UNSET
    ) -> LoggedModel:
        """Say that a logged model is READY, or that its upload FAILED. PATCH logged-models/{model_id}."""
        name = str(getattr(status, "value", status))
        if name not in _STATUSES:
            raise InvalidInputError(f"the status of a logged model is {status!r}", hint="use 'READY' or 'FAILED'")
        body = {"model_id": model_id, "status": _STATUSES[name]}
        return _model_in(await self._write("PATCH", _path(model_id), body, timeout))

    async def delete_logged_model(self, model_id: str, *, timeout: TimeoutArgument = UNSET) -> None:
        """Delete a logged model. DELETE logged-models/{model_id}."""
        await self._once("DELETE", _path(model_id), {"model_id": model_id}, timeout)

    async def search_logged_models(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | Filter | None = None,
        datasets: Sequence[Mapping[str, Any]] | None = None,
        max_results: int | None = None,
        order_by: Sequence[Mapping[str, Any]] | None = None,
        page_token: str | None = None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> Page[LoggedModel]:
        """Return a page of logged models, newest first. POST logged-models/search.

        `order_by` is a list of {"field_name": ..., "ascending": ...}.
        """
        call = _search(experiment_ids, filter_string, datasets, max_results, order_by)
        return await self._page(call(page_token), "models", _model, timeout)

    def iter_logged_models(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | Filter | None = None,
        datasets: Sequence[Mapping[str, Any]] | None = None,
        max_results: int | None = None,
        order_by: Sequence[Mapping[str, Any]] | None = None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> AsyncIterator[LoggedModel]:
        """Iterate over all logged models that fit, `max_results` for each request."""
        call = _search(experiment_ids, filter_string, datasets, max_results, order_by)
        return self._iterate(call, "models", _model, timeout)

    async def set_logged_model_tags(
        self, model_id: str, tags: Mapping[str, Any], *, timeout: TimeoutArgument = UNSET
    ) -> None:
        """Set tags of a logged model. PATCH logged-models/{model_id}/tags."""
        body = {"model_id": model_id, "tags": pairs_json(tags, "tag", MAX_TAG, stored_key)}
        await self._write("PATCH", f"{_path(model_id)}/tags", body, timeout)

    async def delete_logged_model_tag(self, model_id: str, key: str, *, timeout: TimeoutArgument = UNSET) -> None:
        """Delete a tag of a logged model; NotFoundError when it has none of that key.

        DELETE logged-models/{model_id}/tags/{key}.
        """
        if "/" in identifier(key, "key"):
            raise InvalidInputError(f"the key is {key!r}", hint="MLflow has no way to delete a tag with a slash")
        path = f"{_path(model_id)}/tags/{quote(key, safe='')}"
        await self._once("DELETE", path, {"model_id": model_id, "tag_key": key}, timeout)

    async def log_model_params(
        self, model_id: str, params: Mapping[str, Any], *, timeout: TimeoutArgument = UNSET
    ) -> None:
        """Log params of a logged model, 100 for each request. POST logged-models/{model_id}/params.

        The server refuses a param that is there, even with the same value.
        """
        listed = pairs_json(params, "param", MAX_PARAM, stored_key)
        for start in range(0, len(listed), _PARAMS_AT_ONCE):
            body = {"model_id": model_id, "params": listed[start : start + _PARAMS_AT_ONCE]}
            await self._write("POST", f"{_path(model_id)}/params", body, timeout, Safety.CREATE)


def _path(model_id: object) -> str:
    return f"logged-models/{quote(identifier(model_id, 'model_id'), safe='')}"


def _model(value: Any) -> LoggedModel:
    from mlflow_utilities.entities import LoggedModel

    return decoded(LoggedModel, value)


def _model_in(answer: Any) -> LoggedModel:
    return _model(part(answer, "model"))


def _search(
    experiment_ids: Sequence[str],
    filter_string: str | Filter | None,
    datasets: Sequence[Mapping[str, Any]] | None,
    max_results: int | None,
    order_by: Sequence[Mapping[str, Any]] | None,
) -> Callable[[str | None], Call]:
    body = compact(
        experiment_ids=ids_list(experiment_ids),
        filter=filter_text(filter_string, "logged_models") or None,
        datasets=[dict(item) for item in datasets or ()] or None,
        max_results=None if max_results is None else integer(max_results, "max_results", 1),
        order_by=[dict(item) for item in order_by or ()] or None,
    )
    return lambda token: Call(
        "POST", API + "logged-models/search", body=compact(**body, page_token=token), safety=Safety.READ
    )
