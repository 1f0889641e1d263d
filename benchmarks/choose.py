"""How long it takes to choose a model for a key: python -m benchmarks.choose.

Prints the nanoseconds of one call: the median of many batches, and between which the middle 90 % of them are. Rounds
alternate, so that noise meets all contenders. To measure another function of a key, add a line to `contenders`.
"""

from __future__ import annotations

import gc
import pickle
import platform
import statistics
import time
from bisect import bisect_right
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from threading import Event, Thread

from mlflow_utilities.rollout.codec import decode_slot, encode_document
from mlflow_utilities.rollout.document import Document, LiveEntry
from mlflow_utilities.rollout.slots import TOTAL, slot_of
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.version import Version
from mlflow_utilities.rollout.version_range import VersionRange
from mlflow_utilities.serving import ActiveModels
from mlflow_utilities.serving.routing import Snapshot
from mlflow_utilities.serving.selection import select
from mlflow_utilities.serving.served_model import ServedModel
from mlflow_utilities.serving.values import Source

ROUNDS = 300
BATCH = 500
KEYS = [f"user-{number}" for number in range(BATCH)]
VERSION = "1.4.2"
RANGE = VersionRange("^1.4")
Choice = Callable[[str], object]


@dataclass(frozen=True)
class Loaded:
    """A hold on something that a flavor has loaded."""

    loaded: object


def new_document() -> Document:
    """Return a rollout of five models with equal shares, each in two pieces."""
    half = TOTAL // 10
    entries = tuple(
        LiveEntry(
            f"{number:032x}",
            ModelStatus.Active,
            ((number * half, (number + 1) * half), ((number + 5) * half, (number + 6) * half)),
            0,
        )
        for number in range(5)
    )
    return Document(7, 6, "0" * 16, "test", "ana", "", "2026-01-01T00:00:00Z", "5f1c9a77", {VERSION: entries})


def new_snapshot(document: Document) -> Snapshot:
    """Return the document with a model for each run."""
    models = {
        entry.run: ServedModel(
            run_id=entry.run,
            experiment_id="7",
            submodel_name="fraud",
            version=Version.parse(VERSION),
            status=entry.status,
            test_fraction=0.2,
            immutable_metadata={},
            mutable_metadata={},
            start_time=None,
            end_time=None,
            model_uri=f"runs:/{entry.run}/model",
            generation=document.generation,
            _raw={},
            _client=None,
            _hold=Loaded(entry.run),
        )
        for entry in document.live[VERSION]
    }
    return Snapshot(select(document, RANGE), models, {}, source=Source.SERVER, submodel_name="fraud", experiment_id="7")


def by_bisection(snapshot: Snapshot) -> Choice:
    """Return the same choice, made by searching the boundaries of the ranges."""
    owned = sorted((start, entry.run) for entry in snapshot.selection.actives for start, _ in entry.slots)
    starts = [start for start, _ in owned]
    models = [snapshot.models[run] for _, run in owned]
    salt = snapshot.salt

    def choose(key: str) -> object:
        return models[bisect_right(starts, slot_of(salt, key)) - 1]

    assert all(choose(key) is snapshot.choose(key) for key in KEYS)
    return choose


def bare_hash(key: str) -> object:
    """Hash as much as a choice does, and nothing else."""
    return sha256(f"5f1c9a77|{key}".encode()).digest()


def contenders(snapshot: Snapshot) -> dict[str, Choice]:
    """Return what is measured, by name."""
    active = ActiveModels(experiment_name="fraud", model_version="^1.4")
    active._publish(snapshot)
    return {
        "ActiveModels.choose": active.choose,
        "Snapshot.choose": snapshot.choose,
        "slot_of and bisection": by_bisection(snapshot),
        "sha256 alone": bare_hash,
    }


def polling(document: Document) -> Callable[[], object]:
    """Return the work of a poll whose answer is another generation: decode, select, make the table."""
    value = encode_document(document)

    def poll() -> object:
        found = decode_slot(value, document.generation)
        assert isinstance(found, Document)
        return new_snapshot(found)

    return poll


def loading() -> Callable[[], object]:
    """Return the work of loading a model: a pickle of 100,000 small objects."""
    pickled = pickle.dumps([{"left": number, "right": str(number)} for number in range(100_000)])
    return lambda: pickle.loads(pickled)


@contextmanager
def in_another_thread(work: Callable[[], object] | None) -> Generator[None]:
    """Repeat work without a pause in a thread of its own while the block runs."""
    over = Event()

    def repeat() -> None:
        while work is not None and not over.is_set():
            work()

    thread = Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def batch(choose: Choice) -> float:
    """Return the nanoseconds of one call, on the average of a batch."""
    begin = time.perf_counter_ns()
    for key in KEYS:
        choose(key)
    return (time.perf_counter_ns() - begin) / BATCH


def measure(choices: dict[str, Choice]) -> dict[str, list[float]]:
    """Return the nanoseconds of one call in each batch of each contender."""
    found: dict[str, list[float]] = {name: [] for name in choices}
    for _ in range(ROUNDS):
        for name, choose in choices.items():
            found[name].append(batch(choose))
    return found


def main() -> None:
    """Measure alone, then beside a thread that polls and one that loads, and print."""
    document = new_document()
    choices = contenders(new_snapshot(document))
    beside: dict[str, Callable[[], object] | None] = {
        "nothing": None,
        "a thread that polls without a pause": polling(document),
        "a thread that loads without a pause": loading(),
    }
    print("| beside | what | median ns | 5 % | 95 % |")
    print("|---|---|---|---|---|")
    for place, work in beside.items():
        gc.collect()
        with in_another_thread(work):
            results = measure(choices)
        for name, times in results.items():
            low, *_, high = statistics.quantiles(times, n=20)
            print(f"| {place} | {name} | {statistics.median(times):.0f} | {low:.0f} | {high:.0f} |")
    print(f"\nPython {platform.python_version()}, {BATCH} keys a batch, {ROUNDS} batches each")


if __name__ == "__main__":
    main()
