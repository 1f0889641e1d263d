"""Real processes that share their polls: killed, and forked."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest

from mlflow_utilities._clock import SystemClock
from mlflow_utilities.models.locks import try_lock
from mlflow_utilities.serving.host_feed import HostFeed, Turn
from support.clock import SteppedClock
from support.ledger_server import LedgerServer
from support.stub_server import Answer, Received, StubServer, run_stub

TESTS = Path(__file__).parents[2]


@contextlib.contextmanager
def polling_process(uri: str, directory: Path, interval: float) -> Iterator[subprocess.Popen[str]]:
    """Run `support.polling_process` until the block ends."""
    command = [sys.executable, "-m", "support.polling_process", uri, str(directory), str(interval)]
    environ = os.environ | {"PYTHONPATH": str(TESTS)}
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    """Wait for the next line of a process."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextlib.contextmanager
def ledger_stub() -> Iterator[tuple[LedgerServer, StubServer]]:
    """Give a ledger, and a server on loopback that shows it."""
    ledger = LedgerServer(SteppedClock())

    def script(received: Received) -> Answer:
        right = ledger.right_answer(httpx.Request(received.method, f"http://ledger{received.target}"))
        return Answer(right.status_code, right.content)

    with run_stub(script) as stub:
        yield ledger, stub


def test_a_killed_process_is_replaced(tmp_path: Path) -> None:
    """After kill -9 of the process that polls, another one holds the lock, and all see the next generation."""
    with ledger_stub() as (ledger, stub), contextlib.ExitStack() as stack:
        processes = [stack.enter_context(polling_process(stub.uri, tmp_path, 1.0)) for _ in range(3)]
        assert [line_of(process) for process in processes] == ["1", "1", "1"]
        killed = next(process for process in processes if str(process.pid) == stub.requests[0].headers["x-process"])
        killed.send_signal(signal.SIGKILL)
        killed.wait(20)
        ledger.commit(2)
        assert [line_of(process) for process in processes if process is not killed] == ["2", "2"]
        (path,) = (tmp_path / "polls").glob("*.lock")
        assert try_lock(path) is None


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path, backend: str) -> None:
    """When the process that polls ends, its lock is free, though a child that it forked lives on."""
    with polling_process("fork", tmp_path, 1.0) as process:
        child = int(line_of(process))
        process.wait(20)
        os.kill(child, 0)
        assert anyio.run(HostFeed(tmp_path, "identity", SystemClock()).look, backend=backend) is Turn.POLL
        os.kill(child, signal.SIGKILL)
