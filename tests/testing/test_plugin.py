"""The fixtures for pytest, as a user's project gets them: by the entry point, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "test-your-service.md"
EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
FRESH = """
import os
import anyio
import pytest

seen = []

@pytest.mark.parametrize("number", [1, 2])
def test_each_test_has_its_own(number, mlflow_server, mlflow_client):
    assert mlflow_client.tracking_uri == mlflow_server.tracking_uri
    assert anyio.run(mlflow_client.create_experiment, "fraud") == "1" or seen
    seen.append((mlflow_server, os.environ["MLFLOW_UTILITIES_CACHE_DIR"]))

def test_nothing_is_left():
    assert seen[0][0] is not seen[1][0]
    assert seen[0][1] != seen[1][1]
    assert "MLFLOW_UTILITIES_CACHE_DIR" not in os.environ
"""
CLOCK = """
import pytest
from mlflow_utilities.testing import FakeClock, Fault

@pytest.fixture
def mlflow_clock():
    return FakeClock()

@pytest.mark.anyio
async def test_a_busy_server(mlflow_server, mlflow_client, mlflow_clock):
    mlflow_server.faults.add(Fault.status(503, retry_after=5), times=2)
    await mlflow_client.get_experiment("0")
    assert [int(seconds) for seconds in mlflow_clock.slept] == [5, 5]
"""


def run(pytester: pytest.Pytester, **modules: str) -> pytest.RunResult:
    """Run tests in a project of their own, in which every warning is an error."""
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makepyfile(**modules)
    return pytester.runpytest_subprocess("-q")


@pytest.fixture(autouse=True)
def no_cache_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take this suite's own cache directory out of the environment."""
    monkeypatch.delenv("MLFLOW_UTILITIES_CACHE_DIR")


def test_the_fixtures_work_without_any_setting(pytester: pytest.Pytester) -> None:
    """A project that has the package installed can use the fixtures at once, on asyncio and on trio."""
    run(pytester, test_fresh=FRESH, test_clock=CLOCK).assert_outcomes(passed=5)


def test_the_examples_of_the_how_to_pass(pytester: pytest.Pytester) -> None:
    """The examples of the page are one test module; its tests pass, the async ones on asyncio and on trio."""
    service = next(text for text in EXAMPLE.findall(HOW_TO.with_name("serve.md").read_text()) if "FastAPI(" in text)
    examples = "\n".join(EXAMPLE.findall(HOW_TO.read_text()))

    run(pytester, service=service, test_page=examples).assert_outcomes(
        passed=examples.count("def test_") + examples.count("async def test_")
    )


def test_the_example_of_readme_passes(pytester: pytest.Pytester) -> None:
    """The test that README shows is one that can be pasted."""
    readme = HOW_TO.parents[2] / "README.md"
    examples = [text for text in EXAMPLE.findall(readme.read_text()) if "def test_" in text]

    run(pytester, test_page="\n".join(examples)).assert_outcomes(passed=2)


def test_the_fixtures_are_listed(pytester: pytest.Pytester) -> None:
    """`pytest --fixtures` names each with what it gives."""
    answer = pytester.runpytest_subprocess("--fixtures", "-q")

    answer.stdout.fnmatch_lines(
        ["mlflow_clock*", "mlflow_server*", "*fresh in-memory MLflow*", "mlflow_client*", "rollout_test_data*"]
    )


def test_starting_pytest_loads_no_http_library() -> None:
    """The plugin itself brings neither an HTTP library nor pydantic, nor the modules that need them."""
    heavy = ["httpx", "httpx2", "pydantic", "mlflow", "mlflow_utilities.testing.server", "mlflow_utilities.mlflow_api"]
    code = f"import sys, mlflow_utilities.testing.plugin; print([name for name in {heavy} if name in sys.modules])"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"


def test_the_testing_package_loads_what_is_used() -> None:
    """Its names are there without being imported, and another name is an error."""
    code = (
        "import sys, mlflow_utilities.testing as testing;"
        "before = 'mlflow_utilities.testing.server' in sys.modules;"
        "testing.InMemoryMlflow;"
        "print(before, 'InMemoryMlflow' in dir(testing), hasattr(testing, 'Nothing'))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.split() == ["False", "True", "False"]
