"""Artifacts on a real server: what is written comes back, in few requests."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.errors import ArtifactError, EndpointNotFoundError, InvalidInputError, ModelError, NotFoundError
from mlflow_utilities.stores.base import Entry
from mlflow_utilities.stores.served import ServedStore
from mlflow_utilities.stores.transfer import download

pytestmark = pytest.mark.anyio

BIG = bytes(range(256)) * 10_001  # 2.5 pieces of what is held in memory at once


@pytest.fixture
async def run_id(client: AsyncMlflowClient) -> str:
    """Make a run for one test."""
    return (await client.create_run("0")).info.run_id


class Pipe(io.RawIOBase):
    """A stream that cannot be read twice."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        """Say that it can be read once."""
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Read at most 100,000 bytes."""
        piece = self._data.read(min(len(buffer), 100_000))
        buffer[: len(piece)] = piece
        return len(piece)


def tree(root: Path) -> dict[str, bytes]:
    """Return every file below a directory."""
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in root.rglob("*") if file.is_file()}


async def test_text_and_bytes_come_back_unchanged(client: AsyncMlflowClient, run_id: str) -> None:
    """Any name the client accepts is the name the server keeps."""
    files = {"t.txt": b"h\xc3\xa9\n", "d/e/t": b"x", "ü é?&+.txt": b"y", "100%": b"z", "empty": b""}
    for name, data in files.items():
        await client.log_bytes(run_id, data, name)

    assert {name: await client.read_artifact(run_id, name) for name in files} == files
    listed = await client.list_artifacts(run_id)
    assert {(file.path, file.is_dir, file.file_size) for file in listed} == {
        ("d", True, None),
        *((name, False, len(data)) for name, data in files.items() if "/" not in name),
    }
    assert [file.path for file in await client.list_artifacts(run_id, "d/e/")] == ["d/e/t"]
    assert await client.list_artifacts(run_id, "missing") == []
    assert await client.list_artifacts(run_id, "100%") == []


async def test_texts_objects_streams_and_files_are_logged(
    client: AsyncMlflowClient, run_id: str, tmp_path: Path
) -> None:
    """Streams that cannot be read twice and files larger than what is held in memory, too."""
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "inner" / "big.bin").write_bytes(BIG)

    await client.log_text(run_id, "é", "text.txt")
    await client.log_dict(run_id, {"a": [1, Path("p")]}, "d/object.json")
    await client.log_stream(run_id, io.BufferedReader(Pipe(BIG)), "stream.bin")
    await client.log_artifact(run_id, tmp_path / "folder" / "inner" / "big.bin", "files")
    await client.log_artifact(run_id, tmp_path / "folder", "files/")

    lies = Path(await client.download_artifacts(run_id, dst_path=tmp_path / "out"))
    found = tree(lies)
    assert json.loads(found.pop("d/object.json")) == {"a": [1, "p"]}
    assert found == {
        "text.txt": "é".encode(),
        "stream.bin": BIG,
        "files/big.bin": BIG,
        "files/folder/inner/big.bin": BIG,
    }
    with pytest.raises(InvalidInputError, match="binary"):
        await client.log_stream(run_id, io.StringIO("text"), "x")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="does not exist"):
        await client.log_artifact(run_id, tmp_path / "missing")


async def test_a_directory_goes_up_and_comes_down_the_same(
    client: AsyncMlflowClient, run_id: str, tmp_path: Path
) -> None:
    """Every file of every level, also large and empty ones, and it may be asked for again."""
    files = {f"d{n % 3}/f{n}": bytes([n]) * (n * 150_000) for n in range(10)}
    for name, data in files.items():
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_bytes(data)

    await client.log_artifacts(run_id, tmp_path / "source", "tree")

    for _ in range(2):
        lies = Path(await client.download_artifacts(run_id, "tree", tmp_path / "out"))
        assert lies == tmp_path / "out" / "tree"
        assert tree(lies) == files
    fresh = Path(await client.download_artifacts(run_id, "tree/d0"))
    assert set(tree(fresh)) == {"f0", "f3", "f6", "f9"}


async def test_a_missing_path_raises_and_leaves_nothing(client: AsyncMlflowClient, run_id: str, tmp_path: Path) -> None:
    """Neither a file nor a directory is made up; a name the server would change is not even looked up."""
    # asked for as a file, a directory is an error without any name on servers 2.x, which is repeated for seconds
    folder = "dir" if (await client.server_version()).startswith("2.") else "dir.d"
    await client.log_text(run_id, "x", f"{folder}/t")
    with pytest.raises(NotFoundError):
        await client.read_artifact(run_id, f"{folder}/t/u")
    lies = Path(await client.download_artifacts(run_id, folder, tmp_path / "out"))
    assert tree(lies) == {"t": b"x"}
    for path in ("missing.txt", "missing"):
        with pytest.raises(NotFoundError):
            await client.download_artifacts(run_id, path, tmp_path)
        with pytest.raises(NotFoundError):
            await client.read_artifact(run_id, path)
    with pytest.raises(NotFoundError, match="no-such-run"):
        await client.list_artifacts("no-such-run")
    with pytest.raises(InvalidInputError):
        await client.log_text("no-such-run", "x", "a%20b")
    assert tree(tmp_path) == {f"out/{folder}/t": b"x"}


async def model_uris(client: AsyncMlflowClient, run_id: str, folder: Path, name: str) -> list[str]:
    """Upload and register a model as the server's MLflow does, and return every URI of it."""
    await client.create_registered_model(name)
    if (await client.server_version()).startswith("2."):
        with pytest.raises(EndpointNotFoundError):
            await client.create_logged_model("0", name="model", source_run_id=run_id)
        await client.log_artifacts(run_id, folder, "model")
        root = (await client.get_run(run_id)).info.artifact_uri
        await client.create_model_version(name, f"{root}/model", run_id)
        own = []
    else:
        model = await client.create_logged_model("0", name="model", source_run_id=run_id)
        await client.log_model_artifacts(model.model_id, folder)
        await client.log_model_artifact(model.model_id, folder / "MLmodel", "extra")
        listed = await client.list_logged_model_artifacts(model.model_id)
        assert {file.path for file in listed} == {"MLmodel", "extra"}
        await client.finalize_logged_model(model.model_id, "READY")
        await client.create_model_version(name, f"models:/{model.model_id}", model_id=model.model_id)
        own = [model.model_uri]
    await client.set_registered_model_alias(name, "live", "1")
    ends = ("/1", "/latest", "/None", "@live")
    return [f"runs:/{run_id}/model", *own, *(f"models:/{name}{end}" for end in ends)]


async def test_a_model_is_found_by_every_uri(
    client: AsyncMlflowClient, run_id: str, tmp_path: Path, unique_name: str
) -> None:
    """runs:, models: by id, version, latest, stage and alias name the same files."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "MLmodel").write_text("x")
    uris = await model_uris(client, run_id, tmp_path / "source", unique_name)

    found = {await client.resolve_model_uri(uri) for uri in uris}
    assert len(found) == 1
    lies = await client.download_artifact_uri(uris[-1], tmp_path / "out")
    assert (Path(lies) / "MLmodel").read_text() == "x"
    file = await client.download_artifact_uri(f"{found.pop()}/MLmodel", tmp_path / "file")
    assert Path(file).read_text() == "x"
    with pytest.raises(ModelError, match="Staging"):
        await client.resolve_model_uri(f"models:/{unique_name}/Staging")


async def test_a_file_location_is_used_directly(client: AsyncMlflowClient, unique_name: str, tmp_path: Path) -> None:
    """An experiment whose artifacts lie on a shared file system needs no proxy."""
    root = tmp_path / "shared files"
    experiment_id = await client.create_experiment(unique_name, root.as_uri())
    run_id = (await client.create_run(experiment_id)).info.run_id

    await client.log_text(run_id, "x", "d/t.txt")

    assert tree(root) == {f"{run_id}/artifacts/d/t.txt": b"x"}
    assert [file.path for file in await client.list_artifacts(run_id)] == ["d"]
    assert await client.read_artifact(run_id, "d/t.txt") == b"x"
    lies = Path(await client.download_artifacts(run_id, "d", tmp_path / "out"))
    assert tree(lies) == {"t.txt": b"x"}
    with pytest.raises(ArtifactError, match="missing"):
        await client.download_artifacts(run_id, "missing", tmp_path / "out")


async def test_a_location_that_only_the_server_reaches_is_not_written(
    client: AsyncMlflowClient, unique_name: str
) -> None:
    """The error says what would help."""
    experiment_id = await client.create_experiment(unique_name, "s3://bucket/x")
    run_id = (await client.create_run(experiment_id)).info.run_id

    with pytest.raises(ArtifactError, match=r"s3:.*mlflow-artifacts"):
        await client.log_text(run_id, "x", "t.txt")
    with pytest.raises(ArtifactError, match="s3:"):
        await client.upload_artifacts("s3://bucket/x", Path(__file__).parent)


async def test_a_location_that_only_the_server_reaches_is_read_through_it(
    client: AsyncMlflowClient, run_id: str, tmp_path: Path
) -> None:
    """By the endpoints of the user interface, below a directory too."""
    await client.log_text(run_id, "x", "d/e f.txt")

    store = ServedStore(client._sender, scheme="s3", run_id=run_id)
    assert await store.entries("d") == [Entry("d/e f.txt", is_dir=False, size=1)]
    assert await store.read("d/e f.txt") == b"x"
    below = ServedStore(client._sender, scheme="s3", run_id=run_id, base="d")
    assert tree(await download(below, "", tmp_path)) == {"e f.txt": b"x"}
    if not (await client.server_version()).startswith("2."):
        model = await client.create_logged_model("0", name="model", source_run_id=run_id)
        (tmp_path / "MLmodel").write_text("y")
        await client.log_model_artifact(model.model_id, tmp_path / "MLmodel")
        of_model = ServedStore(client._sender, scheme="s3", model_id=model.model_id)
        assert tree(await download(of_model, "", tmp_path / "model")) == {"MLmodel": b"y"}
