"""A process whose children write a last-known-good file and are killed, or meet a disk that refuses; run as a program.

Usage: python file_faults.py FAULT DIRECTORY. It prints what came of it as JSON. A process of its own, because only
one without other threads may fork.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from mlflow_utilities.rollout.document import Document, LiveEntry
from mlflow_utilities.rollout.facts import version_params
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.version import Version
from mlflow_utilities.serving import last_known_good, whole_file
from mlflow_utilities.serving.last_known_good import Identity, LastKnownGood, StoredModel

IDENTITY = Identity("http://mlflow.example:5000", "fraud models", "fraud", "^1.0")
RUN = "a" * 32


def content(adopted_at: int, characters: int = 0) -> LastKnownGood:
    """Return a small content, or one with a tag of so many characters."""
    params = {"submodel_name": "fraud", **version_params(Version.parse("1.0.0"))}
    data: dict[str, Any] = {"params": [{"key": key, "value": value} for key, value in params.items()]}
    data["tags"] = [{"key": "note", "value": "x" * characters}]
    raw = {"info": {"run_id": RUN, "experiment_id": "7"}, "data": data}
    live = {"1.0.0": (LiveEntry(RUN, ModelStatus.Active, ((0, 10_000),), 0),)}
    document = Document(1, 0, "0" * 16, "enable_run", "ana", "", "2026-01-01T00:00:00Z", "0" * 8, live)
    return LastKnownGood(IDENTITY, "7", "fraud", document, (StoredModel(raw, f"runs:/{RUN}/model"),), adopted_at)


OLD, NEW = content(1), content(2, 300_000)


def in_child(action: Callable[[], None]) -> int:
    """Do it in a child, and return how the child ended: 0, or minus the signal, or its exit status."""
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def killed_at(line: int, action: Callable[[], None]) -> None:
    """Do it, and be killed before the given line that runs in the module that writes files."""
    passed = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal passed
        if frame.f_code.co_filename != whole_file.__file__:
            return None
        passed += event == "line"
        if passed == line:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    action()
    sys.settrace(None)


def kills(path: Path) -> dict[str, int]:
    """Kill a writer before every line, and count what is read afterwards: the old content, or the new."""
    found: Counter[str] = Counter()
    most = 0
    while True:
        last_known_good.write(path, OLD)
        found["other files"] += [path] != list(path.parent.iterdir())
        ended = in_child(lambda: killed_at(found["killed"] + 1, lambda: last_known_good.write(path, NEW)))
        content = last_known_good.read(path, IDENTITY)
        found["old" if content == OLD else "new" if content == NEW else "broken"] += 1
        most = max(most, len(list(path.parent.iterdir())) - 1)
        if ended == 0:
            return {**found, "left": most}
        found["killed" if ended == -signal.SIGKILL else "failed"] += 1


def refusals(path: Path, prepare: Callable[[], None], action: Callable[[], object]) -> dict[str, Any]:
    """Do it in a child after `prepare`, and return the error, its cause, and what is there afterwards."""
    readable, writable = os.pipe()

    def refused() -> None:
        prepare()
        answer = {"error": None}
        try:
            action()
        except Exception as error:
            answer = {"error": type(error).__name__, "cause": type(error.__cause__).__name__, "text": str(error)}
        os.write(writable, json.dumps(answer).encode())

    ended = in_child(refused)
    os.close(writable)
    with open(readable, "rb") as pipe:
        answer = json.loads(pipe.read())
    path.parent.chmod(0o700)
    path.chmod(0o600)
    alone = [path] == list(path.parent.iterdir())
    return {**answer, "ended": ended, "old": last_known_good.read(path, IDENTITY) == OLD, "alone": alone}


def full_disk() -> None:
    """Let no file of this process grow beyond 100,000 bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def be_nobody() -> None:
    """Lose the rights of the superuser, whom permissions do not stop."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def main(fault: str, directory: Path) -> dict[str, Any]:
    """Play through one kind of fault."""
    path = last_known_good.path_of(directory, IDENTITY)
    last_known_good.write(path, OLD)
    new = replace(OLD, adopted_at=2)
    for folder in (directory, path.parent):
        folder.chmod(0o755)
    match fault:
        case "kill":
            return kills(path)
        case "full disk":
            return refusals(path, full_disk, lambda: last_known_good.write(path, NEW))
        case "read-only directory":
            path.parent.chmod(0o555)
            return refusals(path, be_nobody, lambda: last_known_good.write(path, new))
        case "no permission":
            path.chmod(0)
            return refusals(path, be_nobody, lambda: last_known_good.read(path, IDENTITY))
    raise ValueError(fault)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
