"""What following a rollout costs a real MLflow server, in CPU time: python -m benchmarks.polling (Linux).

One steady poll of the ledger beside what services do without one: list the runs and filter, or search by a tag.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from benchmarks.__main__ import versions
from benchmarks.client.changing import Requests

from local_server import run_server
from mlflow_utilities import AsyncMlflowClient, Version, mlflow_api
from mlflow_utilities.entities import Metric
from mlflow_utilities.rollout.codec import decode_slot, encode_document
from mlflow_utilities.rollout.document import Document, slot_key
from mlflow_utilities.rollout.experiments import find_ledger
from mlflow_utilities.rollout.facts import version_params
from mlflow_utilities.serving.feed import feed_of

RESULTS = Path(__file__).parent / "results" / "polling.json"
RUNS = 300
ROUNDS = 5
CALLS = {"poll": 100, "list": 10, "search": 50}
NAMES = {
    "poll": "one steady poll of the ledger",
    "list": f"listing {RUNS} runs and filtering",
    "search": "runs/search \"tags.active_state = 'Active'\"",
}
POINTS = {"active_state": 1.0, "test_fraction": 0.0, "m0": 0.5, "m1": 0.5, "m2": 0.5, "m3": 0.5}
METRICS = [Metric(key, value) for key, value in POINTS.items()]
PARAMS = {"submodel_name": "polling", **version_params(Version.parse("1.0.0")), **{f"p{n}": str(n) for n in range(4)}}
REPLICAS, INTERVAL = 1000, 30.0


def server_seconds() -> float:
    """Return the CPU seconds that all processes below this one have used."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid = int(path.parent.name)
        parents[pid], ticks[pid] = int(fields[1]), int(fields[11]) + int(fields[12])
    below = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(ticks[pid] for pid in below - {os.getpid()}) / os.sysconf("SC_CLK_TCK")


async def prepare(client: AsyncMlflowClient) -> str:
    """Make an experiment of runs, one of them Active, whose ledger run is full; return its id."""
    experiment_id = await client.create_experiment("polling")
    runs: list[str] = []
    for _ in range(RUNS):
        run_id = (await client.create_run(experiment_id)).info.run_id
        await client.log_batch(run_id, metrics=METRICS, params=PARAMS, tags={"active_state": "New"})
        runs.append(run_id)
    await client.set_terminated(runs[0])
    await mlflow_api.enable_run(runs[0], client=client)
    ledger = await find_ledger(client, experiment_id, None, None)
    tip = await ledger.walk(client)
    first = decode_slot(tip.params[slot_key(1)], 1)
    assert isinstance(first, Document)
    assert tip.run_id is not None
    later = [replace(first, generation=n, parent=n - 1, op=f"{n:016x}") for n in range(2, 17)]
    await client.log_batch(tip.run_id, params={slot_key(d.generation): encode_document(d) for d in later})
    return experiment_id


async def works(client: AsyncMlflowClient, experiment_id: str) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return what is measured."""
    feed = feed_of(client, await find_ledger(client, experiment_id, None, None))

    async def listed() -> object:
        runs = await client.search_runs([experiment_id])
        assert len(runs) == RUNS
        return [run for run in runs if run.data.tags.get("active_state") == "Active"]

    search = partial(client.search_runs, [experiment_id], "tags.active_state = 'Active'")
    return {"poll": feed.refresh, "list": listed, "search": search}


async def measure(uri: str) -> dict[str, float]:
    """Return the median CPU milliseconds of one call of each kind, and the requests of a poll; rounds alternate."""
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    async with AsyncMlflowClient(uri) as client:
        work = await works(client, await prepare(client))
        for name in NAMES:
            await work[name]()
        counted = Requests()
        await work["poll"]()
        counted.stop()
        for _ in range(ROUNDS):
            for name, calls in CALLS.items():
                begin = server_seconds()
                for _ in range(calls):
                    await work[name]()
                found[name].append((server_seconds() - begin) / calls * 1000)
    return {name: statistics.median(values) for name, values in found.items()} | {"requests": counted.count}


def main() -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory() as folder, run_server(Path(folder), workers=1) as uri:
        results = anyio.run(measure, uri)
    print("| what a service asks | server CPU | over one poll |")
    print("|---|---|---|")
    for name, title in NAMES.items():
        print(f"| {title} | {results[name]:.2f} ms | {results[name] / results['poll']:.1f} |")
    share = REPLICAS / INTERVAL * results["poll"] / 1000
    print(f"\n{REPLICAS} services that poll every {INTERVAL:g} s take {share:.0%} of one core of the server.")
    requests = results.pop("requests")
    stored = {"versions": versions(), "median_cpu_milliseconds": results, "requests_of_a_poll": requests}
    RESULTS.write_text(json.dumps(stored, indent=2) + "\n")


if __name__ == "__main__":
    main()
