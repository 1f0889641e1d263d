"""What a service tells: changes, exposures, canaries, telemetry; and what testers and fallbacks change."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from mlflow_utilities import AsyncMlflowClient, InvalidInputError, NoActiveModelError, NotReadyError, mlflow_api
from mlflow_utilities.serving import ActiveModels, CanaryOptions, Change, Exposure, Prediction, Reason
from support.serving import QUICK, ServedProject, Unloadable, save_object, serving

pytestmark = pytest.mark.anyio


class Heard:
    """An async listener that keeps what it was told and lets a test wait for so many."""

    def __init__(self, number: int) -> None:
        self.told: list[Any] = []
        self.event = anyio.Event()
        self._number = number

    async def __call__(self, *event: Any) -> None:
        """Keep an event."""
        self.told.append(event[0] if len(event) == 1 else event)
        if len(self.told) == self._number:
            self.event.set()


async def test_listeners_get_the_status_before_and_after(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """A new generation is told with both statuses; nothing is told when nothing changed."""
    heard = Heard(2)
    async with serving(client, project, tmp_path, on_change=heard) as active:
        await active.refresh()
        await active.refresh()
        await mlflow_api.enable_run(project.runs["b"], client=operator)
        await active.refresh()
        with anyio.fail_after(10):
            while not any(change.new.generation == 2 for change in heard.told):
                await heard.event.wait()
                heard.event = anyio.Event()
                heard._number = len(heard.told) + 1
        changes: list[Change] = heard.told

        served = [(change.old.generation, change.new.generation) for change in changes]
        assert (None, 1) in served
        assert (1, 2) in served
        assert all(change.old != change.new for change in changes)


async def test_an_exposure_is_told_once_for_each_key_and_run(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """Repetitions and requests without a key are not told; a pinned one says so; a new run is told again."""
    heard = Heard(3)
    async with serving(client, project, tmp_path, on_exposure=heard) as active:
        await active.refresh()
        for _ in range(3):
            await active.predict("x", key="ana")
        active.choose("ana")
        active.choose()
        with active.pin(run_id=project.runs["a"]):
            active.choose("ana")
        await mlflow_api.enable_run(project.runs["b"], client=operator)
        await active.refresh()
        async with active.lease("ana"):
            pass
        with anyio.fail_after(10):
            await heard.event.wait()

        told: list[Exposure] = heard.told
        assert [(item.key, project.label(item.run_id), item.reason, item.generation) for item in told] == [
            ("ana", "a", Reason.BUCKET, 1),
            ("ana", "a", Reason.PINNED, 1),
            ("ana", "b", Reason.BUCKET, 2),
        ]
        assert (told[0].experiment_id, told[0].submodel_name) == (project.experiment_id, project.name)
        assert told[1].slot is None
        assert told[0].slot == told[2].slot


async def test_a_pin_holds_in_its_block_and_its_service_only(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """A tester gets a canary by its run; outside the block, and in other services, nothing changes."""
    await mlflow_api.canary_run(project.runs["b"], client=operator)
    async with serving(client, project, tmp_path) as active, serving(client, project, tmp_path) as other:
        await active.refresh()
        await other.refresh()
        with active.pin(project.runs["b"]):
            answer = await active.predict("x", key="ana")
            others = other.choose("ana")
        with active.pin(version="9.9.9"), pytest.raises(NoActiveModelError, match=r"9\.9\.9"):
            active.choose("ana")
        with pytest.raises(InvalidInputError):
            active.pin()

        assert (answer.output[0], answer.reason) == ("b", Reason.PINNED)
        assert others.loaded.label == "a"
        assert active.choose("ana").loaded.label == "a"


async def test_canaries_get_copies_and_the_answers_are_compared(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """`on_canary` gets both predictions and the key; the caller gets the primary's, and counts tell the rest."""
    await mlflow_api.canary_run(project.runs["b"], client=operator)
    heard = Heard(3)
    async with serving(client, project, tmp_path, on_canary=heard) as active:
        await active.refresh()
        answers = [await active.predict([number], key=f"user-{number}") for number in range(3)]
        with anyio.fail_after(10):
            await heard.event.wait()

        told: list[tuple[Prediction[Any], Prediction[Any], str]] = heard.told
        assert [answer.output for answer in answers] == [("a", [0]), ("a", [1]), ("a", [2])]
        assert [(primary.output, canary.output, key) for primary, canary, key in told] == [
            (("a", [number]), ("b", [number]), f"user-{number}") for number in range(3)
        ]
        counts = active.status().canaries[project.runs["b"]]
        assert (counts.offered, counts.failed, counts.dropped) == (3, 0, 0)
        assert active.choose("user-1").loaded.label == "a"


async def test_a_canary_that_cannot_be_loaded_keeps_nothing_from_being_served(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """The generation serves without it, and the status has the reason."""
    broken = await save_object(operator, project.experiment_id, project.name, Unloadable())
    await mlflow_api.canary_run(broken, client=operator)
    async with serving(client, project, tmp_path) as active:
        status = await active.refresh()

        assert (status.generation, status.state, status.pending) == (2, "READY", None)
        assert set(status.failures) == {broken}
        assert (await active.predict("x", key="ana")).output == ("a", "x")


async def test_a_canary_that_hangs_or_raises_does_not_touch_the_caller(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """Every request is answered by the primary while the canary hangs; copies beyond the queue are dropped."""
    await mlflow_api.canary_run(project.runs["b"], client=operator)
    release = threading.Event()

    def predict(loaded: Any, data: Any) -> Any:
        if loaded.label == "b":
            release.wait()
        return loaded.predict(data)

    options = {"predict": predict, "canary": CanaryOptions(queue_size=5)}
    async with serving(client, project, tmp_path, **options) as active:
        await active.refresh()
        try:
            answers = [(await active.predict(number, key="ana")).output for number in range(50)]
            counts = active.status().canaries[project.runs["b"]]
        finally:
            release.set()

        assert answers == [("a", number) for number in range(50)]
        assert counts.offered == 50
        assert counts.dropped >= 40


async def test_what_happens_when_a_prediction_fails_is_chosen_by_the_service(
    client: AsyncMlflowClient, operator: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """By default the model's own error is raised; the generation before, or a function, may answer instead."""

    def predict(loaded: Any, data: Any) -> Any:
        if loaded.label == "b":
            raise ArithmeticError("b cannot")
        return loaded.predict(data)

    async def answer(error: Exception, data: Any, key: str | None) -> Any:
        return str(error), data, key

    heard = Heard(1)
    services = [
        serving(client, project, tmp_path / str(number), predict=predict, fallback=fallback, on_exposure=heard)
        for number, fallback in enumerate((None, "previous", answer))
    ]
    async with services[0] as plain, services[1] as previous, services[2] as computed:
        for service in services:
            await service.refresh()
        await mlflow_api.enable_run(project.runs["b"], client=operator)
        for service in services:
            await service.refresh()
        with pytest.raises(ArithmeticError, match="b cannot"):
            await plain.predict("x", key="ana")
        before = await previous.predict("x", key="ana")
        instead = await computed.predict("x", key="ana")

        assert (before.output, before.reason, before.model.run_id) == (("a", "x"), Reason.FALLBACK, project.runs["a"])
        assert (instead.output, instead.reason) == (("b cannot", "x", "ana"), Reason.FALLBACK)
        assert heard.told == []


async def test_an_async_predict_function_runs_on_the_event_loop(
    client: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """It is awaited by the caller's own task; a sync one runs in a worker thread."""
    threads: list[int] = []

    async def on_loop(loaded: Any, data: Any) -> Any:
        threads.append(threading.get_ident())
        return loaded.predict(data)

    def in_thread(loaded: Any, data: Any) -> Any:
        threads.append(threading.get_ident())
        return loaded.predict(data)

    for function in (on_loop, in_thread):
        async with serving(client, project, tmp_path, predict=function) as active:
            await active.refresh()
            assert (await active.predict("x")).output == ("a", "x")

    assert threads[0] == threading.get_ident() != threads[1]


async def test_leaving_waits_for_predictions_that_are_under_way(
    client: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """They finish with their answer; new ones are refused meanwhile."""
    started, release = threading.Event(), threading.Event()
    outputs: list[Any] = []

    def predict(loaded: Any, data: Any) -> Any:
        started.set()
        release.wait()
        return loaded.predict(data)

    async def request(active: ActiveModels) -> None:
        outputs.append((await active.predict("x", key="ana")).output)

    async def let_go(active: ActiveModels) -> None:
        await anyio.to_thread.run_sync(started.wait)
        while active.health().ready:
            await anyio.lowlevel.checkpoint()
        outputs.append((active.status().in_flight, active.status().state))
        with pytest.raises(NotReadyError):
            active.choose("ana")
        release.set()

    async with anyio.create_task_group() as tasks:
        async with serving(client, project, tmp_path, predict=predict) as active:
            await active.refresh()
            tasks.start_soon(request, active)
            tasks.start_soon(let_go, active)
            await anyio.to_thread.run_sync(started.wait)

    assert outputs == [(1, "CLOSED"), ("a", "x")]
    assert active.status().state == "CLOSED"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"refresh_interval": 1.0}, "refresh_interval"),
        ({"refresh_interval": float("nan")}, "refresh_interval"),
        ({"start": "lukewarm"}, "start"),
        ({"start_timeout": 0}, "start_timeout"),
        ({"cache_dir": 7}, "cache_dir"),
        ({"model_version": None}, "model_version"),
        ({"model_version": "^^1"}, "range"),
        ({"canary_version": "?"}, "range"),
        ({"fallback": "first"}, "fallback"),
        ({"max_file_age": -1}, "max_file_age"),
        ({"submodel_name": ""}, "submodel_name"),
        ({"telemetry": 3}, "telemetry"),
        ({"loading": {}}, "loading"),
        ({"canary": {}}, "canary"),
        ({"on_change": 1}, "on_change"),
        ({"on_change": [print, 1]}, "on_change"),
        ({"on_exposure": "log"}, "on_exposure"),
        ({"on_canary": "log"}, "on_canary"),
        ({"predict": "predict_proba"}, "predict"),
        ({"max_threads": 0}, "max_threads"),
        ({"share_polling": "yes"}, "share_polling"),
    ],
)
def test_arguments_that_cannot_be_are_refused_at_once(options: dict[str, Any], words: str) -> None:
    """The error names the argument, before anything is sent."""
    with pytest.raises(InvalidInputError, match=words):
        ActiveModels(**({"experiment_name": "fraud", "model_version": "*"} | options))


def test_clients_and_names_that_cannot_be_are_refused_at_once() -> None:
    """So is a client that is none, and an experiment that is not named."""
    with pytest.raises(InvalidInputError, match="client is a str"):
        ActiveModels("http://localhost", experiment_name="x", model_version="*")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="no experiment"):
        ActiveModels(model_version="*", loading=QUICK)


async def test_the_log_says_what_serves_and_warns_when_nothing_does(
    client: AsyncMlflowClient,
    operator: AsyncMlflowClient,
    project: ServedProject,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line for each generation that serves; a warning, and a reason in the status, when no run is Active."""
    caplog.set_level("INFO", logger="mlflow_utilities.serving")
    a, b = project.runs["a"], project.runs["b"]
    async with serving(client, project, tmp_path) as active:
        await active.refresh()
        await mlflow_api.update_active_runs({a: 0.75, b: 0.25}, "1.0.0", project.experiment_id, client=operator)
        await active.refresh()
        await active.refresh()
        for run in (a, b):
            await mlflow_api.revoke_run(run, why="it leaks", client=operator)
        await active.refresh()
        health = active.health()

    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    served = [text for level, text in told if level == "INFO" and "serves generation" in text]
    assert [text.partition(" (")[0] for text in served] == [f"{project.name} serves generation {n}" for n in (1, 2)]
    assert f"{a} 75%" in served[1]
    assert f"{b} 25%" in served[1]
    (warning,) = [text for level, text in told if level == "WARNING"]
    assert warning.startswith(f"{project.name} has no model to answer with: generation ")
    assert (health.ready, health.state) == (False, "INITIALIZING")
    assert "no Active run" in (health.reason or "")
