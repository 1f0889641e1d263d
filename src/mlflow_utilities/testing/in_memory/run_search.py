"""runs/search: filters, orders, pages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from mlflow_utilities.testing.in_memory.experiments import STAGES, VIEW_TYPE, parse_experiment_id
from mlflow_utilities.testing.in_memory.fields import Field, Repeated, read
from mlflow_utilities.testing.in_memory.filter_language import (
    LISTS,
    NULLS,
    NUMBERS,
    TEXTS,
    Comparison,
    Grammar,
    compares,
    parse,
)
from mlflow_utilities.testing.in_memory.names import invalid_value
from mlflow_utilities.testing.in_memory.ordering import ordered, parse_order
from mlflow_utilities.testing.in_memory.paging import LONGEST_PAGE, checked_max_results, page
from mlflow_utilities.testing.in_memory.refusals import Refused, invalid
from mlflow_utilities.testing.in_memory.runs import RUN_NAME, latest, show_run
from mlflow_utilities.testing.in_memory.state import Run, State

__all__ = ["HANDLERS"]

_ALIASES = {"created": "start_time", "Created": "start_time"} | dict.fromkeys(
    ("run name", "Run name", "Run Name"), "run_name"
)
_PLAIN_TEXTS = ("run_name", "run name", "Run name", "Run Name", "user_id", "status", "artifact_uri")
_TIMES = ("start_time", "end_time", "created", "Created")
_ORDERABLE = ("run_id", "run_name", "user_id", "status", "artifact_uri", *_TIMES)
_CONTEXT = "mlflow.data.context"
_GRAMMAR = Grammar(
    prefixes={
        **dict.fromkeys(("attribute", "attributes", "attr", "run"), "attribute"),
        **dict.fromkeys(("metric", "metrics"), "metric"),
        **dict.fromkeys(("param", "params", "parameter", "parameters"), "parameter"),
        **dict.fromkeys(("tag", "tags"), "tag"),
        **dict.fromkeys(("dataset", "datasets"), "dataset"),
    },
    attributes={
        "run_id": TEXTS | LISTS,
        **dict.fromkeys(_PLAIN_TEXTS, TEXTS),
        **dict.fromkeys(_TIMES, NUMBERS),
    },
    entities={"metric": NUMBERS, "parameter": TEXTS | NULLS, "tag": TEXTS | NULLS, "dataset": TEXTS | LISTS},
    numbers=frozenset({"metric", *_TIMES}),
    datasets=frozenset({"name", "digest", "context"}),
)


def _search(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    fields = {
        "experiment_ids": Field(Repeated("string")),
        "filter": Field("string"),
        "run_view_type": Field(VIEW_TYPE, checked=False),
        "max_results": Field("int32"),
        "order_by": Field(Repeated("string"), items_checked=True),
        "page_token": Field("string", checked=False),
    }
    values = read(request, fields)
    most = values.get("max_results", 1000)
    if most > LONGEST_PAGE:
        hint = f" Hint: Value was of type '{type(most).__name__}'."
        raise invalid(f"{invalid_value('max_results', most, hint)} See the API docs for more information.")
    checked_max_results(most)
    clauses = parse(values.get("filter", ""), _GRAMMAR)
    orders = _orders(values.get("order_by", []))
    experiment_ids = set(map(parse_experiment_id, values.get("experiment_ids", [])))
    stages = STAGES[values.get("run_view_type", "ACTIVE_ONLY")]
    found = [
        run
        for run in state.runs.values()
        if run.experiment_id in experiment_ids
        and run.lifecycle_stage in stages
        and all(_matches(run, clause) for clause in clauses)
    ]
    shown, token = page(_in_order(found, orders), values.get("page_token", ""), most)
    answer: dict[str, Any] = {"runs": [show_run(run, model_inputs=False) for run in shown]} if shown else {}
    return {**answer, "next_page_token": token} if token else answer


def _matches(run: Run, clause: Comparison) -> bool:
    key = clause.key
    if clause.entity == "metric":
        return _metric_matches(run, clause)
    if clause.entity == "parameter":
        return compares(clause, run.params.get(key))
    if clause.entity == "tag":
        return compares(clause, run.tags.get(key))
    if clause.entity == "dataset":
        return any(compares(clause, text) for text in _dataset_texts(run, key))
    key = _ALIASES.get(key, key)
    # The name of a run is looked for in its tag.
    return compares(clause, run.tags.get(RUN_NAME) if key == "run_name" else getattr(run, key))


def _metric_matches(run: Run, clause: Comparison) -> bool:
    history = run.metrics.get(clause.key)
    if not history:
        return False
    metric = latest(history)
    return clause.operator == "!=" if metric.is_nan else compares(clause, metric.value)


def _dataset_texts(run: Run, key: str) -> list[str]:
    if key != "context":
        return [dataset_input["dataset"][key] for dataset_input in run.dataset_inputs]
    tags = [tag for dataset_input in run.dataset_inputs for tag in dataset_input.get("tags", [])]
    return [tag["value"] for tag in tags if tag["key"] == _CONTEXT]


def _orders(order_by: list[str]) -> list[tuple[str, str, bool]]:
    orders: list[tuple[str, str, bool]] = []
    for clause in order_by:
        entity, key, ascending = parse_order(clause, _GRAMMAR.prefixes, _ORDERABLE)
        key = _ALIASES.get(key, key) if entity == "attribute" else key
        if entity == "dataset":
            raise invalid(f"Invalid identifier type '{entity}'")
        if (entity, key) in [(entity, key) for entity, key, _ in orders]:
            raise Refused(f"`order_by` contains duplicate fields: {order_by}", "INTERNAL_ERROR")
        orders.append((entity, key, ascending))
    return orders


def _in_order(runs: list[Run], orders: list[tuple[str, str, bool]]) -> list[Run]:
    """Sort by the orders, then by the latest start unless that is among them, then by id."""
    runs = sorted(runs, key=lambda run: run.run_id)
    if all((entity, key) != ("attribute", "start_time") for entity, key, _ in orders):
        runs.sort(key=lambda run: run.start_time, reverse=True)
    for entity, key, ascending in reversed(orders):
        runs = ordered(runs, partial(_sort_value, entity=entity, key=key), ascending=ascending)
    return runs


def _sort_value(run: Run, entity: str, key: str) -> str | float | None:
    if entity == "metric":
        history = run.metrics.get(key)
        metric = latest(history) if history else None
        return None if metric is None else math.nan if metric.is_nan else metric.value
    if entity == "attribute":
        value: str | int | None = getattr(run, key)
        return value
    return (run.params if entity == "parameter" else run.tags).get(key)


HANDLERS = {("POST", "runs/search"): _search}
