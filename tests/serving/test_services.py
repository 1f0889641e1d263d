"""The example services as processes, with a real server: operators change what serves while users ask."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest

from mlflow_utilities import AsyncMlflowClient, mlflow_api
from support.services import Service, running_service, save_models

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

KEYS = [f"user-{number}" for number in range(40)]


@pytest.fixture
def anyio_backend() -> str:
    """Run these once: what is tested is another process."""
    return "asyncio"


@pytest.fixture
async def operator(server_uri: str) -> AsyncIterator[AsyncMlflowClient]:
    """Give the client of an operator."""
    async with AsyncMlflowClient(server_uri) as client:
        yield client


@pytest.fixture
async def answers(operator: AsyncMlflowClient, unique_name: str) -> dict[str, float]:
    """Give two saved models, all New: what each run answers."""
    return await save_models(operator, unique_name, range(2))


async def runs_of(service: Service) -> dict[str, str]:
    """Return the run that answers each user, who asks twice."""
    twice = [{key: (await service.predict(key))["run_id"] for key in KEYS} for _ in range(2)]
    assert twice[0] == twice[1]
    return twice[0]


async def refused(service: Service) -> list[int]:
    """Return the statuses that bad requests get."""
    bodies = [b"{", b"{}", b'{"inputs": []}', b'{"inputs": [[1.0, 2.0]]}', b"[]"]
    return [(await service.http.post("/predict", content=body)).status_code for body in bodies]


async def test_the_examples_follow_the_operators(
    server_uri: str, operator: AsyncMlflowClient, answers: dict[str, float], unique_name: str, tmp_path: Path
) -> None:
    """Not ready, ready, split, rolled back: each user keeps a run, and every answer is of the run that it names."""
    first, second = answers
    names = ("serve_fastapi", "serve_starlette")
    async with AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(
                running_service(f"{name}:app", tmp_path / name, server_uri, unique_name, ALLOW_PIN="1")
            )
            for name in names
        ]
        for service in services:
            health = await service.http.get("/health")
            answer = await service.http.post("/predict", json={"inputs": [[3.0]]})
            assert (health.status_code, health.json()["state"]) == (503, "INITIALIZING")
            assert (answer.status_code, answer.json()["error"]) == (503, "NotReadyError")
            assert int(answer.headers["retry-after"]) >= 1

        await mlflow_api.enable_run(first, client=operator)
        for service in services:
            await service.until(lambda status: status["generation"] == 1)
            health = await service.http.get("/health")
            assert (health.status_code, health.json()) == (200, {"ready": True, "state": "READY", "reason": None})
            assert set((await runs_of(service)).values()) == {first}
            assert await refused(service) == [422] * 5

        split = {first: 0.5, second: 0.5}
        await mlflow_api.update_active_runs(split, "1.0.0", experiment_name=unique_name, client=operator)
        for service in services:
            await service.until(lambda status: status["generation"] == 2)
        found = [await runs_of(service) for service in services]
        pinned = [await service.predict("user-1", **{"x-pin-run": run}) for service in services for run in answers]
        by_chance = [await service.predict() for service in services for _ in range(20)]
        assert found[0] == found[1]
        assert set(found[0].values()) == set(answers)
        assert [answer["run_id"] for answer in pinned] == [first, second] * 2
        assert {answer["reason"] for answer in pinned} == {"pinned"}
        assert {answer["reason"] for answer in by_chance} == {"random"}
        assert all(answer["predictions"] == [answers[answer["run_id"]]] for answer in (*pinned, *by_chance))

        await mlflow_api.rollback(experiment_name=unique_name, client=operator)
        for service in services:
            await service.until(lambda status: status["generation"] == 3)
            assert set((await runs_of(service)).values()) == {first}
            answer = await service.predict("user-1")
            assert answer == {
                "predictions": [answers[first]],
                "run_id": first,
                "version": "1.0.0",
                "generation": 3,
                "reason": "bucket",
            }

        metrics = (await services[0].http.get("/metrics")).text
        assert 'mlflow_serving_generation{active_models="default"} 3.0' in metrics
        assert 'mlflow_serving_state{active_models="default",state="READY"} 1.0' in metrics
        assert f'run_id="{second}"' in metrics
        for service in services:
            service.process.send_signal(signal.SIGTERM)
            assert await service.ended() in (0, -signal.SIGTERM)
            assert "Application shutdown complete" in service.log.read_text()


async def test_a_service_that_is_told_to_end_finishes_what_it_computes(
    server_uri: str, operator: AsyncMlflowClient, answers: dict[str, float], unique_name: str, tmp_path: Path
) -> None:
    """SIGTERM during a slow prediction: new requests are refused, the old one is answered, then the process ends."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    first, second = answers
    await mlflow_api.enable_run(first, client=operator)
    async with running_service(
        "support.example_service:app", tmp_path / "service", server_uri, unique_name, GATE=str(gate)
    ) as service:
        await service.until(lambda status: status["generation"] == 1)
        got: list[dict[str, object]] = []

        async def ask() -> None:
            got.append(await service.predict("user-1", **{"x-pin-run": second}))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            opened = await anyio.to_thread.run_sync(gate.open, "wb")  # waits until the prediction reads
            service.process.send_signal(signal.SIGTERM)
            with anyio.fail_after(60):
                while await listens(service):
                    pass
            assert service.process.poll() is None
            opened.close()

        assert (got[0]["predictions"], got[0]["run_id"], got[0]["reason"]) == ([answers[first]], first, "bucket")
        assert await service.ended() in (0, -signal.SIGTERM)
        assert "Application shutdown complete" in service.log.read_text()


async def test_workers_that_are_forked_after_the_models_were_loaded_serve_on_their_own(
    server_uri: str, operator: AsyncMlflowClient, answers: dict[str, float], unique_name: str, tmp_path: Path
) -> None:
    """Under gunicorn's --preload both workers answer, and both follow the operator with clients of their own."""
    first, second = answers
    await mlflow_api.enable_run(first, client=operator)
    async with running_service(
        "support.example_service:app", tmp_path / "service", server_uri, unique_name, gunicorn=2, PRELOAD="1"
    ) as service:
        seen: set[tuple[int, str]] = set()
        for wanted in (first, second):
            await mlflow_api.enable_run(wanted, client=operator)
            with anyio.fail_after(60):
                while len({pid for pid, run in seen if run == wanted}) < 2:
                    seen.add(await ask_anyone(service))
        workers = {pid for pid, _ in seen}
        service.process.send_signal(signal.SIGTERM)
        code = await service.ended()

    assert len(workers) == 2
    assert service.process.pid not in workers
    assert code == 0


async def listens(service: Service) -> bool:
    """Return whether a new connection is accepted."""
    try:
        async with httpx.AsyncClient(base_url=service.http.base_url) as http:
            await http.get("/health")
    except httpx.ConnectError:
        return False
    except httpx.TransportError:  # accepted, and closed unread
        return True
    return True


async def ask_anyone(service: Service) -> tuple[int, str]:
    """Return which process answers on a new connection, and the run that it predicts with."""
    async with httpx.AsyncClient(base_url=service.http.base_url) as http:
        worker = Service(http, service.process, service.log)
        pid = (await http.get("/process")).json()["pid"]
        return pid, (await worker.predict("user-1"))["run_id"]
