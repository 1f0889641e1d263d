"""Loading a model in a child process first, which may crash, hang or run out of memory in place of the service."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import anyio
from anyio.abc import Process

from mlflow_utilities._clock import Clock
from mlflow_utilities.errors import InvalidInputError, MlflowUtilitiesError, ModelError
from mlflow_utilities.models.code_paths import code_paths
from mlflow_utilities.models.loading import load_directory
from mlflow_utilities.models.threads import in_file_thread

__all__ = ["main", "try_in_process"]

_LOADED = 42  # not 0: the model's code may call os._exit(0)
_TAIL = 2_000
_GRACE = 5.0
_ERRORS = "stderr"


async def try_in_process(
    directory: Path,
    uri: str,
    allowed: frozenset[str] | None = None,
    *,
    timeout: float,
    memory_limit: int | None = None,
    clock: Clock,
) -> None:
    """Load the model in `directory` in a process of its own, which ends then, to learn whether that can be done.

    Args:
        directory: the model's files.
        uri: names the model in errors.
        allowed: flavors, as for `loading.load_directory`.
        timeout: seconds, after which the process and those that it started are killed; cancellation kills them, too.
            The process has to import the model's libraries and, if installed, mlflow: 2 seconds and more.
        memory_limit: bytes of address space for the process as a whole (RLIMIT_AS); ignored on Windows.
        clock: the client's.

    Raises:
        ModelError: it could not be loaded, the process was killed (by which signal) or hung; with the end of what it
            wrote to stderr.
        InvalidInputError: a number is none.

    """
    _check_arguments(timeout, memory_limit)
    with _failures(uri):
        async with _temporary_directory() as folder:
            options = {
                "directory": str(directory),
                "uri": uri,
                "allowed": None if allowed is None else sorted(allowed),
                "timeout": timeout,
                "memory_limit": memory_limit,
            }
            hung = False
            with (folder / _ERRORS).open("wb") as errors:
                async with await _start(options, folder, errors.fileno()) as process:
                    try:
                        with clock.time_limit(timeout) as limit:
                            await process.wait()
                        hung = limit.cancelled_caught
                    finally:
                        _kill(process)
            if process.returncode != _LOADED:
                raise _failure(uri, process.returncode, timeout if hung else None, _tail(folder / _ERRORS))


def _check_arguments(timeout: float, memory_limit: int | None) -> None:
    if not timeout > 0:
        raise InvalidInputError(f"timeout is {timeout!r}", hint="give seconds")
    if memory_limit is not None and memory_limit <= 0:
        raise InvalidInputError(f"memory_limit is {memory_limit!r}", hint="give bytes, or None for no limit")


@contextlib.contextmanager
def _failures(uri: str) -> Generator[None, None, None]:
    try:
        yield
    except OSError as error:
        raise ModelError(f"cannot start a process to load {uri}: {error}") from error


@asynccontextmanager
async def _temporary_directory() -> AsyncGenerator[Path, None]:
    """Give a directory, the child's own for temporary files, too: one that is killed cannot remove them."""
    folder = tempfile.mkdtemp(prefix="mlflow-utilities-")
    try:
        yield Path(folder)
    finally:
        with anyio.CancelScope(shield=True):
            await in_file_thread(lambda: shutil.rmtree(folder, ignore_errors=True))


async def _start(options: dict[str, Any], folder: Path, errors: int) -> Process:
    temporary = {name: str(folder) for name in ("TMPDIR", "TEMP", "TMP")}
    return await anyio.open_process(
        [sys.executable, "-P", "-X", "faulthandler", "-m", "mlflow_utilities.models.trial", json.dumps(options)],
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=errors,
        env={**os.environ, **temporary, "PYTHONPATH": _import_path()},
        start_new_session=True,
    )


def _import_path() -> str:
    """Return where this process finds modules, without those that came with loaded models."""
    held = code_paths.folders()
    return os.pathsep.join(entry or os.getcwd() for entry in sys.path if os.path.realpath(entry) not in held)


def _kill(process: Process) -> None:
    """Kill the process and those that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


def _tail(path: Path) -> str:
    written = path.read_bytes()[-_TAIL:]
    return written.decode("utf-8", "replace").strip()


def _failure(uri: str, code: int | None, timeout: float | None, stderr: str) -> ModelError:
    hint = "the service is not harmed"
    if timeout is not None:
        what = f"was not done after {timeout:g} s"
    elif code is not None and code < 0:
        name = signal.Signals(-code).name if -code in list(signal.Signals) else f"signal {-code}"
        what = f"was killed by {name}"
        if name == "SIGKILL":
            hint = "which is what happens to a process that needs more memory than there is"
    else:
        what = f"ended with code {code}"
    return ModelError(f"the process that was to load {uri} {what}{f': {stderr}' if stderr else ''}", hint=hint)


def main(options: str) -> int:
    """Load the model that the JSON names in this process, and return the exit code that says how that went."""
    task = json.loads(options)
    if sys.platform != "win32":
        import resource

        # Whoever started this process may have been killed.
        signal.setitimer(signal.ITIMER_REAL, task["timeout"] + _GRACE)
        if task["memory_limit"] is not None:
            resource.setrlimit(resource.RLIMIT_AS, (task["memory_limit"], task["memory_limit"]))
    allowed = None if task["allowed"] is None else frozenset(task["allowed"])
    try:
        load_directory(Path(task["directory"]), task["uri"], allowed)
    except MlflowUtilitiesError as error:
        print(error, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return _LOADED


if __name__ == "__main__":
    code = main(sys.argv[1])
    sys.stderr.flush()
    os._exit(code)  # threads that the model started must not keep it
