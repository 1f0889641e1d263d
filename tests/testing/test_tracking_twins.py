"""Experiments, runs and searches: the in-memory MLflow says what a real server says."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from support.tracking_reads import FILTERS, ORDERS, READS, SEARCHES
from support.tracking_writes import WRITES
from support.twins import Exchange, Twins, get, post

METRICS = {"acc": [0.5, 0.7, 0.9], "loss/train": [3, 2, 1], "neg": [-1.5, 0, 1e300], "m-1:b c": [1, 2, 3]}


@pytest.fixture(scope="module")
def twins(server_uri: str) -> Iterator[Twins]:
    """Give both servers with the same four runs in one experiment, one of them deleted, and three experiments more."""
    twins = Twins(server_uri)
    twins.name(p=f"twins-{uuid.uuid4().hex[:12]}")
    for exchange in _population():
        assert twins.same(exchange).status == 200
    yield twins
    twins.close()


def _population() -> Iterator[Exchange]:
    yield post("experiments/create", {"e": "experiment_id"}, name="$p")
    for at, name in enumerate(("$p a", "$p B", "$p _c")):
        tags = [{"key": "n", "value": str(at)}, {"key": "kind", "value": "it's"}]
        yield post("experiments/create", {f"e{at}": "experiment_id"}, name=name, tags=tags[: at + 1])
    yield post("experiments/delete", experiment_id="$e2")
    for at in range(4):
        tags = [
            {"key": "a.b", "value": f"v{at}"},
            {"key": "quote", "value": "it's"},
            {"key": "Case", "value": "MiXed"},
        ]
        yield post(
            "runs/create",
            {f"r{at}": "run.info.run_id"},
            experiment_id="$e",
            start_time=1000 + at,
            user_id=f"u{at % 2}",
            run_name=f"run {at}",
            tags=tags,
        )
        metrics = [
            {"key": key, "value": values[at], "timestamp": 5, "step": 0} for key, values in METRICS.items() if at < 3
        ]
        params = [{"key": "p", "value": str(10**at)}, {"key": f"only {at}", "value": "back\\slash"}]
        yield post("runs/log-batch", run_id=f"$r{at}", metrics=metrics, params=params)
    yield post("runs/log-metric", run_id="$r1", key="nan", value="NaN", timestamp=1)
    yield post("runs/log-metric", run_id="$r2", key="nan", value=0, timestamp=1)
    yield post("runs/log-metric", run_id="$r0", key="inf", value="-Infinity", timestamp=1)
    yield post("runs/update", run_id="$r1", status="FINISHED", end_time=2000)
    yield post("runs/update", run_id="$r2", status="FAILED", end_time=1500)
    for at, context in enumerate(("train", "test")):
        dataset = {"name": f"set{at}", "digest": f"d{at}", "source_type": "local", "source": "s"}
        tags = [{"key": "mlflow.data.context", "value": context}]
        yield post("runs/log-inputs", run_id=f"$r{at}", datasets=[{"dataset": dataset, "tags": tags}])
    yield post("runs/delete", run_id="$r3")


def _matching(text: str) -> Exchange:
    return post("runs/search", experiment_ids=["$e"], filter=text, order_by=["start_time"])


@pytest.mark.parametrize("exchange", [_matching(text) for text in FILTERS], ids=FILTERS)
def test_a_filter_of_runs(twins: Twins, exchange: Exchange) -> None:
    """Both find the same runs, or refuse the filter with the same code."""
    twins.same(exchange)


@pytest.mark.parametrize("order_by", ORDERS, ids=str)
def test_an_order_of_runs(twins: Twins, order_by: list[str]) -> None:
    """Both give the same order, or refuse it with the same code."""
    twins.same(post("runs/search", experiment_ids=["$e"], run_view_type="ALL", order_by=order_by))


@pytest.mark.parametrize("exchange", [*SEARCHES, *READS], ids=str)
def test_what_is_read(twins: Twins, exchange: Exchange) -> None:
    """Both answer the same, or refuse with the same code."""
    twins.same(exchange)


def test_pages_follow_each_other(twins: Twins) -> None:
    """The token of each page leads to the same next one on both, until there is none."""
    searched = post("runs/search", experiment_ids=["$e"], run_view_type="ALL", max_results=1, order_by=["run_name"])
    pages = []
    while True:
        page = twins.same(searched).value
        pages += page["runs"]
        if "next_page_token" not in page:
            break
        searched = post("runs/search", **{**searched.fields, "page_token": page["next_page_token"]})

    assert [run["info"]["run_name"] for run in pages] == ["run 0", "run 1", "run 2", "run 3"]


@pytest.mark.parametrize("exchanges", WRITES.values(), ids=WRITES)
def test_what_is_written(twins: Twins, exchanges: list[Exchange]) -> None:
    """On a run of its own, both do and refuse the same, and in the end hold the same."""
    twins.name(u=f"twins-{uuid.uuid4().hex}")
    twins.same(post("experiments/create", {"x": "experiment_id"}, name="$u"))
    twins.same(post("runs/create", {"r": "run.info.run_id"}, experiment_id="$x", start_time=1, run_name="first"))
    for exchange in exchanges:
        twins.same(exchange)

    twins.same(get("runs/get", run_id="$r"))
    twins.same(get("experiments/get", experiment_id="$x"))
    twins.same(post("runs/search", experiment_ids=["$x"], order_by=["run_name"]))
