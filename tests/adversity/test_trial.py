"""Loading a model in a child process first: whatever it does, the service learns it, and nothing is left."""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from mlflow_utilities import InvalidInputError, ModelError
from mlflow_utilities._clock import SystemClock
from mlflow_utilities.models.trial import try_in_process
from support.clock import FakeClock
from support.models import classifier, temporary_files_in, write_model

pytestmark = pytest.mark.anyio

MLMODEL = "flavors:\n  sklearn: {pickled_model: model, serialization_format: pickle}\n"
HANGING = """
import os, subprocess, sys, time
pipe = os.open({path!r}, os.O_WRONLY)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[pipe])
os.write(pipe, b"1")
time.sleep(600)
"""


class Running:
    """An object that runs `source` when it is unpickled."""

    def __init__(self, source: str) -> None:
        self.source = source

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (self.source, {})


def model(tmp_path: Path, pickled: object) -> Path:
    """Write a model that is this object."""
    return write_model(tmp_path / "m", MLMODEL, model=pickle.dumps(pickled))


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """Check that no temporary file is there after the test."""
    (tmp_path / "temporary").mkdir()
    with temporary_files_in(tmp_path / "temporary"):
        yield
    assert list((tmp_path / "temporary").iterdir()) == []


async def test_a_model_that_can_be_loaded_passes(tmp_path: Path) -> None:
    """In a process that finds the same modules as this one, in the time it takes."""
    await try_in_process(model(tmp_path, classifier()), "m", frozenset({"sklearn"}), timeout=300, clock=SystemClock())


@pytest.mark.parametrize(
    ("source", "limit", "message"),
    [
        ("raise ValueError('not my version')", None, "ended with code 1.*ValueError: not my version"),
        ("import os; os._exit(0)", None, "ended with code 0"),
        ("import sys; sys.exit()", None, "ended with code 1.*SystemExit"),
        ("import os; os.kill(os.getpid(), 9)", None, "was killed by SIGKILL.*more memory than there is"),
        ("import os; os.abort()", None, "was killed by SIGABRT: Fatal Python error"),
        ("bytearray(8_000_000_000)", 4_000_000_000, "ended with code 1.*MemoryError"),
        (
            "import tempfile; tempfile.mkstemp(); 1 / 0",
            None,
            "ended with code 1.*: division by zero",
        ),
        ("import sys; print('x' * 100_000, file=sys.stderr); 1 / 0", None, "(?!.*x{2000}).*division by zero"),
    ],
)
async def test_a_model_that_cannot_be_loaded_says_why(
    tmp_path: Path, source: str, limit: int | None, message: str
) -> None:
    """Whether it raises, ends the process, is killed or needs too much memory."""
    directory = model(tmp_path, Running(source))
    with pytest.raises(ModelError, match=f"(?s)the process that was to load runs:/1/m {message}"):
        await try_in_process(directory, "runs:/1/m", timeout=300, memory_limit=limit, clock=SystemClock())


async def test_a_flavor_that_is_not_allowed_is_not_loaded(tmp_path: Path) -> None:
    """The child gets the same rules."""
    with pytest.raises(ModelError, match="allowed are onnx"):
        await try_in_process(model(tmp_path, 1), "m", frozenset({"onnx"}), timeout=300, clock=SystemClock())


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_hanging_load_is_killed_with_what_it_started(tmp_path: Path, cancelled: bool) -> None:
    """When its time is up, and when the caller is cancelled: the pipe that both hold open is closed then."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    directory = model(tmp_path, Running(HANGING.format(path=str(pipe))))
    clock = FakeClock()
    failures: list[str] = []

    async def attempt() -> None:
        try:
            await try_in_process(directory, "m", timeout=5, clock=clock)
        except ModelError as error:
            failures.append(str(error))

    async with anyio.create_task_group() as group:
        group.start_soon(attempt)
        with await anyio.to_thread.run_sync(io.FileIO, pipe) as file:
            assert await anyio.to_thread.run_sync(file.read, 1) == b"1"
            if cancelled:
                group.cancel_scope.cancel()
            else:
                clock.advance(5)
            with anyio.CancelScope(shield=True):
                assert await anyio.to_thread.run_sync(file.read) == b""
    hung = "the process that was to load m was not done after 5 s (the service is not harmed)"
    assert failures == ([] if cancelled else [hung])


@pytest.mark.parametrize(("timeout", "limit"), [(0, None), (-1.0, None), (float("nan"), None), (1.0, 0)])
async def test_limits_that_are_none_are_refused(tmp_path: Path, timeout: float, limit: int | None) -> None:
    """Before a process is started."""
    with pytest.raises(InvalidInputError):
        await try_in_process(tmp_path, "m", timeout=timeout, memory_limit=limit, clock=SystemClock())


async def test_a_process_that_cannot_be_started_is_a_model_error(tmp_path: Path) -> None:
    """The cause says why."""
    before = sys.executable
    sys.executable = str(tmp_path / "nowhere")
    try:
        with pytest.raises(ModelError, match="cannot start a process to load m") as caught:
            await try_in_process(tmp_path, "m", timeout=300, clock=SystemClock())
    finally:
        sys.executable = before
    assert isinstance(caught.value.__cause__, FileNotFoundError)
