"""What users of a service notice while an operator changes its rollout 100 times: python -m benchmarks.service.

A real MLflow server, the FastAPI example on uvicorn, an operator in a process of its own who has the service refresh
after each change, and a steady load: requests begin when they are due, whether or not earlier ones were answered, and
latency counts from then. Every answer is checked against the ledger.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import anyio
import httpx

sys.path.extend(str(Path(__file__).parents[1] / folder) for folder in ("examples", "tests"))
from local_server import run_server
from mlflow_utilities import AsyncMlflowClient, mlflow_api
from mlflow_utilities.rollout.document import Document
from serve_fastapi import create_app
from support.owners import documents_of, owner
from support.services import running_service, save_models

FLIPS = 100
PAUSE = 0.5
RATE = 220
USERS = 500
EXPERIMENT = "flips"
VERSION = "1.0.0"

app = create_app()


@app.post("/refresh")
async def refresh() -> int | None:
    """Ask MLflow now, and return the generation that serves."""
    return (await app.state.models.refresh()).generation


@dataclass(frozen=True, slots=True)
class Answer:
    """What a user got: `error` or a run, the generation that the answer names, and what the model predicted."""

    key: str
    seconds: float
    error: str | None = None
    run_id: str = ""
    generation: int = 0
    predicted: float = -1.0


class Load:
    """Asks for predictions at a steady rate."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.answers: list[Answer] = []
        self._http = http
        self._at_once = anyio.CapacityLimiter(32)  # the pool of httpx slows down under a crowd

    async def run(self, over: anyio.Event) -> None:
        """Begin a request whenever one is due until it is over, and wait for all answers."""
        begin, sent = time.perf_counter(), 0
        async with anyio.create_task_group() as requests:
            while not over.is_set():
                due = begin + sent / RATE
                await anyio.sleep(max(due - time.perf_counter(), 0))
                requests.start_soon(self._ask, f"user-{sent % USERS}", due)
                sent += 1

    async def _ask(self, key: str, due: float) -> None:
        async with self._at_once:
            self.answers.append(await self._answer(key, due))

    async def _answer(self, key: str, due: float) -> Answer:
        try:
            response = await self._http.post("/predict", json={"inputs": [[3.0]]}, headers={"x-user-id": key})
            seconds = time.perf_counter() - due
            if response.status_code != 200:
                return Answer(key, seconds, f"{response.status_code}: {response.text}")
            found = response.json()
            return Answer(key, seconds, None, found["run_id"], found["generation"], found["predictions"][0])
        except httpx.HTTPError as error:
            return Answer(key, time.perf_counter() - due, repr(error))


async def operate(mlflow: str, service: str) -> None:
    """Change the rollout 100 times, every tenth time by a rollback; the service takes each change up at once."""
    async with AsyncMlflowClient(mlflow) as client, httpx.AsyncClient(base_url=service, timeout=60) as http:
        runs = [run.run_id for run in await mlflow_api.list_runs(VERSION, experiment_name=EXPERIMENT, client=client)]
        for number in range(FLIPS):
            if number % 10 == 9:
                changed = await mlflow_api.rollback(experiment_name=EXPERIMENT, client=client)
            else:
                weights = {run: 0.01 + random.random() ** 3 for run in runs}
                changed = await mlflow_api.update_active_runs(
                    weights, VERSION, experiment_name=EXPERIMENT, client=client
                )
            served = (await http.post("/refresh")).json()
            assert served == changed.generation, f"generation {served} serves, not {changed.generation}"
            await anyio.sleep(PAUSE)


def check(answers: list[Answer], documents: Mapping[int, Document], predicts: Mapping[str, float]) -> dict[str, int]:
    """Return how many answers were errors, had a wrong label or a wrong owner, or moved a user without need."""
    good = [answer for answer in answers if answer.error is None]
    by_user: dict[str, list[Answer]] = defaultdict(list)
    for answer in sorted(good, key=lambda answer: answer.generation):
        by_user[answer.key].append(answer)
    owners = {(number, key): owner(documents[number], key) for number in documents for key in by_user}
    moved = [
        (before, after)
        for given in by_user.values()
        for before, after in pairwise(given)
        if before.run_id != after.run_id
    ]
    return {
        "errors": len(answers) - len(good),
        "mismatched labels": sum(predicts[answer.run_id] != answer.predicted for answer in good),
        "answers of a run that does not own the user's slot": sum(
            owners[answer.generation, answer.key] != answer.run_id for answer in good
        ),
        "moves": len(moved),
        "unnecessary moves": sum(
            owners[before.generation, before.key] == owners[after.generation, after.key] for before, after in moved
        ),
        "generations seen": len({answer.generation for answer in good}),
    }


async def measure(mlflow: str, folder: Path) -> None:
    """Set everything up, run load and operator at once, and print."""
    async with AsyncMlflowClient(mlflow) as client:
        predicts = await save_models(client, EXPERIMENT, range(3))
        await mlflow_api.update_active_runs(
            dict.fromkeys(predicts, 1.0), VERSION, experiment_name=EXPERIMENT, client=client
        )
        async with running_service("benchmarks.service:app", folder / "service", mlflow, EXPERIMENT) as service:
            await service.until(lambda status: status["generation"] == 1)
            load, over = Load(service.http), anyio.Event()
            begin = time.perf_counter()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(load.run, over)
                address = str(service.http.base_url)
                await anyio.run_process(
                    [sys.executable, "-m", "benchmarks.service", mlflow, address], stdout=None, stderr=None
                )
                over.set()
            seconds = time.perf_counter() - begin
        documents = await documents_of(client, EXPERIMENT)
    latencies = sorted(answer.seconds for answer in load.answers)
    cuts = statistics.quantiles(latencies, n=100)
    print("| what | how many |\n|---|---|")
    print(f"| flips | {FLIPS} in {seconds:.0f} s |")
    print(f"| requests | {len(latencies)}, {len(latencies) / seconds:.0f} a second |")
    for name, count in check(load.answers, documents, predicts).items():
        print(f"| {name} | {count} |")
    print(f"| latency p50, p99, highest | {cuts[49] * 1e3:.1f}, {cuts[98] * 1e3:.1f}, {latencies[-1] * 1e3:.1f} ms |")
    for error in {answer.error for answer in load.answers if answer.error}:
        print(error)


def main() -> None:
    """Be the operator if two addresses are given, else everything else."""
    if sys.argv[1:]:
        anyio.run(operate, *sys.argv[1:])
        return
    with tempfile.TemporaryDirectory() as folder, run_server(Path(folder)) as mlflow:
        anyio.run(measure, mlflow, Path(folder))


if __name__ == "__main__":
    main()
