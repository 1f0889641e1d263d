"""What an artifact URI or model URI names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from mlflow_utilities.errors import ArtifactError, InvalidInputError

__all__ = [
    "FileLocation",
    "ForeignLocation",
    "Location",
    "LoggedModelUri",
    "ModelUri",
    "ModelVersionUri",
    "ProxyLocation",
    "RunUri",
    "join_uri",
    "parse_location",
    "parse_model_uri",
]

_PROXY_PATH = "/api/2.0/mlflow-artifacts/artifacts"
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


@dataclass(frozen=True, slots=True)
class ProxyLocation:
    """A directory behind the server's artifact proxy; `path` is not quoted and has no leading slash."""

    path: str


@dataclass(frozen=True, slots=True)
class FileLocation:
    """A directory of the local file system."""

    path: str


@dataclass(frozen=True, slots=True)
class ForeignLocation:
    """A directory that only the server, or another library, can reach."""

    scheme: str
    uri: str


Location: TypeAlias = ProxyLocation | FileLocation | ForeignLocation


@dataclass(frozen=True, slots=True)
class RunUri:
    """runs:/<run_id>/<path>."""

    run_id: str
    path: str


@dataclass(frozen=True, slots=True)
class LoggedModelUri:
    """models:/<model_id>."""

    model_id: str


@dataclass(frozen=True, slots=True)
class ModelVersionUri:
    """models:/<name>/<version, stage or latest> or models:/<name>@<alias>."""

    name: str
    version: str | None = None
    alias: str | None = None


ModelUri: TypeAlias = RunUri | LoggedModelUri | ModelVersionUri


def join_uri(root: str, path: str) -> str:
    """Return the URI of `path` below `root`; a query of the root stays at the end."""
    if not path:
        return root
    base, mark, query = root.partition("?")
    return f"{base.rstrip('/')}/{path.strip('/')}{mark}{query}"


def parse_location(uri: str, tracking_uri: str | None) -> Location:
    """Return what the artifact URI names for a client of `tracking_uri`.

    Hosts other than the client's own are foreign: credentials of one server are never sent to another.
    Raises ArtifactError for a file: URI of another machine.
    """
    if _DRIVE.match(uri):
        return FileLocation(uri)
    scheme, _, _ = uri.partition(":") if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", uri) else ("", "", "")
    scheme = scheme.lower()
    if scheme == "":
        return FileLocation(uri)
    if scheme == "file":
        return _file_location(uri)
    if scheme == "mlflow-artifacts":
        parts = urlsplit(uri)
        if not parts.netloc or _same_host(parts.netloc, tracking_uri):
            return ProxyLocation(unquote(parts.path).strip("/"))
    elif scheme in ("http", "https") and tracking_uri is not None:
        prefix = tracking_uri.rstrip("/") + _PROXY_PATH
        if uri == prefix or uri.startswith(prefix + "/"):
            return ProxyLocation(unquote(uri[len(prefix) :]).strip("/"))
    return ForeignLocation(scheme, uri)


def _same_host(netloc: str, tracking_uri: str | None) -> bool:
    return tracking_uri is not None and urlsplit(tracking_uri).netloc.rpartition("@")[2].lower() == netloc.lower()


def _file_location(uri: str) -> FileLocation:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise ArtifactError(f"{uri} names files of the machine {parts.netloc}", hint="use file:///path")
    path = unquote(parts.path)
    return FileLocation(path[1:] if _DRIVE.match(path[1:]) else path)


def parse_model_uri(uri: str) -> ModelUri | None:
    """Return what a runs: or models: URI names, None for any other URI.

    Raises InvalidInputError for a runs: or models: URI of another shape.
    """
    scheme, _, rest = uri.partition(":")
    if scheme not in ("runs", "models"):
        return None
    if not rest.startswith("/") or rest.startswith("//"):
        raise InvalidInputError(f"{uri!r} is not a model URI", hint=f"write {scheme}:/... with one slash")
    head, _, tail = rest[1:].partition("/")
    if not head:
        raise InvalidInputError(f"{uri!r} names nothing after {scheme}:/")
    if scheme == "runs":
        return RunUri(head, tail.strip("/"))
    return _models_uri(uri, head, tail.strip("/"))


def _models_uri(uri: str, head: str, tail: str) -> ModelUri:
    if tail:
        if "/" in tail:
            raise InvalidInputError(f"{uri!r} is not a model URI", hint="write models:/name/version")
        return ModelVersionUri(head, version=tail)
    name, mark, alias = head.rpartition("@")
    if not mark:
        return LoggedModelUri(head)
    if not name or not alias:
        raise InvalidInputError(f"{uri!r} is not a model URI", hint="write models:/name@alias")
    return ModelVersionUri(name, alias=alias)
