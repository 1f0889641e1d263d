"""The cache of model files under concurrency, death and damage; the files come from a real server."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import pytest

from mlflow_utilities import ArtifactError, AsyncMlflowClient, InvalidInputError, MlflowConnectionError, ModelError
from mlflow_utilities.models.cache import ensure, held
from support import ensure_model
from support.models import InstantClock
from support.transports import Fault, FaultTransport

pytestmark = pytest.mark.anyio

CONTENT = {"MLmodel": b"flavors: {}\n", "a.bin": b"a" * 3000, "deep/b.bin": b"b" * 2000}
SIZE = sum(map(len, CONTENT.values()))


@dataclass
class Store:
    """A client whose downloads are counted, and a cache directory."""

    client: AsyncMlflowClient
    transport: FaultTransport
    directory: Path
    experiment_id: str

    async def upload(self, files: dict[str, bytes] | None = None) -> str:
        """Upload a model and return its URI."""
        run = await self.client.create_run(self.experiment_id)
        for path, content in (files or CONTENT).items():
            await self.client.log_bytes(run.info.run_id, content, f"model/{path}")
        self.transport.forget()
        return f"runs:/{run.info.run_id}/model"

    async def ensure(self, uri: str, **options: object) -> Path:
        """Put a model into the cache."""
        return await ensure(self.client, uri, cache_dir=self.directory, **options)  # type: ignore[arg-type]

    @property
    def downloads(self) -> int:
        """How many files were asked for since the last upload."""
        return sum(ensure_model.FILES in request.url.path for request in self.transport.requests)

    def leftovers(self) -> list[Path]:
        """Return what lies there apart from complete models."""
        partial = self.directory / "partial"
        return list(partial.iterdir()) if partial.exists() else []


@pytest.fixture
async def store(server_uri: str, unique_name: str, tmp_path: Path) -> AsyncIterator[Store]:
    """Give an empty cache and a client."""
    async with store_through(server_uri, unique_name, tmp_path, FaultTransport()) as store:
        yield store


@asynccontextmanager
async def store_through(uri: str, name: str, directory: Path, transport: FaultTransport) -> AsyncIterator[Store]:
    """Give an empty cache, and a client that sends through `transport`."""
    async with httpx.AsyncClient(transport=transport) as http_client:
        client = AsyncMlflowClient(uri, http_client=http_client, clock=InstantClock())
        yield Store(client, transport, directory / "cache", await client.create_experiment(name))


def check(directory: Path) -> None:
    """Check that the model is complete."""
    found = {
        file.relative_to(directory).as_posix(): file.read_bytes() for file in directory.rglob("*") if file.is_file()
    }
    assert found == CONTENT


async def test_tasks_that_want_the_same_model_download_it_once(store: Store) -> None:
    """Five at once, and one later."""
    uri = await store.upload()
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(store.ensure, uri)
    check(await store.ensure(uri))
    assert store.downloads == len(CONTENT)
    assert store.leftovers() == []


async def run_process(store: Store, uri: str, killed_at: int = 0) -> str:
    """Run a process that puts the model into the cache, and return what it prints."""
    command = [sys.executable, "-m", "support.ensure_model", store.client.tracking_uri, uri, str(store.directory)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = await anyio.run_process([*command, str(killed_at)], env=environ, check=False, stderr=None)
    assert done.returncode == (-9 if killed_at else 0)
    return done.stdout.decode().strip()


async def test_processes_that_want_the_same_model_download_it_once(store: Store) -> None:
    """One of four downloads, the others wait for it."""
    uri = await store.upload()
    counts: list[str] = []

    async def one() -> None:
        counts.append(await run_process(store, uri))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(one)
    assert sorted(counts) == ["0", "0", "0", str(len(CONTENT))]
    check(await store.ensure(uri))
    assert store.downloads == 0


async def test_a_process_killed_while_it_downloads_leaves_a_cache_that_works(store: Store) -> None:
    """Its lock is free, and what it left is removed by the next download."""
    uri = await store.upload()
    await run_process(store, uri, killed_at=3)
    assert len(store.leftovers()) == 1
    check(await store.ensure(uri))
    assert store.leftovers() == []


@pytest.mark.parametrize("damage", ["short", "missing", "manifest"])
async def test_a_damaged_model_is_downloaded_again_once(store: Store, damage: str) -> None:
    """When the size of a file differs, a file is missing, or the manifest cannot be read."""
    uri = await store.upload()
    directory = await store.ensure(uri)
    match damage:
        case "short":
            (directory / "a.bin").write_bytes(b"a")
        case "missing":
            (directory / "deep" / "b.bin").unlink()
        case _:
            (directory.parent / "manifest.json").write_text("{")
    store.transport.forget()
    check(await store.ensure(uri))
    check(await store.ensure(uri))
    assert store.downloads == len(CONTENT)
    assert store.leftovers() == []


async def test_a_changed_byte_is_found_when_digests_are_checked(store: Store) -> None:
    """Sizes alone do not show it."""
    uri = await store.upload()
    directory = await store.ensure(uri)
    (directory / "a.bin").write_bytes(b"x" * len(CONTENT["a.bin"]))
    assert (await store.ensure(uri) / "a.bin").read_bytes()[:1] == b"x"
    check(await store.ensure(uri, check_digests=True))


async def test_a_damaged_model_that_others_use_is_not_waited_for_without_end(store: Store) -> None:
    """An ArtifactError says so after a while; once nobody uses it any more it is downloaded again."""
    uri = await store.upload()
    async with held(store.client, uri, cache_dir=store.directory) as directory:
        (directory / "a.bin").write_bytes(b"a")
        with pytest.raises(ArtifactError, match="damaged, and another process uses them"):
            await store.ensure(uri)
    check(await store.ensure(uri))


async def test_the_models_used_least_recently_go_when_space_is_needed(store: Store) -> None:
    """But neither the one that was just downloaded, nor one that is in use."""
    uris = [await store.upload() for _ in range(4)]
    directories = [await store.ensure(uri) for uri in uris[:3]]
    for age, directory in zip((30, 10, 20), directories, strict=True):
        then = (directory.parent / "manifest.json").stat().st_mtime - age
        os.utime(directory.parent / "manifest.json", (then, then))
    directories.append(await store.ensure(uris[3], max_bytes=2 * SIZE))
    assert [directory.exists() for directory in directories] == [False, True, False, True]
    async with held(store.client, uris[1], cache_dir=store.directory):
        last = await store.ensure(uris[0], max_bytes=0)
        assert [directory.exists() for directory in directories] == [True, True, False, False]
    check(last)
    assert store.leftovers() == []


async def test_a_cache_that_cannot_be_written_is_still_read(store: Store) -> None:
    """A model that is missing there is an ArtifactError that says what to set."""
    uri, other = await store.upload(), await store.upload()
    await store.ensure(uri)
    for lock in (store.directory / "locks").iterdir():
        lock.unlink()
    (store.directory / "locks").rmdir()
    (store.directory / "locks").write_text("not a directory")
    check(await store.ensure(uri))
    with pytest.raises(ArtifactError, match="MLFLOW_UTILITIES_CACHE_DIR"):
        await store.ensure(other)


async def test_a_cancelled_download_leaves_nothing(server_uri: str, unique_name: str, tmp_path: Path) -> None:
    """And another one can begin at once."""
    scope = anyio.CancelScope()

    def script(_: int, request: httpx.Request) -> None:
        if request.url.path.endswith("/a.bin") and request.method == "GET":
            scope.cancel()

    async with store_through(server_uri, unique_name, tmp_path, FaultTransport(script)) as store:
        uri = await store.upload()
        with scope:
            await store.ensure(uri)
        assert scope.cancelled_caught
        assert store.leftovers() == []
        store.transport.script = lambda _number, _request: None
        check(await store.ensure(uri))


async def test_a_failed_download_leaves_nothing(server_uri: str, unique_name: str, tmp_path: Path) -> None:
    """The error is the one of the connection."""

    def script(_: int, request: httpx.Request) -> Fault | None:
        return Fault.REFUSE if request.url.path.endswith("/a.bin") and request.method == "GET" else None

    async with store_through(server_uri, unique_name, tmp_path, FaultTransport(script)) as store:
        uri = await store.upload()
        with pytest.raises(MlflowConnectionError):
            await store.ensure(uri)
        assert store.leftovers() == []


async def test_files_that_are_not_a_model_are_not_kept(store: Store) -> None:
    """A ModelError says that the MLmodel file is missing."""
    uri = await store.upload({"a.bin": b"a"})
    with pytest.raises(ModelError, match="no MLmodel file"):
        await store.ensure(uri)
    assert store.leftovers() == []


async def test_files_of_a_local_location_are_used_where_they_are(store: Store, tmp_path: Path) -> None:
    """They are not copied, and nothing is asked for."""
    store.transport.forget()
    assert await store.ensure(str(tmp_path)) == tmp_path
    assert await store.ensure(tmp_path.as_uri()) == tmp_path
    assert store.transport.requests == []


@pytest.mark.parametrize("max_bytes", [-1, 1.5, True])
async def test_a_bound_that_is_not_a_number_of_bytes_is_refused(store: Store, max_bytes: object) -> None:
    """With its value."""
    with pytest.raises(InvalidInputError, match=str(max_bytes)):
        await store.ensure("runs:/r/model", max_bytes=max_bytes)
