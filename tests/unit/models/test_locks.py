"""Locks between processes, and what a fork makes of them."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from mlflow_utilities.models.locks import try_lock


def test_a_forked_child_does_not_keep_a_lock_that_its_parent_frees(tmp_path: Path) -> None:
    """The parent holds its lock until it frees it, and then others get it, however long the child lives."""
    lock = try_lock(tmp_path / "lock")
    assert lock is not None
    forked, told = os.pipe(), os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking a process that has threads
        child = os.fork()
    if not child:  # pragma: no cover
        os.write(forked[1], b".")
        os.read(told[0], 1)
        os._exit(0)
    try:
        os.read(forked[0], 1)
        while_held = try_lock(tmp_path / "lock")
        lock.release()
        after = try_lock(tmp_path / "lock")
    finally:
        os.write(told[1], b".")
        os.waitpid(child, 0)
        for descriptor in (*forked, *told):
            os.close(descriptor)

    assert while_held is None
    assert after is not None
    after.release()
