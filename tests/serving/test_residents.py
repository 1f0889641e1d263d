"""Models in memory whose files a real server has, for one process and for several that share a cache."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.serving.residents import LoadFailedError, Wanted
from support.ensure_residents import FILES
from support.served_models import FLAVORS, Thing, pickled, running
from support.transports import Fault, faulty_client

pytestmark = pytest.mark.anyio

FILES_OF_A_MODEL = 2


@dataclass
class Saved:
    """Models on the server."""

    client: AsyncMlflowClient
    runs: list[Wanted]

    async def add(self, label: str, experiment_id: str, *, logged: bool) -> None:
        """Upload a model, as a logged model or into its run."""
        run = await self.client.create_run(experiment_id)
        run_id = run.info.run_id
        files = {"MLmodel": FLAVORS.encode(), "model.pkl": pickled(Thing(label))}
        if logged:
            model = await self.client.create_logged_model(experiment_id, "model", run_id)
            uri = f"models:/{model.model_id}"
            for path, content in files.items():
                await self.client.upload_artifacts(uri, await written(content, path))
        else:
            uri = f"runs:/{run_id}/model"
            for path, content in files.items():
                await self.client.log_bytes(run_id, content, f"model/{path}")
        self.runs.append(Wanted(run_id, uri))


async def written(content: bytes, name: str) -> Path:
    """Return a directory with one file."""
    directory = anyio.Path(await anyio.mkdtemp(prefix="test-"))
    await (directory / name).write_bytes(content)
    return Path(directory)


@pytest.fixture
async def saved(server_uri: str, unique_name: str) -> AsyncIterator[Saved]:
    """Give three models, one of them in its run."""
    async with AsyncMlflowClient(server_uri) as client:
        models = Saved(client, [])
        experiment_id = await client.create_experiment(unique_name)
        for label in ("one", "two", "three"):
            await models.add(label, experiment_id, logged=label != "two")
        yield models


async def test_models_are_loaded_and_found_again_without_the_server(
    saved: Saved, server_uri: str, tmp_path: Path
) -> None:
    """Logged models and those in their run: after a restart, by their location, while no connection can be made."""
    async with faulty_client(server_uri) as (client, transport), running(client, cache_dir=tmp_path) as residents:
        found = await residents.ensure(saved.runs)
        assert {each.hold().loaded.label for each in found.values()} == {"one", "two", "three"}
        downloads = sum(FILES in request.url.path for request in transport.requests)
        assert downloads == FILES_OF_A_MODEL * len(saved.runs)
    again = [replace(wanted, location=found[wanted.run_id].location) for wanted in saved.runs]
    async with (
        faulty_client(server_uri, lambda _number, _request: Fault.REFUSE) as (client, transport),
        running(client, cache_dir=tmp_path, memory_budget=10**6) as residents,
    ):
        found = await residents.ensure(again, jitter=True)
        assert {each.hold().loaded.label for each in found.values()} == {"one", "two", "three"}
        assert transport.requests == []


async def test_a_budget_is_kept_before_anything_is_downloaded(saved: Saved, server_uri: str, tmp_path: Path) -> None:
    """By the sizes that the server lists."""
    async with (
        faulty_client(server_uri) as (client, transport),
        running(client, cache_dir=tmp_path, memory_budget=100) as residents,
    ):
        with pytest.raises(LoadFailedError, match="100 are allowed"):
            await residents.ensure(saved.runs)
        assert [request for request in transport.requests if FILES in request.url.path] == []


async def run_process(server_uri: str, cache: Path, saved: Saved, backend: str, killed_at: int = 0) -> list[str]:
    """Run a process that loads the models, and return what it prints."""
    runs = [text for wanted in saved.runs for text in (wanted.run_id, wanted.model_uri)]
    command = [sys.executable, "-m", "support.ensure_residents", backend, server_uri, str(cache), str(killed_at), *runs]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = await anyio.run_process(command, env=environ, check=False, stderr=None)
    assert done.returncode == (-9 if killed_at else 0)
    return done.stdout.decode().split()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_processes_of_one_host_download_each_file_once(saved: Saved, server_uri: str, tmp_path: Path) -> None:
    """Eight at once, four on each event loop; all have all models."""
    printed: list[list[str]] = []

    async def one(backend: str) -> None:
        printed.append(await run_process(server_uri, tmp_path, saved, backend))

    async with anyio.create_task_group() as tasks:
        for backend in ("asyncio", "trio") * 4:
            tasks.start_soon(one, backend)
    assert {tuple(words[1:]) for words in printed} == {("one", "three", "two")}
    assert sum(int(words[0]) for words in printed) == FILES_OF_A_MODEL * len(saved.runs)


async def test_processes_killed_at_any_time_leave_a_cache_that_works(
    saved: Saved, server_uri: str, tmp_path: Path, anyio_backend: str
) -> None:
    """Killed all at once, each at another of its downloads; what is complete is not downloaded again."""
    async with anyio.create_task_group() as tasks:
        for killed_at in range(1, 1 + FILES_OF_A_MODEL * len(saved.runs), 2):
            tasks.start_soon(run_process, server_uri, tmp_path / str(killed_at), saved, anyio_backend, killed_at)
    for cache in await anyio.to_thread.run_sync(lambda: list(tmp_path.iterdir())):
        async with faulty_client(server_uri) as (client, transport), running(client, cache_dir=cache) as residents:
            complete = len(list((cache / "models").iterdir())) if (cache / "models").exists() else 0
            found = await residents.ensure(saved.runs)
            assert {each.hold().loaded.label for each in found.values()} == {"one", "two", "three"}
            downloads = sum(FILES in request.url.path for request in transport.requests)
            assert downloads == FILES_OF_A_MODEL * (len(saved.runs) - complete)
            assert list((cache / "partial").iterdir()) == []
