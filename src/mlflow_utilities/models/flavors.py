"""MLflow's flavors: the only module that imports mlflow, and only inside its functions."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import re
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from mlflow_utilities.errors import InvalidInputError, MissingDependencyError, ModelError

__all__ = ["PYFUNC", "check_options", "load_with_mlflow", "mlflow_is_there", "resolve_flavor", "serialise"]

PYFUNC = "python_function"  # what an MLmodel file calls the flavor of mlflow.pyfunc
_INSTALL = 'pip install "mlflow-utilities[mlflow]"'
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_BY_PACKAGE = {
    "catboost": "catboost",
    "h2o": "h2o",
    "keras": "keras",
    "lightgbm": "lightgbm",
    "onnx": "onnx",
    "paddle": "paddle",
    "pmdarima": "pmdarima",
    "prophet": "prophet",
    "pyspark": "spark",
    "sentence_transformers": "sentence_transformers",
    "sklearn": "sklearn",
    "spacy": "spacy",
    "statsmodels": "statsmodels",
    "tensorflow": "tensorflow",
    "torch": "pytorch",
    "transformers": "transformers",
    "xgboost": "xgboost",
}
_OURS = frozenset({"path", "mlflow_model", "python_model"})
_REQUIREMENTS = ("pip_requirements", "conda_env")


def resolve_flavor(model: object, mlflow_subpackage: str | ModuleType | None = None) -> str:
    """Return the name of the flavor that saves `model`, e.g. "sklearn" for the module `mlflow.sklearn`.

    Args:
        model: the object to be saved.
        mlflow_subpackage: the module `mlflow.sklearn`, its name, or "sklearn"; None: found from the model's class
            where that is certain, else "pyfunc". Blocks while mlflow is imported for the first time.

    Raises:
        InvalidInputError: there is no such flavor, it cannot save, or pyfunc cannot save an object of this kind.
        MissingDependencyError: mlflow, or the library of the flavor, is not installed.

    """
    flavor = _by_class(model) if mlflow_subpackage is None else _by_name(mlflow_subpackage)
    if flavor == "pyfunc":
        _check_pyfunc(model)
    if not hasattr(_module(flavor), "save_model"):
        raise InvalidInputError(f"mlflow.{flavor} has no save_model", hint='use a flavor such as "sklearn" or "pyfunc"')
    return flavor


def _by_class(model: object) -> str:
    if _is_python_model(model):
        return "pyfunc"
    packages = (base.__module__.partition(".")[0] for base in type(model).__mro__)
    return next((_BY_PACKAGE[package] for package in packages if package in _BY_PACKAGE), "pyfunc")


def _by_name(given: object) -> str:
    name = given.__name__ if isinstance(given, ModuleType) else given
    if isinstance(name, str) and (not isinstance(given, ModuleType) or name.startswith("mlflow.")):
        flavor = name.removeprefix("mlflow.")
        if _NAME.fullmatch(flavor):
            return flavor
    raise InvalidInputError(f"mlflow_subpackage is {given!r}", hint='give "sklearn" or the module mlflow.sklearn')


def _is_python_model(model: object) -> bool:
    return any(
        base.__name__ == "PythonModel" and base.__module__.startswith("mlflow.pyfunc") for base in type(model).__mro__
    )


def _check_pyfunc(model: object) -> None:
    if isinstance(model, type):
        raise InvalidInputError(f"the model is the class {model.__qualname__}", hint="give an instance of it")
    if not callable(model) and not _is_python_model(model):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise InvalidInputError(
            f"mlflow.pyfunc cannot save an object of type {kind}",
            hint='name its flavor, e.g. mlflow_subpackage="sklearn", or wrap it in a mlflow.pyfunc.PythonModel',
        )


def _module(flavor: str) -> ModuleType:
    try:
        importlib.import_module("mlflow")
    except ImportError as error:
        raise MissingDependencyError("mlflow is needed to serialise a model", hint=_INSTALL) from error
    try:
        return importlib.import_module(f"mlflow.{flavor}")
    except ImportError as error:
        if error.name == f"mlflow.{flavor}":
            raise InvalidInputError(f"mlflow has no flavor {flavor!r}", hint='"sklearn" or "pyfunc", say') from error
        raise _missing(flavor, error) from error


def _missing(flavor: str, error: ImportError) -> MissingDependencyError:
    return MissingDependencyError(f"mlflow.{flavor} needs {error.name or 'a package'}: {error}", hint="install it")


def check_options(flavor: str, options: Mapping[str, Any]) -> None:
    """Raise InvalidInputError when `save_model` of the flavor does not take one of these keyword arguments."""
    accepted = inspect.signature(_module(flavor).save_model).parameters
    known = [name for name in list(accepted)[1:] if name not in _OURS]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise InvalidInputError(
            f"mlflow.{flavor}.save_model takes no {', '.join(unknown)} here", hint=f"it takes {', '.join(known)}"
        )


def serialise(
    model: object,
    flavor: str,
    directory: Path,
    *,
    run_id: str,
    model_id: str | None,
    artifact_path: str,
    options: Mapping[str, Any] | None = None,
) -> str:
    """Write the files of `model` into the new directory `directory`, without any request to a server.

    `flavor` is what `resolve_flavor` returned; the MLmodel file names `run_id`, `model_id` (None on servers 2.x) and
    `artifact_path`, where the files will lie. `options` are further arguments of `mlflow.<flavor>.save_model`: without
    `pip_requirements` or `conda_env` the flavor's own packages are pinned, since MLflow would load the model in another
    process to find out; without `serialization_format` it is "cloudpickle", which every MLflow client reads and which
    takes any class. Blocks; returns the model as JSON, as `runs/log-model` takes it.

    Raises:
        ModelError: mlflow cannot serialise it; the cause says why.
        MissingDependencyError: a package is not installed.

    """
    module = _module(flavor)
    given = dict(options or {})
    try:
        identity = {} if model_id is None else {"model_id": model_id, "model_uuid": model_id}
        mlflow_model = importlib.import_module("mlflow.models").Model(
            artifact_path=artifact_path, run_id=run_id, **identity
        )
        given = _with_defaults(module, given)
        with _without_pickle_warning(f"mlflow.{flavor}"):
            if flavor == "pyfunc":
                module.save_model(path=str(directory), python_model=model, mlflow_model=mlflow_model, **given)
            else:
                module.save_model(model, path=str(directory), mlflow_model=mlflow_model, **given)
        return json.dumps(mlflow_model.get_tags_dict(), default=str)
    except ImportError as error:
        raise _missing(flavor, error) from error
    except Exception as error:
        raise ModelError(f"mlflow.{flavor} cannot serialise a {type(model).__qualname__}: {error}") from error


def _with_defaults(module: ModuleType, options: dict[str, Any]) -> dict[str, Any]:
    accepted = inspect.signature(module.save_model).parameters
    if module.__name__ in ("mlflow.sklearn", "mlflow.lightgbm") and "serialization_format" in accepted:
        options = {"serialization_format": "cloudpickle", **options}
    extra = options.get("extra_pip_requirements")
    if isinstance(extra, str) or any(options.get(name) is not None for name in _REQUIREMENTS):
        return options
    own = _own_requirements(module, options.get("serialization_format"))
    if own is None or "pip_requirements" not in accepted:
        return options
    options.pop("extra_pip_requirements", None)
    return {**options, "pip_requirements": [*own, *cast("Iterable[str]", extra or ())]}


def _own_requirements(module: ModuleType, serialization_format: object) -> list[str] | None:
    """Return the packages the flavor pins by itself, None when that depends on the model."""
    find: Callable[..., Iterable[str]] | None = getattr(module, "get_default_pip_requirements", None)
    if find is None:
        return None
    parameters = inspect.signature(find).parameters
    if any(parameter.default is parameter.empty for parameter in parameters.values()):
        return None
    wanted = {f"include_{name}": serialization_format == name for name in ("cloudpickle", "skops")}
    return list(find(**{name: value for name, value in wanted.items() if name in parameters}))


class _PickleWarning(logging.Filter):
    """Drops, for one thread, the warning that loading a pickle runs code; our documentation says it."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be kept."""
        return record.thread != self._thread or "exercising caution" not in record.getMessage()


@contextmanager
def _without_pickle_warning(name: str) -> Generator[None, None, None]:
    logger = logging.getLogger(name)
    dropping = _PickleWarning()
    logger.addFilter(dropping)
    try:
        yield
    finally:
        logger.removeFilter(dropping)


def mlflow_is_there() -> bool:
    """Return whether mlflow can be imported; blocks while that happens for the first time."""
    try:
        importlib.import_module("mlflow")
    except ImportError:
        return False
    return True


def load_with_mlflow(directory: Path, flavors: Collection[str]) -> object:
    """Load a model by the first of its flavors that has a loader of its own, else as a `mlflow.pyfunc` model.

    Runs code of the model. Blocks. Raises ModelError when none can, and what the flavor raises.
    """
    for flavor in flavors:
        load = None if flavor == PYFUNC else _loader(flavor)
        if load is not None:
            return load(str(directory))
    if PYFUNC in flavors:
        return importlib.import_module("mlflow.pyfunc").load_model(str(directory))
    raise ModelError(f"mlflow has no loader for the flavors {', '.join(flavors) or 'none'}")


def _loader(flavor: str) -> Callable[[str], object] | None:
    if not _NAME.fullmatch(flavor):
        return None
    try:
        module = importlib.import_module(f"mlflow.{flavor}")
    except ImportError as error:
        if error.name == f"mlflow.{flavor}":
            return None
        raise
    return getattr(module, "load_model", None)
