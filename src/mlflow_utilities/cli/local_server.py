"""A real `mlflow server` on a free loopback port, for demonstrations and tests."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from mlflow_utilities.errors import MlflowConnectionError

__all__ = ["free_port", "run_process", "run_server", "signals_held"]

_SECONDS_TO_START = 120.0
_SECONDS_TO_STOP = 10.0
_ENDING = [signal.SIGINT, signal.SIGTERM] if sys.platform == "win32" else [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def free_port() -> int:
    """Return a loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def run_server(
    folder: Path, *, python: str | None = None, store: str | None = None, workers: int = 2, port: int | None = None
) -> Generator[str]:
    """Run `mlflow server` in `folder` until the block ends, and give its address.

    Args:
        folder: where its database, artifacts and log are kept.
        python: interpreter whose mlflow is served; this one by default.
        store: backend store URI; an SQLite file in `folder` by default.
        workers: number of worker processes.
        port: on 127.0.0.1; a free one by default.

    Raises:
        MlflowConnectionError: it ended, or did not answer within 120 seconds.

    """
    port = port or free_port()
    command = [
        python or sys.executable, "-m", "mlflow", "server",
        "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers),
        "--backend-store-uri", store or f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    bin_folder = str(Path(python or sys.executable).parent)
    environ |= {"PATH": f"{bin_folder}{os.pathsep}{environ.get('PATH', '')}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environ["TMPDIR"] = str(folder)  # MLflow leaves a lock file behind
    uri = f"http://127.0.0.1:{port}"
    with run_process(command, f"{uri}/health", folder, environ):
        yield uri


@contextlib.contextmanager
def run_process(
    command: Sequence[str], url: str, folder: Path, environ: Mapping[str, str], *, statuses: Sequence[int] = (200,)
) -> Generator[subprocess.Popen[bytes]]:
    """Run a server in `folder`, once `url` answers with one of the statuses, until the block ends.

    Its output goes to `server.log` there. A signal for this process, as Ctrl-C sends it, does not reach the server.

    Raises:
        MlflowConnectionError: it ended, or did not answer within 120 seconds.

    """
    log = folder / "server.log"
    process: subprocess.Popen[bytes] | None = None
    try:
        with log.open("wb") as output, signals_held():
            process = subprocess.Popen(  # noqa: S603 - the command is the caller's own
                command, cwd=folder, env=environ, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        _wait_until_answered(url, statuses, process, log)
        yield process
    finally:
        if process is not None:
            _stop(process)


@contextlib.contextmanager
def signals_held() -> Generator[None]:
    """Let signals that end this process come after the block: a process that was just started must be known by then."""
    if threading.current_thread() is not threading.main_thread():  # signals interrupt the main thread alone
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda which, frame: came.append(which)) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for arrived in came:
        signal.raise_signal(arrived)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and its workers."""
    _signal(process, graceful=True)
    try:
        process.wait(_SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        _signal(process, graceful=False)
        process.wait(_SECONDS_TO_STOP)


def _signal(process: subprocess.Popen[bytes], *, graceful: bool) -> None:
    if sys.platform == "win32":
        process.terminate()
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM if graceful else signal.SIGKILL)


def _wait_until_answered(url: str, statuses: Sequence[int], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise MlflowConnectionError(
                f"the server ended with {process.returncode}:\n{_end_of(log)}", sent=False, permanent=True
            )
        if _status(url) in statuses:
            return
        time.sleep(0.1)
    raise MlflowConnectionError(f"the server did not answer within {_SECONDS_TO_START:.0f} s:\n{_end_of(log)}")


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - an address on loopback
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-4000:]
