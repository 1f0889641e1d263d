"""Files of a python_function model whose pickle has been read already, so that mlflow need not do it in one go."""

from __future__ import annotations

import contextlib
import json
import pickle
import tempfile
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow_utilities.models.mlmodel import inside, read_mlmodel
from mlflow_utilities.models.native import add_code, is_pickle, pickles_are_allowed
from mlflow_utilities.models.responsive import unpickle

__all__ = ["unpickled_before"]

_PYFUNC = "python_function"
_unpickled: dict[str, object] = {}


@contextmanager
def unpickled_before(directory: Path) -> Generator[Path, None, None]:
    """Give a directory from which `mlflow.pyfunc` loads the model in `directory`, for the length of the block.

    mlflow hands over the interpreter lock too rarely while it reads a large pickle. So the pickle is read here, see
    `responsive.unpickle`, and the directory has links to the model's files and a pickle that stands for the object. It
    is `directory` itself where the model is no pickle of MLflow's own python_function or sklearn flavor, or where
    links cannot be made. Runs code of the model.
    """
    content = read_mlmodel(directory)
    file = _pickle_of(content["flavors"])
    if file is None:
        yield directory
        return
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlflow-utilities-")))
        try:
            _link(directory, folder, {"MLmodel", file})
        except OSError:
            yield directory
            return
        settings = content["flavors"][_PYFUNC]
        add_code(directory, settings)
        key = uuid.uuid4().hex
        stack.callback(_unpickled.pop, key, None)
        _unpickled[key] = unpickle(inside(directory, file))
        (folder / file).write_bytes(pickle.dumps(_StandIn(key)))
        (folder / "MLmodel").write_text(json.dumps(_with_full_paths(content, directory), default=str))
        yield folder


def _pickle_of(flavors: Mapping[str, Any]) -> str | None:
    """Return the name of the one pickle that `mlflow.pyfunc` would load, if it is one."""
    settings: Mapping[str, Any] = flavors[_PYFUNC] or {}
    sklearn: Mapping[str, Any] = flavors.get("sklearn") or {}
    file: object = None
    if settings.get("loader_module") == "mlflow.pyfunc.model":
        if not settings.get("python_model_compression") and not settings.get("model_code_path"):
            file = settings.get("python_model")
    elif settings.get("loader_module") == "mlflow.sklearn" and is_pickle("sklearn", sklearn):
        file = settings.get("model_path")
    return file if isinstance(file, str) and Path(file).name == file and pickles_are_allowed() else None


def _link(directory: Path, folder: Path, without: set[str]) -> None:
    for path in directory.iterdir():
        if path.name not in without:
            (folder / path.name).symlink_to(path.absolute(), target_is_directory=path.is_dir())


def _with_full_paths(content: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Return the MLmodel file with paths that hold once the folder is gone: a model may read files late."""
    settings: dict[str, Any] = dict(content["flavors"][_PYFUNC])
    if isinstance(settings.get("code"), str):
        settings["code"] = str(inside(directory, settings["code"]))
    artifacts: dict[str, dict[str, Any]] = settings.get("artifacts") or {}
    settings["artifacts"] = {
        name: {**about, "path": str(inside(directory, about["path"]))} for name, about in artifacts.items()
    }
    return {**content, "flavors": {**content["flavors"], _PYFUNC: settings}}


class _StandIn:
    """An object whose pickle becomes the object that was read before."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __reduce__(self) -> tuple[Any, ...]:
        return _take, (self.key,)


def _take(key: str) -> object:
    return _unpickled.pop(key)
