"""Writing a file from pieces, as downloads do."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from mlflow_utilities.stores.files import write_whole

pytestmark = pytest.mark.anyio


class SlowPath(type(Path())):  # type: ignore[misc]
    """A path whose directory takes its time to be made."""

    entered = threading.Event()
    may_go_on = threading.Event()

    def mkdir(self, *args: Any, **options: Any) -> None:
        """Wait for the test."""
        self.entered.set()
        self.may_go_on.wait()
        super().mkdir(*args, **options)


async def nothing() -> AsyncIterator[bytes]:
    """Give no pieces."""
    for piece in ():
        yield piece


async def test_a_task_cancelled_while_the_file_is_opened_leaves_none_open(tmp_path: Path) -> None:
    """The file that a thread was just opening is closed and removed."""
    SlowPath.entered.clear()
    SlowPath.may_go_on.clear()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write_whole, SlowPath(tmp_path / "file"), nothing(), None)
            await anyio.to_thread.run_sync(SlowPath.entered.wait)
            tasks.cancel_scope.cancel()
            SlowPath.may_go_on.set()
        gc.collect()

    assert [str(warning.message) for warning in seen] == []
    assert list(tmp_path.iterdir()) == []
