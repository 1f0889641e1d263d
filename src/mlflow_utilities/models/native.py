"""Loaders for flavors whose files can be read without mlflow; each returns what the flavor's own loader returns."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlflow_utilities.errors import MissingDependencyError, ModelError
from mlflow_utilities.models.mlmodel import inside
from mlflow_utilities.models.responsive import unpickle

__all__ = ["LOADERS", "add_code", "is_pickle", "load_native", "pickles_are_allowed"]

_ALLOW = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
_PICKLES = ("pickle", "cloudpickle")


def load_native(directory: Path, flavor: str, settings: Mapping[str, Any]) -> object:
    """Load a model by `flavor`, one of `LOADERS`, with its settings from the MLmodel file.

    Runs code of the model. Blocks. Raises MissingDependencyError, ModelError for settings that make no sense, and
    whatever the library raises.
    """
    add_code(directory, settings)
    return LOADERS[flavor](directory, settings)


def add_code(directory: Path, settings: Mapping[str, Any]) -> None:
    """Let the code saved along with a model be imported, as MLflow does."""
    code = settings.get("code")
    if isinstance(code, str) and (folder := str(inside(directory, code))) not in sys.path:
        sys.path.insert(0, folder)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        top = name.partition(".")[0]
        raise MissingDependencyError(
            f"{top} is needed to load this model: {error}", hint=f"pip install {top}"
        ) from error


def is_pickle(flavor: str, settings: Mapping[str, Any]) -> bool:
    """Return whether the model is one pickle that gives the same object with and without mlflow, and may be loaded."""
    return flavor == "sklearn" and settings.get("serialization_format", "pickle") in _PICKLES and pickles_are_allowed()


def pickles_are_allowed() -> bool:
    """Return whether MLFLOW_ALLOW_PICKLE_DESERIALIZATION, where it is set, permits to load pickles."""
    return os.environ.get(_ALLOW, "true").lower() in ("true", "1")


def _sklearn(directory: Path, settings: Mapping[str, Any]) -> object:
    path = inside(directory, settings.get("pickled_model", "model.pkl"))
    return _deserialise(path, settings.get("serialization_format", "pickle"), settings)


def _deserialise(path: Path, serialization_format: object, settings: Mapping[str, Any]) -> object:
    if not pickles_are_allowed():
        raise ModelError(f"{_ALLOW} forbids to load pickles", hint="loading them runs code of the model")
    if serialization_format == "skops":
        loaded: object = _package("skops.io").load(path, trusted=settings.get("skops_trusted_types"))
        return loaded
    if serialization_format not in _PICKLES:
        raise ModelError(f"the model is serialised as {serialization_format!r}", hint="load it with mlflow installed")
    return unpickle(path)


def _xgboost(directory: Path, settings: Mapping[str, Any]) -> object:
    model = _class(settings.get("model_class", "xgboost.core.Booster"), "xgboost")()
    model.load_model(str(inside(directory, settings.get("data"))))
    return model


def _lightgbm(directory: Path, settings: Mapping[str, Any]) -> object:
    path = inside(directory, settings.get("data"))
    if settings.get("model_class", "lightgbm.basic.Booster") == "lightgbm.basic.Booster":
        return _package("lightgbm").Booster(model_file=str(path))
    return _deserialise(path, settings.get("serialization_format", "cloudpickle"), settings)


def _class(path: object, package: str) -> Any:
    module, _, name = str(path).rpartition(".")
    if module.partition(".")[0] != package:
        raise ModelError(f"the MLmodel file names the class {path!r}, which is not one of {package}")
    return getattr(_package(module), name)


def _onnx(directory: Path, settings: Mapping[str, Any]) -> object:
    loaded: object = _package("onnx").load(str(inside(directory, settings.get("data"))))
    return loaded


LOADERS: Mapping[str, Callable[[Path, Mapping[str, Any]], object]] = {
    "sklearn": _sklearn,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "onnx": _onnx,
}
