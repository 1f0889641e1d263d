"""Registered models and their versions on a real server."""

from __future__ import annotations

import pytest

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.errors import (
    AlreadyExistsError,
    InvalidInputError,
    InvalidParameterError,
    ModelError,
    NotFoundError,
)
from mlflow_utilities.resources._base import without_create_id

pytestmark = pytest.mark.anyio

SOURCE = "s3://bucket/model"


async def test_a_registered_model_is_made_found_changed_and_removed(
    client: AsyncMlflowClient, unique_name: str
) -> None:
    """Its name is taken once; renaming and deleting need it to be there."""
    name = f"{unique_name} it's"
    made = await client.create_registered_model(name, {"a": 1}, "first")
    assert (made.name, made.tags, made.description, made.latest_versions) == (name, {"a": "1"}, "first", [])
    with pytest.raises(AlreadyExistsError):
        await client.create_registered_model(name)

    await client.set_registered_model_tag(name, "b", "2")
    await client.delete_registered_model_tag(name, "a")
    await client.delete_registered_model_tag(name, "a")
    with pytest.raises(InvalidInputError, match="removes"):
        await client.update_registered_model(name)
    assert (await client.get_registered_model(name)).description == "first"
    assert (await client.update_registered_model(name, "second")).description == "second"

    renamed = await client.rename_registered_model(name, unique_name)
    assert (renamed.name, renamed.tags) == (unique_name, {"b": "2"})
    with pytest.raises(NotFoundError):
        await client.rename_registered_model(name, f"{unique_name}-2")
    await client.delete_registered_model(unique_name)
    for call in (client.get_registered_model, client.delete_registered_model):
        with pytest.raises(NotFoundError, match=unique_name):
            await call(unique_name)


async def test_registered_models_are_searched_page_by_page(client: AsyncMlflowClient, unique_name: str) -> None:
    """In order, filtered, over page ends."""
    names = [f"{unique_name}-{letter}" for letter in "abc"]
    for name in names:
        await client.create_registered_model(name)
    wanted = f"name LIKE '{unique_name}%'"

    page = await client.search_registered_models(wanted, 2, ["name DESC"])
    assert [found.name for found in page] == names[:0:-1]
    assert [found.name async for found in client.iter_registered_models(wanted, 2)] == names
    assert await client.search_registered_models("name = 'nothing'") == []
    with pytest.raises(InvalidParameterError):
        await client.search_registered_models(max_results=100_000)


async def test_versions_are_numbered_described_tagged_and_removed(client: AsyncMlflowClient, unique_name: str) -> None:
    """A number may be text or an integer; one that was removed is not there and not used again."""
    await client.create_registered_model(unique_name)
    run_id = (await client.create_run("0")).info.run_id
    first = await client.create_model_version(unique_name, SOURCE, run_id, {"v": "1.0.0"}, None, "one")
    assert (first.version, first.run_id, first.description, first.status) == ("1", run_id, "one", "READY")
    assert (without_create_id(first.tags), first.aliases, first.model_id) == ({"v": "1.0.0"}, [], None)
    await client.create_model_version(unique_name, SOURCE)

    await client.set_model_version_tag(unique_name, 1, "k", "x")
    await client.delete_model_version_tag(unique_name, "1", "v")
    with pytest.raises(InvalidInputError, match="removes"):
        await client.update_model_version(unique_name, "1")
    assert (await client.update_model_version(unique_name, "1", "uno")).description == "uno"
    assert without_create_id((await client.get_model_version(unique_name, 1)).tags) == {"k": "x"}
    assert await client.get_model_version_download_uri(unique_name, 1) == SOURCE

    wanted = f"name = '{unique_name}'"
    page = await client.search_model_versions(wanted, 1, ["version_number DESC"])
    assert ([found.version for found in page], page.token is None) == (["2"], False)
    every = client.iter_model_versions(wanted, 1, ["version_number ASC"])
    assert [found.version async for found in every] == ["1", "2"]

    await client.delete_model_version(unique_name, 2)
    with pytest.raises(NotFoundError, match="version=2"):
        await client.delete_model_version(unique_name, "2")
    with pytest.raises(NotFoundError, match="version=2"):
        await client.get_model_version(unique_name, 2)
    assert (await client.create_model_version(unique_name, SOURCE)).version == "3"
    with pytest.raises(NotFoundError):
        await client.create_model_version(f"{unique_name}-other", SOURCE)


async def test_aliases_name_versions(client: AsyncMlflowClient, unique_name: str) -> None:
    """An alias moves; unknown ones, reserved ones and those of missing versions are refused."""
    await client.create_registered_model(unique_name)
    for _ in range(2):
        await client.create_model_version(unique_name, SOURCE)

    await client.set_registered_model_alias(unique_name, "live", 1)
    await client.set_registered_model_alias(unique_name, "live", "2")
    found = await client.get_model_version_by_alias(unique_name, "live")
    assert (found.version, found.aliases) == ("2", ["live"])
    assert (await client.get_registered_model(unique_name)).aliases == {"live": "2"}
    with pytest.raises(InvalidParameterError, match="nope"):
        await client.get_model_version_by_alias(unique_name, "nope")
    for alias in ("latest", "v1", "a b"):
        with pytest.raises(InvalidParameterError):
            await client.set_registered_model_alias(unique_name, alias, 1)
    with pytest.raises(NotFoundError):
        await client.set_registered_model_alias(unique_name, "x", 99)
    await client.delete_registered_model_alias(unique_name, "live")
    await client.delete_registered_model_alias(unique_name, "live")
    assert (await client.get_model_version(unique_name, 2)).aliases == []


async def test_stages_and_copies(client: AsyncMlflowClient, unique_name: str) -> None:
    """A version moves to a stage, and is copied by number, alias, stage and as the latest."""
    await client.create_registered_model(unique_name)
    for number in "12":
        await client.create_model_version(unique_name, SOURCE, tags={"n": number}, description=f"no. {number}")
    await client.set_registered_model_alias(unique_name, "live", 1)

    moved = await client.transition_model_version_stage(unique_name, 1, "Production", True)
    assert moved.current_stage == "Production"
    assert moved.current_stage in await client.get_model_version_stages(unique_name, 1)
    with pytest.raises(InvalidParameterError, match="Nope"):
        await client.transition_model_version_stage(unique_name, 1, "Nope")
    latest = await client.get_latest_versions(unique_name)
    assert {found.current_stage: found.version for found in latest} == {"Production": "1", "None": "2"}
    assert [found.version for found in await client.get_latest_versions(unique_name, ["Production"])] == ["1"]

    copies = f"{unique_name}-copies"
    for number, (end, version) in enumerate((("/1", "1"), ("@live", "1"), ("/Production", "1"), ("/latest", "2")), 1):
        copied = await client.copy_model_version(f"models:/{unique_name}{end}", copies)
        assert (copied.version, copied.source) == (str(number), f"models:/{unique_name}/{version}")
        assert (copied.description, without_create_id(copied.tags)) == (f"no. {version}", {"n": version})
    assert await client.resolve_model_uri(f"models:/{copies}/1") == SOURCE
    with pytest.raises(ModelError, match="Staging"):
        await client.copy_model_version(f"models:/{unique_name}/Staging", copies)
    for uri in ("models:/m-1", "runs:/r/model", "s3://b/x"):
        with pytest.raises(InvalidInputError, match="names no version"):
            await client.copy_model_version(uri, copies)


async def test_a_wrong_argument_is_refused(client: AsyncMlflowClient) -> None:
    """Before anything is sent."""
    for call in (
        lambda: client.create_registered_model("a/b"),
        lambda: client.create_registered_model("a:b"),
        lambda: client.get_registered_model(""),
        lambda: client.get_model_version("a", 1.5),  # type: ignore[arg-type]
        lambda: client.get_model_version("a", True),
        lambda: client.set_registered_model_alias("a", "live", True),
        lambda: client.set_registered_model_tag("a", "it's", "x"),
        lambda: client.set_model_version_tag("a", 1, "k", "x" * 100_001),
        lambda: client.create_model_version("a", ""),
        lambda: client.search_model_versions(max_results=0),
    ):
        with pytest.raises(InvalidInputError):
            await call()
