"""One ActiveModels on several event loops, one after the other: as notebooks and test frameworks do."""

from __future__ import annotations

import asyncio  # noqa: TID251 - loops that are made by hand are what is tested
from pathlib import Path

import anyio
import pytest

from mlflow_utilities import AsyncMlflowClient, NotReadyError, mlflow_api
from mlflow_utilities.serving import ActiveModels, ServingState
from support.serving import ServedProject, make_served_project


async def new_project(uri: str, name: str) -> ServedProject:
    """Return a project whose first run is Active."""
    async with AsyncMlflowClient(uri) as operator:
        made = await make_served_project(operator, name, ("a",))
        await mlflow_api.enable_run(made.runs["a"], client=operator)
        return made


@pytest.mark.parametrize("how", ["a client from a function", "a client from the environment"])
def test_an_event_loop_after_the_other(
    server_uri: str, unique_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """It can be entered again on a new loop of either kind; between, it says that it is closed."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server_uri)
    project = anyio.run(new_project, server_uri, unique_name)
    models = ActiveModels(
        (lambda: AsyncMlflowClient(server_uri)) if "function" in how else None,
        experiment_name=unique_name,
        model_version="*",
        cache_dir=tmp_path,
        on_change=lambda change: None,
        on_exposure=lambda exposure: None,
    )

    async def serve() -> tuple[str, str, object]:
        async with models as active:
            status = await active.refresh()
            answer = await active.predict([1], key="user-1")
            return status.state, answer.model.run_id, answer.output

    expected = ("READY", project.runs["a"], ("a", [1]))
    for backend in ("asyncio", "trio", "asyncio"):
        assert anyio.run(serve, backend=backend) == expected
        assert models.status().state is ServingState.CLOSED
        with pytest.raises(NotReadyError):
            models.choose("user-1")
    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(serve()) == expected
        assert loop.run_until_complete(serve()) == expected
    finally:
        loop.close()
