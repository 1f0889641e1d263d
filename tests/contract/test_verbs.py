"""The verbs on a real server: what each makes of a rollout, and what readers see."""

from __future__ import annotations

import pytest

from mlflow_utilities import (
    AsyncMlflowClient,
    InvalidInputError,
    ModelStatus,
    RolloutConflictError,
    Version,
    mlflow_api,
)
from support.runs import Project, make_project, make_run

pytestmark = pytest.mark.anyio


@pytest.fixture
async def project(client: AsyncMlflowClient, unique_name: str) -> Project:
    """Give an experiment with three finished runs of version 1.0.0."""
    return await make_project(client, unique_name, 3)


async def statuses(
    client: AsyncMlflowClient, project: Project, submodel: str | None = None
) -> dict[str, tuple[str, float]]:
    """Return status and share of every run, as a client sees it that has never looked before."""
    async with AsyncMlflowClient(client.tracking_uri) as fresh:
        runs = await mlflow_api.list_runs(
            None, experiment_id=project.experiment_id, submodel_name=submodel, client=fresh
        )
    return {run.run_id: (run.status.name, run.test_fraction) for run in runs}


async def test_a_rollout_from_new_to_rolled_back(client: AsyncMlflowClient, project: Project) -> None:
    """Every verb does what its name says, and the history tells all of it, newest last."""
    a, b, c = project.runs
    named = {"experiment_name": project.name, "client": client}
    assert await statuses(client, project) == dict.fromkeys(project.runs, ("New", 0.0))

    enabled = await mlflow_api.enable_run(a, client=client, why="first")
    assert (enabled.generation, enabled.written, enabled.projected, enabled.warnings) == (1, True, True, ())
    assert enabled.changes == {a: ModelStatus.Active}
    await mlflow_api.canary_run(b, client=client)
    assert await statuses(client, project) == {a: ("Active", 1.0), b: ("Canary", 1.0), c: ("New", 0.0)}

    split = await mlflow_api.update_active_runs({a: 7, c: 3}, "1.0.0", **named)
    assert {run.run_id: run.test_fraction for run in split.live} == {a: 0.7, c: 0.3}
    assert await statuses(client, project) == {a: ("Active", 0.7), b: ("Disabled", 0.0), c: ("Active", 0.3)}

    await mlflow_api.change_test_fractions({a: 0.5, c: 0.5}, (1, 0, 0), **named)
    await mlflow_api.change_status(c, new_test_fraction=0.25, client=client)
    assert await statuses(client, project) == {a: ("Active", 0.75), b: ("Disabled", 0.0), c: ("Active", 0.25)}

    await mlflow_api.disable_run(a, client=client)
    assert await statuses(client, project) == {a: ("Disabled", 0.0), b: ("Disabled", 0.0), c: ("Active", 1.0)}

    back = await mlflow_api.rollback(**named, to_generation=3, why="as it was")
    assert {run.run_id: run.test_fraction for run in back.live} == {a: 0.7, c: 0.3}
    await mlflow_api.revoke_run(c, "wrong data", client=client)
    assert await statuses(client, project) == {a: ("Active", 1.0), b: ("Disabled", 0.0), c: ("Disabled", 0.0)}
    with pytest.raises(InvalidInputError, match="revoked"):
        await mlflow_api.enable_run(c, client=client)

    history = await mlflow_api.rollout_history(**named)
    assert [entry.generation for entry in history] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [entry.verb for entry in history] == [
        "enable_run", "canary_run", "update_active_runs", "change_test_fractions", "change_status", "disable_run",
        "rollback", "revoke_run",
    ]  # fmt: skip
    assert (history[6].restores, history[6].why, history[0].why) == (3, "as it was", "first")
    assert history[-1].revoked == (c,)


async def test_the_same_call_again_changes_nothing(client: AsyncMlflowClient, project: Project) -> None:
    """A wish that is fulfilled writes no generation, whoever asks."""
    a, b, _ = project.runs
    for _ in range(2):
        rollout = await mlflow_api.update_active_runs(
            {a: 1, b: 1}, "1.0.0", experiment_id=project.experiment_id, client=client
        )
    assert (rollout.generation, rollout.written, rollout.changes) == (1, False, {})
    async with AsyncMlflowClient(client.tracking_uri) as other:
        assert not (await mlflow_api.change_status(a, "Active", client=other)).written


async def test_a_dry_run_shows_the_plan_and_writes_nothing(client: AsyncMlflowClient, project: Project) -> None:
    """Nothing is elected, committed or tagged; the next dry run shows the same."""
    a, *_ = project.runs
    for _ in range(2):
        plan = await mlflow_api.enable_run(a, client=client, dry_run=True)
        assert (plan.generation, plan.written, plan.dry_run, plan.changes) == (1, False, True, {a: ModelStatus.Active})
    assert await client.get_experiment_by_name(f"mlflow-utilities/rollouts/{project.experiment_id}") is None
    assert (await client.get_run(a)).data.tags["active_state"] == "New"


async def test_projection_shows_the_rollout_in_mlflow(client: AsyncMlflowClient, project: Project) -> None:
    """Tags and metrics of a run say its status; metrics carry the generation as their step."""
    a, b, _ = project.runs
    await mlflow_api.enable_run(a, client=client)
    await mlflow_api.change_status(b, ModelStatus.Active, 0.25, client=client)

    data = (await client.get_run(a)).data
    points = await client.get_metric_history(a, "test_fraction")
    assert (data.tags["active_state"], data.tags["test_fraction"], data.tags["rollout.generation"]) == (
        "Active",
        "0.75",
        "2",
    )
    assert (data.metrics["active_state"], data.metrics["test_fraction"]) == (2.0, 0.75)
    assert [(point.step, point.value) for point in points] == [(0, 0.0), (1, 1.0), (2, 0.75)]


async def test_submodels_and_versions_do_not_touch_each_other(client: AsyncMlflowClient, project: Project) -> None:
    """Each submodel has a rollout of its own; each version has a split of its own."""
    a, *_ = project.runs
    other = await make_run(client, project.experiment_id, "fraud/scorer", "1.0.0")
    newer = await make_run(client, project.experiment_id, project.name, "1.1.0-rc.1")
    for run in (a, other, newer):
        await mlflow_api.enable_run(run, client=client)

    assert (await statuses(client, project))[a] == ("Active", 1.0)
    assert await statuses(client, project, "fraud/scorer") == {other: ("Active", 1.0)}
    history = await mlflow_api.rollout_history(
        experiment_id=project.experiment_id, submodel_name="fraud/scorer", client=client
    )
    assert [entry.generation for entry in history] == [1]
    live = await mlflow_api.list_runs(None, project.experiment_id, active_state="Active", client=client)
    assert {(run.run_id, str(run.version)) for run in live} == {(a, "1.0.0"), (newer, "1.1.0-rc.1")}


async def test_listing_by_version_status_and_metadata(client: AsyncMlflowClient, unique_name: str) -> None:
    """Ranges never choose a pre-release unasked; metadata narrows; unfinished runs are not listed."""
    experiment = await client.create_experiment(unique_name)
    made = {
        version: await make_run(
            client, experiment, unique_name, version,
            params={"region": region}, tags={"owner": owner}, metrics={"auc": auc},
        )
        for version, region, owner, auc in [
            ("1.0.0", "it", "ana", 0.5), ("1.2.0", "it", "ben", 0.75), ("2.0.0-rc.1", "fr", "ana", 0.75),
        ]
    }  # fmt: skip
    await make_run(client, experiment, unique_name, "1.9.0", status="RUNNING")
    await make_run(client, experiment, unique_name, "1.9.1", status="FAILED")

    async def versions(model_version: object, **more: object) -> list[str]:
        runs = await mlflow_api.list_runs(model_version, experiment, client=client, **more)  # type: ignore[arg-type]
        return [str(run.version) for run in runs]

    assert await versions(None) == ["2.0.0-rc.1", "1.2.0", "1.0.0"]
    assert await versions("latest") == ["1.2.0"]
    assert await versions("<2.0.0") == ["1.2.0", "1.0.0"]
    assert await versions(Version.parse("1.0.0")) == ["1.0.0"]
    assert await versions(">=2.0.0-rc.1") == ["2.0.0-rc.1"]
    assert await versions(None, extra_immutable_metadata={"region": "it"}) == ["1.2.0", "1.0.0"]
    assert await versions(None, extra_mutable_metadata={"auc": 0.75, "owner": "ana"}) == ["2.0.0-rc.1"]
    assert await versions("^1", active_state="Active") == []
    await mlflow_api.enable_run(made["1.0.0"], client=client)
    assert await versions("latest", active_state=ModelStatus.Active) == ["1.0.0"]
    listed = (await mlflow_api.list_runs("1.2.0", experiment, client=client))[0]
    assert (listed.immutable_metadata, listed.mutable_metadata) == ({"region": "it"}, {"auc": 0.75, "owner": "ben"})
    assert listed.run.info.run_id == listed.run_id == made["1.2.0"]


async def test_a_split_scoped_by_metadata(client: AsyncMlflowClient, unique_name: str) -> None:
    """Runs outside the scope stay canaries; an Active one outside it is refused, since shares add up to 1."""
    experiment = await client.create_experiment(unique_name)
    inside = [await make_run(client, experiment, unique_name, params={"region": "it"}) for _ in range(3)]
    outside = await make_run(client, experiment, unique_name, params={"region": "fr"})
    scope = {"experiment_id": experiment, "extra_immutable_metadata": {"region": "it"}, "client": client}
    await mlflow_api.canary_run(outside, client=client)

    rollout = await mlflow_api.update_active_runs({inside[0]: 1, inside[1]: 1}, "1.0.0", **scope)

    assert {run.run_id: run.status.name for run in rollout.live} == {
        inside[0]: "Active", inside[1]: "Active", outside: "Canary",
    }  # fmt: skip
    with pytest.raises(InvalidInputError, match="does not have the metadata"):
        await mlflow_api.update_active_runs({outside: 1}, "1.0.0", **scope)
    await mlflow_api.enable_run(outside, client=client)
    with pytest.raises(InvalidInputError, match="shares of one version add up to 1"):
        await mlflow_api.update_active_runs({inside[2]: 1}, "1.0.0", **scope)


async def test_expected_generation_refuses_a_change_in_between(client: AsyncMlflowClient, project: Project) -> None:
    """The loser is told who won; the generation that is expected passes."""
    a, b, _ = project.runs
    await mlflow_api.enable_run(a, client=client, expected_generation=0)
    with pytest.raises(RolloutConflictError) as refused:
        await mlflow_api.enable_run(b, client=client, expected_generation=0)
    assert refused.value.current.generation == 1
    await mlflow_api.enable_run(b, client=client, expected_generation=1)
    with pytest.raises(RolloutConflictError, match="generation 2"):
        await mlflow_api.enable_run(a, client=client, expected_generation=7)


async def test_two_rollbacks_go_two_steps_back(client: AsyncMlflowClient, project: Project) -> None:
    """A rollback is never undone by asking for it twice, and slots come back exactly."""
    a, b, c = project.runs
    named = {"experiment_id": project.experiment_id, "client": client}
    first = await mlflow_api.enable_run(a, client=client)
    second = await mlflow_api.update_active_runs({a: 1, b: 2}, "1.0.0", **named)
    await mlflow_api.update_active_runs({c: 1}, "1.0.0", **named)

    once = await mlflow_api.rollback(**named)
    twice = await mlflow_api.rollback(**named)

    assert (once.restores, once.live) == (2, second.live)
    assert (twice.restores, twice.live) == (1, first.live)
    with pytest.raises(InvalidInputError, match="nothing was live before"):
        await mlflow_api.rollback(**named)


async def test_verbs_open_a_client_from_the_environment(
    client: AsyncMlflowClient, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `client=` MLFLOW_TRACKING_URI says where the server is."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", client.tracking_uri)
    await mlflow_api.enable_run(project.runs[0])
    models = await mlflow_api.list_models("^1", experiment_name=project.name, active_state="Active")
    assert [(model.run_id, model.model_uri) for model in models] == [
        (project.runs[0], f"runs:/{project.runs[0]}/model")
    ]
