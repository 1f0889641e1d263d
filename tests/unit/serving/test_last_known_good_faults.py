"""The last-known-good file when its writer is killed, the disk is full, or permissions are lacking."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import file_faults


@pytest.fixture
def directory() -> Iterator[Path]:
    """Give a directory that any user may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def outcome(fault: str, directory: Path) -> dict[str, Any]:
    """Return what came of a fault."""
    done = subprocess.run(
        [sys.executable, file_faults.__file__, fault, str(directory)], check=True, capture_output=True, timeout=120
    )
    return dict(json.loads(done.stdout))


def test_a_writer_killed_at_any_line_leaves_the_old_file_or_the_new(directory: Path) -> None:
    """Killed before each line that runs, it leaves a whole file, and at most one more, which the next removes."""
    found = outcome("kill", directory)

    assert found["killed"] >= 30
    assert found["old"] >= 20
    assert found["new"] >= 2
    assert found["old"] + found["new"] == found["killed"] + 1
    assert (found.get("failed", 0), found["left"], found["other files"]) == (0, 1, 0)


@pytest.mark.parametrize(("fault", "error"), [("full disk", "OSError"), ("read-only directory", "PermissionError")])
def test_a_disk_that_refuses_keeps_the_old_file(directory: Path, fault: str, error: str) -> None:
    """A full disk and a read-only directory are an OSError; the old file stays, and no part of the new one."""
    found = outcome(fault, directory)

    assert found["error"] == error
    assert (found["ended"], found["old"], found["alone"]) == (0, True, True)


def test_a_file_that_may_not_be_read_is_refused(directory: Path) -> None:
    """Lacking permission is an ArtifactError with the system's reason."""
    found = outcome("no permission", directory)

    assert (found["error"], found["cause"]) == ("ArtifactError", "PermissionError")
    assert "Permission denied" in found["text"]
