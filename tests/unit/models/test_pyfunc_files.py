"""Models of the python_function flavor, whose pickle is read here and not by mlflow."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pytest

from mlflow_utilities import ArtifactError, ModelError
from mlflow_utilities.models.flavors import serialise
from mlflow_utilities.models.loading import load_directory
from mlflow_utilities.models.mlmodel import read_mlmodel
from mlflow_utilities.models.pyfunc_files import unpickled_before
from support.models import DATA, classifier, temporary_files_in

PYFUNC = frozenset({"python_function"})


class Reading(mlflow.pyfunc.PythonModel):
    """A model that reads a file when it is loaded, and again when it predicts."""

    def load_context(self, context: Any) -> None:
        """Read."""
        self.first = Path(context.artifacts["words"]).read_text()

    def predict(self, context: Any, model_input: list[str], params: Any = None) -> list[str]:
        """Answer with both."""
        return [self.first, Path(context.artifacts["words"]).read_text(), context.model_config["language"]]


def saved(directory: Path, model: object, flavor: str = "pyfunc", **options: Any) -> Path:
    """Save it."""
    serialise(model, flavor, directory, run_id="r", model_id="m-1", artifact_path="model", options=options)
    return directory


def reading(tmp_path: Path) -> Path:
    """Save a model with an artifact and a configuration."""
    (tmp_path / "words.txt").write_text("hello")
    artifacts = {"words": str(tmp_path / "words.txt")}
    return saved(tmp_path / "m", Reading(), artifacts=artifacts, model_config={"language": "en"})


def test_artifacts_and_settings_are_those_of_the_model(tmp_path: Path) -> None:
    """When it is loaded and ever after; its description is as it was saved, and no temporary file is left."""
    directory = reading(tmp_path)
    (tmp_path / "temporary").mkdir()
    with temporary_files_in(tmp_path / "temporary"):
        loaded: Any = load_directory(directory, "m", PYFUNC)
    assert loaded.predict(["x"]) == ["hello", "hello", "en"]
    assert loaded.metadata.flavors == read_mlmodel(directory)["flavors"]
    assert loaded.metadata.run_id == "r"
    assert list((tmp_path / "temporary").iterdir()) == []


def test_an_estimator_is_read_here_for_pyfunc_as_well(tmp_path: Path) -> None:
    """And predicts as with mlflow alone."""
    directory = saved(tmp_path / "m", classifier(), "sklearn")
    with unpickled_before(directory) as files:
        assert files != directory
        loaded: Any = mlflow.pyfunc.load_model(str(files))
    expected = mlflow.pyfunc.load_model(str(directory))
    assert type(loaded.get_raw_model()) is type(expected.get_raw_model())
    assert list(loaded.predict(DATA)) == list(expected.predict(DATA)) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("change", "allowed", "read_here"),
    [
        ({}, "true", True),
        ({}, "false", False),
        ({"python_model_compression": "gzip"}, "true", False),
        ({"python_model": "folder/python_model.pkl"}, "true", False),
        ({"python_model": None, "model_code_path": "model.py"}, "true", False),
        ({"loader_module": "mlflow.pytorch"}, "true", False),
    ],
)
def test_what_is_no_pickle_of_mlflow_itself_is_left_to_mlflow(
    tmp_path: Path, clean_environ: None, change: dict[str, Any], allowed: str, read_here: bool
) -> None:
    """As is every pickle where the environment forbids them: mlflow knows the exceptions to that."""
    directory = reading(tmp_path)
    content = read_mlmodel(directory)
    content["flavors"]["python_function"].update(change)
    (directory / "MLmodel").write_text(json.dumps(content, default=str))
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = allowed
    with unpickled_before(directory) as files:
        assert (files != directory) is read_here


@pytest.mark.parametrize("path", ["../words.txt", "/etc/passwd"])
def test_artifacts_outside_the_model_are_refused(tmp_path: Path, path: str) -> None:
    """As all files are that an MLmodel file names."""
    directory = reading(tmp_path)
    content = read_mlmodel(directory)
    content["flavors"]["python_function"]["artifacts"]["words"]["path"] = path
    (directory / "MLmodel").write_text(json.dumps(content, default=str))
    with pytest.raises(ArtifactError, match="outside the model"):
        load_directory(directory, "m", PYFUNC)


def test_a_pickle_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """And leaves no temporary file."""
    directory = reading(tmp_path)
    (directory / "python_model.pkl").write_bytes(b"damaged")
    (tmp_path / "temporary").mkdir()
    with temporary_files_in(tmp_path / "temporary"), pytest.raises(ModelError, match="cannot load m: UnpicklingError"):
        load_directory(directory, "m", PYFUNC)
    assert list((tmp_path / "temporary").iterdir()) == []
