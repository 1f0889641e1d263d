"""Which flavor saves an object, and what it writes."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from mlflow_utilities import InvalidInputError, MissingDependencyError, ModelError
from mlflow_utilities.models.flavors import check_options, load_with_mlflow, resolve_flavor, serialise
from support.models import DATA, classifier


def instance_of(*modules: str) -> object:
    """Make an object whose class, and the classes it inherits from, are of these modules."""
    bases: tuple[type, ...] = ()
    for module in reversed(modules):
        bases = (type("Made", bases, {"__module__": module}),)
    return bases[0]()


def doubled(model_input: list[float]) -> list[float]:
    """Double each number."""
    return [2 * value for value in model_input]


@pytest.mark.parametrize(
    ("modules", "flavor"),
    [
        (("sklearn.linear_model._logistic", "sklearn.base"), "sklearn"),
        (("my_project.models", "sklearn.base"), "sklearn"),
        (("xgboost.sklearn", "sklearn.base"), "xgboost"),
        (("lightgbm.sklearn", "sklearn.base"), "lightgbm"),
        (("catboost.core",), "catboost"),
        (("my_project.nets", "torch.nn.modules.module"), "pytorch"),
        (("sentence_transformers.SentenceTransformer", "torch.nn.modules.module"), "sentence_transformers"),
        (("statsmodels.base.wrapper",), "statsmodels"),
        (("onnx.onnx_ml_pb2",), "onnx"),
        (("spacy.lang.en", "spacy.language"), "spacy"),
        (("prophet.forecaster",), "prophet"),
        (("transformers.pipelines.base",), "transformers"),
        (("pyspark.ml.pipeline",), "spark"),
        (("my_project.models", "mlflow.pyfunc.model"), "pyfunc"),
    ],
)
def test_the_flavor_is_found_from_the_class(modules: tuple[str, ...], flavor: str) -> None:
    """The nearest class of a known library decides; nothing of that library is imported."""
    model = instance_of(*modules)
    if flavor == "pyfunc":
        type(model).__mro__[1].__name__ = "PythonModel"
    before = modules[-1].partition(".")[0] in sys.modules
    assert resolve_flavor(model) == flavor
    assert flavor in ("sklearn", "pyfunc") or before == (modules[-1].partition(".")[0] in sys.modules)


def test_a_function_is_saved_by_pyfunc() -> None:
    """MLflow wraps it."""
    assert resolve_flavor(doubled) == "pyfunc"


def test_the_flavor_may_be_named_or_given_as_module() -> None:
    """With and without the prefix, and as MLflow's lazy module."""
    import mlflow

    model = classifier()
    assert {resolve_flavor(model, given) for given in ("sklearn", "mlflow.sklearn", mlflow.sklearn)} == {"sklearn"}


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        (object(), None, r"object of type builtins\.object .*mlflow_subpackage="),
        ([1, 2], "pyfunc", r"object of type builtins\.list"),
        (dict, None, "class dict .*an instance"),
        (classifier, "sklern", "no flavor 'sklern'"),
        (classifier, "tracking", "mlflow.tracking has no save_model"),
        (classifier, "os.path", "mlflow_subpackage is 'os.path'"),
        (classifier, "", "mlflow_subpackage is ''"),
        (classifier, 3, "mlflow_subpackage is 3"),
        (classifier, json, "mlflow_subpackage is <module 'json'"),
    ],
)
def test_what_cannot_be_saved_is_refused(model: object, given: Any, message: str) -> None:
    """With its value and what to do."""
    with pytest.raises(InvalidInputError, match=message):
        resolve_flavor(model, given)


def test_a_flavor_whose_library_is_missing_is_a_missing_dependency() -> None:
    """The library is named."""
    with pytest.raises(MissingDependencyError, match="needs tensorflow"):
        resolve_flavor(instance_of("tensorflow.python.module"))


def test_unknown_options_are_refused_and_the_known_ones_named() -> None:
    """Also those that this package gives itself."""
    check_options("sklearn", {"metadata": {}})
    for option in ("colour", "path", "mlflow_model"):
        with pytest.raises(InvalidInputError, match=f"takes no {option} here .*serialization_format"):
            check_options("sklearn", {option: 1})


def written(model: object, flavor: str, directory: Path, **options: Any) -> tuple[dict[str, Any], list[str], str]:
    """Serialise, and return the MLmodel file, the required packages, and the JSON for servers 2.x."""
    given = options or None
    text = serialise(model, flavor, directory, run_id="r1", model_id="m-1", artifact_path="a/b", options=given)
    packages = [line.partition("==")[0] for line in (directory / "requirements.txt").read_text().splitlines()]
    return yaml.safe_load((directory / "MLmodel").read_text()), sorted(packages), text


def test_the_files_name_the_run_and_the_packages(tmp_path: Path) -> None:
    """The pickle can be read by every MLflow client; the packages are pinned without loading the model."""
    mlmodel, packages, text = written(classifier(), "sklearn", tmp_path / "m")
    assert (mlmodel["run_id"], mlmodel["model_id"], mlmodel["artifact_path"]) == ("r1", "m-1", "a/b")
    assert mlmodel["flavors"]["sklearn"]["serialization_format"] == "cloudpickle"
    assert packages == ["cloudpickle", "mlflow", "scikit-learn"]
    assert json.loads(text)["flavors"].keys() == {"python_function", "sklearn"}
    loaded: Any = load_with_mlflow(tmp_path / "m", ["sklearn", "python_function"])
    assert list(loaded.predict(DATA)) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"pip_requirements": ["six==1.17.0"]}, ["mlflow", "six"]),
        ({"extra_pip_requirements": ["six==1.17.0"]}, ["cloudpickle", "mlflow", "scikit-learn", "six"]),
        ({"conda_env": {"dependencies": ["pip", {"pip": ["six==1.17.0"]}]}}, ["mlflow", "six"]),
        ({"serialization_format": "skops"}, ["mlflow", "scikit-learn", "skops"]),
        ({"serialization_format": "pickle"}, ["mlflow", "scikit-learn"]),
    ],
)
def test_requirements_follow_the_options(tmp_path: Path, options: dict[str, Any], expected: list[str]) -> None:
    """What is given replaces the flavor's own packages, extras come on top."""
    assert written(classifier(), "sklearn", tmp_path / "m", **options)[1] == expected


def test_a_function_is_loaded_as_a_pyfunc_model(tmp_path: Path) -> None:
    """There is no other loader for it."""
    _, packages, _ = written(doubled, "pyfunc", tmp_path / "m")
    assert packages == ["cloudpickle", "mlflow"]
    loaded: Any = load_with_mlflow(tmp_path / "m", ["python_function"])
    assert list(loaded.predict([1.0, 2.0])) == [2.0, 4.0]


def test_flavors_without_a_loader_are_passed_over(tmp_path: Path) -> None:
    """Unknown ones, and names that are none; nothing usable is a ModelError."""
    with pytest.raises(ModelError, match=r"no loader for the flavors nowhere, \.\.x, tracking"):
        load_with_mlflow(tmp_path, ["nowhere", "..x", "tracking"])


def test_the_warning_that_pickles_run_code_is_kept_from_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While a model is saved; what others log at that time is left alone."""

    class Loud:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
            logging.getLogger("mlflow.sklearn").warning("another warning")
            return dict, ()

    logger = logging.getLogger("mlflow.sklearn")
    caplog.set_level("WARNING", logger="mlflow.sklearn")
    logger.addHandler(caplog.handler)
    try:
        model = classifier()
        model.loud = Loud()
        serialise(model, "sklearn", tmp_path / "m", run_id="r", model_id=None, artifact_path="model")
    finally:
        logger.removeHandler(caplog.handler)
    assert {record.getMessage() for record in caplog.records} == {"another warning"}
    assert logger.filters == []


def test_what_cannot_be_pickled_is_a_model_error(tmp_path: Path) -> None:
    """With MLflow's error as its cause."""
    model = classifier()
    model.unpicklable = (number for number in ())
    with pytest.raises(ModelError, match="cannot serialise a LogisticRegression") as caught:
        serialise(model, "sklearn", tmp_path / "m", run_id="r", model_id=None, artifact_path="model")
    assert caught.value.__cause__ is not None


def test_a_package_that_is_missing_while_serialising_is_named(tmp_path: Path) -> None:
    """As a MissingDependencyError."""

    class NeedsMore:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
            raise ModuleNotFoundError("No module named 'more'", name="more")

    model = classifier()
    model.more = NeedsMore()
    with pytest.raises(MissingDependencyError, match=r"mlflow\.sklearn needs more"):
        serialise(model, "sklearn", tmp_path / "m", run_id="r", model_id=None, artifact_path="model")


NO_REQUEST = """
import socket, sys
from pathlib import Path
from support.models import classifier

def refuse(*arguments):
    raise AssertionError("a connection was made")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from mlflow_utilities.models.flavors import load_with_mlflow, serialise
folder = Path(sys.argv[1])
serialise(classifier(), "sklearn", folder, run_id="r", model_id="m-1", artifact_path="model")
print(load_with_mlflow(folder, ["sklearn"]).predict([[3.0]]).tolist())
"""

LIGHT = """
import sys
import mlflow_utilities.models.saving, mlflow_utilities.models.loading
print([name for name in ("mlflow", "numpy", "sklearn", "yaml", "pandas") if name in sys.modules])
"""


def run_python(code: str, *arguments: str) -> str:
    """Run code in an interpreter of its own."""
    environ = {"PYTHONPATH": ":".join(sys.path), "MLFLOW_TRACKING_URI": "http://127.0.0.1:1", "HOME": "/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_serialising_and_loading_make_no_request(tmp_path: Path) -> None:
    """No connection is tried, whatever MLFLOW_TRACKING_URI says."""
    assert run_python(NO_REQUEST, str(tmp_path / "m")) == "[1]"


def test_importing_the_modules_imports_nothing_heavy() -> None:
    """MLflow and the like come only with the first model."""
    assert run_python(LIGHT) == "[]"


def test_a_lazy_module_that_is_not_mlflow_is_refused() -> None:
    """A module of the same name as a flavor is not the flavor."""
    with pytest.raises(InvalidInputError, match="mlflow_subpackage is <module 'sklearn'"):
        resolve_flavor(classifier(), ModuleType("sklearn"))
