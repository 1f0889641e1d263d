"""Loading from a local directory, with and without mlflow."""

from __future__ import annotations

import builtins
import json
import pickle
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlflow_utilities import ArtifactError, AsyncMlflowClient, InvalidInputError, MissingDependencyError, ModelError
from mlflow_utilities.models.flavors import resolve_flavor, serialise
from mlflow_utilities.models.loading import load
from mlflow_utilities.models.mlmodel import read_flavors
from mlflow_utilities.models.native import load_native
from support.models import DATA, Touching, classifier, write_model

pytestmark = pytest.mark.anyio

PICKLED = "flavors:\n  sklearn: {pickled_model: model, serialization_format: pickle}\n"

STAND_INS = {
    "xgboost": """
class Booster:
    def load_model(self, path):
        self.path = path

class XGBModel(Booster):
    pass
""",
    "lightgbm": """
class Booster:
    def __init__(self, model_file):
        self.path = model_file
""",
    "onnx": """
class ModelProto:
    pass

def load(path):
    model = ModelProto()
    model.path = path
    return model
""",
}


@pytest.fixture
async def offline() -> AsyncIterator[AsyncMlflowClient]:
    """Give a client that reaches no server."""
    async with AsyncMlflowClient("http://127.0.0.1:1") as client:
        yield client


@pytest.fixture
def without_mlflow() -> Iterator[None]:
    """Let `import mlflow` fail, as where it is not installed."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "mlflow"}
    for name in before:
        del sys.modules[name]
    sys.modules["mlflow"] = None  # type: ignore[assignment]
    yield
    del sys.modules["mlflow"]
    sys.modules.update(before)


def saved(directory: Path, model: object = None, flavor: str = "sklearn", **options: Any) -> str:
    """Write a model and return where it is."""
    model = classifier() if model is None else model
    serialise(model, flavor, directory, run_id="r", model_id=None, artifact_path="model", options=options)
    return str(directory)


@pytest.mark.parametrize("serialization_format", ["cloudpickle", "pickle", "skops"])
async def test_an_estimator_is_loaded_without_mlflow(
    offline: AsyncMlflowClient, tmp_path: Path, request: pytest.FixtureRequest, serialization_format: str
) -> None:
    """And is of the same class as with mlflow."""
    uri = saved(tmp_path / "m", serialization_format=serialization_format)
    with_mlflow = await load(offline, uri)
    request.getfixturevalue("without_mlflow")
    without = await load(offline, uri)
    assert type(without) is type(with_mlflow)
    assert list(without.predict(DATA)) == list(with_mlflow.predict(DATA)) == [0, 0, 1, 1]


async def test_a_flavor_that_needs_mlflow_names_the_extra(
    offline: AsyncMlflowClient, tmp_path: Path, without_mlflow: None
) -> None:
    """As a MissingDependencyError."""
    write_model(tmp_path / "m", "flavors:\n  python_function: {loader_module: x}\n")
    with pytest.raises(MissingDependencyError, match=r'flavors python_function \(pip install "mlflow-utilities'):
        await load(offline, str(tmp_path / "m"))


async def test_without_mlflow_nothing_can_be_saved(without_mlflow: None) -> None:
    """The extra that installs it is named."""
    with pytest.raises(MissingDependencyError, match=r'pip install "mlflow-utilities\[mlflow\]"'):
        resolve_flavor(print)


async def test_a_library_that_mlflow_needs_for_the_flavor_is_named(offline: AsyncMlflowClient, tmp_path: Path) -> None:
    """As a MissingDependencyError."""
    write_model(tmp_path / "m", "flavors:\n  keras: {}\n")
    with pytest.raises(MissingDependencyError, match="keras is needed to load"):
        await load(offline, str(tmp_path / "m"))


@pytest.mark.parametrize("flavors", [["onnx"], ["pyfunc", "mlflow.xgboost"]])
async def test_a_flavor_that_is_not_allowed_is_refused_before_anything_is_unpickled(
    offline: AsyncMlflowClient, tmp_path: Path, flavors: list[str]
) -> None:
    """The error names the flavors of the model and the allowed ones."""
    bomb = tmp_path / "exploded"
    write_model(tmp_path / "m", PICKLED, model=pickle.dumps(Touching(bomb)))
    with pytest.raises(ModelError, match="has the flavors sklearn") as caught:
        await load(offline, str(tmp_path / "m"), flavors=flavors)
    assert flavors[0].replace("pyfunc", "python_function") in str(caught.value)
    assert not bomb.exists()
    await load(offline, str(tmp_path / "m"), flavors=["mlflow.sklearn"])
    assert bomb.exists()


@pytest.mark.parametrize("flavors", ["sklearn", [], [1]])
async def test_flavors_must_be_a_list_of_names(offline: AsyncMlflowClient, flavors: Any) -> None:
    """A text alone would be taken for its letters."""
    with pytest.raises(InvalidInputError, match="flavors is"):
        await load(offline, "models:/m-1", flavors=flavors)


async def test_a_model_that_cannot_be_read_is_a_model_error(offline: AsyncMlflowClient, tmp_path: Path) -> None:
    """Its cause says why."""
    write_model(tmp_path / "m", PICKLED, model=b"no pickle")
    with pytest.raises(ModelError, match=r"cannot load .*UnpicklingError") as caught:
        await load(offline, str(tmp_path / "m"))
    assert isinstance(caught.value.__cause__, pickle.UnpicklingError)


@pytest.mark.parametrize("installed", [True, False])
async def test_a_package_that_the_model_needs_is_named(
    offline: AsyncMlflowClient, tmp_path: Path, request: pytest.FixtureRequest, installed: bool
) -> None:
    """When a pickle refers to a module that is not there, with mlflow and without."""
    if not installed:
        request.getfixturevalue("without_mlflow")
    write_model(tmp_path / "m", PICKLED, model=b"cno_such_package\nThing\n.")
    with pytest.raises(MissingDependencyError, match="no_such_package is needed to load"):
        await load(offline, str(tmp_path / "m"))


def test_the_flavors_are_read_from_yaml_and_from_json(tmp_path: Path) -> None:
    """In the order of the file; a flavor may have no settings."""
    write_model(tmp_path / "yaml", "flavors:\n  b: {x: 1}\n  a:\n")
    write_model(tmp_path / "json", json.dumps({"flavors": {"b": {"x": 1}, "a": None}}))
    for name in ("yaml", "json"):
        assert list(read_flavors(tmp_path / name).items()) == [("b", {"x": 1}), ("a", {})]


@pytest.mark.parametrize("content", ["flavors: [", "flavors: 3", "x: 1", "", "- a", "\x00"])
def test_a_file_that_names_no_flavors_is_a_model_error(tmp_path: Path, content: str) -> None:
    """As is one that is not YAML."""
    write_model(tmp_path / "m", content)
    with pytest.raises(ModelError, match="MLmodel file"):
        read_flavors(tmp_path / "m")


def test_no_file_is_a_model_error(tmp_path: Path) -> None:
    """With the directory."""
    with pytest.raises(ModelError, match=str(tmp_path)):
        read_flavors(tmp_path)


def test_without_a_yaml_reader_the_package_is_named(tmp_path: Path) -> None:
    """As a MissingDependencyError."""
    write_model(tmp_path / "m", "flavors: {}\n")
    before = sys.modules.pop("yaml", None)
    sys.modules["yaml"] = None  # type: ignore[assignment]
    try:
        with pytest.raises(MissingDependencyError, match="pip install pyyaml"):
            read_flavors(tmp_path / "m")
    finally:
        del sys.modules["yaml"]
        if before is not None:
            sys.modules["yaml"] = before


@pytest.fixture
def stand_ins(tmp_path: Path) -> Iterator[None]:
    """Give modules that stand in for libraries that are not installed; their loaders return what they are given."""
    folder = tmp_path / "site"
    folder.mkdir()
    for name, code in STAND_INS.items():
        (folder / f"{name}.py").write_text(code)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    for name in STAND_INS:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("flavor", "settings", "kind"),
    [
        ("xgboost", {"data": "file", "model_class": "xgboost.Booster"}, "Booster"),
        ("xgboost", {"data": "file", "model_class": "xgboost.XGBModel"}, "XGBModel"),
        ("lightgbm", {"data": "file"}, "Booster"),
        ("onnx", {"data": "file"}, "ModelProto"),
    ],
)
def test_libraries_read_their_own_files(
    tmp_path: Path, stand_ins: None, flavor: str, settings: dict[str, Any], kind: str
) -> None:
    """By the class that the MLmodel file names."""
    loaded: Any = load_native(tmp_path, flavor, settings)
    assert (type(loaded).__name__, loaded.path) == (kind, str((tmp_path / "file").resolve()))


def test_a_scikit_learn_like_model_of_lightgbm_is_a_pickle(tmp_path: Path) -> None:
    """As MLflow saves it."""
    (tmp_path / "file").write_bytes(pickle.dumps({"a": 1}))
    assert load_native(tmp_path, "lightgbm", {"data": "file", "model_class": "lightgbm.sklearn.LGBMModel"}) == {"a": 1}


@pytest.mark.parametrize(
    ("flavor", "settings", "error", "message"),
    [
        ("sklearn", {"pickled_model": "../outside"}, ArtifactError, "outside the model"),
        ("sklearn", {"pickled_model": "/etc/passwd"}, ArtifactError, "outside the model"),
        ("sklearn", {"pickled_model": 3}, ModelError, "names 3 as a file"),
        ("sklearn", {"pickled_model": "f", "serialization_format": "dill"}, ModelError, "'dill'"),
        ("sklearn", {"pickled_model": "f", "code": "../code"}, ArtifactError, "outside the model"),
        ("xgboost", {"data": "f", "model_class": "os.system"}, ModelError, "not one of xgboost"),
        ("xgboost", {"data": "f"}, MissingDependencyError, "pip install xgboost"),
        ("lightgbm", {}, ModelError, "names None as a file"),
        ("onnx", {"data": "f"}, MissingDependencyError, "pip install onnx"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    tmp_path: Path, flavor: str, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Before any code of the model runs."""
    with pytest.raises(error, match=message):
        load_native(tmp_path, flavor, settings)


def test_code_saved_with_a_model_can_be_imported(tmp_path: Path) -> None:
    """As with MLflow's own loaders; its directory is put into the path once."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "saved_with_the_model.py").write_text("class Thing:\n    pass\n")
    (tmp_path / "f").write_bytes(b"csaved_with_the_model\nThing\n.")
    try:
        for _ in range(2):
            loaded: Any = load_native(tmp_path, "sklearn", {"pickled_model": "f", "code": "code"})
        assert loaded.__name__ == "Thing"
        assert sys.path.count(str((tmp_path / "code").resolve())) == 1
    finally:
        sys.path.remove(str((tmp_path / "code").resolve()))
        sys.modules.pop("saved_with_the_model", None)


def test_pickles_are_refused_where_mlflow_would_refuse_them(tmp_path: Path, clean_environ: None) -> None:
    """By the environment variable that MLflow has for that."""
    import os

    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    (tmp_path / "f").write_bytes(pickle.dumps(builtins.dict))
    with pytest.raises(ModelError, match="MLFLOW_ALLOW_PICKLE_DESERIALIZATION"):
        load_native(tmp_path, "sklearn", {"pickled_model": "f"})
