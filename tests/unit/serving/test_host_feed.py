"""Processes of one host that share their polls, played by feeds of one process with clients of their own."""

from __future__ import annotations

import contextlib
import logging
import stat
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from mlflow_utilities.models.locks import try_lock
from mlflow_utilities.serving.feed import Feed
from mlflow_utilities.serving.host_feed import HostFeed, Shared, Turn
from mlflow_utilities.serving.values import PollError
from support.clock import SteppedClock
from support.documents import EXAMPLE
from support.ledger_server import LedgerServer, error

pytestmark = pytest.mark.anyio

INTERVAL = 30.0


class Host:
    """Feeds of one host, each with a client of its own, as processes have them."""

    def __init__(self, server: LedgerServer, feeds: list[Feed]) -> None:
        self.server = server
        self.feeds = feeds
        self.scopes = [anyio.CancelScope() for _ in feeds]
        self.ended = [anyio.Event() for _ in feeds]

    async def drive(self, number: int) -> None:
        """Poll until killed."""
        with self.scopes[number]:
            await self.feeds[number].drive()
        self.ended[number].set()

    async def kill(self, number: int) -> None:
        """End a process: its lock is free, its file stays."""
        self.scopes[number].cancel()
        await self.ended[number].wait()

    async def after(self, seconds: int) -> None:
        """Let time pass second by second, and wait for the files that are read and written meanwhile."""
        clock = self.server.clock
        for _ in range(seconds):
            await clock.advance(1.0)
            living = [feed for feed, scope in zip(self.feeds, self.scopes, strict=True) if not scope.cancel_called]
            with anyio.fail_after(20):
                while any((feed.next_poll or 0.0) <= clock.monotonic() for feed in living):
                    await checkpoint()

    @property
    def generations(self) -> list[int]:
        """What each feed has."""
        return [feed.latest.document.generation if feed.latest and feed.latest.document else 0 for feed in self.feeds]


@contextlib.asynccontextmanager
async def host(directory: Path, processes: int) -> AsyncGenerator[Host]:
    """Give a host whose processes have just started."""
    server = LedgerServer(SteppedClock())
    async with contextlib.AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(anyio.create_task_group())
        clients = [
            await stack.enter_async_context(server.client(headers={"x-process": str(number)}))
            for number in range(processes)
        ]
        made = Host(server, [Feed(client, server.ledger(), share_dir=directory) for client in clients])
        for number, feed in enumerate(made.feeds):
            stack.enter_context(feed.subscribe(INTERVAL))
            tasks.start_soon(made.drive, number)
        yield made
        tasks.cancel_scope.cancel()


def pollers(server: LedgerServer) -> set[str]:
    """Return which processes have asked the server."""
    return {sent.headers["x-process"] for sent in server.requests}


async def test_one_process_polls_for_all(tmp_path: Path) -> None:
    """Of four processes one asks the server; a new generation reaches all of them within two intervals."""
    async with host(tmp_path, 4) as world:
        await world.after(8)
        assert world.generations == [1, 1, 1, 1]
        await world.after(300)
        assert len(pollers(world.server)) == 1
        assert len(world.server.requests) <= 3 + 308 / (0.85 * INTERVAL)
        world.server.commit(2)
        await world.after(69)
        assert world.generations == [2, 2, 2, 2]
        assert len(pollers(world.server)) == 1
        assert all(feed.last_error is None for feed in world.feeds)


async def test_another_process_takes_over_at_once(tmp_path: Path) -> None:
    """When the polling process ends, another one asks the server within two intervals, and again only one."""
    async with host(tmp_path, 3) as world:
        await world.after(40)
        (first,) = pollers(world.server)
        await world.kill(int(first))
        world.server.requests.clear()
        world.server.commit(2)
        await world.after(60)
        (second,) = pollers(world.server)
        assert second != first
        await world.after(60)
        assert sorted(world.generations) == [1, 2, 2]
        assert pollers(world.server) == {second}


async def test_an_outage_costs_a_host_as_much_as_one_process(tmp_path: Path) -> None:
    """While the server fails, the others read that it does and do not ask; afterwards all recover."""
    async with host(tmp_path, 4) as world:
        await world.after(40)
        world.server.requests.clear()

        async def down(request: object) -> object:
            return error(503)

        world.server.fault = down  # type: ignore[assignment]
        world.server.commit(2)
        await world.after(600)
        assert len(world.server.requests) <= 6
        assert {feed.last_error.kind for feed in world.feeds if feed.last_error} == {"server"}
        assert all(feed.last_error for feed in world.feeds)
        assert world.generations == [1, 1, 1, 1]
        world.server.fault = None
        await world.after(400)
        assert world.generations == [2, 2, 2, 2]
        assert not any(feed.last_error for feed in world.feeds)


async def test_a_holder_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    """While a process holds the lock and writes nothing, the others ask: one of them for all."""
    async with host(tmp_path, 3) as world:
        await world.after(40)
        (first,) = pollers(world.server)
        await world.kill(int(first))
        (path,) = (tmp_path / "polls").glob("*.lock")
        held = try_lock(path)
        assert held is not None
        world.server.requests.clear()
        world.server.commit(2)
        await world.after(200)
        assert sorted(world.generations) == [1, 2, 2]
        assert len(world.server.requests) <= 3 + 200 / (0.85 * INTERVAL)
        held.release()


async def test_a_new_process_does_not_wait_long_for_one_that_hangs(tmp_path: Path) -> None:
    """At a start without a file, and with the lock taken, a process asks the server itself after a few seconds."""
    async with host(tmp_path, 1) as world:
        await world.after(3)
        (path,) = (tmp_path / "polls").glob("*.lock")
        await world.kill(0)
        held = try_lock(path)
        assert held is not None
        for file in (tmp_path / "polls").glob("*.json"):
            file.unlink()
        async with world.server.client(headers={"x-process": "new"}) as client, anyio.create_task_group() as tasks:
            feed = Feed(client, world.server.ledger(), share_dir=tmp_path)
            world.feeds.append(feed)
            world.scopes.append(anyio.CancelScope())
            world.ended.append(anyio.Event())
            tasks.start_soon(world.drive, 1)
            await world.after(3)
            assert feed.polls == 0
            await world.after(7)
            assert world.generations[1] == 1
            assert "new" in pollers(world.server)
            tasks.cancel_scope.cancel()
        held.release()


async def test_a_refresh_asks_the_server(tmp_path: Path) -> None:
    """A process that reads the file of another one asks the server itself when it is told to poll now."""
    async with host(tmp_path, 2) as world:
        await world.after(40)
        (holder,) = pollers(world.server)
        other = world.feeds[1 - int(holder)]
        world.server.commit(2)
        assert (await other.refresh()).document is not None
        assert sorted(world.generations) == [1, 2]
        assert len(pollers(world.server)) == 2


async def test_a_disk_that_fails_costs_requests_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the directory cannot be, each process polls for itself, and says so once."""
    blocked = tmp_path / "file"
    blocked.write_text("no directory")
    with caplog.at_level(logging.WARNING, logger="mlflow_utilities.serving"):
        async with host(blocked, 2) as world:
            await world.after(100)
            assert world.generations == [1, 1]
            assert len(pollers(world.server)) == 2
    assert [record.message.startswith("polls cannot be shared") for record in caplog.records] == [True, True]


async def test_what_is_shared_comes_back_as_it_was(tmp_path: Path) -> None:
    """Document, moment and error are read as they were told, by others only, and only while they are valid."""
    clock = SteppedClock()
    holder, reader = (HostFeed(tmp_path, "identity", clock) for _ in range(2))
    assert await holder.look() is Turn.POLL
    for shared in (
        Shared(EXAMPLE, 12.5, None),
        Shared(None, 1.0, None),
        Shared(None, None, PollError("network", "none", 5)),
        Shared(EXAMPLE, 12.5, PollError("server", "ä", 5, 503)),
    ):
        await holder.tell(shared, valid=60.0)
        assert await reader.look() == shared
        assert await holder.look() is Turn.POLL
    (file,) = (tmp_path / "polls").glob("*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    await clock.advance(61.0)
    assert await reader.look() is Turn.WAIT
    holder.release()
    assert await reader.look() is Turn.POLL


async def test_a_damaged_file_is_not_used(tmp_path: Path) -> None:
    """Whichever byte of the file is wrong, and wherever it is cut, the reader has nothing to read."""
    clock = SteppedClock()
    holder, reader = (HostFeed(tmp_path, "identity", clock) for _ in range(2))
    assert await holder.look() is Turn.POLL
    await holder.tell(Shared(EXAMPLE, 0.0, None), valid=60.0)
    (file,) = (tmp_path / "polls").glob("*.json")
    right = file.read_bytes()
    places = range(0, len(right), 5)
    for damaged in (
        *(right[:place] + bytes([right[place] ^ 1]) + right[place + 1 :] for place in places),
        *(right[:place] for place in places),
        b"\xff" * 100,
    ):
        file.write_bytes(damaged)
        assert await reader.look() is Turn.WAIT
    file.write_bytes(right)
    assert isinstance(await reader.look(), Shared)


async def test_a_file_of_the_future_or_of_another_ledger_is_not_used(tmp_path: Path) -> None:
    """After a restart of the machine its monotonic clock begins again: what it wrote before is not taken for fresh."""
    late, early = SteppedClock(), SteppedClock()
    await late.advance(1000.0)
    holder, reader = HostFeed(tmp_path, "identity", late), HostFeed(tmp_path, "identity", early)
    assert await holder.look() is Turn.POLL
    await holder.tell(Shared(EXAMPLE, 1000.0, None), valid=60.0)
    assert await reader.look() is Turn.WAIT
    assert await HostFeed(tmp_path, "another", late).look() is Turn.POLL
    (file,) = (tmp_path / "polls").glob("*.json")
    other = HostFeed(tmp_path, "third", late)
    beside = HostFeed(tmp_path, "third", late)
    assert await other.look() is Turn.POLL
    await other.tell(Shared(None, None, None), valid=60.0)
    (third,) = set((tmp_path / "polls").glob("*.json")) - {file}
    third.write_bytes(file.read_bytes())
    assert await beside.look() is Turn.WAIT


async def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """The next process that polls removes files that were never finished, and nothing else."""
    clock = SteppedClock()
    first = HostFeed(tmp_path, "identity", clock)
    await first.look()
    await first.tell(Shared(EXAMPLE, 0.0, None), valid=60.0)
    (file,) = (tmp_path / "polls").glob("*.json")
    left, foreign = file.with_suffix(".abc.tmp"), file.with_name("other.abc.tmp")
    left.touch()
    foreign.touch()
    first.release()
    assert await HostFeed(tmp_path, "identity", clock).look() is Turn.POLL
    assert {path.name for path in file.parent.iterdir() if path.suffix != ".lock"} == {file.name, foreign.name}
