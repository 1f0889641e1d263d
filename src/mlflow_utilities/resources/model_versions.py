"""`/api/2.0/mlflow/model-versions`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mlflow_utilities._protocol.uris import ModelVersionUri, parse_model_uri
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
from mlflow_utilities.errors import AlreadyExistsError, InvalidInputError, ModelError
from mlflow_utilities.resources._base import (
    API,
    CREATE_ID,
    Api,
    decoded,
    filter_text,
    new_create_id,
    order_list,
    part,
    without_create_id,
)
from mlflow_utilities.typing import Call, Safety, TimeoutArgument

if TYPE_CHECKING:
    from mlflow_utilities.entities import ModelVersion, Page
    from mlflow_utilities.filters import Filter

__all__ = ["ModelVersionsApi"]

_MAX_TAG = 100_000
_STAGES = ("None", "Staging", "Production", "Archived")


class ModelVersionsApi(Api):
    """Model version methods: one request each unless it says otherwise; errors of the REST API as in `errors`."""

    async def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Mapping[str, Any] | None = None,
        run_link: str | None = None,
        description: str | None = None,
        *,
        model_id: str | None = None,
        timeout: TimeoutArgument = UNSET,
    ) -> ModelVersion:
        """Register a new version of a model (POST model-versions/create); a lost answer is settled by a tag.

        `source` is where its files are: `models:/<model_id>` together with `model_id`, or an artifact location.
        """
        create_id = new_create_id()
        body = compact(
            name=identifier(name, "name"),
            source=identifier(source, "source"),
            run_id=run_id,
            tags=pairs_json({**(tags or {}), CREATE_ID: create_id}, "tag", _MAX_TAG),
            run_link=run_link,
            description=description,
            model_id=model_id,
        )

        async def find() -> ModelVersion | None:
            found = await self.search_model_versions(
                f"tags.`{CREATE_ID}` = '{create_id}'", max_results=1, timeout=timeout
            )
            return found[0] if found else None

        return await self._create("model-versions/create", body, _version_in, find, timeout)

    async def copy_model_version(
        self, src_model_uri: str, dst_name: str, *, timeout: TimeoutArgument = UNSET
    ) -> ModelVersion:
        """Register a version again under another name, which is created if it is not there: three requests.

        The copy has the run, tags and description of `src_model_uri` (models:/name/version, models:/name/latest or
        models:/name@alias) and names it as its source. Raises InvalidInputError for another URI, ModelError when there
        is no such version.
        """
        wanted = parse_model_uri(src_model_uri)
        if not isinstance(wanted, ModelVersionUri):
            raise InvalidInputError(f"{src_model_uri!r} names no version", hint="write models:/name/version")
        dst_name = identifier(dst_name, "dst_name")
        found = await self._find_version(wanted, timeout)
        with suppress(AlreadyExistsError):
            await self._write("POST", "registered-models/create", {"name": dst_name}, timeout)
        return await self.create_model_version(
            dst_name,
            f"models:/{found.name}/{found.version}",
            found.run_id or None,
            without_create_id(found.tags),
            found.run_link or None,
            found.description or None,
            model_id=found.model_id,
            timeout=timeout,
        )

    async def _find_version(self, wanted: ModelVersionUri, timeout: TimeoutArgument) -> ModelVersion:
        if wanted.alias is not None:
            return _version_in(
                await self._get("registered-models/alias", timeout, name=wanted.name, alias=wanted.alias)
            )
        version = wanted.version or ""
        if version.isdigit():
            return await self.get_model_version(wanted.name, version, timeout=timeout)
        body = compact(name=wanted.name, stages=None if version.lower() == "latest" else [version])
        answer = await self._write("POST", "registered-models/get-latest-versions", body, timeout, Safety.READ)
        versions = [_version(item) for item in answer.get("model_versions", [])]
        if not versions:
            raise ModelError(f"the registered model {wanted.name!r} has no version {version!r}")
        return max(versions, key=lambda item: int(item.version))

    async def get_model_version_stages(self, name: str, version: str | int) -> list[str]:
        """Return the stages a version can be in, always the same: no request."""
        _key(name, version)
        return list(_STAGES)

    async def get_model_version(
        self, name: str, version: str | int, *, timeout: TimeoutArgument = UNSET
    ) -> ModelVersion:
        """Return a version with its aliases. GET model-versions/get."""
        return _version_in(await self._get("model-versions/get", timeout, **_key(name, version)))

    async def update_model_version(
        self, name: str, version: str | int, description: str | None = None, *, timeout: TimeoutArgument = UNSET
    ) -> ModelVersion:
        """Change the description; "" removes it, and none raises InvalidInputError. PATCH model-versions/update."""
        body = {**_key(name, version), "description": new_description(description)}
        return _version_in(await self._write("PATCH", "model-versions/update", body, timeout))

    async def transition_model_version_stage(
        self,
        name: str,
        version: str | int,
        stage: str,
        archive_existing_versions: bool = False,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> ModelVersion:
        """Move a version to a stage. POST model-versions/transition-stage."""
        body = {
            **_key(name, version),
            "stage": identifier(stage, "stage"),
            "archive_existing_versions": bool(archive_existing_versions),
        }
        return _version_in(await self._write("POST", "model-versions/transition-stage", body, timeout))

    async def delete_model_version(self, name: str, version: str | int, *, timeout: TimeoutArgument = UNSET) -> None:
        """Delete a version for good. DELETE model-versions/delete."""
        await self._once("DELETE", "model-versions/delete", _key(name, version), timeout)

    async def search_model_versions(
        self,
        filter_string: str | Filter | None = None,
        max_results: int = 10_000,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> Page[ModelVersion]:
        """Return a page of versions, last updated first; without their aliases. GET model-versions/search."""
        return await self._page(
            _search(filter_string, max_results, order_by)(page_token), "model_versions", _version, timeout
        )

    def iter_model_versions(
        self,
        filter_string: str | Filter | None = None,
        max_results: int = 1000,
        order_by: Sequence[str] | None = None,
        *,
        timeout: TimeoutArgument = UNSET,
    ) -> AsyncIterator[ModelVersion]:
        """Iterate over all versions that fit, `max_results` for each request."""
        return self._iterate(_search(filter_string, max_results, order_by), "model_versions", _version, timeout)

    async def get_model_version_download_uri(
        self, name: str, version: str | int, *, timeout: TimeoutArgument = UNSET
    ) -> str:
        """Return the artifact location of a version. GET model-versions/get-download-uri."""
        answer = await self._get("model-versions/get-download-uri", timeout, **_key(name, version))
        return str(part(answer, "artifact_uri"))

    async def set_model_version_tag(
        self, name: str, version: str | int, key: str, value: Any, *, timeout: TimeoutArgument = UNSET
    ) -> None:
        """Set a tag of a version. POST model-versions/set-tag."""
        body = {**_key(name, version), "key": key_of(key, "key"), "value": value_text(value, key, _MAX_TAG)}
        await self._write("POST", "model-versions/set-tag", body, timeout)

    async def delete_model_version_tag(
        self, name: str, version: str | int, key: str, *, timeout: TimeoutArgument = UNSET
    ) -> None:
        """Delete a tag of a version. DELETE model-versions/delete-tag."""
        body = {**_key(name, version), "key": stored_key(key, "key")}
        await self._write("DELETE", "model-versions/delete-tag", body, timeout)


def _key(name: object, version: object) -> dict[str, str]:
    number = str(version) if isinstance(version, int) and not isinstance(version, bool) else version
    return {"name": identifier(name, "name"), "version": identifier(number, "version")}


def _version(value: Any) -> ModelVersion:
    from mlflow_utilities.entities import ModelVersion

    return decoded(ModelVersion, value)


def _version_in(answer: Any) -> ModelVersion:
    return _version(part(answer, "model_version"))


def _search(
    filter_string: str | Filter | None, max_results: int, order_by: Sequence[str] | None
) -> Callable[[str | None], Call]:
    query = [("max_results", str(integer(max_results, "max_results", 1)))]
    rendered = filter_text(filter_string, "model_versions")
    if rendered:
        query.append(("filter", rendered))
    query.extend(("order_by", item) for item in order_list(order_by))
    return lambda token: Call(
        "GET", API + "model-versions/search", query=[*query, ("page_token", token)] if token else query
    )
