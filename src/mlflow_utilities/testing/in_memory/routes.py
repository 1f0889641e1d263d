"""Which part of the server answers a request."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias, cast

from mlflow_utilities.testing.in_memory import (
    artifacts,
    experiments,
    logged_model_search,
    logged_models,
    model_versions,
    presigned,
    registered_models,
    registry_search,
    run_data,
    run_links,
    run_search,
    runs,
)
from mlflow_utilities.testing.in_memory.exchange import Answer, Request, html, json_answer, refusal
from mlflow_utilities.testing.in_memory.fields import Fields
from mlflow_utilities.testing.in_memory.refusals import Refused, UnsupportedByInMemoryMlflow, invalid
from mlflow_utilities.testing.in_memory.state import State

__all__ = ["Handler", "RawHandler", "answer"]

# A JSON route's key is its method and its path below /api/2.0/mlflow/; what stands in braces arrives under that name
# with its braces, "{model_id}", since the server's handlers trust the body more than the path.
Handler: TypeAlias = Callable[[State, Mapping[str, Any]], dict[str, Any]]
# A raw route's key is its method and its path below /api/; a last name that ends in "path" takes slashes too.
RawHandler: TypeAlias = Callable[[State, Request, Mapping[str, str]], Answer]


def _server_info(_state: State, _request: Request, _path: Mapping[str, str]) -> Answer:
    """Say what this server has: a SQL store's behaviour and none of the optional parts."""
    off = ("workspaces_enabled", "trace_archival_enabled", "multipart_uploads_enabled", "multipart_downloads_enabled")
    on = ("presigned_upload_run_id_supported", "presigned_upload_model_id_supported")  # of servers in general
    has = {"store_type": "SqlStore", **dict.fromkeys(off, False), **dict.fromkeys(on, True)}
    return json_answer({**has, "features_enabled": {"gateway": False}})


HANDLERS: dict[tuple[str, str], Handler] = {
    **experiments.HANDLERS,
    **runs.HANDLERS,
    **run_search.HANDLERS,
    **run_data.HANDLERS,
    **registered_models.HANDLERS,
    **registry_search.HANDLERS,
    **model_versions.HANDLERS,
    **logged_model_search.HANDLERS,
    **logged_models.HANDLERS,
    **artifacts.HANDLERS,
    **presigned.HANDLERS,
    **run_links.HANDLERS,
}
RAW: dict[tuple[str, str], RawHandler] = {
    ("GET", "3.0/mlflow/server-info"): _server_info,
    **artifacts.RAW,
    **presigned.RAW,
}

_VERSION = "3.17.2"
_NOT_IMITATED = re.compile(
    r"2\.0/mlflow/(?:traces|webhooks|runs/create-promptlab-run|gateway-proxy"
    r"|upload-artifact|experiments/search-datasets|metrics/get-history-bulk|get-trace-artifact)"
    r"|3\.0/mlflow/|3\.0/jobs"
)
_PLAIN_PAGES = ("/graphql", "/metrics", "/v1/traces", "/gateway/")


def answer(state: State, request: Request) -> Answer:
    """Do what was asked.

    Raises UnsupportedByInMemoryMlflow for what MLflow knows and this does not imitate.
    """
    if request.path in ("/health", "/version"):
        return Answer(200, b"OK" if request.path == "/health" else _VERSION.encode(), {"content-type": "text/html"})
    match = re.match(r"/(?:ajax-)?api/(.*)", request.path, re.DOTALL)
    if match is None:
        if page := artifacts.PAGES.get((request.method, request.path)):
            return _guarded(partial(page, state, request, {}))
        if request.path.startswith(_PLAIN_PAGES):
            raise UnsupportedByInMemoryMlflow(f"{request.method} {request.path} is not imitated")
        return html(404, "Not Found")
    return _api(state, request, match[1])


def _api(state: State, request: Request, path: str) -> Answer:
    others = False
    for pattern, route, handler in _JSON:
        if found := pattern.fullmatch(path):
            if route == request.method:
                return _json(state, request, handler, {f"{{{name}}}": text for name, text in found.groupdict().items()})
            others = True
    for pattern, route, raw in _RAW:
        if found := pattern.fullmatch(path):
            if route == request.method:
                return _guarded(partial(raw, state, request, found.groupdict()))
            others = True
    if others:
        return html(405, "Method Not Allowed")
    if _NOT_IMITATED.match(path):
        raise UnsupportedByInMemoryMlflow(f"{request.method} {request.path} is not imitated")
    return html(404, "Not Found")


def _json(state: State, request: Request, handler: Handler, of_path: Mapping[str, str]) -> Answer:
    def act() -> Answer:
        fields = _fields(request)
        fields.update(of_path)
        return json_answer(handler(state, fields))

    return _guarded(act)


def _guarded(act: Callable[[], Answer]) -> Answer:
    try:
        return act()
    except Refused as refused:
        return refusal(refused)


def _fields(request: Request) -> Fields:
    if request.method == "GET" and request.query:
        one_or_more = {name: values[0] if len(values) == 1 else list(values) for name, values in request.query.items()}
        return Fields(one_or_more, query=True)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method in ("POST", "PUT") and media_type != "application/json":
        raise invalid("Bad Request. Content-Type must be one of ['application/json'].")
    value = _decoded(request.body)
    if isinstance(value, str):
        # Old clients send JSON in a JSON text.
        value = _decoded(value)
    if value is None:
        return Fields({}, unreadable=True)
    if not isinstance(value, dict):
        raise Refused("Internal Server Error", "INTERNAL_ERROR")
    return Fields(cast("dict[str, Any]", value))


def _decoded(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _pattern(path: str) -> re.Pattern[str]:
    """Return an expression for a path in whose braces a segment stands, at its end a whole path."""
    expression = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path))
    return re.compile(expression.removesuffix("[^/]+)") + ".+)" if path.endswith("path}") else expression, re.DOTALL)


_JSON = [(_pattern(f"2.0/mlflow/{path}"), method, handler) for (method, path), handler in HANDLERS.items()]
_RAW = [(_pattern(path), method, handler) for (method, path), handler in RAW.items()]
