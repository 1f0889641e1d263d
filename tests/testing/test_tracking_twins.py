"""Experiments, runs and searches: the in-memory MLflow says what a real server says."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from support.twins import Exchange, Twins, get, post

LONG = "x" * 9000
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
    for at, name in enumerate(("$p a", "$p B", "$p_c")):
        tags = [{"key": "n", "value": str(at)}, {"key": "kind", "value": "it's"}]
        yield post("experiments/create", {f"e{at}": "experiment_id"}, name=name, tags=tags[: at + 1])
    yield post("experiments/delete", experiment_id="$e2")
    for at in range(4):
        tags = [{"key": "a.b", "value": f"v{at}"}, {"key": "quote", "value": "it's"}, {"key": "Case", "value": "MiXed"}]
        yield post(
            "runs/create", {f"r{at}": "run.info.run_id"}, experiment_id="$e", start_time=1000 + at, user_id=f"u{at % 2}",
            run_name=f"run {at}", tags=tags,
        )  # fmt: skip
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


FILTERS = [
    # metrics
    "metrics.acc > 0.6", "metrics.acc>=0.7", "metric.acc < .7", "metrics.acc <= 5e-1", "metrics.acc = 0.7",
    "metrics.acc != 0.7", "metrics.`loss/train` > 1", 'metrics."loss/train" > 1', "metrics.'loss/train' = 3",
    "metrics.loss/train > 1", "metrics.neg < -1", "metrics.neg > 1e299", "metrics.nan = 0", "metrics.nan != 0",
    "metrics.nan > -1", "metrics.nan != 5", "metrics.inf < -1e308", "metrics.`m-1:b c` >= 2", "metrics.m-1 > 1",
    "metrics.acc > '0.6'", "metrics.acc > +1", "metrics.acc > inf", "metrics.acc LIKE 'x'", "metrics.acc IS NULL",
    "metrics.acc IN (1)", "metrics.missing != 1", "metrics.acc == 0.7", "metrics.acc <> 0.7", "metrics.acc > 0x1",
    # params and tags
    "params.p = '10'", "param.p != '10'", "parameters.p LIKE '1%'", "parameter.p ILIKE '_0%'", "params.p > '1'",
    "params.p = 10", "params.p = \"100\"", "params.p IN ('1')", "params.`only 0` = 'back\\slash'",
    "params.`only 0` IS NOT NULL", "params.`only 0` is null", "params.missing IS NULL", "params.p LIKE 'back\\%'",
    "tags.a.b = 'v1'", "tags.`a.b` != 'v1'", "tag.a.b LIKE 'v_'", "tags.Case = 'mixed'", "tags.Case ILIKE 'mixed'",
    "tags.Case LIKE 'mixed'", "tags.Case LIKE 'Mi%'", "tags.Case ILIKE '%XED'", "tags.case = 'MiXed'",
    "tags.quote = \"it's\"", "tags.quote = 'it''s'", "tags.quote = 'it\\'s'", "tags.quote LIKE 'it_s'",
    "tags.missing IS NULL", "tags.a.b is not null", "tags.missing != 'x'", "tags.mlflow.runName = 'run 1'",
    "TAGS.a.b = 'v1'", "`tags`.`a.b` = 'v1'", "\"tags\".a.b = 'v1'", "tags.a.b = v1", "tags.a.b = `v1`", "tags.a.b = ''",
    # attributes
    "status = 'FINISHED'", "attributes.status != 'FINISHED'", "attr.status LIKE 'F%'", "run.status ILIKE 'f%'",
    "status IN ('FAILED')", "status = FINISHED", "status > 'A'", "run_id = '$r1'", "run_id IN ('$r0', '$r2')",
    "run_id NOT IN ('$r0')", "attributes.run_id in (\"$r0\")", "run_id IN ()", "run_id IN (1)", "run_id IN '$r0'",
    "run_id = ('$r0')", "run_id != '$r1'", "run_name = 'run 1'", "run_name LIKE 'run%'", "`run name` = 'run 2'",
    "attributes.`Run name` != 'run 2'", "user_id = 'u1'", "artifact_uri LIKE '%$r1%'", "start_time > 1000",
    "start_time <= 1001", "created = 1001", "attributes.Created != 1001", "start_time > 1000.5", "start_time = '1000'",
    "end_time > 0", "end_time != 2000", "end_time IS NULL", "experiment_id = '1'", "lifecycle_stage = 'active'",
    "foo = 'x'", "foo.bar = 'x'",
    # datasets
    "datasets.name = 'set0'", "dataset.digest LIKE 'd%'", "dataset.context = 'train'", "dataset.name != 'set0'",
    "dataset.name IN ('set0', 'x')", "dataset.context NOT IN ('train')", "dataset.foo = 'x'", "dataset.name > 'x'",
    "dataset.name = 'set0' AND dataset.context = 'test'", "dataset.name IS NULL",
    # how clauses are joined
    "metrics.acc > 0.4 AND params.p = '1'", "metrics.acc > 0.4 and params.p = '10' AND status = 'FINISHED'",
    "AND params.p = '1'", "params.p = '1' AND", "params.p = '1' OR params.p = '10'", "(params.p = '1')",
    "NOT params.p = '1'", "params.p = '1';", "params.p = '1' tags.a.b = 'v0'", "params.p = '1', tags.a.b = 'v0'",
    "params.p = '1' -- all", "params.p", "params.p =", "= '1'", "'1' = params.p", "params.p = params.p", "   ", "",
    "hello", "params.p = '1", "params.p BETWEEN '1' AND '2'", "params.p NOT LIKE '1'", "params.p RLIKE '1'",
    "tags.quote = 'x\\' AND tags.a.b = ' AND tags.Case = 'MiXed'", "tags.quote = 'x\\' AND tags.a.b = 'v1'",
]  # fmt: skip

ORDERS = [
    ["start_time"], ["start_time DESC"], ["attributes.start_time asc"], ["created DESC"], ["metrics.acc"],
    ["metrics.acc DESC"], ["metrics.nan"], ["metrics.nan DESC"], ["metrics.`loss/train` ASC"], ["params.p"],
    ["params.p DESC"], ["params.`only 1` DESC"], ["tags.a.b DESC"], ["tags.missing"], ["run_name DESC"], ["status"],
    ["user_id", "metrics.acc DESC"], ["user_id DESC", "start_time"], ["end_time"], ["end_time DESC"],
    ["artifact_uri", "start_time"], ["metrics.acc", "metrics.acc DESC"], ["start_time", "created"], ["dataset.name"],
    ["foo"], ["foo.bar"], [""], ["start_time up"], ["start_time DESC DESC"], [" start_time"], ["start_time "],
    ["start_time,run_id"], ["metrics.loss/train"], ["experiment_id"], ["METRICS.acc"], ["metrics.acc NULLS LAST"],
    ["`run name`"],
]  # fmt: skip

SEARCHES = [
    post("runs/search"),
    post("runs/search", experiment_ids=[]),
    post("runs/search", experiment_ids=["nope"]),
    post("runs/search", experiment_ids=["99999999"]),
    post("runs/search", experiment_ids=[1]),
    post("runs/search", experiment_ids="$e"),
    post("runs/search", experiment_ids=["$e", "$e0"], max_results=2),
    post("runs/search", experiment_ids=["$e"], max_results=3),
    post("runs/search", experiment_ids=["$e"], max_results=1, page_token="eyJvZmZzZXQiOiAxfQ=="),
    post("runs/search", experiment_ids=["$e"], max_results=1, page_token="eyJvZmZzZXQiOiA5OX0="),
    post("runs/search", experiment_ids=["$e"], page_token="nonsense"),
    post("runs/search", experiment_ids=["$e"], page_token="eyJvZmZzZXQiOiAwfQ=="),
    post("runs/search", experiment_ids=["$e"], page_token="e30="),
    post("runs/search", experiment_ids=["$e"], max_results=0),
    post("runs/search", experiment_ids=["$e"], max_results=-1),
    post("runs/search", experiment_ids=["$e"], max_results=50000),
    post("runs/search", experiment_ids=["$e"], max_results=50001),
    post("runs/search", experiment_ids=["$e"], max_results="2"),
    post("runs/search", experiment_ids=["$e"], max_results="two"),
    post("runs/search", experiment_ids=["$e"], max_results=1.5),
    post("runs/search", experiment_ids=["$e"], run_view_type="ALL"),
    post("runs/search", experiment_ids=["$e"], run_view_type="DELETED_ONLY"),
    post("runs/search", experiment_ids=["$e"], run_view_type=3),
    post("runs/search", experiment_ids=["$e"], run_view_type="bogus"),
    post("runs/search", experiment_ids=["$e"], filter=5),
    post("runs/search", experiment_ids=["$e"], order_by="start_time"),
    post("runs/search", experiment_ids=["$e"], order_by=[1]),
    post("runs/search", experimentIds=["$e"], maxResults=1),
    post("runs/search", experiment_ids=["$e"], experimentIds=["$e"]),
    post("runs/search", experiment_ids=["$e"], filter=None, page_token=None, unknown=[{}]),
    post("experiments/search"),
    post("experiments/search", max_results=0),
    post("experiments/search", max_results=50001),
    get("experiments/search", max_results=10, filter="name LIKE '$p%'"),
    post("experiments/search", max_results=10, filter="name LIKE '$p%'", view_type="ALL"),
    post("experiments/search", max_results=10, filter="name LIKE '$p%'", view_type="DELETED_ONLY"),
    post("experiments/search", max_results=2, filter="name LIKE '$p%'", order_by=["name"]),
    post("experiments/search", max_results=10, filter="name LIKE '$p%'", order_by=["name DESC"]),
    post("experiments/search", max_results=10, filter="name LIKE '$p%'", order_by=["experiment_id"]),
    post("experiments/search", max_results=10, filter="name ILIKE '$p b'"),
    post("experiments/search", max_results=10, filter="name LIKE '$p b'"),
    post("experiments/search", max_results=10, filter="name like '$p%'"),
    post("experiments/search", max_results=10, filter="attribute.name = '$p a'"),
    post("experiments/search", max_results=10, filter="attributes.name = '$p a'"),
    post("experiments/search", max_results=10, filter="name != '$p' AND name LIKE '$p%'"),
    post("experiments/search", max_results=10, filter="name IN ('$p')"),
    post("experiments/search", max_results=10, filter="tags.n = '1' AND name LIKE '$p%'"),
    post("experiments/search", max_results=10, filter="tags.kind IS NULL AND name LIKE '$p%'"),
    post("experiments/search", max_results=10, filter="tags.kind IS NOT NULL AND name LIKE '$p%'"),
    post("experiments/search", max_results=10, filter="experiment_id = '$e'"),
    post("experiments/search", max_results=10, filter="experiment_id IN ('$e', '$e0')"),
    post("experiments/search", max_results=10, filter="experiment_id = 'x'"),
    post("experiments/search", max_results=10, filter="experiment_id LIKE '1'"),
    post("experiments/search", max_results=10, filter="creation_time > 5 AND name = '$p'"),
    post("experiments/search", max_results=10, filter="creation_time > 5.5 AND name = '$p'"),
    post("experiments/search", max_results=10, filter="creation_time > '5'"),
    post("experiments/search", max_results=10, filter="last_update_time < 5 AND name = '$p'"),
    post("experiments/search", max_results=10, filter="metrics.a > 1"),
    post("experiments/search", max_results=10, filter="params.a = 'x'"),
    post("experiments/search", max_results=10, order_by=["tags.n"]),
    post("experiments/search", max_results=10, order_by=["foo"]),
    post("experiments/search", max_results=10, view_type="bogus", filter="name = '$p'"),
]

READS = [
    get("runs/get", run_id="$r0"),
    get("runs/get", run_uuid="$r0"),
    get("runs/get", run_id="$r3"),
    get("runs/get", run_id="nope"),
    get("runs/get"),
    get("runs/get", run_id=""),
    get("experiments/get", experiment_id="$e"),
    get("experiments/get", experiment_id="$e2"),
    get("experiments/get", experiment_id="99999999"),
    get("experiments/get", experiment_id="nope"),
    get("experiments/get"),
    get("experiments/get-by-name", experiment_name="$p B"),
    get("experiments/get-by-name", experiment_name="$p b"),
    get("experiments/get-by-name"),
    get("metrics/get-history", run_id="$r0", metric_key="acc"),
    get("metrics/get-history", run_id="$r1", metric_key="nan"),
    get("metrics/get-history", run_id="$r0", metric_key="missing"),
    get("metrics/get-history", run_id="nope", metric_key="acc"),
    get("metrics/get-history", run_id="$r0"),
    get("metrics/get-history", metric_key="acc"),
    get("metrics/get-history", run_id="$r0", metric_key="acc", max_results=0),
    get("metrics/get-history", run_id="$r0", metric_key="acc", max_results=1),
    get("metrics/get-history", run_id="$r0", metric_key="acc", page_token="nonsense"),
    Exchange("DELETE", "runs/get"),
    Exchange("GET", "runs/create"),
    Exchange("GET", "runs/nope"),
    Exchange("POST", "runs/set-tag", b"{", content_type="text/plain"),
    Exchange("POST", "runs/set-tag", b"{"),
    Exchange("POST", "runs/log-batch", b"{"),
    Exchange("POST", "runs/search", b'"{\\"experiment_ids\\": []}"'),
]


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


def _param(key: object, value: object) -> dict[str, object]:
    return {"key": key, "value": value}


def _metric(value: object, step: object = 0, timestamp: object = 1, key: str = "m") -> dict[str, object]:
    return {"key": key, "value": value, "timestamp": timestamp, "step": step}


RUN = {"run_id": "$r"}
KEYS = ["a/b", "a b", "a:b", "ünï", "a//b", "/a", "a/", "..", ".", "a@b", "a`b", "a'b", "x" * 250, "x" * 251, "", "a\n"]
WRITES: dict[str, list[Exchange]] = {
    "params are written once": [
        post("runs/log-parameter", **RUN, key="k", value="1"),
        post("runs/log-parameter", **RUN, key="k", value="1"),
        post("runs/log-parameter", **RUN, key="k", value="2"),
        post("runs/log-parameter", **RUN, key="empty"),
        post("runs/log-parameter", **RUN, key="empty", value=""),
        post("runs/log-parameter", **RUN, key="empty", value="x"),
        post("runs/log-parameter", run_uuid="$r", key="by uuid", value="x"),
        post("runs/log-parameter", **RUN, key="number", value=5),
        post("runs/log-parameter", **RUN, value="x"),
        post("runs/log-parameter", key="k", value="x"),
        post("runs/log-parameter", run_id="nope", key="k", value="x"),
    ],
    "long values are cut": [
        post("runs/log-parameter", **RUN, key="long", value=LONG),
        post("runs/log-parameter", **RUN, key="long", value=LONG[:6000]),
        post("runs/log-parameter", **RUN, key="long", value=LONG[:5999]),
        post("runs/set-tag", **RUN, key="long", value=LONG),
        post("runs/log-batch", **RUN, params=[_param("b", LONG)], tags=[_param("b", LONG)]),
    ],
    "a batch is refused before anything of it is stored": [
        post("runs/log-batch", **RUN, params=[_param("a", "1")]),
        post("runs/log-batch", **RUN, params=[_param("b", "1"), _param("a", "2")], tags=[_param("t", "1")]),
        post("runs/log-batch", **RUN, params=[_param("c", "1"), _param("c", "1")]),
        post("runs/log-batch", **RUN, params=[_param("d@", "1"), _param("d", "1")]),
        post("runs/log-batch", **RUN, metrics=[_metric(1, timestamp=-1)], params=[_param("d", "1")]),
        post("runs/log-batch", **RUN, metrics=[{"key": "m", "value": 1}]),
        post("runs/log-batch", **RUN, metrics=[{"key": "m", "timestamp": 1}]),
        post("runs/log-batch", **RUN, metrics=[{"value": 1, "timestamp": 1}]),
        post("runs/log-batch", **RUN, params=[{"value": "1"}]),
        post("runs/log-batch", **RUN, tags=[{"value": "1"}]),
        post("runs/log-batch", **RUN, params="text"),
        post("runs/log-batch", **RUN),
        post("runs/log-batch", params=[_param("d", "1")]),
        post("runs/log-batch", run_id="no/pe"),
        post("runs/log-batch", run_id="nope"),
        post("runs/log-batch", run_id=5),
    ],
    "a batch has limits": [
        post("runs/log-batch", **RUN, params=[_param(f"p{at}", "") for at in range(100)]),
        post("runs/log-batch", **RUN, params=[_param(f"q{at}", "") for at in range(101)]),
        post("runs/log-batch", **RUN, tags=[_param(f"t{at}", "") for at in range(101)]),
        post("runs/log-batch", **RUN, metrics=[_metric(at, at) for at in range(1000)]),
        post("runs/log-batch", **RUN, metrics=[_metric(at, at) for at in range(1001)]),
        post("runs/log-batch", **RUN, metrics=[_metric(at, at) for at in range(1000)], tags=[_param("t", "")]),
    ],
    "a wrong type drops the rest": [
        post("runs/log-batch", **RUN, params=[_param("a", 3), _param("b", "x")], tags=[_param("t", "x")]),
        post("runs/log-batch", tags=[_param("t", "x")], **RUN, params=[_param("c", "x"), _param("d", None)]),
        post("runs/log-metric", **RUN, key="bool", value=True, timestamp=1),
        post("runs/log-metric", **RUN, key="half", value=1, timestamp=1000.5),
        post("runs/log-metric", **RUN, key="large", value=1, timestamp=2**63),
        post("runs/log-metric", **RUN, key="text", value="1.5", timestamp="7", step="1e1"),
        post("runs/log-metric", **RUN, key="word", value="word", timestamp=7),
        post("runs/log-metric", **RUN, key="step", value=1, timestamp=7, step="word"),
        Exchange("POST", "runs/log-metric", {**RUN, "key": "bare", "value": float("nan"), "timestamp": 7}),
        post("runs/set-tag", **RUN, key="t", value=5),
        post("runs/set-tag", **RUN, key=5, value="x"),
    ],
    "the latest metric has the greatest step, time and value": [
        post("runs/log-metric", **RUN, **_metric(5, 3, 10)),
        post("runs/log-metric", **RUN, **_metric(9, 2, 99)),
        post("runs/log-metric", **RUN, **_metric(4, 3, 10)),
        post("runs/log-metric", **RUN, **_metric(1, 3, 11)),
        post("runs/log-metric", **RUN, **_metric(1, 3, 11)),
        get("metrics/get-history", run_id="$r", metric_key="m"),
        get("metrics/get-history", run_id="$r", metric_key="m", max_results=2),
        get("metrics/get-history", run_id="$r", metric_key="m", max_results=4),
        get("metrics/get-history", run_id="$r", metric_key="m", max_results=2, page_token="eyJvZmZzZXQiOiAyfQ=="),
        post("runs/log-batch", **RUN, metrics=[_metric(7, 8, key="n"), _metric(6, 8, key="n"), _metric(1, -5, key="n")]),
        post("runs/log-metric", **RUN, **_metric(-1, 0, 1, "z")),
        post("runs/log-metric", **RUN, **_metric("NaN", 0, 1, "z")),
        post("runs/log-metric", **RUN, **_metric(1, 0, 1, "y")),
        post("runs/log-metric", **RUN, **_metric("NaN", 0, 1, "y")),
        post("runs/log-metric", **RUN, **_metric("Infinity", 0, 1, "x")),
        post("runs/log-metric", **RUN, **_metric(1, 0, -1, "w")),
        post("runs/log-metric", **RUN, key="v", value=1),
        post("runs/log-metric", **RUN, key="v", timestamp=1),
        post("runs/log-metric", **RUN, key="v", value=1, timestamp=1, model_id="m-nope"),
        post("runs/log-batch", **RUN, metrics=[{**_metric(1), "model_id": "m-nope"}], tags=[_param("late", "x")]),
    ],
    "tags change and go": [
        post("runs/set-tag", **RUN, key="t", value="1"),
        post("runs/set-tag", **RUN, key="t", value="2"),
        post("runs/set-tag", **RUN, key="empty"),
        post("runs/log-batch", **RUN, tags=[_param("t", "3"), _param("t", "4"), _param("new", "x")]),
        post("runs/delete-tag", **RUN, key="t"),
        post("runs/delete-tag", **RUN, key="t"),
        post("runs/delete-tag", **RUN),
        post("runs/set-tag", **RUN, key="mlflow.runName", value="renamed"),
        post("runs/set-tag", **RUN, key="mlflow.runName", value=""),
        post("runs/log-batch", **RUN, tags=[_param("mlflow.runName", "again")]),
        post("runs/delete-tag", **RUN, key="mlflow.runName"),
        post("runs/update", **RUN, run_name="at last"),
    ],
    "a run is updated": [
        post("runs/update", **RUN, status="FINISHED", end_time=5, run_name="new"),
        post("runs/update", **RUN, status="bogus"),
        post("runs/update", **RUN, status=4),
        post("runs/update", **RUN, status=99),
        post("runs/update", **RUN, end_time="6"),
        post("runs/update", **RUN, end_time="soon"),
        post("runs/update", **RUN, run_name=""),
        post("runs/update", **RUN, end_time=0),
        post("runs/update", **RUN),
        post("runs/update", run_id="nope", status="FINISHED"),
        post("runs/update"),
    ],
    "a deleted run is read and not written": [
        post("runs/delete", **RUN),
        post("runs/delete", **RUN),
        post("runs/log-parameter", **RUN, key="k", value="1"),
        post("runs/log-metric", **RUN, **_metric(1)),
        post("runs/log-batch", **RUN, tags=[_param("t", "1")]),
        post("runs/set-tag", **RUN, key="t", value="1"),
        post("runs/delete-tag", **RUN, key="t"),
        post("runs/update", **RUN, status="FINISHED"),
        post("runs/log-inputs", **RUN),
        post("runs/outputs", **RUN, models=[{"model_id": "m-x"}]),
        get("runs/get", **RUN),
        post("runs/restore", **RUN),
        post("runs/restore", **RUN),
        post("runs/log-parameter", **RUN, key="k", value="1"),
        post("runs/restore", run_id="nope"),
        post("runs/delete"),
    ],
    "a run is created": [
        post("runs/create", experiment_id="$e", run_name="a", tags=[_param("mlflow.runName", "b")]),
        post("runs/create", {"a": "run.info.run_id"}, experiment_id="$e", tags=[_param("mlflow.runName", "b")]),
        post("runs/create", {"b": "run.info.run_id"}, experiment_id="$e", start_time="12", tags=[_param("a`b", LONG)]),
        post("runs/create", {"c": "run.info.run_id"}, experiment_id="$e", run_name="", user_id="me"),
        post("runs/create", experiment_id="$e", tags=[_param("a", "1"), _param("a", "2")]),
        post("runs/create", experiment_id="nope"),
        post("runs/create", experiment_id="99999999"),
        post("runs/create", experiment_id=5),
        post("runs/create", experiment_id="$e", start_time="soon"),
        post("runs/create"),
    ],
    "inputs and outputs": [
        post("runs/log-inputs", **RUN, datasets=[{"dataset": {"name": "d", "digest": "1", "source_type": "t"}}]),
        post(
            "runs/log-inputs", **RUN,
            datasets=[{
                "tags": [_param("k", "v")],
                "dataset": {"name": "d", "digest": "1", "source_type": "other", "source": "s", "schema": "{}"},
            }],
        ),
        post(
            "runs/log-inputs", **RUN, models=[{"model_id": "m-1"}, {"model_id": "m-1"}],
            datasets=[{"tags": [_param("k", "v")], "dataset": {"name": "d", "digest": "2", "profile": "p"}}],
        ),
        post("runs/log-inputs", **RUN, datasets=[{"dataset": {"name": "n" * 501, "digest": "1"}}]),
        post("runs/log-inputs", **RUN, datasets=[{"dataset": {"name": "n", "digest": "1" * 37}}]),
        post("runs/log-inputs", **RUN, datasets=[{"dataset": {"name": "n", "digest": "1"}, "tags": [_param("k", LONG)]}]),
        post("runs/log-inputs", **RUN, datasets="text"),
        post("runs/log-inputs", run_id="nope"),
        post("runs/outputs", **RUN, models=[{"model_id": "m-1", "step": 3}, {"model_id": "m-2"}]),
        post("runs/outputs", **RUN, models=[{"model_id": "m-2"}]),
        post("runs/outputs", **RUN),
        post("runs/search", experiment_ids=["$x"]),
    ],
    "experiments are unique by name, deleted ones too": [
        post("experiments/create", name="$p"),
        post("experiments/create", name=""),
        post("experiments/create"),
        post("experiments/create", name=5),
        post("experiments/create", name="$p" + "x" * 500),
        post("experiments/create", name="$p $x loc", artifact_location="runs:/x"),
        post("experiments/create", name="$p $x loc", artifact_location="s3://bucket/path#part"),
        post("experiments/create", {"l": "experiment_id"}, name="$p $x loc", artifact_location="s3://bucket/path"),
        get("experiments/get", experiment_id="$l"),
        post("runs/create", {"lr": "run.info.run_id"}, experiment_id="$l", run_name="there"),
        post("experiments/create", name="$p $x tags", tags=[_param("a@", "1")]),
        post("experiments/create", name="$p $x tags", tags=[_param("a", "1"), _param("a", "2")]),
        post("experiments/update", experiment_id="$x", new_name="$p"),
        post("experiments/update", experiment_id="$x", new_name=""),
        post("experiments/update", experiment_id="$x"),
        post("experiments/update", experiment_id="$x", new_name="$p $x new"),
        post("experiments/delete", experiment_id="$x"),
        get("experiments/get", experiment_id="$x"),
        get("runs/get", **RUN),
        post("experiments/delete", experiment_id="$x"),
        post("experiments/create", name="$p $x new"),
        post("experiments/update", experiment_id="$x", new_name="$p $x newer"),
        post("experiments/set-experiment-tag", experiment_id="$x", key="t", value="1"),
        post("experiments/delete-experiment-tag", experiment_id="$x", key="t"),
        post("runs/create", experiment_id="$x"),
        post("runs/set-tag", **RUN, key="t", value="1"),
        post("runs/restore", **RUN),
        post("experiments/restore", experiment_id="$x"),
        post("experiments/restore", experiment_id="$x"),
        post("experiments/delete", experiment_id="99999999"),
        post("experiments/restore"),
    ],
    "tags of an experiment": [
        post("experiments/set-experiment-tag", experiment_id="$x", key="t", value="1"),
        post("experiments/set-experiment-tag", experiment_id="$x", key="t", value="2"),
        post("experiments/set-experiment-tag", experiment_id="$x", key="empty"),
        post("experiments/set-experiment-tag", experiment_id="$x", key="long", value="x" * 20_000),
        post("experiments/set-experiment-tag", experiment_id="$x", key="long", value="x" * 20_001),
        post("experiments/set-experiment-tag", experiment_id="$x", key="a@", value="1"),
        post("experiments/set-experiment-tag", experiment_id="$x"),
        post("experiments/set-experiment-tag", experiment_id="99999999", key="t", value="1"),
        post("experiments/delete-experiment-tag", experiment_id="$x", key="t"),
        post("experiments/delete-experiment-tag", experiment_id="$x", key="t"),
        get("experiments/get", experiment_id="$x"),
    ],
    "keys of params": [post("runs/log-parameter", **RUN, key=key, value="x") for key in KEYS],
    "keys of metrics": [post("runs/log-metric", **RUN, **_metric(1, key=key)) for key in KEYS],
    "keys of tags": [post("runs/set-tag", **RUN, key=key, value="x") for key in KEYS],
}  # fmt: skip


@pytest.mark.parametrize("exchanges", WRITES.values(), ids=WRITES)
def test_what_is_written(twins: Twins, exchanges: list[Exchange]) -> None:
    """On a run of its own, both do and refuse the same, and in the end hold the same."""
    twins.same(post("experiments/create", {"x": "experiment_id"}, name=f"$p {uuid.uuid4().hex[:8]}"))
    twins.same(post("runs/create", {"r": "run.info.run_id"}, experiment_id="$x", start_time=1, run_name="first"))
    for exchange in exchanges:
        twins.same(exchange)
        twins.same(get("runs/get", run_id="$r"))
