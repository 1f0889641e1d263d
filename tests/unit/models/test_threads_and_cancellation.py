"""What becomes of threads, directories and calls whose caller is cancelled."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from mlflow_utilities.models.completing import complete
from mlflow_utilities.models.folder import Folder
from mlflow_utilities.models.threads import in_file_thread, in_model_thread
from support.models import temporary_files_in

pytestmark = pytest.mark.anyio


async def test_a_cancelled_call_is_awaited_to_its_end() -> None:
    """What it found out is kept, and the cancellation is raised afterwards."""
    begun, ended = anyio.Event(), anyio.Event()
    found: list[str] = []

    async def work() -> None:
        begun.set()
        await ended.wait()
        found.append("created")

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(complete, work)
            await begun.wait()
            scope.cancel()
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
                ended.set()
    assert scope.cancelled_caught
    assert found == ["created"]


async def test_a_call_whose_caller_was_cancelled_before_does_not_begin() -> None:
    """Nothing is created in vain."""
    begun: list[bool] = []

    async def work() -> None:
        begun.append(True)

    with anyio.CancelScope() as scope:
        scope.cancel()
        await complete(work)
    assert begun == []


async def test_results_and_errors_come_through_as_they_are() -> None:
    """Also those that are no Exception."""

    async def three() -> int:
        return 3

    async def fail(error: BaseException) -> None:
        raise error

    assert await complete(three) == 3
    for error in (ValueError("x"), SystemExit(1)):
        with pytest.raises(type(error)) as caught:
            await complete(lambda error=error: fail(error))
        assert caught.value is error


async def test_serialising_leaves_the_threads_of_the_application_alone() -> None:
    """At most four at a time, from a limit of their own."""
    release = threading.Event()
    running = threading.Semaphore(0)

    def hold() -> None:
        running.release()
        release.wait(10)

    limiter = anyio.to_thread.current_default_thread_limiter()
    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(in_model_thread, hold)
        for _ in range(4):
            await anyio.to_thread.run_sync(running.acquire)
        assert limiter.borrowed_tokens == 0
        assert await in_file_thread(lambda: "free") == "free"
        assert not running.acquire(blocking=False)
        release.set()


async def test_a_thread_left_to_itself_does_not_keep_its_caller() -> None:
    """When the caller is cancelled while a model is loaded."""
    begun, release = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        release.wait(10)

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: in_model_thread(hold, abandon=True))
        await anyio.to_thread.run_sync(begun.wait)
        group.cancel_scope.cancel()
    assert not release.is_set()
    release.set()


def test_a_folder_is_gone_in_the_end(tmp_path: Path) -> None:
    """Whether it is removed after it was filled, before, or while that happens in a thread left to itself."""
    with temporary_files_in(tmp_path):
        Folder().remove()
        filled = Folder()
        assert filled.fill(lambda path: path.mkdir() or path) == filled.path  # type: ignore[func-returns-value]
        assert filled.path.is_dir()
        filled.remove()
        assert list(tmp_path.iterdir()) == []

        filling, removed = threading.Event(), threading.Event()

        def write(path: Path) -> None:
            path.mkdir()
            filling.set()
            removed.wait(10)
            (path / "late").write_text("late")

        folder = Folder()
        thread = threading.Thread(target=folder.fill, args=(write,))
        thread.start()
        filling.wait(10)
        folder.remove()
        assert len(list(tmp_path.iterdir())) == 1
        removed.set()
        thread.join(10)
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_removed_is_not_filled(tmp_path: Path) -> None:
    """Its thread ends at once."""
    folder = Folder()
    folder.remove()
    with temporary_files_in(tmp_path), pytest.raises(RuntimeError, match="removed"):
        folder.fill(lambda path: path.mkdir())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_forgotten_is_removed(tmp_path: Path) -> None:
    """As when an event loop ends in the middle of a save."""
    with temporary_files_in(tmp_path):
        folder = Folder()
        folder.fill(lambda path: path.mkdir())
    assert len(list(tmp_path.iterdir())) == 1
    del folder
    gc.collect()
    assert list(tmp_path.iterdir()) == []
