"""Measure how long an event loop stands still while a large pickle is loaded: python -m benchmarks.load_lag.

Each way of loading runs in a process of its own. A task of the loop ticks every millisecond, from before the load until
well after the model that was replaced is destroyed; its worst delays are printed for each phase. The garbage collector
sees three million objects of each model.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

OBJECTS = 800_000
TICK = 0.001
TAIL = 0.5
ROUNDS = 3
GOAL = 0.25
WAYS = {
    "loads": "to_thread(pickle.loads)",
    "load": "to_thread(pickle.load(open(...)))",
    "mlflow-sklearn": "to_thread(mlflow.sklearn.load_model)",
    "mlflow-pyfunc": "to_thread(mlflow.pyfunc.load_model)",
    "directory-sklearn": "load_directory, sklearn",
    "claimed-sklearn": "load_claimed, sklearn",
    "directory-pyfunc": "load_directory, python_function",
    "claimed-pyfunc": "load_claimed, python_function",
}
PHASES = ("load", "afterwards", "unload")


class Node:
    """An object of the graph."""

    def __init__(self, number: int) -> None:
        self.name = f"node-{number}"
        self.weight = number * 0.5
        self.children = [number, number + 1]
        self.info = {"number": number}


class Estimator:
    """A model that is a graph of objects."""

    def __init__(self, objects: int) -> None:
        self.nodes = [Node(number) for number in range(objects)]

    def predict(self, data: Any) -> Any:
        """Return how many nodes there are for each row."""
        return [len(self.nodes) for _ in data]


def save(folder: Path) -> None:
    """Save the model by both flavors, and as a plain pickle."""
    import mlflow.pyfunc
    from benchmarks import load_lag

    from mlflow_utilities.models.flavors import serialise

    class PythonModel(mlflow.pyfunc.PythonModel):
        def __init__(self, estimator: Any) -> None:
            self.estimator = estimator

        def predict(self, context: Any, model_input: Any) -> Any:
            return self.estimator.predict(model_input)

    gc.disable()
    estimator = load_lag.Estimator(OBJECTS)
    (folder / "pickle").write_bytes(pickle.dumps(estimator))
    for flavor, model in (("sklearn", estimator), ("pyfunc", PythonModel(estimator))):
        serialise(model, flavor, folder / flavor, run_id="r", model_id=None, artifact_path="model")


def loader(way: str, folder: Path) -> Callable[[], Any]:
    """Return a function that loads, all imports done, and returns what has to be called once the model is destroyed."""
    for module in ("mlflow.pyfunc", "mlflow.sklearn"):
        importlib.import_module(module)
    from mlflow_utilities.models.loading import load_claimed, load_directory

    kind, _, flavor = way.partition("-")
    names = frozenset({"python_function" if flavor == "pyfunc" else flavor})

    def plain() -> Any:
        with open(folder / "pickle", "rb") as file:
            return pickle.load(file)

    ways: dict[str, Callable[[], Any]] = {
        "loads": lambda: pickle.loads((folder / "pickle").read_bytes()),
        "load": plain,
        "mlflow": lambda: sys.modules[f"mlflow.{flavor}"].load_model(str(folder / flavor)),
        "directory": lambda: load_directory(folder / flavor, "m", names),
        "claimed": lambda: load_claimed(folder / flavor, "m", names),
    }
    return ways[kind]


async def measure(way: str, folder: Path) -> dict[str, float]:
    """Return the worst delay of the loop in each phase, and the seconds that the load took.

    As in a service that replaces a model: one is there before, and is destroyed after the other was loaded.
    """
    from mlflow_utilities.models.responsive import destroy

    work = loader(way, folder)
    loaded = [work()]
    delays: list[tuple[float, float]] = []

    async def tick() -> None:
        before = time.perf_counter()
        while True:
            await anyio.sleep(TICK)
            now = time.perf_counter()
            delays.append(((before + now) / 2, now - before - TICK))
            before = now

    def unload() -> None:
        old = [loaded.pop(0)]
        if way.startswith("claimed"):
            destroy(old)

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        await requests(TAIL)
        marks = [time.perf_counter()]
        loaded.append(await anyio.to_thread.run_sync(work))
        marks.append(time.perf_counter())
        await requests(TAIL)
        marks.append(time.perf_counter())
        await anyio.to_thread.run_sync(unload)
        await requests(TAIL)
        marks.append(time.perf_counter())
        group.cancel_scope.cancel()
    worst = {
        phase: max(delay for moment, delay in delays if begin <= moment < end)
        for phase, begin, end in zip(PHASES, marks, marks[1:], strict=False)
    }
    return {**worst, "seconds": marks[1] - marks[0]}


async def requests(seconds: float) -> None:
    """Allocate as a service does that answers requests, so that the garbage collector gets its turns."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        kept = [[number] for number in range(1000)]
        await anyio.sleep(TICK)
        del kept


def main() -> None:
    """Measure each way in new processes, and print the median of the worst delays."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        quiet = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}

        def run(*arguments: str) -> str:
            command = [sys.executable, "-m", "benchmarks.load_lag", *arguments, directory]
            return subprocess.run(command, capture_output=True, text=True, check=True, env=quiet).stdout

        run("save")
        size = (folder / "pickle").stat().st_size / 1e6
        print(f"a pickle of {size:.0f} MB; worst delay of the event loop in {ROUNDS} processes each\n")
        print("| way | load takes | while loading | afterwards | while unloading |")
        print("|---|---|---|---|---|")
        for way, title in WAYS.items():
            results = [json.loads(run(way).splitlines()[-1]) for _ in range(ROUNDS)]
            worst = {name: max(result[name] for result in results) for name in results[0]}
            cells = " | ".join(f"{worst[phase] * 1e3:.0f} ms" for phase in PHASES)
            print(f"| {title} | {worst['seconds']:.1f} s | {cells} |", flush=True)
        print(f"\nthe goal while loading and afterwards: {GOAL * 1e3:.0f} ms")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] == "save":
        save(Path(sys.argv[2]))
    else:
        print(json.dumps(anyio.run(measure, sys.argv[1], Path(sys.argv[2]))))
