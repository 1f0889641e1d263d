"""A service with models on a real server: what serves, who gets what, and what operators change."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from mlflow_utilities import AsyncMlflowClient, NoActiveModelError, NotReadyError, mlflow_api
from support.clock import SteppedClock
from support.serving import ServedProject, Unloadable, clock_of, make_served_project, save_object, serving
from support.transports import faulty_client

pytestmark = pytest.mark.anyio

KEYS = [f"user-{number}" for number in range(300)]


async def test_a_service_answers_with_the_active_model(
    client: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """The answer is the model's, and says which run computed it."""
    async with serving(client, project, tmp_path) as active:
        status = await active.refresh()
        answer = await active.predict([1, 2], key="user-1")

        assert answer.output == ("a", [1, 2])
        assert (answer.model.run_id, str(answer.model.version)) == (project.runs["a"], "1.0.0")
        assert (str(answer.reason), answer.model.generation) == ("bucket", 1)
        assert (status.state, status.generation, status.seen, status.pending) == ("READY", 1, 1, None)
        assert status.fractions == {project.runs["a"]: 1.0}
        assert active.health().ready
        assert active.choose("user-1") is answer.model
        assert str((await active.predict([])).reason) == "random"


async def test_operators_move_only_the_keys_they_must_and_a_rollback_brings_all_back(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """A ramp moves keys to the new run only, in the share it says; a rollback restores every assignment."""
    a, b = project.runs["a"], project.runs["b"]
    async with serving(client, project, tmp_path) as active:
        await active.refresh()
        seen = [{key: active.choose(key).run_id for key in KEYS}]
        for share in (0.1, 0.5):
            await mlflow_api.update_active_runs(
                {a: 1 - share, b: share}, "1.0.0", project.experiment_id, client=operator
            )
            await active.refresh()
            seen.append({key: active.choose(key).run_id for key in KEYS})
        await mlflow_api.rollback(to_generation=1, experiment_id=project.experiment_id, client=operator)
        await active.refresh()

        first, small, half = seen
        assert set(first.values()) == {a}
        movers = [{key for key in KEYS if now[key] == b} for now in (small, half)]
        assert movers[0] < movers[1]
        assert 0.4 < len(movers[1]) / len(KEYS) < 0.6
        assert {key: active.choose(key).run_id for key in KEYS} == first


async def test_a_range_follows_the_operators_and_an_exact_version_stays(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, unique_name: str, tmp_path: Path
) -> None:
    """The highest version in the range with an Active run serves; a version that is only New changes nothing."""
    made = await make_served_project(operator, unique_name, ["old@1.4.0", "next@1.5.0", "rc@1.6.0-rc.1", "major@2.0.0"])
    await mlflow_api.enable_run(made.runs["old"], client=operator)
    async with (
        serving(client, made, tmp_path, model_version="^1") as following,
        serving(client, made, tmp_path, model_version="1.4.0") as pinned,
    ):
        served = []
        for label in (None, "next", "rc", "major"):
            if label:
                await mlflow_api.enable_run(made.runs[label], client=operator)
            await following.refresh()
            await pinned.refresh()
            served.append((following.choose("k").loaded.label, pinned.choose("k").loaded.label))
        await mlflow_api.disable_run(made.runs["next"], client=operator)
        await mlflow_api.disable_run(made.runs["old"], client=operator)
        await following.refresh()

        assert served == [("old", "old"), ("next", "old"), ("next", "old"), ("next", "old")]
        with pytest.raises(NoActiveModelError):
            following.choose("k")
        assert not following.health().ready
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(clock_of(client).advance, 1.0)
            with pytest.raises(NotReadyError, match="no Active run"):
                await following.wait_ready(0.5)


async def test_the_steady_state_costs_one_request_and_a_new_generation_one_more(
    server_uri: str, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """A refresh is one GET; a new run is asked for, and where its files are; one that served before costs nothing."""
    async with faulty_client(server_uri, clock=SteppedClock()) as (client, transport):
        async with serving(client, project, tmp_path) as active:
            await active.refresh()
            transport.forget()
            await active.refresh()
            steady = transport.lines
            await mlflow_api.enable_run(project.runs["b"], client=operator)
            await active.refresh()
            changed = [sent.url.params.get("run_id") for sent in transport.requests[2:] if "/runs/" in sent.url.path]
            transport.forget()
            await mlflow_api.enable_run(project.runs["a"], client=operator)
            await active.refresh()

            assert steady == ["GET runs/get"]
            assert changed == [project.runs["b"]] * 2
            assert transport.lines == ["GET runs/get"]
            assert active.choose("k").loaded.label == "a"


async def test_a_revoked_run_stops_at_once_even_if_nothing_can_replace_it(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """Its keys get NoActiveModelError rather than its answers; what can be loaded serves the rest."""
    broken = await save_object(operator, project.experiment_id, project.name, Unloadable())
    a, b = project.runs["a"], project.runs["b"]
    await mlflow_api.update_active_runs({a: 0.5, b: 0.5}, "1.0.0", project.experiment_id, client=operator)
    async with serving(client, project, tmp_path) as active:
        await active.refresh()
        before = {key: active.choose(key).run_id for key in KEYS}
        await mlflow_api.update_active_runs(
            {broken: 0.4, a: 0.3, b: 0.3}, "1.0.0", project.experiment_id, client=operator
        )
        await mlflow_api.revoke_run(a, why="it leaks", client=operator)
        with pytest.raises(Exception, match="cannot be loaded"):
            await active.refresh()

        for key, run in before.items():
            if run == a:
                with pytest.raises(NoActiveModelError):
                    active.choose(key)
            else:
                assert active.choose(key).run_id == b
        status = active.status()
        assert (status.generation, status.seen) == (2, 4)
        assert "cannot be loaded" in (status.pending or "")
        assert set(status.failures) == {broken}
