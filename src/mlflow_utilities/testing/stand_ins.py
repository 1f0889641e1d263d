"""Models for tests: any object, a function or a fixed answer, in files that load without mlflow."""

from __future__ import annotations

import json
import pickle
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow_utilities.errors import InvalidInputError, ModelError

__all__ = ["ConstantModel", "FunctionModel", "model_of", "write_model"]

_kept: dict[str, object] = {}


class FunctionModel:
    """A model that a function is: `predict(data)` calls it."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def predict(self, data: Any) -> Any:
        """Return what the function says."""
        return self.function(data)

    __call__ = predict

    def __repr__(self) -> str:
        return f"FunctionModel({getattr(self.function, '__name__', self.function)!s})"


class ConstantModel:
    """A model that answers the same whatever it is asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict(self, data: Any) -> Any:
        """Return the answer."""
        return self.answer

    __call__ = predict

    def __repr__(self) -> str:
        return f"ConstantModel({self.answer!r})"


def model_of(given: Any) -> Any:
    """Return the model that a test gave: what has `predict` as it is, a function as a FunctionModel.

    Raises:
        InvalidInputError: it is neither, or a class.

    """
    if not isinstance(given, type) and callable(getattr(given, "predict", None)):
        return given
    if not isinstance(given, type) and callable(given):
        return FunctionModel(given)
    raise InvalidInputError(
        f"the model is {given!r}", hint="give an object with predict, a function of the data, or answer= instead"
    )


def write_model(directory: Path, model: object) -> None:
    """Write the files of a model; loading them in this process gives the same object.

    Elsewhere it is a copy, if the object can be pickled.
    """
    token = uuid.uuid4().hex
    _kept[token] = model
    flavor = {"pickled_model": "model.pkl", "serialization_format": "pickle", "sklearn_version": "1.7.0"}
    # JSON is YAML, too, and needs no further package to be read.
    (directory / "MLmodel").write_text(json.dumps({"flavors": {"sklearn": flavor}}))
    (directory / "model.pkl").write_bytes(pickle.dumps(_Kept(token, _copy(model), repr(type(model)))))


def _copy(model: object) -> bytes | None:
    try:
        return pickle.dumps(model)
    except Exception:  # what a __reduce__ raises; it matters only in another process
        return None


class _Kept:
    def __init__(self, token: str, copy: bytes | None, kind: str) -> None:
        self._arguments = (token, copy, kind)

    def __reduce__(self) -> tuple[Any, ...]:
        return _find, self._arguments


def _find(token: str, copy: bytes | None, kind: str) -> Any:
    if token in _kept:
        return _kept[token]
    if copy is None:
        raise ModelError(
            f"the test's model, a {kind}, cannot be pickled and is loaded in another process",
            hint="give an object of a class or a function that a module defines",
        )
    return pickle.loads(copy)  # noqa: S301 - what the test itself pickled
