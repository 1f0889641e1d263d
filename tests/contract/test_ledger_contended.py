"""Operators that crash, lose answers and begin a ledger all at once, while readers poll; on every database."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
import httpx
import pytest

from mlflow_utilities import AsyncMlflowClient, RolloutConflictError, mlflow_api
from mlflow_utilities.rollout.experiments import ledger_of, resolve_experiment
from support.ledgers import control_of, is_killed
from support.runs import Project, make_project
from support.transports import Fault, Script, faulty_client

pytestmark = [pytest.mark.anyio, pytest.mark.contended]

OPERATORS = 4
CRASHES, LOST_ANSWERS = 0.06, 0.10
# Commits take a while: the larger number, of three ledger runs, is made on asyncio alone, for what is tested is the
# server's data.
CHANGES = [pytest.param("asyncio", 12, id="asyncio-12"), pytest.param("trio", 5, id="trio-5")]
CONTENDERS = 8


@pytest.fixture
async def maker(server_uri: str) -> AsyncGenerator[AsyncMlflowClient]:
    """Give a client that makes projects and looks at them."""
    async with AsyncMlflowClient(server_uri) as client:
        yield client


@dataclass
class Diary:
    """What operators were told, by the reason they gave, and what readers saw."""

    done: list[str] = field(default_factory=list[str])
    refused: list[str] = field(default_factory=list[str])
    crashed: list[str] = field(default_factory=list[str])
    lost_answers: int = 0
    totals: Counter[float] = field(default_factory=Counter[float])
    walks: list[list[int]] = field(default_factory=list[list[int]])


def misfortune(chance: random.Random, diary: Diary) -> Script:
    """Return a script that lets some of the requests that change something crash the operator or lose their answer."""

    def script(number: int, request: httpx.Request) -> Fault | None:
        if request.method == "GET" or request.url.path.endswith("/search"):
            return None
        drawn = chance.random()
        if drawn < CRASHES:
            return Fault.DIE_BEFORE if drawn < CRASHES / 2 else Fault.DIE_AFTER
        if drawn < CRASHES + LOST_ANSWERS:
            diary.lost_answers += 1
            return Fault.LOSE_ANSWER
        return None

    return script


async def operate(uri: str, project: Project, name: str, changes: int, diary: Diary) -> None:
    """Make changes; who loses tries again, who crashed starts again knowing nothing."""
    chance = random.Random(name)
    attempt = number = 0
    while number < changes:
        async with faulty_client(uri, misfortune(chance, diary)) as (client, _):
            alive = True
            while alive and number < changes:
                attempt += 1
                why = f"{name} {attempt}"
                weights = {run: chance.randint(1, 9) for run in project.runs}
                try:
                    rollout = await mlflow_api.update_active_runs(
                        weights, "1.0.0", project.experiment_id, client=client, why=why
                    )
                except RolloutConflictError:
                    diary.refused.append(why)
                except BaseException as error:
                    if not is_killed(error):
                        raise
                    diary.crashed.append(why)
                    alive = False
                else:
                    if rollout.written:
                        diary.done.append(why)
                        number += 1


async def list_all_the_while(uri: str, project: Project, diary: Diary) -> None:
    """List what is Active without pause."""
    async with AsyncMlflowClient(uri) as client:
        while True:
            live = await mlflow_api.list_runs(None, project.experiment_id, active_state="Active", client=client)
            diary.totals[round(sum(run.test_fraction for run in live), 6)] += 1


async def walk_all_the_while(uri: str, project: Project, diary: Diary) -> None:
    """Poll the ledger without pause, and every tenth time as one that knows nothing."""
    generations: list[int] = []
    diary.walks.append(generations)
    async with AsyncMlflowClient(uri) as client:
        while True:
            client.state.clear()
            ledger = ledger_of(client, await resolve_experiment(client, project.experiment_id, None), project.name)
            for _ in range(10):
                document = (await ledger.walk(client)).document
                assert document is not None
                assert document.live
                generations.append(document.generation)


@pytest.mark.parametrize(("anyio_backend", "changes"), CHANGES)
async def test_operators_that_crash_and_lose_answers(
    changes: int, server_uri: str, unique_name: str, maker: AsyncMlflowClient
) -> None:
    """Done is in the history once, refused never, crashed once at most; readers see whole rollouts, never an older."""
    project = await make_project(maker, unique_name, 3)
    await mlflow_api.enable_run(project.runs[0], client=maker, why="begin")
    diary = Diary()

    async with anyio.create_task_group() as readers:
        readers.start_soon(list_all_the_while, server_uri, project, diary)
        readers.start_soon(walk_all_the_while, server_uri, project, diary)
        async with anyio.create_task_group() as writers:
            for number in range(OPERATORS):
                writers.start_soon(operate, server_uri, project, f"operator {number}", changes, diary)
        readers.cancel_scope.cancel()

    history = await mlflow_api.rollout_history(experiment_id=project.experiment_id, client=maker)
    told = Counter(entry.why for entry in history)
    assert [entry.generation for entry in history] == list(range(1, len(history) + 1))
    assert [entry.problem for entry in history if entry.problem] == []
    assert max(told.values()) == 1
    assert len(diary.done) == OPERATORS * changes
    assert set(diary.done) <= set(told)
    assert set(diary.refused).isdisjoint(told)
    assert set(told) <= {"begin", *diary.done, *diary.crashed}
    assert len(diary.crashed) > 0 < diary.lost_answers
    assert set(diary.totals) == {1.0}
    assert diary.walks[0] == sorted(diary.walks[0])

    repairs = await mlflow_api.reconcile(experiment_id=project.experiment_id, client=maker)
    live = {run.run_id: run.test_fraction for run in history[-1].live}
    shown = {run: (await maker.get_run(run)).data.metrics["test_fraction"] for run in project.runs}
    assert repairs.warnings == []
    assert shown == {run: live.get(run, 0.0) for run in project.runs}


async def check_one_ledger(client: AsyncMlflowClient, project: Project) -> None:
    """See that all contenders made their change, in one ledger, and left no candidate."""
    history = await mlflow_api.rollout_history(experiment_id=project.experiment_id, client=client)
    assert [entry.generation for entry in history] == list(range(1, CONTENDERS + 1))
    assert {run.run_id for entry in history for run in entry.live} == set(project.runs)
    control = await control_of(client, project)
    index = await client.search_runs([control.experiment_id], "tags.`rollouts.role` = 'index'")
    assert [run.info.run_id for run in index] == [control.tags["rollouts.index"]]
    found = await client.search_experiments(filter_string=f"attribute.name LIKE '{control.name}%'")
    assert [experiment.name for experiment in found] == [control.name]


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_all_begin_at_once(server_uri: str, unique_name: str, maker: AsyncMlflowClient) -> None:
    """Eight clients commit the first change of an experiment: one control experiment, one index, all changes in it."""

    async def begin(run: str) -> None:
        async with AsyncMlflowClient(server_uri) as client:
            await mlflow_api.canary_run(run, client=client)

    for number in range(3):
        project = await make_project(maker, f"{unique_name}-{number}", CONTENDERS)
        async with anyio.create_task_group() as contenders:
            for run in project.runs:
                contenders.start_soon(begin, run)
        await check_one_ledger(maker, project)


PROCESS = """
import sys, anyio
from mlflow_utilities import AsyncMlflowClient, mlflow_api

async def main(uri, run):
    async with AsyncMlflowClient(uri) as client:
        print("ready", flush=True)
        sys.stdin.readline()
        await mlflow_api.canary_run(run, client=client)

anyio.run(main, *sys.argv[1:])
"""


def race(uri: str, runs: tuple[str, ...]) -> list[tuple[int, str]]:
    """Let one process for each run begin at the same moment; return how each ended, and what it complained of."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, uri, run],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for run in runs
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=60)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_processes_begin_at_once(server_uri: str, unique_name: str, maker: AsyncMlflowClient) -> None:
    """Eight processes of the operating system do it likewise."""
    project = await make_project(maker, unique_name, CONTENDERS)

    ended = await anyio.to_thread.run_sync(race, server_uri, project.runs)

    assert ended == [(0, "")] * CONTENDERS
    await check_one_ledger(maker, project)
