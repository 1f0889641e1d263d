"""The command as a process of its own: questions on a terminal, closed pipes, start-up, a missing extra."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

import mlflow_utilities
from mlflow_utilities import mlflow_api
from support.command_line import generation_of, on_server, statuses_of
from support.runs import Project
from support.stub_server import STALL, run_stub

SOURCE = Path(mlflow_utilities.__file__).parent.parent
PROGRAM = [sys.executable, "-c", "from mlflow_utilities.cli import main; main()"]
QUESTION = "Make this change?"


class Asking:
    """A command on a terminal that waits for an answer."""

    def __init__(self, process: subprocess.Popen[str], terminal: int) -> None:
        self.process = process
        self.terminal = terminal
        self.seen = ""

    def until(self, text: str) -> None:
        """Read the terminal until it shows a text; fail when the command ends before."""
        while text not in self.seen:
            ready, _, _ = select.select([self.terminal], [], [], 30)
            assert ready, f"it shows {self.seen!r}, and not {text!r}"
            try:
                self.seen += os.read(self.terminal, 4096).decode()
            except OSError:
                pytest.fail(f"it ended after {self.seen!r}")

    def answer(self, text: str) -> int:
        """Type an answer, which may hold half of a character, and return the exit code."""
        os.write(self.terminal, text.encode(errors="surrogateescape"))
        return self.ended()

    def ended(self) -> int:
        """Return the exit code, with all that the terminal shows seen."""
        while True:
            try:
                piece = os.read(self.terminal, 4096)
            except OSError:  # Linux says so when the last process left the terminal
                break
            if not piece:
                break
            self.seen += piece.decode(errors="replace")
        return self.process.wait()


@contextmanager
def on_a_terminal(server_uri: str, *arguments: str, kind: str = "xterm-256color") -> Generator[Asking]:
    """Start a command whose streams are a terminal."""
    terminal, end = pty.openpty()
    environ = {**os.environ, "MLFLOW_TRACKING_URI": server_uri, "TERM": kind, "COLUMNS": "120"}
    environ["PYTHONIOENCODING"] = "utf-8:strict"
    process = subprocess.Popen(
        [*PROGRAM, *arguments], stdin=end, stdout=end, stderr=end, env=environ, text=True, start_new_session=True
    )
    os.close(end)
    try:
        yield Asking(process, terminal)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(terminal)


def test_a_confirmed_change_is_made(server_uri: str, project: Project) -> None:
    """On a terminal the plan is shown, a yes makes exactly it, and the result is a table."""
    with on_a_terminal(server_uri, "enable", project.runs[0]) as command:
        command.until(QUESTION)
        shown = command.seen
        code = command.answer("y\n")

    assert code == 0
    assert project.runs[0] in shown
    assert "not live" in shown
    assert "generation 0 becomes 1" in shown
    assert statuses_of(server_uri, project)[project.runs[0]] == ("Active", 1.0)


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x04", "\udcff\n"], ids=["no", "enter", "end of input", "no text"])
def test_anything_but_yes_writes_nothing(server_uri: str, project: Project, answer: str) -> None:
    """A no, the default and the end of input end as not confirmed."""
    with on_a_terminal(server_uri, "enable", project.runs[0]) as command:
        command.until(QUESTION)
        code = command.answer(answer)

    assert code == 9
    assert "not confirmed; nothing was written" in command.seen
    assert generation_of(server_uri, project) == -1


def test_a_change_between_plan_and_answer_is_a_conflict(server_uri: str, project: Project) -> None:
    """What is confirmed is the plan that was shown: when somebody else was first, nothing is written."""
    a, b, c = project.runs
    on_server(server_uri, lambda client: mlflow_api.enable_run(a, client=client))

    with on_a_terminal(server_uri, "enable", b) as command:
        command.until(QUESTION)
        on_server(server_uri, lambda client: mlflow_api.canary_run(c, client=client, why="meanwhile"))
        code = command.answer("yes\n")

    assert code == 5
    assert "error: " in command.seen
    assert generation_of(server_uri, project) == 2
    assert statuses_of(server_uri, project) == {a: ("Active", 1.0), b: ("New", 0.0), c: ("Canary", 1.0)}


def test_an_interrupted_question_writes_nothing(server_uri: str, project: Project) -> None:
    """Ctrl-C at the question ends with 130 and no traceback."""
    with on_a_terminal(server_uri, "enable", project.runs[0]) as command:
        command.until(QUESTION)
        command.process.send_signal(signal.SIGINT)
        code = command.ended()

    assert code == 130
    assert "interrupted" in command.seen
    assert "Traceback" not in command.seen
    assert generation_of(server_uri, project) == -1


@pytest.mark.parametrize(
    ("arguments", "says"), [(["runs", "-e", "x"], "interrupted"), (["enable", "0" * 32, "--yes"], "is not known")]
)
def test_an_interrupted_call_ends_at_once(arguments: list[str], says: str) -> None:
    """Ctrl-C while the server is silent ends with 130; a command that may have written says so."""
    with run_stub(lambda received: STALL) as server, on_a_terminal(server.uri, *arguments) as command:
        anyio.run(server.wait_until, lambda stub: bool(stub.requests))
        command.process.send_signal(signal.SIGINT)
        code = command.ended()

    assert code == 130
    assert says in command.seen
    assert "Traceback" not in command.seen


def test_a_terminal_that_cannot_redraw_gets_lines(server_uri: str, project: Project) -> None:
    """The live view would show nothing there until the end."""
    with on_a_terminal(server_uri, "watch", "-e", project.name, "--count", "1", kind="dumb") as command:
        code = command.ended()

    assert code == 0
    assert command.seen.splitlines()[0].endswith("  nothing is rolled out yet")
    assert "\x1b" not in command.seen


@pytest.fixture
def closed_pipe() -> Iterator[int]:
    """Give the end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.mark.parametrize("arguments", [["--help"], ["completion"]])
def test_a_reader_that_is_gone_is_no_failure_to_report(closed_pipe: int, arguments: list[str]) -> None:
    """`| head` ends the command without a word."""
    ended = subprocess.run([*PROGRAM, *arguments], stdout=closed_pipe, stderr=subprocess.PIPE, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (141, "")


def test_a_reader_of_errors_that_is_gone_changes_no_exit_code(closed_pipe: int) -> None:
    """What cannot be told is still in the code: `2>&1 >/dev/null | true`."""
    ended = subprocess.run([*PROGRAM, "frobnicate"], stdout=subprocess.PIPE, stderr=closed_pipe, check=False)

    assert (ended.returncode, ended.stdout) == (2, b"")


def closing(streams: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command with streams closed, as a shell and some supervisors do."""
    command = ["sh", "-c", f'exec "$@" {streams}', "sh", *PROGRAM, *arguments]
    return subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("streams", "arguments", "code"),
    [(">&-", ["completion"], 0), (">&- 2>&-", ["frobnicate"], 2), ("<&- >&- 2>&-", ["cache", "path"], 0)],
)
def test_streams_that_are_closed_are_no_failure(streams: str, arguments: list[str], code: int) -> None:
    """A stream that is not there gets nothing, and the command ends as it would have."""
    ended = closing(streams, *arguments)

    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "")


def test_without_standard_input_nobody_can_confirm(server_uri: str, project: Project) -> None:
    """A job without standard input is refused as one without a terminal is."""
    ended = closing("<&-", "enable", project.runs[0], MLFLOW_TRACKING_URI=server_uri)

    assert ended.returncode == 9
    assert "no terminal" in ended.stderr
    assert generation_of(server_uri, project) == -1


def test_characters_that_the_encoding_lacks_are_escapes() -> None:
    """A name in another script is no failure where the output is Latin-1."""
    ended = closing("", "cache", "--cache-dir", "/日本", "path", PYTHONIOENCODING="latin-1:strict", PYTHONUTF8="1")

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "/\\u65e5\\u672c\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["runs", "--help"], ["enable", "--help"], ["--version"]])
def test_help_imports_neither_rich_nor_the_http_library(arguments: list[str]) -> None:
    """What makes a start slow is imported when it is used, and mlflow never."""
    heavy = ("rich", "mlflow", "httpx", "httpx2", "pydantic.main", "mlflow_utilities.mlflow_api", "asyncio")
    code = (
        "import sys\nfrom mlflow_utilities.cli.app import run\ncode = run()\n"
        f"print([n for n in {heavy!r} if n in sys.modules], file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)

    assert ended.stderr.strip() == "[]"


def test_a_command_without_its_packages_names_the_extra(tmp_path: Path) -> None:
    """Without click and rich there is one sentence, the command that installs them, and an exit code."""
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(("click", "rich", "_")) and entry.suffix != ".pth":
            (tmp_path / entry.name).symlink_to(entry)
    environ = {**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{tmp_path}"}
    command = [sys.executable, "-S", *PROGRAM[1:], "runs"]

    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines() == [
        "error: the command line needs click and rich, which are not installed",
        'hint: pip install "mlflow-utilities[cli]"',
    ]
