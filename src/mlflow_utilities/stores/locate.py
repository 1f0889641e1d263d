"""Where the artifacts of a run, a logged model or a model version lie."""

from __future__ import annotations

from functools import cached_property
from urllib.parse import quote

from mlflow_utilities._protocol.uris import LoggedModelUri, ModelVersionUri, RunUri, join_uri, parse_model_uri
from mlflow_utilities._unset import UNSET, Unset
from mlflow_utilities.errors import ArtifactError, EndpointNotFoundError, ModelError, ProtocolError
from mlflow_utilities.typing import Call, JsonObject, Safety, Sender, Timeout

__all__ = ["ArtifactLocator"]

_API = "/api/2.0/mlflow/"
_MOST_REMEMBERED = 10_000
_MOST_STEPS = 4


class ArtifactLocator:
    """Finds artifact locations; those of runs and logged models never change, so they are asked for once."""

    _sender: Sender

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    @cached_property
    def _artifact_uris(self) -> dict[str, str]:
        return {}

    def _remember(self, owner: str, uri: str) -> str:
        if len(self._artifact_uris) >= _MOST_REMEMBERED:
            self._artifact_uris.clear()
        self._artifact_uris[owner] = uri
        return uri

    async def _ask(self, path: str, timeout: Timeout | float | Unset | None, **query: str) -> JsonObject:
        return await self._sender.send_json(Call("GET", _API + path, query=tuple(query.items())), timeout=timeout)

    async def _run_uri(self, run_id: str, timeout: Timeout | float | Unset | None) -> str:
        known = self._artifact_uris.get(run_id)
        if known is not None:
            return known
        answer = await self._ask("runs/get", timeout, run_id=run_id)
        return self._remember(run_id, _text(answer, "run", "info", "artifact_uri"))

    async def _logged_model_uri(self, model_id: str, timeout: Timeout | float | Unset | None) -> str:
        known = self._artifact_uris.get(model_id)
        if known is not None:
            return known
        answer = await self._ask(f"logged-models/{quote(model_id, safe='')}", timeout)
        return self._remember(model_id, _text(answer, "model", "info", "artifact_uri"))

    async def resolve_model_uri(self, uri: str, *, timeout: Timeout | float | Unset | None = UNSET) -> str:
        """Return the artifact location that `uri` names, with as few requests as that takes.

        Understands runs:/run_id/path (also when that is a logged model of the run), models:/name/version,
        models:/name/latest, models:/name/stage, models:/name@alias and models:/model_id; other URIs are returned
        unchanged. Raises InvalidInputError for a malformed URI, ModelError when no version fits, and API errors.
        """
        for _ in range(_MOST_STEPS):
            parsed = parse_model_uri(uri)
            if parsed is None:
                return uri
            if isinstance(parsed, RunUri):
                uri = await self._resolve_run(parsed, timeout)
            elif isinstance(parsed, LoggedModelUri):
                uri = await self._logged_model_uri(parsed.model_id, timeout)
            else:
                uri = await self._resolve_version(parsed, timeout)
        raise ModelError(f"{uri!r} leads from model to model without end")

    async def _resolve_run(self, wanted: RunUri, timeout: Timeout | float | Unset | None) -> str:
        if not wanted.path:
            return await self._run_uri(wanted.run_id, timeout)
        run = (await self._ask("runs/get", timeout, run_id=wanted.run_id)).get("run", {})
        root = self._remember(wanted.run_id, _text(run, "info", "artifact_uri"))
        name, _, rest = wanted.path.partition("/")
        model = await self._find_logged_model(_text(run, "info", "experiment_id"), wanted.run_id, name, timeout)
        return join_uri(root, wanted.path) if model is None else join_uri(model, rest)

    async def _find_logged_model(
        self, experiment_id: str, run_id: str, name: str, timeout: Timeout | float | Unset | None
    ) -> str | None:
        if "'" in name or "'" in run_id:
            return None
        body = {
            "experiment_ids": [experiment_id],
            "filter": f"name = '{name}' AND source_run_id = '{run_id}'",
            "order_by": [{"field_name": "creation_timestamp", "ascending": False}],
            "max_results": 1,
        }
        call = Call("POST", _API + "logged-models/search", body=body, safety=Safety.READ)
        try:
            answer = await self._sender.send_json(call, timeout=timeout)
        except EndpointNotFoundError:  # servers 2.x keep the files of a model in its run
            return None
        models = answer.get("models", [])
        return _text(models[0], "info", "artifact_uri") if models else None

    async def _resolve_version(self, wanted: ModelVersionUri, timeout: Timeout | float | Unset | None) -> str:
        version = await self._version_number(wanted, timeout)
        answer = await self._ask("model-versions/get-download-uri", timeout, name=wanted.name, version=version)
        return _text(answer, "artifact_uri")

    async def _version_number(self, wanted: ModelVersionUri, timeout: Timeout | float | Unset | None) -> str:
        if wanted.alias is not None:
            answer = await self._ask("registered-models/alias", timeout, name=wanted.name, alias=wanted.alias)
            return _text(answer, "model_version", "version")
        version = wanted.version or ""
        if version.isdigit():
            return version
        body: JsonObject = {"name": wanted.name}
        if version.lower() != "latest":
            body["stages"] = [version]
        call = Call("POST", _API + "registered-models/get-latest-versions", body=body, safety=Safety.READ)
        answer = await self._sender.send_json(call, timeout=timeout)
        numbers = [int(_text(item, "version")) for item in answer.get("model_versions", [])]
        if not numbers:
            raise ModelError(f"the registered model {wanted.name!r} has no version {version!r}")
        return str(max(numbers))


def _text(answer: JsonObject, *keys: str) -> str:
    value: object = answer
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if value is None or isinstance(value, dict | list):
        raise ProtocolError(f"the answer has no {'.'.join(keys)}")
    if value == "" and keys[-1] == "artifact_uri":
        raise ArtifactError("it has no artifact location")
    return str(value)  # pyright: ignore[reportUnknownArgumentType]
