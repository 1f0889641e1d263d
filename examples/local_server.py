"""A real `mlflow server` on a free loopback port."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

__all__ = ["free_port", "run_process", "run_server"]


def free_port() -> int:
    """Return a loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def run_server(folder: Path, *, python: str | None = None, store: str | None = None, workers: int = 2) -> Iterator[str]:
    """Run `mlflow server` in `folder` until the block ends.

    Args:
        folder: where its database, artifacts and log are kept.
        python: interpreter whose mlflow is served; this one by default.
        store: backend store URI; an SQLite file in `folder` by default.
        workers: number of worker processes.

    """
    port = free_port()
    command = [
        python or sys.executable, "-m", "mlflow", "server",
        "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers),
        "--backend-store-uri", store or f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    bin_folder = str(Path(python or sys.executable).parent)
    environ |= {"PATH": f"{bin_folder}{os.pathsep}{environ.get('PATH', '')}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    uri = f"http://127.0.0.1:{port}"
    with run_process(command, f"{uri}/health", folder, environ):
        yield uri


@contextlib.contextmanager
def run_process(
    command: Sequence[str], url: str, folder: Path, environ: Mapping[str, str], *, statuses: Sequence[int] = (200,)
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in `folder`, once `url` answers with one of the statuses, until the block ends.

    Its output goes to `server.log` there.
    """
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environ, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait_until_answered(url, statuses, process, log)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def _wait_until_answered(url: str, statuses: Sequence[int], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}:\n{log.read_text()[-4000:]}")
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
        except OSError:
            status = 0
        if status in statuses:
            return
        time.sleep(0.1)
    raise RuntimeError(f"the server did not answer within 120 s:\n{log.read_text()[-4000:]}")
