"""What to install for a model whose packages are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_utilities.models.requirements import installation_hint

SAVED = "mlflow==3.17.2\nscikit-learn==1.9.1\ncloudpickle==3.1.3"


@pytest.mark.parametrize(
    ("text", "missing", "hint"),
    [
        (SAVED, "sklearn", "pip install scikit-learn==1.9.1 cloudpickle==3.1.3"),
        (SAVED, "mlflow.pyfunc", "pip install mlflow==3.17.2 scikit-learn==1.9.1 cloudpickle==3.1.3"),
        (SAVED, None, "pip install scikit-learn==1.9.1 cloudpickle==3.1.3"),
        ("xgboost[scikit-learn]>=2,<4\r\n", "xgboost", "pip install 'xgboost[scikit-learn]>=2,<4'"),
        ("torch==2.9.0+cpu", "torch", "pip install torch==2.9.0+cpu"),
    ],
    ids=["native", "mlflow", "unknown", "range", "local"],
)
def test_the_command_names_what_the_model_asks_for(tmp_path: Path, text: str, missing: str | None, hint: str) -> None:
    """Quoted for a shell; mlflow is named only when it is what is missing."""
    (tmp_path / "requirements.txt").write_text(text)

    assert installation_hint(tmp_path, missing) == hint


@pytest.mark.parametrize(
    "line",
    [
        "--extra-index-url https://ana:secret@example.com/simple",
        "thing @ https://ana:secret@example.com/thing.whl",
        "git+https://ana:secret@example.com/thing",
        "-e .",
        "a; rm -rf x",
        "",
    ],
)
def test_what_is_no_name_with_a_version_is_not_repeated(tmp_path: Path, line: str) -> None:
    """Addresses may hold passwords: they stay in the file, which the hint names where nothing else is left."""
    path = tmp_path / "requirements.txt"
    path.write_text(f"{line}\nonnx==1.20.0")
    assert installation_hint(tmp_path, "onnx") == "pip install onnx==1.20.0"

    path.write_text(line)
    assert installation_hint(tmp_path, "onnx") == f"see {path}"


def test_a_long_list_stays_in_its_file(tmp_path: Path) -> None:
    """More than a dozen packages are no hint that can be read."""
    path = tmp_path / "requirements.txt"
    path.write_text("\n".join(f"package{number}==1.0" for number in range(13)))

    assert installation_hint(tmp_path, "package1") == f"see {path}"


def test_a_model_without_requirements(tmp_path: Path) -> None:
    """The hint does not name a file that is not there."""
    assert installation_hint(tmp_path, "sklearn") == "install the packages it was saved with"
