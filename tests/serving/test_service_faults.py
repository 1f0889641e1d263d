"""A service when things go wrong: files, rollouts that vanish, models that fail, owners that leave."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from mlflow_utilities import AsyncMlflowClient, InvalidInputError, NoActiveModelError, NotReadyError, mlflow_api
from mlflow_utilities.errors import MlflowUtilitiesError
from mlflow_utilities.serving import ActiveModels, LoadingOptions, Source
from support.clock import SteppedClock
from support.serving import (
    Labelled,
    ServedProject,
    Unloadable,
    clock_of,
    make_served_project,
    save_object,
    serving,
    until,
)
from support.transports import Fault, faulty_client

pytestmark = pytest.mark.anyio


class Server:
    """A script of what the server does: "up", "down", or "empty": it shows no rollout."""

    def __init__(self) -> None:
        self.mode = "up"

    def __call__(self, number: int, request: httpx.Request) -> Fault | httpx.Response | None:
        """Answer one request."""
        if self.mode == "down":
            return Fault.REFUSE
        if self.mode == "empty" and "rollouts" in str(request.url.params.get("experiment_name")):
            return httpx.Response(404, json={"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"})
        if self.mode == "empty" and request.url.path.endswith("runs/search"):
            return httpx.Response(200, json={})
        return None


@pytest.fixture
def server() -> Server:
    """Give the script of a server."""
    return Server()


@pytest.fixture
async def client(server_uri: str, server: Server) -> AsyncIterator[AsyncMlflowClient]:
    """Give the client of a service, whose server does what the script says."""
    async with faulty_client(server_uri, server, clock=SteppedClock(), max_retries=0) as (client, _):
        yield client


async def served_before(client: AsyncMlflowClient, project: ServedProject, cache: Path, **options: Any) -> None:
    """Let a service write its last-known-good file, and end."""
    async with serving(client, project, cache, **options) as active:
        await active.refresh()


async def becomes(active: ActiveModels, condition: Callable[[], bool]) -> None:
    """Wait until the status of a service is as it should be."""
    with anyio.fail_after(10):
        await active._watch.wait_for(condition)


def gated(gate: threading.Event) -> LoadingOptions:
    """Return options by which models are warmed up only when the gate is open."""
    return LoadingOptions(jitter=False, warm_up=lambda loaded: gate.wait(10))


async def test_a_canary_in_the_file_keeps_nothing_from_being_served(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, server: Server, project: ServedProject, tmp_path: Path
) -> None:
    """A service starts from its file while the server is down although the generation has a Canary run."""
    await mlflow_api.canary_run(project.runs["b"], client=operator)
    await served_before(client, project, tmp_path)
    server.mode = "down"
    async with serving(client, project, tmp_path) as active:
        await becomes(active, lambda: active.status().generation == 2)

        assert active.status().source is Source.FILE
        assert active.choose("k").loaded.label == "a"


@pytest.mark.parametrize("first", ["file", "server"])
async def test_the_file_goes_on_serving_when_the_server_shows_no_rollout(
    client: AsyncMlflowClient, server: Server, server_uri: str, project: ServedProject, tmp_path: Path, first: str
) -> None:
    """Whichever is known first, what the file has is served, and the status says what the server shows."""
    await served_before(client, project, tmp_path)
    server.mode = "empty"
    gate = threading.Event()
    if first == "file":
        gate.set()
    async with (
        faulty_client(server_uri, server) as (later, _),
        serving(later, project, tmp_path, loading=gated(gate)) as active,
        anyio.create_task_group() as tasks,
    ):
        if first == "file":
            await becomes(active, lambda: active.status().generation == 1)
        tasks.start_soon(active.refresh)
        await becomes(active, lambda: active.status().seen == 0)
        gate.set()
        await becomes(active, lambda: active.status().generation == 1)
        status = await active.refresh()

        assert active.choose("k").loaded.label == "a"
        assert status.source is Source.FILE
        assert "no rollout" in (status.pending or "")


async def test_a_change_without_a_ledger_is_followed(
    operator: AsyncMlflowClient, server_uri: str, unique_name: str, tmp_path: Path
) -> None:
    """Statuses that the earlier framework wrote as metrics are served as they change."""
    made = await make_served_project(operator, unique_name)

    async def enable(label: str, status: float, share: float) -> None:
        await operator.log_metric(made.runs[label], "active_state", status)
        await operator.log_metric(made.runs[label], "test_fraction", share)

    await enable("a", 2.0, 1.0)
    async with AsyncMlflowClient(server_uri) as client:
        async with serving(client, made, tmp_path) as active:
            await active.refresh()
            before = active.choose("k").loaded.label
            await enable("a", 0.0, 0.0)
            await enable("b", 2.0, 1.0)
            await active.refresh()

            assert (before, active.choose("k").loaded.label) == ("a", "b")


async def test_a_cold_start_with_a_generation_that_cannot_be_loaded_serves_the_file(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """The newest generation fails, the file's serves without the run revoked since, and `pending` says why."""
    a, b = project.runs["a"], project.runs["b"]
    await mlflow_api.update_active_runs({a: 0.5, b: 0.5}, "1.0.0", project.experiment_id, client=operator)
    await served_before(client, project, tmp_path)
    broken = await save_object(operator, project.experiment_id, project.name, Unloadable())
    await mlflow_api.update_active_runs({broken: 1.0}, "1.0.0", project.experiment_id, client=operator)
    await mlflow_api.revoke_run(a, why="it leaks", client=operator)
    async with serving(client, project, tmp_path) as active:
        for _ in range(2):
            with pytest.raises(MlflowUtilitiesError, match="cannot be loaded"):
                await active.refresh()
            status = active.status()

            assert (status.generation, status.seen, status.source) == (2, 4, Source.FILE)
            assert "cannot be loaded" in (status.pending or "")
            assert set(status.fractions) == {b}


async def test_a_revocation_without_a_successor_outlasts_the_service(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, server: Server, project: ServedProject, tmp_path: Path
) -> None:
    """A service that starts from its file while MLflow is down leaves out a run whose revocation it saw before.

    Its file is as old afterwards as it was, so that `max_file_age` is not begun anew.
    """
    a, b = project.runs["a"], project.runs["b"]
    await mlflow_api.update_active_runs({a: 0.5, b: 0.5}, "1.0.0", project.experiment_id, client=operator)
    broken = await save_object(operator, project.experiment_id, project.name, Unloadable())
    async with serving(client, project, tmp_path) as active:
        await active.refresh()
        await mlflow_api.update_active_runs({broken: 0.5, b: 0.5}, "1.0.0", project.experiment_id, client=operator)
        await mlflow_api.revoke_run(a, why="it leaks", client=operator)
        with pytest.raises(MlflowUtilitiesError, match="cannot be loaded"):
            await active.refresh()
    (file,) = tmp_path.rglob("last-known-good/*.json")
    age = json.loads(file.read_text())["adopted_at"]
    clock_of(client).now += 60_000
    server.mode = "down"
    async with serving(client, project, tmp_path) as active:
        await becomes(active, lambda: active.status().source is Source.FILE)

        assert (active.status().generation, set(active.status().fractions)) == (2, {b})
        with pytest.raises(NoActiveModelError, match="revoked"):
            [active.choose(str(number)) for number in range(50)]
    assert json.loads(file.read_text())["adopted_at"] == age


async def test_the_file_serves_although_a_run_of_it_was_revoked_and_is_gone(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """A revoked run is not loaded, so that its missing files keep nothing from being served."""
    a, b = project.runs["a"], project.runs["b"]
    await mlflow_api.update_active_runs({a: 0.5, b: 0.5}, "1.0.0", project.experiment_id, client=operator)
    await served_before(client, project, tmp_path)
    broken = await save_object(operator, project.experiment_id, project.name, Unloadable())
    await mlflow_api.update_active_runs({broken: 1.0}, "1.0.0", project.experiment_id, client=operator)
    await mlflow_api.revoke_run(a, why="it leaks", client=operator)

    def refuse(loaded: Labelled) -> None:
        if loaded.label == "a":
            raise ValueError("it leaks")

    options = LoadingOptions(jitter=False, warm_up=refuse)
    async with serving(client, project, tmp_path, loading=options) as active:
        with pytest.raises(MlflowUtilitiesError, match="cannot be loaded"):
            await active.refresh()
        await becomes(active, lambda: active.status().generation == 2)

        assert set(active.status().fractions) == {b}


async def test_a_fallback_to_the_generation_before_never_asks_a_revoked_run(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """When the model fails and the one before it was revoked since, the caller gets the error."""
    a, b = project.runs["a"], project.runs["b"]

    def predict(loaded: Labelled, data: Any) -> Any:
        if loaded.label == "b":
            raise ValueError("b fails")
        return loaded.predict(data)

    async with serving(client, project, tmp_path, predict=predict, fallback="previous") as active:
        await active.refresh()
        await mlflow_api.enable_run(b, client=operator)
        await active.refresh()
        before = await active.predict(1, key="k")
        broken = await save_object(operator, project.experiment_id, project.name, Unloadable())
        await mlflow_api.enable_run(broken, client=operator)
        await mlflow_api.revoke_run(a, why="it leaks", client=operator)
        with pytest.raises(MlflowUtilitiesError, match="cannot be loaded"):
            await active.refresh()

        assert before.model.run_id == a
        with pytest.raises(ValueError, match="b fails"):
            await active.predict(1, key="k")


@pytest.mark.parametrize("what", ["refresh", "wait_ready"])
async def test_who_waits_while_the_service_ends_is_told(
    client: AsyncMlflowClient, project: ServedProject, tmp_path: Path, what: str
) -> None:
    """Neither refresh nor wait_ready wait for ever: they raise NotReadyError."""
    gate = threading.Event()
    met: list[BaseException] = []

    async def wait(active: ActiveModels) -> None:
        try:
            await (active.refresh() if what == "refresh" else active.wait_ready())
        except NotReadyError as error:
            met.append(error)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            try:
                async with serving(client, project, tmp_path, loading=gated(gate)) as active:
                    tasks.start_soon(wait, active)
                    if what == "refresh":
                        await becomes(active, lambda: active.status().seen == 1)
                    else:
                        await anyio.wait_all_tasks_blocked()
            finally:
                gate.set()

    assert len(met) == 1


async def test_refresh_waits_for_the_attempt_that_it_causes(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """A generation whose run was deleted serves when refresh returns, once the run was restored."""
    await operator.delete_run(project.runs["a"])
    async with serving(client, project, tmp_path) as active:
        with pytest.raises(MlflowUtilitiesError, match="is deleted"):
            await active.refresh()
        pending = active.status().pending
        await operator.restore_run(project.runs["a"])
        status = await active.refresh()

        assert "is deleted" in (pending or "")
        assert (status.generation, status.pending) == (1, None)


async def test_a_canary_never_takes_the_place_of_what_serves(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """Where memory is short, it is the canary that is not loaded, under either policy."""
    options = LoadingOptions(jitter=False, memory_budget=1, memory_factor=0.0001, policy="resource_preserving")
    async with serving(client, project, tmp_path, loading=options) as active:
        await active.refresh()
        await mlflow_api.canary_run(project.runs["b"], client=operator)
        for _ in range(2):
            status = await active.refresh()

            assert active.choose("k").loaded.label == "a"
            assert (status.generation, set(status.failures)) == (2, {project.runs["b"]})


async def test_a_gap_for_want_of_memory_ends_with_the_old_models_when_the_new_ones_fail(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """What was unloaded for a model that turned out not to load is loaded again."""
    broken = await save_object(operator, project.experiment_id, project.name, Unloadable())
    options = LoadingOptions(jitter=False, memory_budget=1, memory_factor=0.0001, policy="resource_preserving")
    async with serving(client, project, tmp_path, loading=options) as active:
        await active.refresh()
        await mlflow_api.enable_run(broken, client=operator)
        with pytest.raises(MlflowUtilitiesError, match="cannot be loaded"):
            await active.refresh()
        status = active.status()

        assert active.choose("k").loaded.label == "a"
        assert (status.generation, status.seen) == (1, 2)
        assert "cannot be loaded" in (status.pending or "")
        await mlflow_api.enable_run(project.runs["b"], client=operator)
        await active.refresh()
        assert active.choose("k").loaded.label == "b"


@pytest.mark.parametrize(
    "bootstrap",
    ["bad\0path", "no/such/file", {"format": 1}, {"model": object()}],
    ids=["no path", "missing", "incomplete", "not JSON"],
)
async def test_a_bootstrap_document_that_cannot_be_used_ends_nothing(
    client: AsyncMlflowClient, server: Server, project: ServedProject, tmp_path: Path, bootstrap: object
) -> None:
    """Requests are told why it is not used, and the service serves once MLflow answers."""
    server.mode = "down"
    async with serving(client, project, tmp_path, bootstrap=bootstrap) as active:
        with pytest.raises(MlflowUtilitiesError):
            await active.refresh()
        with anyio.fail_after(10):
            while "bootstrap document" not in (active.health().reason or ""):
                await anyio.lowlevel.checkpoint()
        with pytest.raises(NotReadyError, match="bootstrap document"):
            active.choose("k")
        server.mode = "up"
        await active.refresh()

        assert active.choose("k").loaded.label == "a"


async def test_a_prediction_that_outlives_its_service_is_not_counted_by_the_next(
    client: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """After the drain timeout the same object is entered again, and its count of requests in flight is right."""
    gate, begun = anyio.Event(), anyio.Event()

    async def predict(loaded: Labelled, data: Any) -> Any:
        begun.set()
        await gate.wait()
        return loaded.predict(data)

    active, done = serving(client, project, tmp_path, predict=predict, drain_timeout=1.0), anyio.Event()

    async def ask() -> None:
        await active.predict(1)
        done.set()

    async with anyio.create_task_group() as tasks:
        async with active:
            await active.refresh()
            tasks.start_soon(ask)
            await begun.wait()
            tasks.start_soon(clock_of(client).advance, 2)
        async with active:
            await active.refresh()
            gate.set()
            await done.wait()

            assert active.status().in_flight == 0
            assert (await active.predict(2)).output == ("a", 2)
            assert active.status().in_flight == 0


@pytest.mark.parametrize("when", ["before", "inside", "after"])
async def test_a_service_can_be_looked_at_whenever(
    client: AsyncMlflowClient, project: ServedProject, tmp_path: Path, when: str
) -> None:
    """Its status is JSON, health and repr say something, and what cannot be a key is refused."""
    active = serving(client, project, tmp_path)
    if when != "before":
        async with active:
            await active.refresh()
            if when == "inside":
                look_at(active, "READY")
                odd = [active.choose(key) for key in ("", "x" * 1_000_000, "\ud800")]
                assert {model.loaded.label for model in odd} == {"a"}
                for key in (7, b"k", 1.5, ["k"]):
                    with pytest.raises(InvalidInputError, match="key"):
                        active.choose(key)  # type: ignore[arg-type]
                    with pytest.raises(InvalidInputError, match="key"):
                        await active.predict(1, key=key)  # type: ignore[arg-type]
                assert active.status().in_flight == 0
                assert len({odd[0], odd[1]}) == 1
        if when == "after":
            look_at(active, "CLOSED")
    else:
        look_at(active, "INITIALIZING")
    if when != "inside":
        for ask in (active.refresh, active.wait_ready, lambda: active.predict(1)):
            with pytest.raises(NotReadyError, match="async with"):
                await ask()


def look_at(active: ActiveModels, state: str) -> None:
    """Check what a service says of itself."""
    shown = json.loads(json.dumps(active.status().as_dict()))
    assert shown["state"] == state == active.health().state
    assert active.health().ready == (state == "READY")
    assert state in repr(active)
    assert pickle.loads(pickle.dumps(active.status())).state == state


async def test_services_of_one_ledger_share_a_poller(
    server_uri: str, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """Two cost as many requests as one, and when the one that polls leaves, the other goes on."""
    clock, here, leave = SteppedClock(), anyio.Event(), anyio.Event()
    async with faulty_client(server_uri, clock=clock) as (client, transport), anyio.create_task_group() as tasks:
        first = serving(client, project, tmp_path)

        async def serve_first() -> None:
            async with first:
                await first.refresh()
                here.set()
                await leave.wait()

        tasks.start_soon(serve_first)
        await here.wait()
        async with serving(client, project, tmp_path, model_version="^1") as second:
            await second.refresh()
            transport.forget()
            await until(clock, lambda: bool(transport.requests))
            together = list(transport.lines)
            leave.set()
            await becomes(first, lambda: first.status().state == "CLOSED")
            await second.refresh()
            transport.forget()
            await until(clock, lambda: bool(transport.requests))

            assert together == transport.lines == ["GET runs/get"]
            await mlflow_api.enable_run(project.runs["b"], client=operator)
            await second.refresh()
            assert second.choose("k").run_id == project.runs["b"]


@pytest.mark.parametrize("damage", [b"", b"cut", b"\x80\x04garbage that is no pickle"], ids=["empty", "cut", "garbage"])
async def test_a_damaged_model_is_not_adopted_until_it_is_repaired(
    server_uri: str, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path, damage: bytes
) -> None:
    """The old one serves, `pending` says which run and why, it is downloaded twice at most, and later it serves."""
    clock, broken, downloads = SteppedClock(), False, 0

    def script(number: int, request: httpx.Request) -> httpx.Response | None:
        nonlocal downloads
        if broken and request.url.path.endswith("model.pkl"):
            downloads += 1
            return httpx.Response(200, content=damage)
        return None

    async with faulty_client(server_uri, script, clock=clock, max_retries=0) as (client, _):
        async with serving(client, project, tmp_path) as active:
            await active.refresh()
            broken = True
            await mlflow_api.enable_run(project.runs["b"], client=operator)
            for _ in range(3):
                with pytest.raises(MlflowUtilitiesError, match=project.runs["b"]):
                    await active.refresh()
            status = active.status()
            broken = False
            await until(clock, lambda: clock.monotonic() > 61)
            await active.refresh()

            assert (status.generation, status.seen, set(status.failures)) == (1, 2, {project.runs["b"]})
            assert project.runs["b"] in (status.pending or "")
            assert 1 <= downloads <= 2
            assert active.choose("k").loaded.label == "b"


async def test_the_generation_before_is_unloaded_when_its_time_is_over(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """It stays for the rollback window, then nothing of it is in memory."""
    options = LoadingOptions(jitter=False, rollback_window=600.0)
    async with serving(client, project, tmp_path, loading=options) as active:
        await active.refresh()
        alone = active.status().bytes_loaded
        await mlflow_api.enable_run(project.runs["b"], client=operator)
        within = await active.refresh()
        await until(clock_of(client), lambda: clock_of(client).monotonic() > 601)
        await active.refresh()
        with anyio.fail_after(10):
            while active.status().bytes_loaded > alone:
                await anyio.lowlevel.checkpoint()

        assert (within.previous, active.status().previous) == (1, None)
        assert within.bytes_loaded > alone


async def test_a_rollout_whose_last_run_is_revoked_answers_nobody(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """Requests get NoActiveModelError, the probe says it is not ready, and a new run is served as soon as it is one."""
    async with serving(client, project, tmp_path) as active:
        await active.refresh()
        await mlflow_api.revoke_run(project.runs["a"], why="it leaks", client=operator)
        await active.refresh()
        with pytest.raises(NoActiveModelError):
            active.choose("k")
        with pytest.raises(NoActiveModelError):
            await active.predict(1)
        health = active.health()
        await mlflow_api.enable_run(project.runs["b"], client=operator)
        await active.refresh()

        assert not health.ready
        assert "no Active run" in (health.reason or "")
        assert active.choose("k").loaded.label == "b"
