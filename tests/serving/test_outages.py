"""A service while MLflow is down, failing, or refuses its credentials, and one that starts then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from mlflow_utilities import AsyncMlflowClient, LedgerMissingError, MlflowConnectionError, NotReadyError, mlflow_api
from mlflow_utilities.serving import ServingState, Source, last_known_good
from support.clock import SteppedClock
from support.serving import Reached, ServedProject, make_served_project, serving, until
from support.transports import Fault, faulty_client

pytestmark = pytest.mark.anyio

TEN_MINUTES = 600
# From 30 s the waits grow to 5 minutes at random: in ten minutes there is room for 6 polls, and one is repeated.
MOST_POLLS_OF_AN_OUTAGE = 7


@pytest.fixture
async def project(operator: AsyncMlflowClient, unique_name: str) -> ServedProject:
    """Give two runs of 1.0.0 with models that share the requests."""
    made = await make_served_project(operator, unique_name)
    weights = {made.runs["a"]: 0.5, made.runs["b"]: 0.5}
    await mlflow_api.update_active_runs(weights, "1.0.0", made.experiment_id, client=operator)
    return made


class Network:
    """A script of what the server does; `mode` says which of its faces it shows."""

    def __init__(self) -> None:
        self.mode = "up"
        self.token = "first"
        self.answers: dict[str, dict[str, Any]] = {}

    async def current_token(self) -> str:
        """Give the token; not from a thread, for which stepped time would not wait."""
        return self.token

    def __call__(self, number: int, request: httpx.Request) -> Fault | httpx.Response | None:
        """Answer without a socket, except while everything is up."""
        if self.mode == "up":
            return None
        if self.mode == "down" or (self.mode == "half" and number % 2):
            return Fault.REFUSE if self.mode == "down" else httpx.Response(500, json={"error_code": "INTERNAL_ERROR"})
        if self.mode == "rotated" and request.headers.get("authorization") != "Bearer second":
            return httpx.Response(401, text="You are not authenticated.")
        return httpx.Response(200, json=self.answers[request.url.path.rpartition("mlflow/")[2]])


async def test_ten_minutes_down_then_half_broken_then_a_rotated_token(
    server_uri: str, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """No prediction fails, requests are few, the state says what is wrong, and it recovers without a restart."""
    clock, network = SteppedClock(), Network()
    async with faulty_client(server_uri, network, clock=clock, token=network.current_token) as (client, transport):
        async with serving(client, project, tmp_path, start="none") as active:
            await active.refresh()
            transport.forget()
            await active.refresh()
            params = dict(transport.requests[0].url.params)
            control = {"experiment_name": f"mlflow-utilities/rollouts/{project.experiment_id}"}
            network.answers = {
                "runs/get": await operator.request("GET", "runs/get", params=params),
                "experiments/get-by-name": await operator.request("GET", "experiments/get-by-name", params=control),
            }
            first = {key: active.choose(key).run_id for key in map(str, range(50))}
            states: list[ServingState] = []
            counts: list[int] = []
            for mode in ("down", "half", "rotated", "new token"):
                network.mode = "rotated" if mode == "new token" else mode
                network.token = "second" if mode == "new token" else "first"
                transport.forget()
                for minute in range(TEN_MINUTES // 60):
                    await clock.advance(60)
                    answer = await active.predict(minute, key=str(minute))
                    assert answer.output == (project.label(answer.model.run_id), minute)
                states.append(active.status().state)
                counts.append(len(transport.requests))

            assert states == ["STALE", "READY", "ERROR", "READY"]
            assert 1 <= counts[0] <= MOST_POLLS_OF_AN_OUTAGE
            assert max(counts) <= 2 * TEN_MINUTES / 30
            assert {key: active.choose(key).run_id for key in first} == first


async def test_a_service_starts_from_its_file_while_the_server_is_down(
    server_uri: str, project: ServedProject, tmp_path: Path
) -> None:
    """It serves what it served last, with the same assignment; STALE once a poll failed, READY when it can ask."""
    async with faulty_client(server_uri, clock=SteppedClock()) as (client, _):
        async with serving(client, project, tmp_path, start="none") as before:
            await before.refresh()
            chosen = {key: before.choose(key).run_id for key in map(str, range(50))}
    clock, network, ready = SteppedClock(), Network(), Reached(lambda change: change.new.source is Source.SERVER)
    network.mode = "down"
    async with faulty_client(server_uri, network, clock=clock) as (client, transport):
        async with serving(client, project, tmp_path, start="cached", on_change=ready) as active:
            entered = active.status().state
            await until(clock, lambda: len(transport.requests) > 0)
            status = active.status()
            again = {key: active.choose(key).run_id for key in chosen}
            answer = await active.predict("x", key="1")
            sent = list(transport.requests)
            network.mode = "up"
            await until(clock, lambda: len(transport.requests) > len(sent))
            await ready.event.wait()

            assert (entered, status.state, status.source, status.generation) == ("READY", "STALE", Source.FILE, 1)
            assert active.health().ready
            assert again == chosen
            assert answer.output == (project.label(chosen["1"]), "x")
            assert active.status().source is Source.SERVER


async def test_a_service_that_never_served_becomes_ready_by_itself(
    server_uri: str, project: ServedProject, tmp_path: Path
) -> None:
    """Without a file, requests get NotReadyError with the cause, until the server answers."""
    clock, network, ready = SteppedClock(), Network(), Reached(lambda change: change.new.state == "READY")
    network.mode = "down"
    async with (
        faulty_client(server_uri, network, clock=clock) as (client, transport),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(clock.advance, 15)
        async with serving(client, project, tmp_path, start="cached", on_change=ready) as active:
            with pytest.raises(NotReadyError) as raised:
                active.choose("user-1")
            health = active.health()
            tasks.start_soon(clock.advance, 5)
            with pytest.raises(NotReadyError):
                await active.wait_ready(5)
            sent = len(transport.requests)
            network.mode = "up"
            await until(clock, lambda: len(transport.requests) > sent)
            await ready.event.wait()

            assert isinstance(raised.value.__cause__, MlflowConnectionError)
            assert (health.ready, health.state) == (False, "INITIALIZING")
            assert "refused" in (health.reason or "")
            assert (await active.predict("x", key="1")).model.generation == 1
            await active.wait_ready(1)


async def test_the_file_has_the_canaries_too(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """A canary that was loaded after its generation served is remembered with it, for a start without MLflow."""
    await mlflow_api.enable_run(project.runs["a"], client=operator)
    await mlflow_api.canary_run(project.runs["b"], client=operator)
    async with serving(client, project, tmp_path) as active:
        await active.refresh()

    (file,) = (tmp_path / "serving" / "last-known-good").glob("*.json")
    remembered = last_known_good.read(file, None)
    assert {model.raw["info"]["run_id"] for model in remembered.models} == set(project.runs.values())


async def test_a_ledger_that_cannot_be_found_is_an_error_and_what_serves_goes_on(
    server_uri: str, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """A service that starts from its file after the ledger was renamed says ERROR and why, until that is undone."""
    async with AsyncMlflowClient(server_uri, clock=SteppedClock()) as client:
        async with serving(client, project, tmp_path) as before:
            await before.refresh()
    name = f"mlflow-utilities/rollouts/{project.experiment_id}"
    control = await operator.get_experiment_by_name(name)
    assert control is not None
    await operator.rename_experiment(control.experiment_id, f"{name}-lost")
    lost = Reached(lambda change: change.new.state == "ERROR")
    async with AsyncMlflowClient(server_uri, clock=SteppedClock()) as client:
        async with serving(client, project, tmp_path, start="cached", on_change=lost) as active:
            with pytest.raises(LedgerMissingError):
                await active.refresh()
            await lost.event.wait()
            answer = await active.predict("x", key="1")
            health = active.health()
            await operator.rename_experiment(control.experiment_id, name)
            found = await active.refresh()

    assert answer.output == (project.label(answer.model.run_id), "x")
    assert (health.ready, health.state) == (True, "ERROR")
    assert "there is no ledger" in (health.reason or "")
    assert (found.generation, found.source) == (1, Source.SERVER)
