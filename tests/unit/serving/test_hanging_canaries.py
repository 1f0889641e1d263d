"""Canaries that never answer: they cost a thread, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from threading import Event, Semaphore
from typing import Any

import anyio
import anyio.to_thread
import pytest

from mlflow_utilities.serving.values import CanaryCounts
from support.canaries import TIMEOUT, Setup, Told, answer_of, function_model, happened, running
from support.clock import SteppedClock

pytestmark = pytest.mark.anyio

PRIMARY = function_model("primary", lambda data: [sum(data)])


class Hanging:
    """A model that says when it was asked and answers when it may."""

    def __init__(self) -> None:
        self.asked = Semaphore(0)
        self.release = Event()

    def __call__(self, data: Any) -> Any:
        """Hang."""
        self.asked.release()
        self.release.wait()
        return data

    async def begun(self) -> None:
        """Wait until it was asked once more."""
        await anyio.to_thread.run_sync(self.asked.acquire)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """Give a model that hangs until the test is over."""
    model = Hanging()
    yield model
    model.release.set()


def offer(setup: Setup, function: Any, run_id: str = "canary") -> None:
    """Offer a request to one canary."""
    setup.mirror.offer([1.0], None, answer_of(PRIMARY, [1.0]), [function_model(run_id, function)])


async def test_a_hanging_canary_times_out_and_is_not_replaced(hanging: Hanging) -> None:
    """Two threads hang: all that waits and comes is dropped, no third thread is started, the primary is unharmed."""
    clock, before = SteppedClock(), set(threading.enumerate())
    setup = Setup(clock, concurrency=2)

    async with running(setup.mirror):
        for _ in range(5):
            offer(setup, hanging)
        await hanging.begun()
        await hanging.begun()
        await clock.advance(TIMEOUT - 0.1)
        assert setup.mirror.counts["canary"].timed_out == 0
        await clock.advance(0.1)
        assert setup.mirror.counts["canary"] == CanaryCounts(offered=5, timed_out=2, dropped=3)

        for number in range(50):
            data = [float(number), 1.0]
            primary = answer_of(PRIMARY, data)
            setup.mirror.offer(data, None, primary, [function_model("canary", hanging)])
            assert primary.output == [number + 1.0]
        await anyio.wait_all_tasks_blocked()

        assert setup.mirror.counts["canary"] == CanaryCounts(offered=55, timed_out=2, dropped=53)
        started = [t for t in set(threading.enumerate()) - before if t.name == "mlflow-utilities canary"]
        assert len(started) == 2


async def test_one_hanging_thread_leaves_the_others(hanging: Hanging) -> None:
    """While one of two threads hangs, the other one answers."""
    clock = SteppedClock()
    setup = Setup(clock, concurrency=2)

    async with running(setup.mirror):
        offer(setup, hanging)
        await hanging.begun()
        await clock.advance(TIMEOUT)
        for times in (1, 2, 3):
            offer(setup, lambda data: data, "other")
            await setup.recorder.seen("answered", times)

    assert setup.mirror.counts["canary"] == CanaryCounts(offered=1, timed_out=1)
    assert setup.mirror.counts["other"] == CanaryCounts(offered=3, answered=3)


async def test_a_thread_that_comes_back_goes_on(hanging: Hanging) -> None:
    """When the call that hung ends at last, its answer is not used, and the thread takes the next copy."""
    clock, told = SteppedClock(), Told()
    setup = Setup(clock, on_canary=told)

    async with running(setup.mirror):
        offer(setup, hanging)
        await hanging.begun()
        await clock.advance(TIMEOUT)
        offer(setup, hanging)
        assert setup.mirror.counts["canary"] == CanaryCounts(offered=2, timed_out=1, dropped=1)
        hanging.release.set()
        while not told.calls:
            offer(setup, lambda data: data, "other")
            await anyio.lowlevel.checkpoint()

    assert setup.mirror.counts["canary"].answered == 0
    assert {canary.model.run_id for _, canary, _ in told.calls} == {"other"}


async def test_a_hanging_hook_is_treated_like_a_hanging_canary() -> None:
    """A synchronous on_canary that never ends holds its thread: it is counted, and what comes then is dropped."""
    clock, entered, release = SteppedClock(), Event(), Event()
    setup = Setup(clock, on_canary=lambda *_: (entered.set(), release.wait()))

    try:
        async with running(setup.mirror):
            offer(setup, lambda data: data)
            await happened(entered)
            offer(setup, lambda data: data)
            await clock.advance(TIMEOUT)
            offer(setup, lambda data: data)
            assert setup.mirror.counts["canary"] == CanaryCounts(offered=3, answered=1, hook_failed=1, dropped=2)
    finally:
        release.set()


async def test_an_error_about_time_is_a_failure() -> None:
    """A canary that raises TimeoutError failed: it did not hang."""
    setup = Setup(SteppedClock())

    def model(data: Any) -> Any:
        raise TimeoutError("its database")

    async with running(setup.mirror):
        offer(setup, model)
        await setup.recorder.seen("failed")

    assert setup.mirror.counts["canary"] == CanaryCounts(offered=1, failed=1)


SCRIPT = """
import sys, threading
import anyio
from mlflow_utilities._clock import SystemClock
from support.canaries import Setup, answer_of, function_model, happened, running

async def main():
    entered = threading.Event()
    canary = function_model("canary", lambda data: (entered.set(), threading.Event().wait()))
    setup = Setup(SystemClock())
    async with running(setup.mirror):
        primary = function_model("primary", sum)
        setup.mirror.offer([1.0], None, answer_of(primary, [1.0]), [canary])
        await happened(entered)

anyio.run(main, backend=sys.argv[1])
print("over")
"""


async def test_a_process_ends_although_a_canary_hangs(anyio_backend_name: str) -> None:
    """A canary that hangs for ever keeps neither `run` nor the process from ending."""
    command = [sys.executable, "-c", SCRIPT, anyio_backend_name]
    ended = await anyio.run_process(command, env={"PYTHONPATH": ":".join(sys.path)}, stderr=subprocess.STDOUT)

    assert ended.stdout == b"over\n"
