"""Artifacts on a real server: what is written comes back, in few requests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlflow_utilities.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from mlflow_utilities import AsyncMlflowClient

pytestmark = pytest.mark.anyio


async def _run(client: AsyncMlflowClient) -> str:
    return (await client.create_run("0")).info.run_id


@pytest.mark.parametrize("name", ["t.txt", "d/e/t", "ü é?&+.txt", "100%", "empty"])
async def test_text_and_bytes_come_back_unchanged(client: AsyncMlflowClient, name: str) -> None:
    """Any name the client accepts is the name the server keeps."""
    run_id = await _run(client)
    data = b"" if name == "empty" else "hé\n".encode()
    await client.log_bytes(run_id, data, name)
    assert await client.read_artifact(run_id, name) == data
    listed = await client.list_artifacts(run_id, name.rpartition("/")[0] or None)
    assert [(file.path, file.is_dir, file.file_size) for file in listed] == [(name, False, len(data))]


async def test_a_directory_goes_up_and_comes_down_the_same(client: AsyncMlflowClient, tmp_path: Path) -> None:
    """Every file of every level, also large and empty ones."""
    source = tmp_path / "source"
    files = {f"d{n % 3}/f{n}": bytes([n]) * (n * 150_000) for n in range(20)}
    for name, data in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    run_id = await _run(client)
    await client.log_artifacts(run_id, source, "tree")
    lies = Path(await client.download_artifacts(run_id, "tree", tmp_path / "out"))
    assert lies == tmp_path / "out" / "tree"
    found = {file.relative_to(lies).as_posix(): file.read_bytes() for file in lies.rglob("*") if file.is_file()}
    assert found == files


@pytest.mark.parametrize("path", ["missing.txt", "missing"])
async def test_a_missing_path_raises_and_leaves_nothing(client: AsyncMlflowClient, tmp_path: Path, path: str) -> None:
    """Neither a file nor a directory is made up."""
    run_id = await _run(client)
    with pytest.raises(NotFoundError):
        await client.download_artifacts(run_id, path, tmp_path)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


async def test_a_name_the_server_would_change_is_refused(client: AsyncMlflowClient) -> None:
    """It raises before the run is even looked up."""
    with pytest.raises(InvalidInputError):
        await client.log_text("no-such-run", "x", "a%20b")


async def test_a_logged_model_is_found_by_every_uri(
    client: AsyncMlflowClient, tmp_path: Path, unique_name: str
) -> None:
    """runs:, models: by id, version, latest and alias name the same files."""
    run_id = await _run(client)
    model = await client.create_logged_model("0", name="model", source_run_id=run_id)
    (tmp_path / "MLmodel").write_text("x")
    await client.log_model_artifacts(model.model_id, tmp_path)
    assert [file.path for file in await client.list_logged_model_artifacts(model.model_id)] == ["MLmodel"]
    await client.finalize_logged_model(model.model_id, "READY")
    await client.create_registered_model(unique_name)
    await client.create_model_version(unique_name, f"models:/{model.model_id}", model_id=model.model_id)
    await client.set_registered_model_alias(unique_name, "live", "1")
    names = [model.model_id, f"{unique_name}/1", f"{unique_name}/latest", f"{unique_name}@live"]
    found = {await client.resolve_model_uri(f"models:/{name}") for name in names}
    found.add(await client.resolve_model_uri(f"runs:/{run_id}/model"))
    assert len(found) == 1
    lies = await client.download_artifact_uri(f"models:/{unique_name}@live", tmp_path / "out")
    assert (Path(lies) / "MLmodel").read_text() == "x"
