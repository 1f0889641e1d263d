"""A process that loads a model, forks, and lets it go in both: prints who destroyed it, and on which thread."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import anyio

from mlflow_utilities.serving.resident import Hold, Resident
from support.served_models import Thing, local_model, running


async def load(directory: Path, into: list[Resident | Hold]) -> None:
    """Load a model that is held and not kept."""
    wanted = local_model(directory / "a", Thing("a"))
    async with running() as residents:
        resident = (await residents.ensure([wanted]))["a"]
        into += [resident, resident.hold()]


class Noisy:
    """Says on which thread it goes."""

    def __del__(self) -> None:
        main = threading.current_thread() is threading.main_thread()
        os.write(1, f"{sys.argv[2:]} {'main' if main else 'other'}\n".encode())


if __name__ == "__main__":
    sys.modules["mlflow"] = None  # type: ignore[assignment]
    loaded: list[Resident | Hold] = []
    anyio.run(load, Path(sys.argv[1]), loaded)
    hold, resident = loaded.pop(), loaded.pop()
    assert isinstance(hold, Hold)
    assert isinstance(resident, Resident)
    hold.loaded.noisy = Noisy()
    child = os.fork()
    sys.argv.append("parent" if child else "child")
    assert hold.loaded.label == "a"
    del hold
    assert resident._gone.wait(30)
    if child:
        _, status = os.waitpid(child, 0)
        sys.exit(os.waitstatus_to_exitcode(status))
    os._exit(0)
