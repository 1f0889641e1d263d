"""A container with the core dependencies alone: small, and without heavy imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ["mlflow", "pandas", "numpy", "google.protobuf", "requests", "yaml"]
LIST_EVERYTHING = f"""
import json, sys, anyio
from mlflow_utilities import AsyncMlflowClient, mlflow_api

async def main():
    async with AsyncMlflowClient(sys.argv[1]) as client:
        await client.get_or_create_experiment(sys.argv[2])
        runs = await mlflow_api.list_runs(None, experiment_name=sys.argv[2], client=client)
        models = await mlflow_api.list_models("^1", experiment_name=sys.argv[2], client=client)
        return len(runs), len(models)

print(json.dumps({{"listed": anyio.run(main), "heavy": [name for name in {HEAVY!r} if name in sys.modules]}}))
"""


@pytest.fixture(scope="session")
def light_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package and its core dependencies, nothing else, into a new environment."""
    folder = tmp_path_factory.mktemp("light")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site), str(ROOT)]
    subprocess.run(install, check=True, capture_output=True)
    return folder / "bin" / "python"


def installed_megabytes(python: Path) -> float:
    """Return the size of what is installed, compiled caches left out."""
    site = next((python.parents[1] / "lib").glob("python*/site-packages"))
    files = [path for path in site.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sum(path.stat().st_size for path in files) / 1e6


def test_listing_works_with_core_dependencies_and_imports_nothing_heavy(
    light_python: Path, server_uri: str, unique_name: str
) -> None:
    """list_runs and list_models answer, and no heavy package is in sys.modules afterwards."""
    answer = subprocess.run(
        [str(light_python), "-c", LIST_EVERYTHING, server_uri, unique_name], capture_output=True, text=True, check=False
    )

    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == {"listed": [0, 0], "heavy": []}


def test_the_core_installation_takes_at_most_15_megabytes(light_python: Path) -> None:
    """What pip installs for the core stays small."""
    assert installed_megabytes(light_python) <= 15
