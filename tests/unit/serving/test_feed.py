"""Following a ledger: what polls cost, when they happen, who makes them, and how cancellation is survived."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from itertools import pairwise

import anyio
import httpx
import pytest
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from mlflow_utilities.errors import InvalidInputError, ServerError
from mlflow_utilities.serving.feed import Feed, Fetched, feed_of, locate
from mlflow_utilities.serving.values import PollError
from support.clock import SteppedClock
from support.ledger_server import LedgerServer, error

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def following(server: LedgerServer, interval: float = 30.0) -> AsyncGenerator[tuple[Feed, TaskGroup]]:
    """Give a feed that polls in the background, and the task group it does so in."""
    async with server.client() as client, anyio.create_task_group() as tasks:
        feed = Feed(client, server.ledger())
        with feed.subscribe(interval):
            tasks.start_soon(feed.drive)
            yield feed, tasks
            tasks.cancel_scope.cancel()


def generation(feed: Feed) -> int:
    """Return the generation that a feed has."""
    assert feed.latest is not None
    assert feed.latest.document is not None
    return feed.latest.document.generation


async def test_a_steady_poll_is_one_get() -> None:
    """First contact takes three requests, each later poll one GET of the run where the ledger ends."""
    server = LedgerServer(SteppedClock())
    async with following(server) as (feed, _):
        await server.clock.advance(2.0)
        assert server.lines == ["GET experiments/get-by-name", "GET runs/get", "GET runs/get"]
        server.requests.clear()
        await server.clock.advance(270.0)
        assert server.lines == ["GET runs/get"] * (feed.polls - 1)
        assert {sent.url.params["run_id"] for sent in server.requests} == {"ledger70"}
        assert 8 <= feed.polls <= 12


async def test_a_new_generation_is_seen_within_an_interval() -> None:
    """Each generation becomes `latest` with the next poll, and `wait` tells of every poll."""
    server = LedgerServer(SteppedClock())
    async with following(server) as (feed, _):
        await server.clock.advance(2.0)
        assert (generation(feed), await feed.wait(0)) == (1, 1)
        for number in (2, 3):
            server.commit(number)
            await server.clock.advance(35.0)
            assert generation(feed) == number
        assert feed.last_success is not None
        assert feed.latest is not None
        assert feed.latest.at == feed.last_success


async def test_waits_keep_to_the_interval_with_jitter() -> None:
    """After the first one, polls are 0.85 to 1.15 intervals apart, and never the same."""
    server = LedgerServer(SteppedClock())
    async with following(server, interval=100.0):
        await server.clock.advance(3000.0)
    moments = sorted(set(server.times))[1:]
    waits = [later - earlier for earlier, later in pairwise(moments)]
    assert all(85 <= wait <= 115 for wait in waits)
    assert len({round(wait, 3) for wait in waits}) == len(waits)


async def test_a_jump_of_the_wall_clock_changes_nothing() -> None:
    """With the wall clock a day ahead, a day behind, polls happen at the same moments."""
    moments: list[list[float]] = []
    for jump in (0, 86_400_000, -86_400_000):
        server = LedgerServer(SteppedClock())
        async with following(server) as (feed, _):
            await server.clock.advance(100.0)
            server.clock.now += jump
            await server.clock.advance(100.0)
            assert feed.last_error is None
        moments.append(server.times)
    assert moments[0] == moments[1] == moments[2]


async def test_the_documents_hint_sets_the_pace() -> None:
    """A document that asks for 300 seconds is followed every 300 seconds, whatever the service asked for."""
    server = LedgerServer(SteppedClock())
    server.commit(2, poll=300)
    async with following(server) as (feed, _):
        await server.clock.advance(302.0)
        server.requests.clear()
        await server.clock.advance(3000.0)
        assert 8 <= len(server.requests) <= 16
        assert feed.last_error is None


async def test_the_shortest_interval_of_the_subscribers_is_used() -> None:
    """Who asks for more polls gets them, at once and only as long as it is there."""
    server = LedgerServer(SteppedClock())
    async with following(server, interval=1000.0) as (feed, _):
        await server.clock.advance(1002.0)
        with feed.subscribe(10.0):
            before = feed.polls
            await server.clock.advance(100.0)
            assert 8 <= feed.polls - before <= 12
        await server.clock.advance(11.5)
        before = feed.polls
        await server.clock.advance(840.0)
        assert feed.polls - before <= 1
        with pytest.raises(InvalidInputError, match="interval is 0"), feed.subscribe(0):
            pass


async def test_a_refresh_joins_the_poll_under_way() -> None:
    """Two callers and the poller share one request, and get the same answer."""
    server = LedgerServer(SteppedClock())
    async with following(server) as (feed, _):
        await server.clock.advance(2.0)
        server.requests.clear()
        server.commit(2)
        answered = anyio.Event()

        async def slowly(request: httpx.Request) -> None:
            await answered.wait()

        server.fault = slowly
        results: list[Fetched] = []

        async def refresh() -> None:
            results.append(await feed.refresh())

        async with anyio.create_task_group() as callers:
            callers.start_soon(refresh)
            callers.start_soon(refresh)
            await server.clock.advance(0.0)
            callers.start_soon(refresh)
            await server.clock.advance(4.0)
            answered.set()
        assert len(server.requests) == 1
        assert [fetched.number for fetched in results] == [2, 2, 2]
        assert generation(feed) == 2
        await feed.refresh()
        assert len(server.requests) == 2


async def test_a_refresh_raises_what_the_poll_met() -> None:
    """All that share a failed poll get its error; what was known stays."""
    server = LedgerServer(SteppedClock())
    async with server.client() as client:
        feed = Feed(client, server.ledger())
        await feed.refresh()
        server.fault = lambda request: answer(error(500, "INTERNAL_ERROR"))
        failed: list[BaseException] = []

        async def refresh() -> None:
            try:
                await feed.refresh()
            except ServerError as caught:
                failed.append(caught)

        async with anyio.create_task_group() as callers:
            callers.start_soon(refresh)
            callers.start_soon(refresh)
        assert len(failed) == 2
        assert len(server.requests) == 4
        assert generation(feed) == 1
        assert feed.last_error is not None
        assert (feed.last_error.kind, feed.last_error.http_status) == ("server", 500)


async def answer(response: httpx.Response) -> httpx.Response:
    """Return it."""
    return response


async def test_one_driver_polls_and_another_takes_over() -> None:
    """Of several drivers one polls; when it is cancelled the next goes on with the same schedule."""
    server = LedgerServer(SteppedClock())
    async with server.client() as client, anyio.create_task_group() as tasks:
        feed = Feed(client, server.ledger())
        first = anyio.CancelScope()
        tasks.start_soon(drive_in, feed, first)
        tasks.start_soon(feed.drive)
        await server.clock.advance(2.0)
        assert feed.polls == 1
        planned = feed.next_poll
        first.cancel()
        await server.clock.advance(0.0)
        assert feed.next_poll == planned
        await server.clock.advance(90.0)
        assert feed.polls >= 3
        assert server.most_active == 1
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("joined", [False, True])
async def test_a_driver_may_be_cancelled_anywhere(joined: bool) -> None:
    """After each step of a poll a cancelled driver leaves a feed that the next one uses; a waiting refresh goes on."""
    ended: set[int] = set()
    for steps in range(60):
        server = LedgerServer(SteppedClock())
        async with server.client() as client, anyio.create_task_group() as tasks:
            feed = Feed(client, server.ledger(), delay=False)
            scope = anyio.CancelScope()
            tasks.start_soon(drive_in, feed, scope)
            await checkpoint()
            if joined:
                tasks.start_soon(feed.refresh)
            for _ in range(steps):
                await checkpoint()
            ended.add(feed.polls)
            scope.cancel()
            if not joined:
                tasks.start_soon(feed.drive)
            with anyio.fail_after(5):
                await feed.wait(0)
            assert generation(feed) == 1
            if joined:
                tasks.start_soon(feed.drive)
            await server.clock.advance(100.0)
            assert feed.polls >= 3
            assert feed.last_error is None
            assert server.most_active == 1
            tasks.cancel_scope.cancel()
    assert ended >= {0, 1}


async def drive_in(feed: Feed, scope: anyio.CancelScope) -> None:
    """Drive a feed until the scope is cancelled."""
    with scope:
        await feed.drive()


async def test_an_answer_that_comes_late_is_not_taken() -> None:
    """What became known while a poll waited for its answer stays, though the answer is older."""
    server = LedgerServer(SteppedClock())
    async with server.client() as client, anyio.create_task_group() as tasks:
        ledger = server.ledger()
        feed = Feed(client, ledger)
        await feed.refresh()
        older = dict(server.slots)
        answered = anyio.Event()

        async def late(request: httpx.Request) -> None:
            await answered.wait()

        server.fault = late
        tasks.start_soon(feed.refresh)
        await server.clock.advance(1.0)
        ledger.learn(server.commit(2))
        server.slots = older
        answered.set()
        await feed.wait(1)
        assert generation(feed) == 2


async def test_one_feed_serves_all_users_of_a_ledger() -> None:
    """A client has one feed for a ledger; clients made of it by with_options share it."""
    server = LedgerServer(SteppedClock())
    async with server.client() as client:
        feed = feed_of(client, server.ledger())
        assert feed_of(client.with_options(timeout=3), server.ledger()) is feed
        other = server.ledger()
        other.submodel = "another"
        assert feed_of(client, other) is not feed


async def test_locate_waits_for_an_experiment_that_does_not_exist_yet() -> None:
    """Each attempt that fails is reported, also to a handler that raises; the next one finds the experiment."""
    server = LedgerServer(SteppedClock())
    server.exists = False
    reports: list[PollError] = []
    found: list[str] = []

    def report(problem: PollError, error: Exception) -> None:
        reports.append(problem)
        raise RuntimeError("a handler of somebody else")

    async with server.client() as client, anyio.create_task_group() as tasks:

        async def find() -> None:
            ledger = await locate(client, None, "model", None, on_error=report, interval=30.0)
            found.append(ledger.experiment.experiment_id)
            assert (ledger.submodel, feed_of(client, ledger).next_poll) == ("model", None)

        tasks.start_soon(find)
        await server.clock.advance(0.0)
        assert server.requests == []
        await server.clock.advance(600.0)
        assert 2 <= len(reports) <= 6
        assert {(report.kind, report.http_status) for report in reports} == {("not found", None)}
        server.exists = True
        await server.clock.advance(300.0)
        assert found == ["7"]


async def test_locate_refuses_names_that_cannot_be() -> None:
    """What no server can mend is raised at once."""
    server = LedgerServer(SteppedClock())
    async with server.client() as client:
        for names, interval in (((None, None, None), 30.0), (("7", "", None), 30.0), (("7", None, None), -1.0)):
            with pytest.raises(InvalidInputError):
                await locate(client, *names, on_error=print, interval=interval)
    assert server.requests == []


async def test_locating_and_polling_share_one_start_window() -> None:
    """The first poll follows at once when finding the ledger was delayed already."""
    server = LedgerServer(SteppedClock())
    async with server.client() as client, anyio.create_task_group() as tasks:

        async def start() -> None:
            await feed_of(client, await locate(client, None, "model", None, on_error=print, interval=30.0)).drive()

        tasks.start_soon(start)
        await server.clock.advance(2.0)
        assert len(server.requests) == 4
        assert len(set(server.times)) == 1
        tasks.cancel_scope.cancel()
