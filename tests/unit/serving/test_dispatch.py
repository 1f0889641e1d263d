"""Telling events to handlers that raise, hang, or call back: the service goes on, and what is lost is counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from threading import Event, Semaphore, Thread
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from mlflow_utilities.serving.dispatch import Dispatcher
from support.canaries import TIMEOUT, happened, running
from support.clock import SteppedClock

pytestmark = pytest.mark.anyio


class Handler:
    """Keeps the events it gets; `on` says what to do with one before that."""

    def __init__(self, on: Callable[[Any], None] = lambda event: None) -> None:
        self.events: list[Any] = []
        self.handled = Semaphore(0)
        self._on = on

    def __call__(self, event: Any) -> None:
        """Handle it."""
        try:
            self._on(event)
            self.events.append(event)
        finally:
            self.handled.release()

    async def ended(self, times: int) -> None:
        """Wait until so many more were handled."""
        for _ in range(times):
            await anyio.to_thread.run_sync(self.handled.acquire)


class AsyncHandler(Handler):
    """The same, to be awaited."""

    async def __call__(self, event: Any) -> None:  # type: ignore[override]
        """Handle it."""
        await anyio.lowlevel.checkpoint()
        super().__call__(event)


KINDS = pytest.mark.parametrize("kind", [Handler, AsyncHandler])


def dispatcher(handler: Callable[[Any], Any], clock: SteppedClock | None = None, limit: int = 100) -> Dispatcher[Any]:
    """Return a dispatcher that waits for `TIMEOUT` seconds."""
    return Dispatcher(handler, limit=limit, clock=clock or SteppedClock(), timeout=TIMEOUT)


def fail(event: Any) -> None:
    """Raise for odd numbers."""
    if event % 2:
        raise ValueError(f"cannot take {event}")


def leave(event: Any) -> None:
    """End the process for odd numbers."""
    if event % 2:
        raise SystemExit(1)


@KINDS
async def test_events_come_one_by_one_in_order(kind: type[Handler]) -> None:
    """Every event reaches the handler, in the order of the offers, whether it is async or not."""
    handler = kind()
    told = dispatcher(handler)

    async with running(told):
        assert all(told.offer(number) for number in range(50))
        await handler.ended(50)

    assert handler.events == list(range(50))
    assert (told.dropped, told.failed) == (0, 0)


@pytest.mark.parametrize(("kind", "on"), [(Handler, fail), (Handler, leave), (AsyncHandler, fail)])
async def test_a_handler_that_raises_gets_the_next_event(kind: type[Handler], on: Callable[[Any], None]) -> None:
    """Exceptions, and exits in a thread, are counted and logged, and the following events are handled."""
    handler = kind(on)
    told = dispatcher(handler)

    async with running(told):
        for number in range(9):
            told.offer(number)
        await handler.ended(9)

    assert handler.events == [0, 2, 4, 6, 8]
    assert told.failed == 4


@pytest.fixture
def release() -> Iterator[Event]:
    """Give an event that is set when the test is over."""
    event = Event()
    yield event
    event.set()


async def test_a_handler_that_blocks_drops_the_oldest_events(release: Event) -> None:
    """While a thread hangs the newest events are kept, and no second thread is started; the hang counts once."""
    clock, entered, before = SteppedClock(), Event(), set(threading.enumerate())
    handler = Handler(lambda event: (entered.set(), release.wait()) if event == 0 else None)
    told = dispatcher(handler, clock, limit=3)

    async with running(told):
        told.offer(0)
        await happened(entered)
        assert [told.offer(number) for number in range(1, 11)] == [True] * 3 + [False] * 7
        await clock.advance(TIMEOUT * 5)
        assert (told.dropped, told.failed) == (7, 1)
        assert len([t for t in set(threading.enumerate()) - before if t.name == "mlflow-utilities events"]) == 1

        release.set()
        await handler.ended(4)

    assert handler.events == [0, 8, 9, 10]
    assert told.failed == 1


async def test_a_handler_that_hangs_and_then_raises_failed_once(release: Event) -> None:
    """An event that took too long counts once, although its handler raises in the end."""
    clock = SteppedClock()

    def hang(event: int) -> None:
        if event == 0:
            release.wait()
            raise ValueError("too late")

    handler = Handler(hang)
    told = dispatcher(handler, clock)
    async with running(told):
        told.offer(0)
        told.offer(1)
        while not told.failed:
            await clock.advance(TIMEOUT)
        release.set()
        await handler.ended(2)

    assert handler.events == [1]
    assert told.failed == 1


async def test_an_async_handler_that_takes_too_long_is_cancelled() -> None:
    """It is cancelled after its time, which is counted, and gets the next event."""
    clock, events = SteppedClock(), []

    async def handler(event: int) -> None:
        if event == 0:
            await anyio.sleep_forever()
        events.append(event)

    told = dispatcher(handler, clock)
    async with running(told):
        told.offer(0)
        told.offer(1)
        while not events:
            await clock.advance(TIMEOUT)

    assert events == [1]
    assert told.failed == 1


@KINDS
async def test_a_handler_may_offer_events_itself(kind: type[Handler]) -> None:
    """A handler that causes further events gets them later; it never waits for itself."""
    handler = kind(lambda event: told.offer(event - 1) if event else None)
    told = dispatcher(handler)

    async with running(told):
        told.offer(3)
        await handler.ended(4)

    assert handler.events == [3, 2, 1, 0]


@KINDS
async def test_events_may_come_from_any_thread(kind: type[Handler]) -> None:
    """Several threads offer at once; nothing is lost, although the handler was idle."""
    handler = kind()
    told = dispatcher(handler, limit=1000)

    async with running(told):
        threads = [Thread(target=lambda: [told.offer(number) for number in range(100)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        await handler.ended(400)
        for thread in threads:
            thread.join()

    assert sorted(handler.events) == sorted([*range(100)] * 4)
    assert told.dropped == 0


@pytest.mark.parametrize(("blocks", "dropped"), [("thread", 4), ("task", 5)])
async def test_events_that_wait_are_dropped_at_the_end(blocks: str, dropped: int, release: Event) -> None:
    """`run` ends at once when it is cancelled, although a handler blocks; a thread may finish what it has."""
    entered = Event()

    async def wait(event: int) -> None:
        entered.set()
        await anyio.sleep_forever()

    told = dispatcher(wait if blocks == "task" else lambda event: (entered.set(), release.wait()))
    async with running(told):
        for number in range(5):
            told.offer(number)
        await happened(entered)

    assert told.dropped == dropped
    assert not told.offer(9)
    assert told.dropped == dropped + 1


async def test_draining_waits_for_the_handler(release: Event) -> None:
    """`drain` returns True when all events are handled, False when that takes too long."""
    clock, results = SteppedClock(), []
    handler = Handler(lambda event: release.wait())
    told = dispatcher(handler, clock)

    async def drain(seconds: float) -> None:
        results.append(await told.drain(seconds))

    async with running(told), anyio.create_task_group() as tasks:
        told.offer(1)
        tasks.start_soon(drain, 5.0)
        await clock.advance(5.0)
        assert results == [False]
        release.set()
        tasks.start_soon(drain, 1e6)
        while results == [False]:
            await clock.advance(1.0)

    assert results == [False, True]
    assert handler.events == [1]


async def test_a_function_that_returns_an_awaitable_is_refused() -> None:
    """A synchronous handler whose result must be awaited failed: its thread has no event loop."""
    handler, called = AsyncHandler(), Event()

    def indirect(event: Any) -> Any:
        called.set()
        return handler(event)

    told = dispatcher(indirect)
    async with running(told):
        told.offer(1)
        await happened(called)
        while not told.failed:
            await anyio.lowlevel.checkpoint()

    assert handler.events == []


async def test_it_may_run_again() -> None:
    """After its end a second `run` takes up new events, in one thread."""
    handler, before = Handler(), set(threading.enumerate())
    told = dispatcher(handler)
    for number in range(3):
        async with running(told):
            told.offer(number)
            await handler.ended(1)

    assert handler.events == [0, 1, 2]
    alive = [thread for thread in set(threading.enumerate()) - before if thread.name == "mlflow-utilities events"]
    for thread in alive:
        await anyio.to_thread.run_sync(thread.join)
