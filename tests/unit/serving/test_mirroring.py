"""Copies of requests for canaries: what reaches the hook, what is counted, what is let go."""

from __future__ import annotations

import weakref
from dataclasses import asdict
from threading import Event, current_thread
from typing import Any

import anyio
import pytest

from mlflow_utilities.serving.values import CanaryCounts, Prediction
from support.canaries import TIMEOUT, Recorder, Setup, Told, answer_of, function_model, happened, running
from support.clock import SteppedClock

pytestmark = pytest.mark.anyio

PRIMARY = function_model("primary", lambda data: [sum(data)])
CANARY = function_model("canary", lambda data: [max(data)])


def fail(data: Any) -> Any:
    """Be a model that cannot answer."""
    raise ValueError("no answer")


def exit_process(data: Any) -> Any:
    """Be a model that ends the process."""
    raise SystemExit(1)


def spoil(data: Any) -> Any:
    """Be a model that changes its input."""
    data.clear()
    return data


def settled(counts: CanaryCounts) -> int:
    """Return of how many copies it is known what became of them."""
    return sum(value for name, value in asdict(counts).items() if name not in {"offered", "hook_failed", "open"})


@pytest.mark.parametrize("kind", ["async", "sync", "sync that returns an awaitable"])
async def test_the_hook_gets_both_answers(kind: str) -> None:
    """on_canary gets the primary's prediction, the canary's, and the key; it may be async or not."""
    told = Told()

    async def tell(*args: Any) -> None:
        told(*args)

    hooks = {"sync": told, "async": tell, "sync that returns an awaitable": lambda *args: tell(*args)}
    setup = Setup(SteppedClock(), on_canary=hooks[kind])
    primary = answer_of(PRIMARY, [1.0, 2.0])

    async with running(setup.mirror):
        setup.mirror.offer([1.0, 2.0], "ana", primary, [CANARY])
        first, second, key = await told.once_more()

    assert (first, key) == (primary, "ana")
    assert (second.output, second.model) == ([2.0], CANARY)
    assert setup.mirror.counts == {"canary": CanaryCounts(offered=1, answered=1)}


async def test_an_async_predict_function_is_awaited() -> None:
    """An async predict function runs on the event loop, as it does for the primary."""
    setup = Setup(SteppedClock(), predict=predict_async)
    async with running(setup.mirror):
        setup.mirror.offer([1.0], None, answer_of(PRIMARY, [1.0]), [CANARY])
        await setup.recorder.seen("answered")

    assert setup.mirror.counts["canary"].answered == 1


@pytest.mark.parametrize("function", [fail, exit_process, spoil])
async def test_a_canary_cannot_change_what_the_caller_gets(function: Any) -> None:
    """Whether it fails, exits or changes its input: inputs and answers of 50 requests are the primary's own."""
    setup, canary = Setup(SteppedClock()), function_model("canary", function)

    async with running(setup.mirror):
        for number in range(50):
            data = [float(number), 1.0]
            primary = answer_of(PRIMARY, data)
            setup.mirror.offer(data, None, primary, [canary])
            await anyio.lowlevel.checkpoint()
            assert (data, primary.output) == ([float(number), 1.0], [number + 1.0])
        await setup.recorder.seen("answered" if function is spoil else "failed", 5)

    counts = setup.mirror.counts["canary"]
    assert counts.offered == settled(counts) == 50
    assert counts.failed >= 5 or function is spoil


async def test_the_caller_may_change_its_objects_afterwards() -> None:
    """What the caller does to input and output once it has them is not seen by the canary, nor by the hook."""
    setup = Setup(SteppedClock(), on_canary=(told := Told()))
    data = [1.0, 2.0]
    primary = answer_of(PRIMARY, data)

    async with running(setup.mirror):
        setup.mirror.offer(data, None, primary, [CANARY])
        data.append(9.0)
        primary.output.append(9.0)
        first, second, _ = await told.once_more()

    assert (first.output, second.output) == ([3.0], [2.0])


async def test_canaries_do_not_share_an_input() -> None:
    """Of two canaries of one request the second sees the input as it was, although the first changes it."""
    spoiler = function_model("spoiler", spoil)
    setup = Setup(SteppedClock(), on_canary=(told := Told()))

    async with running(setup.mirror):
        setup.mirror.offer([1.0, 2.0], None, answer_of(PRIMARY, [1.0, 2.0]), [spoiler, CANARY])
        await told.once_more()
        await told.once_more()

    assert [canary.output for _, canary, _ in told.calls] == [[], [2.0]]


async def test_canaries_have_threads_of_their_own() -> None:
    """A canary is computed in a thread that does not keep the process alive."""
    threads = []
    canary = function_model("canary", lambda data: threads.append(current_thread()))
    setup = Setup(SteppedClock())

    async with running(setup.mirror):
        setup.mirror.offer([1.0], None, answer_of(PRIMARY, [1.0]), [canary])
        await setup.recorder.seen("answered")

    assert [(thread.daemon, thread.name) for thread in threads] == [(True, "mlflow-utilities canary")]


def hook_that_raises(*_: object) -> None:
    """Raise."""
    raise ValueError("not comparable")


async def async_hook_that_raises(*_: object) -> None:
    """Raise, once awaited."""
    raise ValueError("not comparable")


async def hook_that_waits(*_: object) -> None:
    """Take for ever."""
    await anyio.sleep_forever()


async def hook_that_cancels_itself(*_: object) -> None:
    """Raise what a cancelled task raises, as awaiting somebody's cancelled task does; trio alone can make its own."""
    try:
        error = anyio.get_cancelled_exc_class()()
    except TypeError:
        error = ValueError("not on trio")
    raise error


@pytest.mark.parametrize("hook", [hook_that_raises, async_hook_that_raises, hook_that_waits, hook_that_cancels_itself])
async def test_a_failing_hook_is_counted(hook: Any) -> None:
    """That on_canary raises or takes too long is counted, and the next copy is treated like the first."""
    clock = SteppedClock()
    setup = Setup(clock, on_canary=hook)

    async with running(setup.mirror):
        for times in (1, 2):
            setup.mirror.offer([1.0], None, answer_of(PRIMARY, [1.0]), [CANARY])
            await setup.recorder.seen("answered", times)
            if hook is hook_that_waits:
                await clock.advance(TIMEOUT)
            await setup.recorder.seen("hook_failed", times)

    assert setup.mirror.counts == {"canary": CanaryCounts(offered=2, answered=2, hook_failed=2)}


async def test_the_oldest_copies_are_dropped() -> None:
    """When more copies wait than may, the oldest are dropped and counted; the newest are answered."""
    setup = Setup(SteppedClock(), queue_size=3, on_canary=(told := Told()))

    for number in range(10):
        setup.mirror.offer([1.0], str(number), answer_of(PRIMARY, [1.0]), [CANARY])
    assert setup.mirror.counts == {"canary": CanaryCounts(offered=10, dropped=7)}
    async with running(setup.mirror):
        for _ in range(3):
            await told.once_more()

    assert [key for _, _, key in told.calls] == ["7", "8", "9"]


async def test_a_copy_that_waited_too_long_is_dropped() -> None:
    """A copy waits for `timeout` seconds at most, so that it cannot keep models in memory."""
    clock = SteppedClock()
    setup = Setup(clock)
    setup.mirror.offer([1.0], None, answer_of(PRIMARY, [1.0]), [CANARY])

    await clock.advance(TIMEOUT)
    async with running(setup.mirror):
        await setup.recorder.seen("dropped")

    assert setup.mirror.counts == {"canary": CanaryCounts(offered=1, dropped=1)}


async def test_a_run_that_is_no_canary_any_more_is_skipped() -> None:
    """After `forget`, copies that wait for other runs are let go, and later ones are not taken."""
    setup = Setup(SteppedClock())
    other = function_model("other", lambda data: data)
    for _ in range(3):
        setup.mirror.offer([1.0], None, answer_of(PRIMARY, [1.0]), [CANARY, other])

    setup.mirror.forget({"other": other})
    assert setup.recorder.outcomes == {"skipped": 3}
    setup.mirror.offer([1.0], None, answer_of(PRIMARY, [1.0]), [CANARY, other])
    assert setup.mirror.counts == {"other": CanaryCounts(offered=4)}

    setup.mirror.forget(["canary", "other"])
    setup.mirror.offer([1.0], None, answer_of(PRIMARY, [1.0]), [CANARY])
    assert setup.mirror.counts == {"canary": CanaryCounts(offered=1), "other": CanaryCounts(offered=4)}


async def test_an_input_that_cannot_be_copied_is_skipped() -> None:
    """A request whose input cannot be copied is answered by the primary alone."""
    setup = Setup(SteppedClock())
    data = (number for number in [1.0])

    setup.mirror.offer(data, None, answer_of(PRIMARY, [1.0]), [CANARY])

    assert setup.mirror.counts == {"canary": CanaryCounts(offered=1, skipped=1)}
    assert list(data) == [1.0]


async def test_an_answer_that_cannot_be_copied_reaches_the_hook() -> None:
    """on_canary gets the very answer of the primary when that cannot be copied."""
    setup = Setup(SteppedClock(), on_canary=(told := Told()))
    stream = (number for number in [1.0])

    async with running(setup.mirror):
        setup.mirror.offer([1.0], None, Prediction(stream, PRIMARY, answer_of(PRIMARY, [1.0]).reason), [CANARY])
        first, _, _ = await told.once_more()

    assert first.output is stream


async def test_failures_in_a_row_pause_a_canary() -> None:
    """The breaker of one run opens; after its pause one copy is a trial, and its success closes it. Others go on."""
    clock = SteppedClock()
    setup = Setup(clock)
    broken = True
    canary = function_model("broken", lambda data: fail(data) if broken else data)

    def ask() -> None:
        setup.mirror.offer([1.0], None, answer_of(PRIMARY, [1.0]), [canary])

    async with running(setup.mirror):
        for times in range(1, 6):
            ask()
            await setup.recorder.seen("failed", times)
        assert setup.mirror.counts["broken"].open
        ask()
        assert setup.mirror.counts["broken"].skipped == 1
        setup.mirror.offer([1.0], None, answer_of(PRIMARY, [1.0]), [CANARY])
        await setup.recorder.seen("answered", 1)
        assert setup.mirror.counts["broken"] == CanaryCounts(offered=6, failed=5, skipped=1, open=True)
        assert not setup.mirror.counts["canary"].open

        await clock.advance(30.0)
        assert not setup.mirror.counts["broken"].open
        broken = False
        ask()
        await setup.recorder.seen("answered", 2)
        ask()
        await setup.recorder.seen("answered", 3)

    assert setup.mirror.counts["broken"] == CanaryCounts(offered=8, failed=5, skipped=1, answered=2)


async def test_copies_that_wait_when_the_breaker_opens_are_skipped() -> None:
    """The fifth failure stops those that wait already; after the pause only one of several is tried."""
    clock = SteppedClock()
    setup, canary = Setup(clock), function_model("canary", fail)

    def ask_ten_times() -> None:
        for _ in range(10):
            setup.mirror.offer([1.0], None, answer_of(PRIMARY, [1.0]), [canary])

    async with running(setup.mirror):
        ask_ten_times()
        await setup.recorder.seen("skipped", 5)
        assert setup.mirror.counts["canary"] == CanaryCounts(offered=10, failed=5, skipped=5, open=True)

        await clock.advance(30.0)
        ask_ten_times()
        await setup.recorder.seen("skipped", 14)

    assert setup.mirror.counts["canary"] == CanaryCounts(offered=20, failed=6, skipped=14, open=True)


async def test_copies_that_wait_are_dropped_at_the_end() -> None:
    """Cancelling `run` ends it at once; what waits or is being computed is dropped, and so is what follows."""
    release, entered = Event(), Event()
    canary = function_model("canary", lambda data: (entered.set(), release.wait()))
    setup = Setup(SteppedClock())

    try:
        async with running(setup.mirror):
            for _ in range(5):
                setup.mirror.offer([1.0], None, answer_of(PRIMARY, [1.0]), [canary])
            await happened(entered)
        setup.mirror.offer([1.0], None, answer_of(PRIMARY, [1.0]), [canary])
        assert setup.mirror.counts == {"canary": CanaryCounts(offered=6, dropped=6)}
    finally:
        release.set()


class Weights:
    """A model that can be watched."""

    def __init__(self, *, broken: bool) -> None:
        self.broken = broken

    def __call__(self, data: Any) -> Any:
        """Answer or fail."""
        return fail(data) if self.broken else data


async def predict_async(loaded: Any, data: Any) -> Any:
    """Answer on the event loop."""
    return loaded(data)


def predict_sync(loaded: Any, data: Any) -> Any:
    """Answer in a thread."""
    return loaded(data)


@pytest.mark.parametrize("predict", [predict_sync, predict_async])
@pytest.mark.parametrize("broken", [False, True])
async def test_an_idle_mirror_holds_no_models(broken: bool, predict: Any) -> None:
    """Once a copy is answered, or failed, neither the canary's model nor the primary's is kept in memory by it."""
    destroyed = [Event(), Event()]
    setup = Setup(SteppedClock(), predict=predict, on_canary=lambda *_: None)

    def offer() -> None:
        models = [Weights(broken=broken), Weights(broken=False)]
        for model, event in zip(models, destroyed, strict=True):
            weakref.finalize(model, event.set)
        canary, primary = function_model("canary", models[0]), function_model("primary", models[1])
        setup.mirror.offer([1.0], None, answer_of(primary, [1.0]), [canary])

    async with running(setup.mirror):
        offer()
        await setup.recorder.seen("failed" if broken else "answered")
        for event in destroyed:
            assert await anyio.to_thread.run_sync(event.wait, 20.0)


class BrokenTelemetry(Recorder):
    """Raises."""

    def canary(self, run_id: str, outcome: str) -> None:
        """Count, then raise."""
        super().canary(run_id, outcome)
        raise RuntimeError("no connection")


async def test_a_failing_telemetry_does_no_harm() -> None:
    """Copies are answered and counted although telemetry raises."""
    telemetry = BrokenTelemetry()
    setup = Setup(SteppedClock(), telemetry=telemetry)

    async with running(setup.mirror):
        for times in (1, 2):
            setup.mirror.offer([1.0], None, answer_of(PRIMARY, [1.0]), [CANARY])
            await telemetry.seen("answered", times)

    assert setup.mirror.counts == {"canary": CanaryCounts(offered=2, answered=2)}
