"""The MLmodel file: what says by which flavors a model can be loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from mlflow_utilities.errors import ArtifactError, MissingDependencyError, ModelError

__all__ = ["inside", "read_flavors", "read_mlmodel"]

_INSTALL = 'pip install pyyaml, or pip install "mlflow-utilities[mlflow]", which brings it'


def read_flavors(directory: Path) -> dict[str, Mapping[str, Any]]:
    """Return the flavors that the MLmodel file in `directory` names, with their settings, in its order.

    Raises:
        MissingDependencyError: it is YAML, as MLflow writes it, and PyYAML is not installed.
        ModelError: there is none, or it names no flavors.

    """
    flavors = read_mlmodel(directory).get("flavors")
    if not isinstance(flavors, dict):
        raise ModelError(f"the MLmodel file in {directory} names no flavors")
    named = cast("dict[str, Mapping[str, Any] | None]", flavors)
    return {str(name): settings or {} for name, settings in named.items()}


def read_mlmodel(directory: Path) -> dict[str, Any]:
    """Return the content of the MLmodel file in `directory`; raises as `read_flavors` does."""
    try:
        text = (directory / "MLmodel").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read the MLmodel file in {directory}: {error}") from error
    return _parse(text)


def inside(directory: Path, path: object) -> Path:
    """Return the path of what the MLmodel file calls `path`.

    Raises ModelError when that is no path, ArtifactError when it lies outside the model.
    """
    if not isinstance(path, str) or not path:
        raise ModelError(f"the MLmodel file names {path!r} as a file")
    found = (directory / path).resolve()
    if not found.is_relative_to(directory.resolve()):
        raise ArtifactError(f"the MLmodel file names {path!r}, which lies outside the model")
    return found


def _parse(text: str) -> dict[str, Any]:
    """Return the content: JSON, which is YAML, too, needs no further package."""
    try:
        content: object = json.loads(text)
    except ValueError:
        content = _parse_yaml(text)
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}


def _parse_yaml(text: str) -> object:
    try:
        import yaml
    except ImportError as error:
        raise MissingDependencyError("a YAML reader is needed to load a model", hint=_INSTALL) from error
    try:
        return cast("object", yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ModelError(f"the MLmodel file is not YAML: {error}") from error
