"""`demo`: the whole story on a server of its own, and that nothing is left of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest

from mlflow_utilities.cli.commands.demo import ended_by_signals
from mlflow_utilities.cli.local_server import signals_held
from mlflow_utilities.cli.story import clean_environ
from support.command_line import CommandLine

PROGRAM = "from mlflow_utilities.cli import main; main()"
WITHOUT_MLFLOW = (
    "import importlib.util as util; find = util.find_spec; "
    "util.find_spec = lambda name, *rest: None if name == 'mlflow' else find(name, *rest); "
)


@contextlib.contextmanager
def demo(folder: Path, program: str = PROGRAM) -> Generator[subprocess.Popen[str]]:
    """Run it with `folder` for temporary files, and settings in the environment that are not meant for it."""
    environ = {**os.environ, "TMPDIR": str(folder), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    environ |= {"MLFLOW_WORKSPACE": "other", "MLFLOW_EXPERIMENT_NAME": "other"}
    process = subprocess.Popen(
        [sys.executable, "-c", program, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate()


def address(process: subprocess.Popen[str]) -> str:
    """Return where the server listens, once it says so."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("it listens at "):
            return line.split()[-1]
    raise AssertionError("it never listened")


def is_gone(uri: str) -> bool:
    """Return whether nothing listens there any more."""
    try:
        httpx.get(f"{uri}/health", trust_env=False)
    except httpx.ConnectError:
        return True
    return False


@pytest.mark.slow
def test_the_story_ends_well(tmp_path: Path) -> None:
    """Every step succeeds, users come back after the rollback, and server and files are gone afterwards."""
    with demo(tmp_path) as process:
        uri = address(process)
        out, err = process.communicate(timeout=300)

    assert process.returncode == 0, err
    for command in ("runs", "enable", "canary", "split", "rollback", "history"):
        assert f"$ mlflow-utilities {command} " in out
    assert "users moved to the challenger" in out
    assert "every user is back" in out.splitlines()
    assert "done; the server is stopped" in out
    assert "Traceback" not in err
    assert is_gone(uri)
    assert list(tmp_path.iterdir()) == []


def below(folder: Path) -> list[str]:
    """Return the processes that work in a directory."""
    found: list[str] = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if folder in link.readlink().parents:
                found.append(link.parent.name)
    return found


def test_an_interrupted_story_cleans_up(tmp_path: Path) -> None:
    """After Ctrl-C, here while the server starts, the server is stopped and the files are removed; it ends with 130."""
    with demo(tmp_path) as process:
        while not below(tmp_path):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "Traceback" not in err
    assert below(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_that_end_a_process_end_it_as_ctrl_c_does(number: signal.Signals) -> None:
    """So that what it started is stopped; afterwards they mean again what they meant."""
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), ended_by_signals():
        signal.raise_signal(number)
    assert signal.getsignal(number) == before


def test_a_signal_waits_until_what_was_started_is_known() -> None:
    """So that it can be stopped; afterwards the signal means what it meant."""
    reached: list[str] = []

    def start() -> None:
        with signals_held():
            signal.raise_signal(signal.SIGINT)
            reached.append("the end of the block")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert reached


def test_without_mlflow_it_says_what_to_install(tmp_path: Path) -> None:
    """In one sentence and a hint, before anything is started."""
    with demo(tmp_path, WITHOUT_MLFLOW + PROGRAM) as process:
        out, err = process.communicate(timeout=60)

    assert process.returncode == 2
    assert out == ""
    assert err.splitlines() == [
        "error: the demo starts a real MLflow server, and mlflow cannot be imported",
        'hint: pip install "mlflow-utilities[mlflow]"',
    ]


def test_it_prints_no_json(command_line: CommandLine) -> None:
    """A story is for people."""
    assert command_line("demo", "--json").code == 2


def test_settings_of_another_server_do_not_reach_it() -> None:
    """Those of the machine do."""
    assert clean_environ({"MLFLOW_TRACKING_TOKEN": "t", "HOME": "/h"}) == {"HOME": "/h"}
