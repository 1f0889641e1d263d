"""Fixtures of every test: both event loops, a clean environment, a real MLflow server and the one in memory."""

from __future__ import annotations

import contextlib
import os
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from local_server import run_server
from support.in_memory_server import run_in_memory_server
from support.postgres import run_postgres

if TYPE_CHECKING:
    from mlflow_utilities import AsyncMlflowClient

# How long an example takes says more about the machine than about the code.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


# Shells start what runs in the background with Ctrl-C ignored, and children inherit it: some tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# TEST_MATRIX=one is for a second server: what differs there is the server, neither the event loop nor the HTTP library.
_WHOLE_MATRIX = os.environ.get("TEST_MATRIX") != "one"


@pytest.fixture(params=["asyncio", "trio"] if _WHOLE_MATRIX else ["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run each async test on asyncio and on trio."""
    return str(request.param)


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a model cache of this run, so that the user's own is left alone."""
    return tmp_path_factory.mktemp("model-cache")


@pytest.fixture(autouse=True)
def clean_environ(model_cache: Path) -> Iterator[None]:
    """Start each test without MLflow's settings of the machine, and undo what it sets."""
    before = dict(os.environ)
    for name in [
        name for name in os.environ if name.startswith(("MLFLOW_TRACKING", "MLFLOW_HTTP", "MLFLOW_WORKSPACE"))
    ]:
        del os.environ[name]
    os.environ["MLFLOW_UTILITIES_CACHE_DIR"] = str(model_cache)
    yield
    os.environ.clear()
    os.environ.update(before)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the contract on a real server and on the one in memory, with the same names of tests.

    TEST_SERVER=mlflow or TEST_SERVER=in-memory picks one; what describes a real server picks that.
    """
    if "server_uri" not in metafunc.fixturenames or "contract" not in metafunc.definition.path.parts:
        return
    described = any(os.environ.get(name) for name in ("TEST_SERVER_URI", "TEST_SERVER_PYTHON", "TEST_STORE"))
    chosen = os.environ.get("TEST_SERVER") or ("mlflow" if described else "mlflow,in-memory")
    metafunc.parametrize("server_uri", chosen.split(","), indirect=True, scope="session")


@pytest.fixture(scope="session")
def server_uri(request: pytest.FixtureRequest) -> str:
    """Give the address of a real MLflow server, in the contract also of the one in memory."""
    uri: str = request.getfixturevalue(_SERVERS[getattr(request, "param", "mlflow")])
    return uri


_SERVERS = {"mlflow": "real_server_uri", "in-memory": "in_memory_server_uri"}


@pytest.fixture(scope="session")
def real_server_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a real MLflow server: SQLite or PostgreSQL, artifacts through its proxy.

    TEST_SERVER_URI names one that runs already, which spares its start while tests are being written.
    """
    if running := os.environ.get("TEST_SERVER_URI"):
        yield running
        return
    folder: Path = tmp_path_factory.mktemp("mlflow-server")
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(run_postgres()) if os.environ.get("TEST_STORE") == "postgresql" else None
        yield stack.enter_context(run_server(folder, python=os.environ.get("TEST_SERVER_PYTHON"), store=store))


@pytest.fixture(scope="session")
def in_memory_server_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of an in-memory MLflow in a process of its own."""
    with run_in_memory_server(tmp_path_factory.mktemp("in-memory-mlflow")) as uri:
        yield uri


@pytest.fixture(params=["httpx", "httpx2"] if _WHOLE_MATRIX else ["httpx"])
def http_library(request: pytest.FixtureRequest) -> str:
    """Run the test with httpx and with httpx2."""
    return str(request.param)


@pytest.fixture
async def client(server_uri: str, http_library: str) -> AsyncIterator[AsyncMlflowClient]:
    """Give a client on the real server, once for each HTTP library."""
    from mlflow_utilities import AsyncMlflowClient

    async with AsyncMlflowClient(server_uri, http_library=http_library) as client:
        yield client


@pytest.fixture
def unique_name() -> str:
    """Give a name that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"
