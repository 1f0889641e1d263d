"""Loaders for flavors whose files can be read without mlflow; each returns what the flavor's own loader returns."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlflow_utilities.errors import ArtifactError, MissingDependencyError, ModelError

__all__ = ["LOADERS", "load_native"]

_ALLOW = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"


def load_native(directory: Path, flavor: str, settings: Mapping[str, Any]) -> object:
    """Load a model by `flavor`, one of `LOADERS`, with its settings from the MLmodel file.

    Runs code of the model. Blocks. Raises MissingDependencyError, ModelError for settings that make no sense, and
    whatever the library raises.
    """
    code = settings.get("code")
    if isinstance(code, str) and (folder := str(_inside(directory, code))) not in sys.path:
        sys.path.insert(0, folder)  # as MLflow does with the code saved along with a model
    return LOADERS[flavor](directory, settings)


def _inside(directory: Path, path: object) -> Path:
    if not isinstance(path, str) or not path:
        raise ModelError(f"the MLmodel file names {path!r} as a file")
    found = (directory / path).resolve()
    if not found.is_relative_to(directory.resolve()):
        raise ArtifactError(f"the MLmodel file names {path!r}, which lies outside the model")
    return found


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        top = name.partition(".")[0]
        raise MissingDependencyError(
            f"{top} is needed to load this model: {error}", hint=f"pip install {top}"
        ) from error


def _sklearn(directory: Path, settings: Mapping[str, Any]) -> object:
    path = _inside(directory, settings.get("pickled_model", "model.pkl"))
    return _deserialise(path, settings.get("serialization_format", "pickle"), settings)


def _deserialise(path: Path, serialization_format: object, settings: Mapping[str, Any]) -> object:
    if os.environ.get(_ALLOW, "true").lower() not in ("true", "1"):
        raise ModelError(f"{_ALLOW} forbids to load pickles", hint="loading them runs code of the model")
    if serialization_format == "skops":
        loaded: object = _package("skops.io").load(path, trusted=settings.get("skops_trusted_types"))
        return loaded
    if serialization_format not in ("pickle", "cloudpickle"):
        raise ModelError(f"the model is serialised as {serialization_format!r}", hint="load it with mlflow installed")
    with open(path, "rb") as file:
        return pickle.load(file)  # noqa: S301


def _xgboost(directory: Path, settings: Mapping[str, Any]) -> object:
    model = _class(settings.get("model_class", "xgboost.core.Booster"), "xgboost")()
    model.load_model(str(_inside(directory, settings.get("data"))))
    return model


def _lightgbm(directory: Path, settings: Mapping[str, Any]) -> object:
    path = _inside(directory, settings.get("data"))
    if settings.get("model_class", "lightgbm.basic.Booster") == "lightgbm.basic.Booster":
        return _package("lightgbm").Booster(model_file=str(path))
    return _deserialise(path, settings.get("serialization_format", "cloudpickle"), settings)


def _class(path: object, package: str) -> Any:
    module, _, name = str(path).rpartition(".")
    if module.partition(".")[0] != package:
        raise ModelError(f"the MLmodel file names the class {path!r}, which is not one of {package}")
    return getattr(_package(module), name)


def _onnx(directory: Path, settings: Mapping[str, Any]) -> object:
    loaded: object = _package("onnx").load(str(_inside(directory, settings.get("data"))))
    return loaded


LOADERS: Mapping[str, Callable[[Path, Mapping[str, Any]], object]] = {
    "sklearn": _sklearn,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "onnx": _onnx,
}
