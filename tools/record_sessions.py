"""Records terminal sessions of every command for the documentation, from the real program on a real server.

Run it as `python -m tools.record_sessions`, or `make sessions`. It writes `docs/sessions/<command>.txt`. What differs
between two recordings and says nothing is replaced: the ids of runs and models, ports, the home directory.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from mlflow_utilities import AsyncMlflowClient, mlflow_api
from mlflow_utilities.cli.local_server import free_port, run_server

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "sessions"
COLUMNS = 100
EXPERIMENT = "house-prices"
PROGRAM = (sys.executable, "-c", "from mlflow_utilities.cli import main; main()")
_PIECES = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07]*\x07|\x1b[()][A-Z0-9]|([\r\n])|([^\x1b\r\n]+)")
_LOOPBACK = re.compile(r"(?<=127\.0\.0\.1:)\d+")
_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_SHORT = re.compile(r"(?<![0-9a-f-])[0-9a-f]{8}(?![0-9a-f])")


@dataclass
class Recorder:
    """Runs commands on a terminal of 100 columns, and keeps what is seen under the name of each session."""

    environ: Mapping[str, str]
    replaced: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, list[str]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def record(self, session: str, *arguments: str, asking: bool = True, columns: int = COLUMNS) -> None:
        """Run a command; without `asking`, no terminal is there to ask on."""
        code, seen = run_on_terminal(arguments, self.environ, asking=asking, columns=columns)
        self.keep(session, f"mlflow-utilities {shlex.join(arguments)}", seen, code)

    def keep(self, session: str, line: str, seen: str, code: int) -> None:
        """Keep a command and what it printed; an exit code that is not 0 is shown as a shell shows it."""
        shown = screen(seen)
        lines = [f"$ {line}", *([shown] if shown else [])]
        if code:
            lines += ["$ echo $?", str(code)]
        self.sessions.setdefault(session, []).append(self.normal("\n".join(lines)))

    def normal(self, text: str) -> str:
        """Return text without what differs between two recordings and says nothing."""
        for before, after in self.replaced.items():
            text = text.replace(before, after)
        text = _ID.sub(lambda found: self._name(found[0]), text)
        known = {before[:8]: after[:8] for before, after in self.names.items()}
        text = _LOOPBACK.sub(lambda found: found[0] if found[0] in ("5000", "5999") else "5001", text)
        return _SHORT.sub(lambda found: known.get(found[0], found[0]), text)

    def _name(self, identity: str) -> str:
        """Return the id that stands for another: the first, the second, ... of every recording is the same."""
        if identity in self.names.values():
            return identity
        number = len(self.names) + 1
        return self.names.setdefault(identity, hashlib.sha256(f"id {number}".encode()).hexdigest()[:32])

    def write(self, folder: Path) -> None:
        """Write every session to a file of its own."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, parts in self.sessions.items():
            (folder / f"{name}.txt").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def screen(seen: str) -> str:
    """Return what stands on a terminal that was sent a text: colours apart, lines may be gone back to and erased."""
    lines, row, column = [""], 0, 0
    for found in _PIECES.finditer(seen):
        arguments, action, control, text = found.groups()
        if action == "A":
            row = max(row - int(arguments or "1"), 0)
        elif action == "K":
            lines[row] = ""
        elif control == "\r":
            column = 0
        elif control == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif text:
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
            column += len(text)
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def run_on_terminal(
    arguments: Sequence[str], environ: Mapping[str, str], *, asking: bool = True, columns: int = COLUMNS
) -> tuple[int, str]:
    """Run the program on a terminal; return its exit code and all that was seen."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=theirs if asking else subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=dict(environ),
        start_new_session=True,
    )
    os.close(theirs)
    pieces: list[bytes] = []
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux says so when nobody is left on the terminal
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(ours)
    return process.wait(), b"".join(pieces).decode("utf-8", "replace")


async def make_models(uri: str) -> dict[str, str]:
    """Save the models of the sessions; return the run of each name."""
    from sklearn.linear_model import LinearRegression

    def model(slope: float) -> Any:
        return LinearRegression().fit([[0.0], [1.0], [2.0]], [0.0, slope, 2 * slope])

    runs: dict[str, str] = {}
    async with AsyncMlflowClient(uri, environ={"LOGNAME": "ana"}) as client:
        for name, version, slope, error in (
            ("first", "1.0.0", 100.0, 9.5), ("challenger", "1.0.0", 101.0, 8.7), ("next", "1.1.0-rc.1", 102.0, 8.1)
        ):  # fmt: skip
            saved = await mlflow_api.save_model(
                model(slope),
                version,
                mlflow_subpackage="sklearn",
                experiment_name=EXPERIMENT,
                immutable_metadata={"dataset": "sales-2026-10"},
                mutable_metadata={"mean_error": error, "owner": "ben"},
                flavor_options={"pip_requirements": ["scikit-learn"]},
                client=client,
            )
            runs[name] = saved.run_id
    return runs


async def download(uri: str, cache_dir: Path, run_id: str) -> None:
    """Load a model, so that it is in the cache."""
    from mlflow_utilities.models.cache import ensure

    async with AsyncMlflowClient(uri, environ={}) as client:
        await ensure(client, f"runs:/{run_id}/model", cache_dir=cache_dir)


def record_rollout(recorder: Recorder, runs: Mapping[str, str]) -> None:
    """Record what an operator does, in the order of a rollout."""
    first, challenger, candidate = (runs[name][:8] for name in ("first", "challenger", "next"))
    of = ("-e", EXPERIMENT)
    recorder.record("runs", "runs", *of)
    recorder.record("enable", "enable", first, *of, "--why", "first release", "--dry-run")
    recorder.record("enable", "enable", first, *of, "--why", "first release", asking=False)
    recorder.record("enable", "enable", first, *of, "--why", "first release", "--yes")
    recorder.record("canary", "canary", candidate, *of, "--share", "0.5", "--why", "look at it", "--yes")
    recorder.record("split", "split", f"{first}=0.7", f"{challenger}=0.3", *of, "--why", "A/B test", "--yes")
    recorder.record("split", "split", f"{first}=0.7", f"{challenger}=-1", *of)
    recorder.record("runs", "runs", *of, "--status", "active")
    recorder.record("runs", "runs", *of, "--version", "^1.0", "--json")
    recorder.record("models", "models", *of, "--status", "active", columns=120)
    recorder.record("show", "show", challenger, *of)
    recorder.record("show", "show", "deadbeef", *of)
    recorder.record("rollback", "rollback", *of, "--why", "the challenger was worse", "--yes")
    recorder.record("disable", "disable", candidate, *of, "--why", "not needed", "--yes")
    recorder.record("disable", "disable", candidate, *of, "--expected-generation", "2", "--yes")
    recorder.record("revoke", "revoke", challenger, *of, "--why", "trained on wrong data", "--yes")
    recorder.record("history", "history", *of)
    recorder.record("history", "history", "-e", "house-price")


def record_watch(recorder: Recorder, runs: Mapping[str, str]) -> None:
    """Record how a change is seen, by a process that watches."""
    arguments = ("watch", "-e", EXPERIMENT, "--interval", "1", "--count", "2")
    watching = subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, env=dict(recorder.environ), text=True)
    assert watching.stdout is not None
    seen = watching.stdout.readline()
    run_on_terminal(
        ("canary", runs["next"], "-e", EXPERIMENT, "--why", "once more", "--yes"), recorder.environ, asking=False
    )
    seen += watching.stdout.read()
    recorder.keep("watch", f"mlflow-utilities {shlex.join(arguments)} | cat", seen, watching.wait())
    recorder.record("watch", "watch", "-e", EXPERIMENT, "--count", "1")


def record_cache(recorder: Recorder) -> None:
    """Record the cache, with one model in it."""
    recorder.record("cache", "cache", "list")
    recorder.record("cache", "cache", "size")
    recorder.record("cache", "cache", "verify")
    recorder.record("cache", "cache", "prune", "--older-than", "30d", "--dry-run")
    recorder.record("cache", "cache", "clear", asking=False)
    recorder.record("cache", "cache", "clear", "--yes")


def main(write: Callable[[Recorder], None] = lambda recorder: recorder.write(FOLDER)) -> None:
    """Record every session."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, home = Path(temporary), Path(temporary) / "home"
        home.mkdir()
        dead = f"http://127.0.0.1:{free_port()}"
        environ = {
            "PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": temporary, "LOGNAME": "ana", "TERM": "xterm",
            "LANG": "C.UTF-8", "NO_COLOR": "1", "MLFLOW_DISABLE_TELEMETRY": "true",
        }  # fmt: skip
        with run_server(folder) as uri:
            replaced = {uri: "http://127.0.0.1:5000", uri.partition("//")[2]: "127.0.0.1:5000"}
            replaced |= {dead: "http://127.0.0.1:5999", dead.partition("//")[2]: "127.0.0.1:5999"}
            recorder = Recorder({**environ, "MLFLOW_TRACKING_URI": uri}, {**replaced, str(home): "/home/ana"})
            runs = anyio.run(make_models, uri)
            record_rollout(recorder, runs)
            record_watch(recorder, runs)
            anyio.run(download, uri, home / ".cache" / "mlflow-utilities", runs["first"])
            record_cache(recorder)
            recorder.record("doctor", "doctor", "--write")
        recorder.record("doctor", "doctor", "--tracking-uri", dead)
        recorder.record("runs", "runs", "-e", EXPERIMENT, "--tracking-uri", dead)
        recorder.record("watch", "watch", "-e", EXPERIMENT, "--tracking-uri", dead, "--count", "1")
        recorder.record("demo", "demo")
        write(recorder)


if __name__ == "__main__":
    main()
