"""`/api/2.0/mlflow/registered-models`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlflow_utilities._protocol.values import (
    compact,
    identifier,
    integer,
    key_of,
    new_description,
    pairs_json,
    stored_key,
    value_text,
)
from mlflow_utilities._unset import UNSET
from mlflow_utilities.errors import InvalidInputError, NotFoundError
from mlflow_utilities.resources._base import API, Api, decoded, filter_text, order_list, part
from mlflow_utilities.typing import Call, Safety, TimeoutArgument

if TYPE_CHECKING:
    from mlflow_utilities.entities import ModelVersion, Page, RegisteredModel
    from mlflow_utilities.filters import Filter

__all__ = ["RegisteredModelsApi"]

_MAX_TAG = 100_000


class RegisteredModelsApi(Api):
    """Registered model methods; each is one request and raises the errors of the REST API, see `errors`."""

    async def create_registered_model(
        self,
        name: str,
        tags: Mapping[str, Any] | None = None,
        description: str | None = None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> RegisteredModel:
        """Create a registered model; AlreadyExistsError when the name is taken. A lost answer is settled by name.

        POST registered-models/create.
        """
        body = compact(name=_model_name(name), tags=pairs_json(tags, "tag", _MAX_TAG) or None, description=description)

        async def find() -> RegisteredModel | None:
            try:
                return await self.get_registered_model(name, timeout=timeout)
            except NotFoundError:
                return None

        return await self._create("registered-models/create", body, _model_in, find, timeout)

    async def get_registered_model(self, name: str, *, timeout: TimeoutArgument = UNSET) -> RegisteredModel:
        """Return a registered model with its aliases and latest versions. GET registered-models/get."""
        return _model_in(await self._get("registered-models/get", timeout, name=_model_name(name)))

    async def rename_registered_model(
        self, name: str, new_name: str, *, timeout: TimeoutArgument = UNSET
    ) -> RegisteredModel:
        """Rename a registered model; AlreadyExistsError when the name is taken. POST registered-models/rename.

        A lost answer is settled by looking at both names.
        """
        body = {"name": _model_name(name), "new_name": _model_name(new_name)}

        async def find() -> RegisteredModel | None:
            try:
                await self.get_registered_model(name, timeout=timeout)
            except NotFoundError:
                return await self.get_registered_model(new_name, timeout=timeout)
            return None

        return await self._create("registered-models/rename", body, _model_in, find, timeout)

    async def update_registered_model(
        self, name: str, description: str | None = None, *, timeout: TimeoutArgument = UNSET
    ) -> RegisteredModel:
        """Change the description; "" removes it, and none raises InvalidInputError. PATCH registered-models/update."""
        body = {"name": _model_name(name), "description": new_description(description)}
        return _model_in(await self._write("PATCH", "registered-models/update", body, timeout))

    async def delete_registered_model(self, name: str, *, timeout: TimeoutArgument = UNSET) -> None:
        """Delete a registered model and its versions for good. DELETE registered-models/delete."""
        await self._once("DELETE", "registered-models/delete", {"name": _model_name(name)}, timeout)

    async def search_registered_models(
        self,
        filter_string: str | Filter | None = None,
        max_results: int = 100,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> Page[RegisteredModel]:
        """Return a page of registered models, by name. GET registered-models/search."""
        return await self._page(
            _search(filter_string, max_results, order_by)(page_token), "registered_models", _model, timeout
        )

    def iter_registered_models(
        self,
        filter_string: str | Filter | None = None,
        max_results: int = 100,
        order_by: Sequence[str] | None = None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> AsyncIterator[RegisteredModel]:
        """Iterate over all registered models that fit, `max_results` for each request."""
        return self._iterate(_search(filter_string, max_results, order_by), "registered_models", _model, timeout)

    async def get_latest_versions(
        self, name: str, stages: Sequence[str] | None = None, *, timeout: TimeoutArgument = UNSET
    ) -> list[ModelVersion]:
        """Return the latest version of each stage. POST registered-models/get-latest-versions."""
        body = compact(name=_model_name(name), stages=list(stages) if stages else None)
        answer = await self._write("POST", "registered-models/get-latest-versions", body, timeout, Safety.READ)
        return [_version(item) for item in answer.get("model_versions", [])]

    async def set_registered_model_tag(
        self, name: str, key: str, value: Any, *, timeout: TimeoutArgument = UNSET
    ) -> None:
        """Set a tag of a registered model. POST registered-models/set-tag."""
        body = {"name": _model_name(name), "key": key_of(key, "key"), "value": value_text(value, key, _MAX_TAG)}
        await self._write("POST", "registered-models/set-tag", body, timeout)

    async def delete_registered_model_tag(self, name: str, key: str, *, timeout: TimeoutArgument = UNSET) -> None:
        """Delete a tag of a registered model. DELETE registered-models/delete-tag."""
        body = {"name": _model_name(name), "key": stored_key(key, "key")}
        await self._write("DELETE", "registered-models/delete-tag", body, timeout)

    async def set_registered_model_alias(
        self, name: str, alias: str, version: str | int, *, timeout: TimeoutArgument = UNSET
    ) -> None:
        """Let an alias name a version. POST registered-models/alias."""
        body = {"name": _model_name(name), "alias": identifier(alias, "alias"), "version": _number(version)}
        await self._write("POST", "registered-models/alias", body, timeout)

    async def delete_registered_model_alias(self, name: str, alias: str, *, timeout: TimeoutArgument = UNSET) -> None:
        """Delete an alias. DELETE registered-models/alias."""
        body = {"name": _model_name(name), "alias": identifier(alias, "alias")}
        await self._write("DELETE", "registered-models/alias", body, timeout)

    async def get_model_version_by_alias(
        self, name: str, alias: str, *, timeout: TimeoutArgument = UNSET
    ) -> ModelVersion:
        """Return the version an alias names. GET registered-models/alias.

        An unknown alias raises InvalidParameterError, as MLflow answers it.
        """
        answer = await self._get(
            "registered-models/alias", timeout, name=_model_name(name), alias=identifier(alias, "alias")
        )
        return _version(part(answer, "model_version"))


def _model_name(name: object) -> str:
    text = identifier(name, "the name of a registered model")
    if "/" in text or ":" in text:
        raise InvalidInputError(f"the name {text!r} of a registered model has a '/' or ':'", hint="leave them out")
    return text


def _number(version: object) -> str:
    if isinstance(version, int) and not isinstance(version, bool):
        return str(version)
    return identifier(version, "version")


def _model(value: Any) -> RegisteredModel:
    from mlflow_utilities.entities import RegisteredModel

    return decoded(RegisteredModel, value)


def _model_in(answer: Any) -> RegisteredModel:
    return _model(part(answer, "registered_model"))


def _version(value: Any) -> ModelVersion:
    from mlflow_utilities.entities import ModelVersion

    return decoded(ModelVersion, value)


def _search(
    filter_string: str | Filter | None, max_results: int, order_by: Sequence[str] | None
) -> Callable[[str | None], Call]:
    query = [("max_results", str(integer(max_results, "max_results", 1)))]
    rendered = filter_text(filter_string, "registered_models")
    if rendered:
        query.append(("filter", rendered))
    query.extend(("order_by", item) for item in order_list(order_by))
    return lambda token: Call(
        "GET", API + "registered-models/search", query=[*query, ("page_token", token)] if token else query
    )
