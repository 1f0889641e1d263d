"""A hundred changes of a rollout while many tasks predict without a pause: nobody gets an error or a wrong label."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import cycle, pairwise
from pathlib import Path
from random import Random

import anyio
import pytest

from mlflow_utilities import AsyncMlflowClient, mlflow_api
from mlflow_utilities.serving import ActiveModels, LoadingOptions
from support.clock import SteppedClock
from support.owners import documents_of, owner
from support.serving import ServedProject, make_served_project

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

FLIPS = {"asyncio": 100, "trio": 20}
TASKS = 4
KEYS = [f"user-{number}" for number in range(200)]


@dataclass
class Users:
    """Tasks that ask for predictions without a pause, and what each was answered."""

    active: ActiveModels
    answers: list[list[tuple[str, str, str, int]]] = field(default_factory=lambda: [[] for _ in range(TASKS)])
    progress: anyio.Event = field(default_factory=anyio.Event)

    async def ask(self, task: int) -> None:
        """Ask for ever, for one user after the other."""
        for key in cycle(KEYS[task::TASKS]):
            answer = await self.active.predict([key], key)
            label, data = answer.output
            assert data == [key]
            self.answers[task].append((key, label, answer.model.run_id, answer.model.generation))
            self.progress.set()

    async def all_see(self, generation: int) -> None:
        """Wait until each task was answered by a generation."""
        while any(not answers or answers[-1][3] < generation for answers in self.answers):
            self.progress = anyio.Event()
            await self.progress.wait()


async def flip(operator: AsyncMlflowClient, project: ServedProject, number: int, chance: Random) -> int:
    """Change the rollout, every tenth time back to the one before; return the new generation."""
    names = {"experiment_id": project.experiment_id}
    if number % 10 == 9:
        return (await mlflow_api.rollback(**names, client=operator)).generation
    weights = {run: 0.01 + chance.random() ** 3 for run in project.runs.values()}
    return (await mlflow_api.update_active_runs(weights, "1.0.0", **names, client=operator)).generation


async def test_a_hundred_flips_under_load(
    server_uri: str, operator: AsyncMlflowClient, unique_name: str, tmp_path: Path, anyio_backend: str
) -> None:
    """Each answer is of the run it names, which owns the key's slot in the generation it names; time never runs back.

    A rollback to the first generation gives every key its first run again.
    """
    project = await make_served_project(operator, unique_name, ("a", "b", "c"))
    thirds = dict.fromkeys(project.runs.values(), 1.0)
    await mlflow_api.update_active_runs(thirds, "1.0.0", project.experiment_id, client=operator)
    chance, flips = Random(19), FLIPS[anyio_backend]
    async with (
        AsyncMlflowClient(server_uri, clock=SteppedClock()) as client,
        ActiveModels(
            client,
            experiment_name=unique_name,
            model_version="*",
            start="none",
            cache_dir=tmp_path,
            loading=LoadingOptions(jitter=False),
        ) as active,
    ):
        await active.refresh()
        users, first = Users(active), {key: active.choose(key).run_id for key in KEYS}
        async with anyio.create_task_group() as tasks:
            for task in range(TASKS):
                tasks.start_soon(users.ask, task)
            for number in range(flips):
                generation = await flip(operator, project, number, chance)
                await active.refresh()
                await users.all_see(generation)
            tasks.cancel_scope.cancel()
        await mlflow_api.rollback(experiment_id=project.experiment_id, to_generation=1, client=operator)
        await active.refresh()
        restored = {key: active.choose(key).run_id for key in KEYS}

    documents = await documents_of(operator, unique_name)
    owners = {number: {key: owner(document, key) for key in KEYS} for number, document in documents.items()}
    labels = {run: label for label, run in project.runs.items()}
    assert len(documents) == flips + 2
    assert restored == first == owners[1]
    for answers in users.answers:
        assert [(label, run) for key, label, run, number in answers] == [
            (labels[owners[number][key]], owners[number][key]) for key, _, _, number in answers
        ]
        numbers = [number for _, _, _, number in answers]
        assert all(before <= after for before, after in pairwise(numbers))
        assert set(numbers) >= set(documents) - {max(documents)}
