"""Loads that are cancelled, wherever they are: nothing is left, and the next one succeeds."""

from __future__ import annotations

import threading
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from mlflow_utilities.serving.residents import Residents
from support.artifact_memory import ArtifactMemory
from support.clock import SteppedClock
from support.served_models import FLAVORS, Thing, comes_true, pickled, running

pytestmark = pytest.mark.anyio

STEPS = range(0, 90, 5)


async def loading_threads_end() -> None:
    """Wait until no thread loads."""
    for thread in threading.enumerate():
        if thread.name == "mlflow-utilities loading":
            await anyio.to_thread.run_sync(thread.join)


async def cancel_after(steps: int, scope: anyio.CancelScope) -> None:
    """Cancel when the other tasks have had so many turns."""
    for _ in range(steps):
        await anyio.lowlevel.checkpoint()
    scope.cancel()


@pytest.mark.parametrize("what", ["the caller", "the host", "the need"])
async def test_a_load_cancelled_anywhere_leaves_nothing(tmp_path: Path, what: str) -> None:
    """Whether the one who waits is cancelled, the host of all loads, or the load because nobody needs it any more."""
    ended = 0
    for steps in STEPS:
        server, cache = ArtifactMemory(), tmp_path / str(steps)
        wanted = server.add("new", FLAVORS, pickled(Thing("new")))
        client = server.client(SteppedClock())
        residents = Residents(client, cache_dir=cache, memory_budget=10_000)
        async with anyio.create_task_group() as host:
            host.start_soon(residents.run)
            async with anyio.create_task_group() as caller:
                scope = host.cancel_scope if what == "the host" else caller.cancel_scope
                caller.start_soon(residents.ensure, [wanted])
                await cancel_after(steps, scope)
            with anyio.CancelScope(shield=True):
                if what == "the need":
                    await residents.ensure([], runs=[])
                await comes_true(lambda: not residents._loads)  # noqa: B023
                ended += residents.is_loaded("new")
                await residents.aclose()
            host.cancel_scope.cancel()
        await loading_threads_end()
        assert residents.bytes_loaded == 0
        assert list((cache / "partial").iterdir() if (cache / "partial").exists() else []) == []
        async with running(client, cache_dir=cache, max_bytes=0) as again:
            assert (await again.ensure([wanted]))["new"].hold().loaded.label == "new"
            other = server.add("other", FLAVORS, pickled(Thing("other")))
            again.keep([])
            await comes_true(lambda: again.bytes_loaded == 0)
            await again.ensure([other])
        assert len(list((cache / "models").iterdir())) == 1, "a lease was left"
    assert ended < len(STEPS)


async def test_the_host_may_stop_and_go_on(tmp_path: Path) -> None:
    """Whoever waits for a load meanwhile is told that it was given up; one that comes in between waits."""
    server = ArtifactMemory()
    wanted = server.add("new", FLAVORS, pickled(Thing("new")))
    residents = Residents(server.client(SteppedClock()), cache_dir=tmp_path)
    async with anyio.create_task_group() as first:
        first.start_soon(residents.run)
        await anyio.wait_all_tasks_blocked()
        first.cancel_scope.cancel()
    async with anyio.create_task_group() as second:
        found: list[object] = []

        async def ensure() -> None:
            found.append((await residents.ensure([wanted]))["new"])

        second.start_soon(ensure)
        await anyio.wait_all_tasks_blocked()
        assert found == []
        second.start_soon(residents.run)
        await comes_true(lambda: found)
        await residents.aclose()
        second.cancel_scope.cancel()
